//! A stream thread's client: tasks, inputs, and what is delivered when.

use std::time::{Duration, Instant};

use millstream::log::{Offsets, Subscription, TaskSet};
use millstream_engine::record::TopicId;
use millstream_engine::task::TaskId;
use tests::logs::{Owned, STEP, each_log, unique};
use tests::member::{Member, at, one_input, subscription};

fn task(subtopology: u32, partition: i32) -> TaskId {
    TaskId { subtopology, partition }
}

/// Polls for a while, in which nothing of the input may come.
fn assert_silent(member: &mut Member, why: &str) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        member.poll(STEP);
    }
    assert!(member.records.is_empty(), "{why}: {:?}", member.records);
}

#[test]
fn a_new_application_is_assigned_all_tasks_with_nothing_committed() {
    each_log(|log| {
        let topic = log.topic("input", 3);
        log.produce(&topic, 1, &["a", "b"]);
        let member = Member::owning(log, subscription(&unique("app"), &[&topic], one_input(3)), 3);
        assert_eq!(member.owned, [task(0, 0), task(0, 1), task(0, 2)].into());
        for (partition, end) in [(0, 0), (1, 2), (2, 0)] {
            let input = member.input(at(0, partition));
            assert_eq!((input.committed.as_ref(), input.offsets), (None, Offsets { begin: 0, end }));
        }
        member.leave();
    });
}

#[test]
fn a_task_has_that_partition_of_every_input_that_has_one() {
    each_log(|log| {
        let (tasks, wide, narrow) = (log.topic("tasks", 3), log.topic("wide", 3), log.topic("narrow", 2));
        let other = log.topic("other", 1);
        let sets = vec![
            TaskSet {
                subtopology: 0,
                subscribe: TopicId(0),
                partitions: 3,
                inputs: vec![(TopicId(1), 3), (TopicId(2), 2)],
            },
            TaskSet { subtopology: 1, subscribe: TopicId(3), partitions: 1, inputs: vec![(TopicId(3), 1)] },
        ];
        let topics = [tasks.as_str(), &wide, &narrow, &other];
        let member = Member::owning(log, subscription(&unique("app"), &topics, sets), 4);
        let inputs = |id: TaskId| member.assigned[&id].inputs.iter().map(|input| input.input).collect::<Vec<_>>();
        assert_eq!(inputs(task(0, 1)), [at(1, 1), at(2, 1)]);
        assert_eq!(inputs(task(0, 2)), [at(1, 2)]);
        assert_eq!(inputs(task(1, 0)), [at(3, 0)]);
        member.leave();
    });
}

#[test]
fn an_input_is_silent_until_it_is_started() {
    each_log(|log| {
        let topic = log.topic("silent", 1);
        log.produce(&topic, 0, &["a", "b", "c"]);
        let mut member = Member::owning(log, subscription(&unique("app"), &[&topic], one_input(1)), 1);
        assert_silent(&mut member, "not started");
        let found = member.fetch(at(0, 0), 1, 2);
        assert_eq!(found.iter().map(Owned::text).collect::<Vec<_>>(), ["b", "c"]);
        member.leave();
    });
}

#[test]
fn an_input_ends_after_each_stretch() {
    each_log(|log| {
        let topic = log.topic("ends", 2);
        log.produce(&topic, 0, &["a", "b"]);
        let mut member = Member::owning(log, subscription(&unique("app"), &[&topic], one_input(2)), 2);
        member.client.start(at(0, 0), 0).unwrap();
        member.client.start(at(0, 1), 0).unwrap();
        member.until("ends", |m| m.ends.get(&at(0, 0)) == Some(&2) && m.ends.get(&at(0, 1)) == Some(&0));
        assert_eq!(member.records[&at(0, 0)].len(), 2, "the records come before their end");
        log.produce(&topic, 0, &["c"]);
        member.until("next end", |m| m.ends.get(&at(0, 0)) == Some(&3));
        assert_eq!(member.records[&at(0, 0)].len(), 3);
        member.leave();
    });
}

#[test]
fn an_input_that_is_not_wanted_keeps_its_records() {
    each_log(|log| {
        let topic = log.topic("unwanted", 1);
        let mut member = Member::owning(log, subscription(&unique("app"), &[&topic], one_input(1)), 1);
        member.client.start(at(0, 0), 0).unwrap();
        member.client.want(at(0, 0), false);
        log.produce(&topic, 0, &["a", "b"]);
        assert_silent(&mut member, "not wanted");
        member.client.want(at(0, 0), true);
        member.until("records", |m| m.records.get(&at(0, 0)).map_or(0, Vec::len) == 2);
        member.leave();
    });
}

#[test]
fn starting_again_rewinds() {
    each_log(|log| {
        let topic = log.topic("rewound", 1);
        log.produce(&topic, 0, &["a", "b", "c"]);
        let mut member = Member::owning(log, subscription(&unique("app"), &[&topic], one_input(1)), 1);
        assert_eq!(member.fetch(at(0, 0), 0, 3).len(), 3);
        let again: Vec<i64> = member.fetch(at(0, 0), 1, 2).iter().map(|record| record.offset).collect();
        assert_eq!(again, [1, 2]);
        member.leave();
    });
}

#[test]
fn a_released_task_is_silent() {
    each_log(|log| {
        let topic = log.topic("released", 1);
        let mut member = Member::owning(log, subscription(&unique("app"), &[&topic], one_input(1)), 1);
        member.client.start(at(0, 0), 0).unwrap();
        member.client.release(&[task(0, 0)]).unwrap();
        log.produce(&topic, 0, &["unheard"]);
        assert_silent(&mut member, "released");
        member.leave();
    });
}

#[test]
fn threads_share_the_tasks_out() {
    each_log(|log| {
        let topic = log.topic("shared", 5);
        let first = Subscription { threads: 2, ..subscription(&unique("app"), &[&topic], one_input(5)) };
        let second = Subscription { thread: 1, ..first.clone() };
        let mut members = [Member::join(log, first), Member::join(log, second)];
        let start = Instant::now();
        loop {
            members.iter_mut().for_each(|member| member.poll(STEP));
            let [one, two] = &members;
            let all = one.owned.union(&two.owned).count();
            if all == 5 && one.owned.is_disjoint(&two.owned) && one.owned.len().abs_diff(two.owned.len()) == 1 {
                break;
            }
            assert!(start.elapsed() < tests::logs::DEADLINE, "{:?} and {:?}", one.owned, two.owned);
        }
        members.into_iter().for_each(Member::leave);
    });
}

#[test]
fn a_waiting_client_hears_of_new_records_soon() {
    each_log(|log| {
        let topic = log.topic("waiting", 1);
        let mut member = Member::owning(log, subscription(&unique("app"), &[&topic], one_input(1)), 1);
        member.client.start(at(0, 0), 0).unwrap();
        member.until("end", |m| m.ends.contains_key(&at(0, 0)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                log.produce(&topic, 0, &["now"]);
            });
            let start = Instant::now();
            while member.records.is_empty() {
                member.poll(Duration::from_secs(30));
                assert!(start.elapsed() < Duration::from_secs(10), "a poll slept over new records");
            }
        });
        member.leave();
    });
}
