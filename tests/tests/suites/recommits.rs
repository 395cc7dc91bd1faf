//! Inputs that do not move are committed again, long before the group forgets them: all of them, until the log has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream::app::plan::create_internal_topics;
use millstream::log::{Error, Event, Offsets};
use millstream_engine::config::Manifest;
use millstream_engine::record::TopicPartition;
use millstream_engine::store::TaskStores;
use millstream_engine::task::TaskId;
use millstream_engine::topology::{Blueprint, Description};
use tests::logs::{TestLog, embedded, eventually, pair, unique};
use tests::rig::{Place, stores};
use tests::script::{Call, Scripted};

/// In the place of an hour. A busy machine may be late by half of it.
const EVERY: Duration = Duration::from_secs(2);

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };

fn blueprint(description: &str) -> Blueprint {
    let description: Description = serde_json::from_str(description).unwrap();
    let manifest = format!("id = \"{}\"\n", unique("recommits"));
    Blueprint::new(Manifest::parse(&manifest, "app.toml").unwrap(), &description).unwrap()
}

/// What the intervals have said of inputs, in their order.
fn submitted(thread: &Scripted) -> Vec<(u64, Vec<(TopicPartition, i64)>)> {
    let of = |call: Call| match call {
        Call::Submit(sequence, offsets, _) => Some((sequence, offsets)),
        Call::Release(_) | Call::Start(..) | Call::Publish(_) => None,
    };
    thread.script.calls().into_iter().filter_map(of).collect()
}

/// The next interval behind so many, and how long it took to come.
fn next(thread: &Scripted, behind: usize) -> (u64, Vec<(TopicPartition, i64)>, Duration) {
    let since = Instant::now();
    let (sequence, offsets) = eventually("an interval", || submitted(thread).into_iter().nth(behind));
    (sequence, offsets, since.elapsed())
}

/// A task with two inputs.
fn merging(log: &TestLog) -> (Scripted, [TopicPartition; 2]) {
    let (one, other, out) = (log.topic("one", 1), log.topic("other", 1), log.topic("out", 1));
    let source = |name: &str, topic: &str| {
        format!(r#"{{"name":"{name}","op":"source","topic":"{topic}","key":"utf8","value":"utf8"}}"#)
    };
    let description = format!(
        r#"{{"version":1,"nodes":[{},{},
            {{"name":"both","op":"merge","inputs":["one","other"]}},
            {{"name":"out","op":"sink","inputs":["both"],"topic":"{out}","key":"utf8","value":"utf8"}}]}}"#,
        source("one", &one),
        source("other", &other)
    );
    let open = |_, _| Ok(TaskStores::default());
    let thread = Scripted::start_to_recommit(&log.log, &blueprint(&description), Arc::new(open), EVERY);
    let inputs = [thread.input(&one, 0), thread.input(&other, 0)];
    let at = |place: usize| (inputs[place], Some(3 + place as i64), Offsets { begin: 0, end: 3 + place as i64 });
    thread.assign(TASK, &[at(0), at(1)]);
    thread.until_running(1);
    (thread, inputs)
}

#[test]
fn all_inputs_are_committed_again_until_the_log_has_them() {
    let log = embedded();
    let (thread, [one, other]) = merging(&log);
    let all = vec![(one, 3), (other, 4)];
    assert_eq!(submitted(&thread).iter().map(|(_, offsets)| offsets).collect::<Vec<_>>(), [&all], "taking it");
    thread.script.hold();
    let (sequence, offsets, after) = next(&thread, 1);
    assert_eq!(offsets, all);
    assert!(after > EVERY / 2, "it came after {after:?}");
    thread.script.say(Event::Aborted { sequence, why: "the test says so".into() });
    let (sequence, offsets, after) = next(&thread, 2);
    assert_eq!(offsets, all);
    assert!(after < EVERY / 2, "what was aborted waited for {after:?}");
    thread.script.go_on();
    thread.script.say(Event::Committed { sequence, positions: Vec::new() });
    // What moves is committed as ever, and the other input stays where it is.
    thread.deliver(one, 3..4, pair("k", "x"));
    thread.script.say(Event::End { input: other, offset: 4 });
    let (_, offsets, _) = next(&thread, 3);
    assert_eq!(offsets, [(one, 4)]);
    let (_, offsets, after) = next(&thread, 4);
    assert_eq!(offsets, [(one, 4), (other, 4)]);
    assert!(after > EVERY / 2, "it came after {after:?}");
    thread.stop();
}

/// Its stores are not whole yet, so nothing of it is committed: it is due as soon as they are.
#[test]
fn a_task_that_restored_when_it_was_due_does_not_wait_as_long_again() {
    let log = embedded();
    let topic = log.topic("in", 1);
    let description = format!(
        r#"{{"version":1,"nodes":[
            {{"name":"in","op":"source","topic":"{topic}","key":"utf8","value":"utf8"}},
            {{"name":"count","op":"count","inputs":["in"],"store":"counts"}}],
        "stores":[{{"name":"counts","kind":"key-value","key":"utf8","value":"i64"}}]}}"#
    );
    let blueprint = blueprint(&description);
    let plan = millstream::app::plan::plan(&*log.log, &blueprint).unwrap();
    create_internal_topics(&*log.log, &plan).unwrap();
    let changelog = plan.topics[plan.stores[0].changelog.unwrap().0 as usize].name.clone();
    let mut writer = log.log.writer().unwrap();
    writer.send(&changelog, Some(0), pair("k", "12345678")).unwrap();
    writer.flush().unwrap();
    let of_plan = plan.clone();
    let open = move |task: TaskId, _| {
        let subtopology = &of_plan.subtopologies[task.subtopology as usize];
        Ok(stores(&of_plan, subtopology, task.partition, Place::Memory).unwrap())
    };
    let thread = Scripted::start_to_recommit(&log.log, &blueprint, Arc::new(open), EVERY);
    let denied = Error::Unauthorised { what: format!("read {changelog}"), why: "no right".into() };
    thread.script.spoil_topic(&changelog, Some(denied));
    let input = thread.input(&topic, 0);
    thread.assign(TASK, &[(input, Some(0), Offsets { begin: 0, end: 0 })]);
    let (sequence, ..) = next(&thread, 0);
    std::thread::sleep(EVERY + EVERY / 8);
    assert_eq!(submitted(&thread).len(), 1, "a task that restores commits nothing");
    thread.script.spoil_topic(&changelog, None);
    thread.until_running(1);
    let (again, offsets, after) = next(&thread, 1);
    assert_eq!((again, offsets), (sequence + 1, vec![(input, 0)]));
    assert!(after < EVERY / 2, "it came {after:?} after it ran");
    thread.stop();
}
