//! Intervals: records, changelog and offsets of a commit, together or not at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millstream::log::{Committed, Guarantee, Interval, Isolation, Subscription};
use tests::logs::{Owned, TestLog, each_log, eventually, pair, text, unique};
use tests::member::{Member, Outcome, at, offset, one_input, outgoing, subscription};

/// Topics of one application: 0 the input of two partitions, 1 an output, 2 a changelog, two partitions each.
struct Application {
    id: String,
    topics: Vec<String>,
}

impl Application {
    fn new(log: &TestLog) -> Application {
        let topics = ["in", "out", "changelog"].iter().map(|name| log.topic(name, 2)).collect();
        Application { id: unique("app"), topics }
    }

    fn subscription(&self) -> Subscription {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        subscription(&self.id, &topics, one_input(2))
    }

    fn join(&self, log: &TestLog) -> Member {
        Member::owning(log, self.subscription(), 2)
    }

    fn committed(&self, log: &TestLog) -> Vec<Option<Committed>> {
        let input = &self.topics[0];
        log.log.committed(&self.id, &[(input.clone(), 0), (input.clone(), 1)]).unwrap()
    }
}

fn committed(offset: i64, metadata: &str) -> Option<Committed> {
    Some(Committed { offset, metadata: metadata.to_owned() })
}

#[test]
fn nothing_is_committed_for_an_application_that_never_ran() {
    each_log(|log| assert_eq!(Application::new(log).committed(log), [None, None]));
}

#[test]
fn an_interval_commits_records_changelog_and_offsets_together() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = app.join(log);
        let positions = member.commit(Interval {
            outgoing: outgoing(&[(at(1, 0), text("x")), (at(1, 1), text("y"))]),
            changelog: outgoing(&[(at(2, 0), pair("k", "1")), (at(2, 1), pair("l", "1")), (at(2, 0), pair("k", "2"))]),
            offsets: vec![offset(at(0, 0), 3, "values of task 0_0")],
            ..Interval::default()
        });
        assert_eq!(positions, [(at(2, 0), 1), (at(2, 1), 0)].into());
        assert_eq!(
            (log.values(&app.topics[1], 0), log.values(&app.topics[1], 1)),
            (vec!["x".into()], vec!["y".into()])
        );
        assert_eq!(log.values(&app.topics[2], 0), ["1", "2"]);
        assert_eq!(app.committed(log), [committed(3, "values of task 0_0"), None]);
        member.leave();
    });
}

#[test]
fn positions_go_on_from_interval_to_interval() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = app.join(log);
        let mut last = BTreeMap::new();
        for round in 1..=3 {
            let positions = member.commit(Interval {
                changelog: outgoing(&[(at(2, 1), text("a")), (at(2, 1), text("b"))]),
                offsets: vec![offset(at(0, 1), round, "")],
                ..Interval::default()
            });
            assert!(positions[&at(2, 1)] > last.get(&at(2, 1)).copied().unwrap_or(0), "{positions:?} after {last:?}");
            last = positions;
        }
        let records = log.read(&app.topics[2], 1);
        assert_eq!(records.len(), 6);
        assert_eq!(records[5].offset, last[&at(2, 1)], "a position is the last record's offset");
        assert_eq!(app.committed(log), [None, committed(3, "")]);
        member.leave();
    });
}

#[test]
fn an_interval_may_hold_offsets_alone() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = app.join(log);
        let offsets = vec![offset(at(0, 0), 0, "first"), offset(at(0, 1), 0, "taken")];
        assert_eq!(member.commit(Interval { offsets, ..Interval::default() }), BTreeMap::new());
        assert_eq!(app.committed(log), [committed(0, "first"), committed(0, "taken")]);
        member.leave();
    });
}

#[test]
fn metadata_may_be_as_long_as_the_plan_allows() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = app.join(log);
        let metadata = "m".repeat(4_000);
        let offsets = vec![offset(at(0, 0), 1, &metadata)];
        member.commit(Interval { offsets, ..Interval::default() });
        assert_eq!(app.committed(log)[0], committed(1, &metadata));
        member.leave();
    });
}

#[test]
fn an_interval_that_cannot_be_written_leaves_nothing() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = app.join(log);
        member.commit(Interval { offsets: vec![offset(at(0, 0), 1, "before")], ..Interval::default() });
        let there_is_no_partition_9 = Interval {
            outgoing: outgoing(&[(at(1, 0), text("never")), (at(1, 9), text("nowhere"))]),
            changelog: outgoing(&[(at(2, 0), text("never"))]),
            offsets: vec![offset(at(0, 0), 2, "never")],
            ..Interval::default()
        };
        let outcome = member.submit(there_is_no_partition_9);
        assert!(matches!(outcome, Outcome::Aborted { .. }), "{outcome:?}");
        for topic in &app.topics[1..] {
            assert_eq!(log.values(topic, 0), Vec::<String>::new(), "{topic}");
        }
        assert_eq!(app.committed(log)[0], committed(1, "before"));
        let positions = member.commit(Interval {
            changelog: outgoing(&[(at(2, 0), text("after"))]),
            offsets: vec![offset(at(0, 0), 2, "after")],
            ..Interval::default()
        });
        assert_eq!(log.values(&app.topics[2], 0), ["after"], "the client goes on after an abort");
        assert_eq!(log.read(&app.topics[2], 0)[0].offset, positions[&at(2, 0)]);
        assert_eq!(app.committed(log)[0], committed(2, "after"));
        member.leave();
    });
}

#[test]
fn after_an_abort_an_input_is_silent_until_it_is_started_again() {
    each_log(|log| {
        let app = Application::new(log);
        log.produce(&app.topics[0], 0, &["a", "b"]);
        let mut member = app.join(log);
        member.client.start(at(0, 0), 0).unwrap();
        let outcome =
            member.submit(Interval { outgoing: outgoing(&[(at(1, 9), text("nowhere"))]), ..Interval::default() });
        assert!(matches!(outcome, Outcome::Aborted { .. }), "{outcome:?}");
        member.records.clear();
        log.produce(&app.topics[0], 0, &["c"]);
        for _ in 0..5 {
            member.poll(Duration::from_millis(200));
        }
        assert!(member.records.is_empty(), "it would be processed twice: {:?}", member.records);
        assert_eq!(member.fetch(at(0, 0), 0, 3).len(), 3);
        member.leave();
    });
}

#[test]
fn the_outcome_comes_as_an_event_and_does_not_hold_the_caller() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = app.join(log);
        member.commit(Interval { offsets: vec![offset(at(0, 0), 0, "")], ..Interval::default() });
        let values: Vec<String> = (0..2_000).map(|i| i.to_string()).collect();
        let records: Vec<_> = values.iter().map(|value| (at(1, 0), text(value))).collect();
        let interval = Interval { sequence: 2, outgoing: outgoing(&records), ..Interval::default() };
        let offsets = vec![offset(at(0, 0), 5, "")];
        let start = Instant::now();
        member.client.submit(Interval { offsets, ..interval }).unwrap();
        assert!(start.elapsed() < Duration::from_secs(2), "submit took {:?}", start.elapsed());
        member.until("outcome", |m| m.outcomes.len() == 2);
        assert!(matches!(&member.outcomes[1], Outcome::Committed { sequence: 2, .. }));
        assert_eq!(log.values(&app.topics[1], 0), values);
        member.leave();
    });
}

#[test]
fn a_later_client_is_assigned_what_an_earlier_one_committed() {
    each_log(|log| {
        let app = Application::new(log);
        log.produce(&app.topics[0], 1, &["a", "b", "c"]);
        let mut first = app.join(log);
        let offsets = vec![offset(at(0, 0), 0, "zero"), offset(at(0, 1), 2, "two")];
        first.commit(Interval { offsets, ..Interval::default() });
        first.leave();
        let mut second = app.join(log);
        assert_eq!(second.input(at(0, 0)).committed, committed(0, "zero"));
        assert_eq!(second.input(at(0, 1)).committed, committed(2, "two"));
        let rest = second.fetch(at(0, 1), 2, 1);
        assert_eq!(rest.iter().map(Owned::text).collect::<Vec<_>>(), ["c"]);
        second.leave();
    });
}

#[test]
fn an_application_reads_what_it_writes() {
    each_log(|log| {
        let (topic, id) = (log.topic("loop", 1), unique("app"));
        let mut member = Member::owning(log, subscription(&id, &[&topic], one_input(1)), 1);
        member.client.start(at(0, 0), 0).unwrap();
        for round in 1..=3_usize {
            member.commit(Interval {
                outgoing: outgoing(&[(at(0, 0), text("again"))]),
                offsets: vec![offset(at(0, 0), round as i64 - 1, "")],
                ..Interval::default()
            });
            member.until("own record", |m| m.records.get(&at(0, 0)).map_or(0, Vec::len) == round);
        }
        member.leave();
    });
}

#[test]
fn an_application_does_not_see_the_offsets_of_another() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = app.join(log);
        member.commit(Interval { offsets: vec![offset(at(0, 0), 1, "")], ..Interval::default() });
        let other = Application { id: unique("other"), topics: app.topics.clone() };
        assert_eq!(other.committed(log), [None, None]);
        member.leave();
    });
}

// === at least once ===

fn at_least_once(app: &Application) -> Subscription {
    Subscription { guarantee: Guarantee::AtLeastOnce, ..app.subscription() }
}

#[test]
fn published_records_do_not_wait_for_the_commit() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = Member::owning(log, at_least_once(&app), 2);
        member.client.publish(&outgoing(&[(at(1, 0), text("early")), (at(1, 0), text("bird"))])).unwrap();
        eventually("published records", || {
            member.poll(Duration::from_millis(20));
            (log.values(&app.topics[1], 0) == ["early", "bird"]).then_some(())
        });
        assert_eq!(app.committed(log), [None, None]);
        member.leave();
    });
}

#[test]
fn at_least_once_commits_changelog_and_offsets_too() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = Member::owning(log, at_least_once(&app), 2);
        member.client.publish(&outgoing(&[(at(1, 1), text("a"))])).unwrap();
        let positions = member.commit(Interval {
            outgoing: outgoing(&[(at(1, 1), text("b"))]),
            changelog: outgoing(&[(at(2, 1), text("s")), (at(2, 1), text("t"))]),
            offsets: vec![offset(at(0, 1), 4, "alo")],
            ..Interval::default()
        });
        assert_eq!(positions, [(at(2, 1), 1)].into());
        assert_eq!(log.values(&app.topics[1], 1), ["a", "b"], "published records come before the interval's");
        assert_eq!(app.committed(log), [None, committed(4, "alo")]);
        member.leave();
    });
}

#[test]
fn exactly_once_publishes_nothing_ahead() {
    each_log(|log| {
        let app = Application::new(log);
        let mut member = app.join(log);
        assert!(member.client.publish(&outgoing(&[(at(1, 0), text("early"))])).is_err());
        assert_eq!(log.read_isolated(&app.topics[1], 0, Isolation::Uncommitted), []);
        member.leave();
    });
}
