//! A stream thread under a script: what it does of what comes in an order that a broker has only by chance.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use millstream::app::plan::create_internal_topics;
use millstream::desk::Query;
use millstream::desk::query::Keys;
use millstream::log::{Error, Event, Offsets};
use millstream::thread::OpenStores;
use millstream_engine::config::Manifest;
use millstream_engine::error::{Problem, exit};
use millstream_engine::record::TopicPartition;
use millstream_engine::store::{
    self, Base, KeyRange, MemoryBase, Position, SizeLimits, StoreChanges, StoreKind, StoreSlot, TaskStores,
};
use millstream_engine::task::TaskId;
use millstream_engine::topology::{Blueprint, Description};
use tests::logs::{DEADLINE, TestLog, embedded, eventually, pair, unique};
use tests::script::{Call, Scripted};

/// Longer than the thread waits before it asks a log again that did not answer.
const A_WHILE: Duration = Duration::from_millis(1_200);

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };

fn blueprint(description: &str, manifest: &str) -> Blueprint {
    let manifest = format!("id = \"{}\"\n{manifest}", unique("scripted"));
    let description: Description = serde_json::from_str(description).unwrap();
    Blueprint::new(Manifest::parse(&manifest, "app.toml").unwrap(), &description).unwrap()
}

fn counting(input: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[
            {{"name":"in","op":"source","topic":"{input}","key":"utf8","value":"utf8"}},
            {{"name":"count","op":"count","inputs":["in"],"store":"counts"}}],
        "stores":[{{"name":"counts","kind":"key-value","key":"utf8","value":"i64"}}]}}"#
    )
}

fn counts() -> StoreSlot {
    StoreSlot { number: 0, name: "counts".into(), base: 0, slot: 0, logged: true, kind: StoreKind::KeyValue }
}

fn in_memory() -> Arc<OpenStores> {
    Arc::new(|_, _| Ok(TaskStores::new(vec![counts()], vec![Box::new(MemoryBase::new(1))], SizeLimits::default())))
}

/// A task that counts, its input of 110 records committed at 80.
fn at_80(log: &TestLog) -> (Scripted, TopicPartition) {
    let topic = log.topic("in", 1);
    log.produce(&topic, 0, &["x"; 110]);
    let thread = Scripted::start(&log.log, &blueprint(&counting(&topic), ""), in_memory());
    let input = thread.input(&topic, 0);
    thread.assign(TASK, &[(input, Some(80), Offsets { begin: 0, end: 110 })]);
    thread.until_running(1);
    assert_eq!(thread.script.starts(input), [80]);
    (thread, input)
}

fn unreachable() -> Error {
    Error::unreachable("offsets", "no broker answers")
}

// === inputs that are not there ===

#[test]
fn an_input_that_went_back_is_not_moved_forward_by_what_was_missing_before() {
    let log = embedded();
    let (thread, input) = at_80(&log);
    thread.script.spoil_offsets(Some(unreachable()));
    thread.script.say(Event::Truncated { input, offset: 100 });
    thread.script.say(Event::Aborted { sequence: 1, why: "the test says so".into() });
    eventually("it goes back", || (thread.script.starts(input).len() > 1).then_some(()));
    thread.script.spoil_offsets(None);
    std::thread::sleep(A_WHILE);
    assert_eq!(thread.script.starts(input), [80, 80], "records were skipped");
    thread.abandon();
}

#[test]
fn an_input_that_is_missing_waits_for_rights_as_for_brokers() {
    for error in [unreachable(), Error::Unauthorised { what: "offsets".into(), why: "no right".into() }] {
        let log = embedded();
        let (thread, input) = at_80(&log);
        thread.script.spoil_offsets(Some(error.clone()));
        thread.script.say(Event::Truncated { input, offset: 100 });
        std::thread::sleep(A_WHILE);
        assert!(!thread.has_ended(), "{error}");
        thread.script.spoil_offsets(None);
        eventually("it goes on", || (thread.script.starts(input) == [80, 100]).then_some(()));
        thread.abandon();
    }
}

// === stores that have to be emptied ===

#[test]
fn a_store_written_with_another_retention_is_emptied_alone_and_told_by_its_name() {
    let (log, minute) = (embedded(), 60_000);
    let topic = log.topic("in", 1);
    let description = format!(
        r#"{{"version":1,"nodes":[
            {{"name":"in","op":"source","topic":"{topic}","key":"utf8","value":"utf8"}},
            {{"name":"count","op":"count","inputs":["in"],"store":"counts"}},
            {{"name":"hourly","op":"count","inputs":["in"],"store":"windows",
              "window":{{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":0}}}}],
        "stores":[{{"name":"counts","kind":"key-value","key":"utf8","value":"i64"}},
            {{"name":"windows","kind":"window","key":"utf8","value":"i64","window_size_ms":10,"retention_ms":{minute}}}]}}"#
    );
    let windows = |retention_ms| StoreSlot {
        number: 1,
        name: "windows".into(),
        base: 0,
        slot: 1,
        logged: false,
        kind: StoreKind::Window { size_ms: 10, retention_ms, duplicates: false, closing: false },
    };
    let mut before = TaskStores::new(
        vec![counts(), windows(100 * minute)],
        vec![Box::new(MemoryBase::new(2))],
        SizeLimits::default(),
    );
    before.put(0, b"k", Some(b"12345678"), 5);
    before.windows_mut(1).put(b"k", 5, Some(b"12345678"), 5).unwrap();
    before.seal(&mut |_, _| {});
    before.apply_sealed(&[None, None]).unwrap();
    let found = Mutex::new(Some(before.into_bases()));
    let open = move |_, _| {
        let bases = found.lock().unwrap().take().unwrap();
        Ok(TaskStores::new(vec![counts(), windows(minute)], bases, SizeLimits::default()))
    };
    let blueprint = blueprint(&description, "[stores.windows]\nchangelog = false\n");
    let thread = Scripted::start(&log.log, &blueprint, Arc::new(open));
    thread.assign(TASK, &[(thread.input(&topic, 0), Some(0), Offsets { begin: 0, end: 0 })]);
    thread.until_running(1);
    let warning = eventually("a word of it", || thread.link.report().warnings.first().cloned());
    assert!(warning.starts_with("E0809 ") && warning.contains("StoreEmptied"), "{warning}");
    assert!(warning.contains("store windows of task 0_0"), "{warning}");
    let entries: Vec<u64> = thread.link.report().tasks[0].stores.iter().map(|store| store.entries).collect();
    assert_eq!(entries, [1, 0]);
    thread.abandon();
}

#[test]
fn a_store_without_a_changelog_is_kept_beside_a_damaged_one_and_goes_by_its_name_with_its_own() {
    for in_damaged in [false, true] {
        let log = embedded();
        let topic = log.topic("in", 1);
        let blueprint = blueprint(&counting_twice(&topic, &topic), "[stores.others]\nchangelog = false\n");
        let torn = Arc::new(AtomicBool::new(false));
        let of = torn.clone();
        let open = move |_, _| {
            let others = StoreSlot { number: 1, name: "others".into(), base: 1, logged: false, ..counts() };
            let bases: Vec<Box<dyn Base>> = match in_damaged {
                false => vec![Box::new(Torn::new(&of)), Box::new(MemoryBase::new(1))],
                true => vec![Box::new(MemoryBase::new(1)), Box::new(Torn::new(&of))],
            };
            Ok(TaskStores::new(vec![counts(), others], bases, SizeLimits::default()))
        };
        let thread = Scripted::start(&log.log, &blueprint, Arc::new(open));
        let input = thread.input(&topic, 0);
        thread.assign(TASK, &[(input, Some(0), Offsets { begin: 0, end: 0 })]);
        thread.until_running(1);
        thread.deliver(input, 0..1, pair("before", "x"));
        let entries = || {
            let report = thread.link.report();
            report.tasks[0].stores.iter().map(|store| store.entries).collect::<Vec<_>>()
        };
        eventually("both counted", || (entries() == [1, 1]).then_some(()));
        torn.store(true, Ordering::Release);
        thread.deliver(input, 1..2, pair("after", "x"));
        // The script's log has no changelog records, so what is emptied and restored is empty.
        let expected = if in_damaged { [2, 0] } else { [0, 2] };
        eventually("the damage mended", || (entries() == expected).then_some(()));
        let warnings = thread.link.report().warnings;
        let named = warnings.iter().any(|warning| warning.contains("StoreEmptied") && warning.contains("store others"));
        assert_eq!(named, in_damaged, "{warnings:?}");
        thread.abandon();
    }
}

/// In memory; told to, it finds itself damaged at its next write, until it is wiped, or full, for as long as it is told.
struct Torn {
    inner: MemoryBase,
    tear: Arc<AtomicBool>,
    damaged: bool,
    full: Arc<AtomicBool>,
}

impl Torn {
    fn new(tear: &Arc<AtomicBool>) -> Torn {
        Torn { inner: MemoryBase::new(1), tear: tear.clone(), damaged: false, full: Arc::default() }
    }
}

impl Base for Torn {
    fn get_many(
        &self,
        store: usize,
        keys: &[&[u8]],
        visit: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), store::Error> {
        self.inner.get_many(store, keys, visit)
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), store::Error> {
        self.inner.scan(store, range, reverse, visit)
    }

    fn entries(&self, store: usize) -> Result<u64, store::Error> {
        self.inner.entries(store)
    }

    fn bytes(&self, store: usize) -> Result<u64, store::Error> {
        self.inner.bytes(store)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, store::Error> {
        self.inner.position(store)
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), store::Error> {
        if self.full.load(Ordering::Acquire) {
            return Err(store::Error::Full(Box::new(Problem::new("StateFull", "E0705", exit::FAILED, "it is full"))));
        }
        self.damaged |= self.tear.swap(false, Ordering::AcqRel);
        match self.damaged {
            true => Err(store::Error::Corrupted("a page is torn".into())),
            false => self.inner.apply(changes),
        }
    }

    fn is_damaged(&self, _store: usize) -> bool {
        self.damaged
    }

    fn wipe(&mut self) -> Result<(), store::Error> {
        self.damaged = false;
        self.inner.wipe()
    }

    fn wipe_store(&mut self, store: usize) -> Result<(), store::Error> {
        self.inner.wipe_store(store)
    }
}

// === stores that are full ===

#[test]
fn a_store_that_is_full_has_been_so_since_the_first_time_and_until_it_takes_what_it_did_not() {
    let log = embedded();
    let topic = log.topic("in", 1);
    let full = Arc::new(AtomicBool::new(false));
    let of = full.clone();
    let open = move |_, _| {
        let base: Box<dyn Base> = Box::new(Torn { full: of.clone(), ..Torn::new(&Arc::default()) });
        Ok(TaskStores::new(vec![counts()], vec![base], SizeLimits::default()))
    };
    let thread = Scripted::start(&log.log, &blueprint(&counting(&topic), ""), Arc::new(open));
    let input = thread.input(&topic, 0);
    thread.assign(TASK, &[(input, Some(0), Offsets { begin: 0, end: 0 })]);
    thread.until_running(1);
    full.store(true, Ordering::Release);
    thread.deliver(input, 0..1, pair("k", "x"));
    let first = eventually("it is full", || thread.link.report().full);
    std::thread::sleep(A_WHILE);
    let tried_again = thread.link.report().full.unwrap();
    assert_eq!(tried_again.since, first.since);
    assert!(tried_again.lasting().is_none(), "it may pass");
    full.store(false, Ordering::Release);
    eventually("it has room", || thread.link.report().full.is_none().then_some(()));
    thread.stop();
}

/// The two are in different bases of one task.
#[test]
fn a_providers_store_answers_while_another_one_of_its_task_is_full() {
    let log = embedded();
    let topic = log.topic("in", 1);
    let manifest = "[providers.map]\ncomponent = \"map.wasm\"\n[stores.others]\nprovider = \"map\"\n";
    let blueprint = blueprint(&counting_twice(&topic, &topic), manifest);
    let full = Arc::new(AtomicBool::new(false));
    let of = full.clone();
    let open = move |_, _| {
        let others = StoreSlot { number: 1, name: "others".into(), base: 1, ..counts() };
        let crowded = Torn { full: of.clone(), ..Torn::new(&Arc::default()) };
        let bases: Vec<Box<dyn Base>> = vec![Box::new(crowded), Box::new(MemoryBase::new(1))];
        Ok(TaskStores::new(vec![counts(), others], bases, SizeLimits::default()))
    };
    let thread = Scripted::start(&log.log, &blueprint, Arc::new(open));
    let input = thread.input(&topic, 0);
    thread.assign(TASK, &[(input, Some(0), Offsets { begin: 0, end: 0 })]);
    thread.until_running(1);
    full.store(true, Ordering::Release);
    thread.deliver(input, 0..1, pair("k", "x"));
    eventually("it is full", || thread.link.report().full);
    let query = Query { store: "others".to_owned(), keys: Keys::One(b"k".to_vec()) };
    let answer = thread.link.ask(query, Instant::now() + DEADLINE).unwrap().recv_timeout(DEADLINE).unwrap();
    let pages: Vec<_> = answer.0.into_iter().map(|reply| reply.page).collect();
    assert!(matches!(&pages[..], [Ok(_)]), "{pages:?}");
    thread.abandon();
}

// === changelogs that cannot be read ===

fn counting_twice(one: &str, other: &str) -> String {
    let source = |name: &str, topic: &str| {
        format!(r#"{{"name":"{name}","op":"source","topic":"{topic}","key":"utf8","value":"utf8"}}"#)
    };
    let (sources, of) = match one == other {
        true => (source("in", one), ["in", "in"]),
        false => (format!("{},{}", source("in", one), source("on", other)), ["in", "on"]),
    };
    format!(
        r#"{{"version":1,"nodes":[{sources},
            {{"name":"count","op":"count","inputs":["{}"],"store":"counts"}},
            {{"name":"recount","op":"count","inputs":["{}"],"store":"others"}}],
        "stores":[{{"name":"counts","kind":"key-value","key":"utf8","value":"i64"}},
            {{"name":"others","kind":"key-value","key":"utf8","value":"i64"}}]}}"#,
        of[0], of[1]
    )
}

/// Two tasks, each with a store and records in its changelog.
fn restoring(log: &TestLog) -> (Scripted, [String; 2]) {
    let topics = [log.topic("in", 1), log.topic("on", 1)];
    let blueprint = blueprint(&counting_twice(&topics[0], &topics[1]), "");
    let plan = millstream::app::plan::plan(&*log.log, &blueprint).unwrap();
    create_internal_topics(&*log.log, &plan).unwrap();
    let stores = plan.stores.iter().map(|store| plan.topics[store.changelog.unwrap().0 as usize].name.clone());
    let changelogs: [String; 2] = stores.collect::<Vec<_>>().try_into().unwrap();
    let mut writer = log.log.writer().unwrap();
    for changelog in &changelogs {
        writer.send(changelog, Some(0), pair("k", "12345678")).unwrap();
    }
    writer.flush().unwrap();
    let of_plan = plan.clone();
    let open = move |task: TaskId, _| {
        Ok(tests::rig::stores(
            &of_plan,
            &of_plan.subtopologies[task.subtopology as usize],
            0,
            tests::rig::Place::Memory,
        )
        .unwrap())
    };
    (Scripted::start(&log.log, &blueprint, Arc::new(open)), changelogs)
}

fn assign_both(thread: &Scripted) {
    for subtopology in [0, 1] {
        let task = TaskId { subtopology, partition: 0 };
        let inputs = thread.plan.inputs(&thread.plan.subtopologies[subtopology as usize]);
        let input = TopicPartition { topic: inputs[0].1, partition: 0 };
        thread.assign(task, &[(input, Some(0), Offsets { begin: 0, end: 0 })]);
    }
}

#[test]
fn a_changelog_that_may_not_be_read_stops_its_own_task_alone_and_is_told() {
    let log = embedded();
    let (thread, changelogs) = restoring(&log);
    let denied = Error::Unauthorised { what: format!("read {}", changelogs[0]), why: "no right".into() };
    thread.script.spoil_topic(&changelogs[0], Some(denied));
    assign_both(&thread);
    thread.until_running(1);
    let why = eventually("a word of it", || thread.link.report().hindered);
    assert!(why.contains(&changelogs[0]) && why.contains("not allowed"), "{why}");
    std::thread::sleep(A_WHILE);
    assert_eq!(thread.script.readers(), 1, "the others' reader stays");
    thread.script.spoil_topic(&changelogs[0], None);
    thread.until_running(2);
    eventually("nothing is in the way", || thread.link.report().hindered.is_none().then_some(()));
    thread.abandon();
}

#[test]
fn a_changelog_that_is_gone_ends_the_thread_with_its_name() {
    let log = embedded();
    let (thread, changelogs) = restoring(&log);
    thread.script.spoil_topic(&changelogs[1], Some(Error::UnknownTopic(changelogs[1].clone())));
    assign_both(&thread);
    match thread.ended() {
        Err(millstream::thread::Error::Log(Error::UnknownTopic(topic))) => assert_eq!(topic, changelogs[1]),
        other => panic!("{other:?}"),
    }
}

// === what local state is said to be ===

/// In memory; counts how often it is told that it is whole, and takes nothing while it is told to.
struct Marked {
    inner: MemoryBase,
    full: Arc<AtomicBool>,
    marks: Arc<AtomicUsize>,
}

impl Base for Marked {
    fn get_many(
        &self,
        store: usize,
        keys: &[&[u8]],
        visit: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), store::Error> {
        self.inner.get_many(store, keys, visit)
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), store::Error> {
        self.inner.scan(store, range, reverse, visit)
    }

    fn entries(&self, store: usize) -> Result<u64, store::Error> {
        self.inner.entries(store)
    }

    fn bytes(&self, store: usize) -> Result<u64, store::Error> {
        self.inner.bytes(store)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, store::Error> {
        self.inner.position(store)
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), store::Error> {
        match self.full.load(Ordering::Acquire) {
            true => Err(store::Error::Retry("the disk is full".into())),
            false => self.inner.apply(changes),
        }
    }

    fn wipe(&mut self) -> Result<(), store::Error> {
        self.inner.wipe()
    }

    fn wipe_store(&mut self, store: usize) -> Result<(), store::Error> {
        self.inner.wipe_store(store)
    }

    fn mark_whole(&mut self, _: i64) -> Result<(), store::Error> {
        self.marks.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

#[test]
fn a_state_that_has_not_taken_what_is_committed_is_not_said_to_be_whole_at_the_end() {
    for is_full in [false, true] {
        let log = embedded();
        let topic = log.topic("in", 1);
        let (full, marks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let of = (full.clone(), marks.clone());
        let open = move |_, _| {
            let base = Marked { inner: MemoryBase::new(1), full: of.0.clone(), marks: of.1.clone() };
            Ok(TaskStores::new(vec![counts()], vec![Box::new(base)], SizeLimits::default()))
        };
        let thread = Scripted::start(&log.log, &blueprint(&counting(&topic), ""), Arc::new(open));
        let input = thread.input(&topic, 0);
        thread.assign(TASK, &[(input, Some(0), Offsets { begin: 0, end: 0 })]);
        thread.until_running(1);
        full.store(is_full, Ordering::Release);
        let before = marks.load(Ordering::Acquire);
        thread.deliver(input, 0..1, pair("k", "x"));
        eventually("it is committed", || {
            let committed = thread.link.report().tasks[0].inputs[0].committed;
            (committed == Some(1)).then_some(())
        });
        thread.stop();
        assert_eq!(marks.load(Ordering::Acquire) - before, usize::from(!is_full), "full: {is_full}");
    }
}

// === topics that were created anew ===

#[test]
fn an_input_that_was_created_anew_begins_as_its_start_says_once() {
    let log = embedded();
    let topic = log.topic("in", 1);
    log.produce(&topic, 0, &["x"; 10]);
    let anew = BTreeSet::from([topic.clone()]);
    let start = "[sources.in]\nstart = \"earliest\"\n";
    let thread = Scripted::start_anew(&log.log, &blueprint(&counting(&topic), start), in_memory(), &anew);
    let input = thread.input(&topic, 0);
    let ten = Offsets { begin: 0, end: 10 };
    thread.assign(TASK, &[(input, Some(5), ten)]);
    thread.until_running(1);
    assert_eq!(thread.script.starts(input), [0], "the offset is of the old topic");
    thread.script.say(Event::Revoked { tasks: vec![TASK], lost: true });
    thread.assign(TASK, &[(input, Some(7), ten)]);
    eventually("it goes on", || (thread.script.starts(input).len() > 1).then_some(()));
    assert_eq!(thread.script.starts(input), [0, 7], "this one is of the new topic");
    thread.abandon();
}

// === what takes long ===

#[test]
fn outputs_that_there_is_no_room_for_wait_with_their_task_and_the_thread_goes_on() {
    let log = embedded();
    let (topic, out) = (log.topic("in", 1), log.topic("out", 1));
    let description = format!(
        r#"{{"version":1,"nodes":[
            {{"name":"in","op":"source","topic":"{topic}","key":"utf8","value":"utf8"}},
            {{"name":"out","op":"sink","inputs":["in"],"topic":"{out}","key":"utf8","value":"utf8"}}]}}"#
    );
    let blueprint = blueprint(&description, "guarantee = \"at-least-once\"\n");
    let open = |_, _| Ok(TaskStores::default());
    let thread = Scripted::start(&log.log, &blueprint, Arc::new(open));
    let input = thread.input(&topic, 0);
    thread.assign(TASK, &[(input, Some(0), Offsets { begin: 0, end: 0 })]);
    thread.until_running(1);
    thread.script.fill(true);
    thread.deliver(input, 0..3, pair("k", "x"));
    let sent = |thread: &Scripted| {
        let of = |call: &Call| match call {
            Call::Publish(records) | Call::Submit(_, _, records) => *records,
            Call::Start(..) | Call::Release(_) => 0,
        };
        thread.script.calls().iter().map(of).sum::<usize>()
    };
    eventually("they go with their interval", || (sent(&thread) == 3).then_some(()));
    assert!(!thread.script.calls().iter().any(|call| matches!(call, Call::Publish(_))));
    thread.script.fill(false);
    thread.deliver(input, 3..5, pair("k", "x"));
    eventually("they are sent ahead", || thread.script.calls().contains(&Call::Publish(2)).then_some(()));
    assert_eq!(sent(&thread), 5);
    thread.abandon();
}

#[test]
fn a_state_that_takes_long_to_open_keeps_no_other_task_waiting() {
    const LONG: Duration = Duration::from_secs(2);
    let log = embedded();
    let topic = log.topic("in", 2);
    let open = |task: TaskId, _| {
        if task.partition == 1 {
            std::thread::sleep(LONG);
        }
        Ok(TaskStores::new(vec![counts()], vec![Box::new(MemoryBase::new(1))], SizeLimits::default()))
    };
    let thread = Scripted::start(&log.log, &blueprint(&counting(&topic), ""), Arc::new(open));
    let since = Instant::now();
    for partition in [0, 1] {
        let task = TaskId { subtopology: 0, partition };
        thread.assign(task, &[(thread.input(&topic, partition), Some(0), Offsets { begin: 0, end: 0 })]);
    }
    thread.until_running(1);
    for offset in 0..10 {
        let submitted = thread.script.submits().len();
        thread.deliver(thread.input(&topic, 0), offset..offset + 1, pair("k", "x"));
        eventually("a commit", || (thread.script.submits().len() > submitted).then_some(()));
    }
    assert!(since.elapsed() < LONG, "{:?}", since.elapsed());
    thread.until_running(2);
    assert!(since.elapsed() >= LONG);
    thread.abandon();
}

/// A task is lost while its stores are being opened, another owner has it for a while, and it comes back: what was opened
/// for the owner before that is shut out of them, as a store provider has it.
#[test]
fn stores_that_were_opened_for_an_owner_before_are_not_those_of_the_next_one() {
    let log = embedded();
    let topic = log.topic("in", 1);
    let (go_on, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let of = (go_on.clone(), opened.clone());
    let open = move |_, incarnation: i64| {
        let is_first = {
            let mut opened = of.1.lock().unwrap();
            opened.push(incarnation);
            opened.len() == 1
        };
        let mut stores = TaskStores::new(vec![counts()], vec![Box::new(MemoryBase::new(1))], SizeLimits::default());
        if is_first {
            while !of.0.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(5));
            }
            // By which it is known.
            stores.put(0, b"old", Some(b"12345678"), 5);
            stores.seal(&mut |_, _| {});
            stores.apply_sealed(&[None]).unwrap();
        }
        Ok(stores)
    };
    let thread = Scripted::start(&log.log, &blueprint(&counting(&topic), ""), Arc::new(open));
    let inputs = [(thread.input(&topic, 0), Some(0), Offsets { begin: 0, end: 0 })];
    thread.assign(TASK, &inputs);
    eventually("its stores are being opened", || (opened.lock().unwrap().len() == 1).then_some(()));
    thread.script.say(Event::Revoked { tasks: vec![TASK], lost: true });
    thread.assign(TASK, &inputs);
    std::thread::sleep(A_WHILE);
    go_on.store(true, Ordering::Release);
    thread.until_running(1);
    let opened = opened.lock().unwrap().clone();
    assert!(matches!(opened[..], [first, second] if second > first), "{opened:?}");
    assert_eq!(thread.link.report().tasks[0].stores[0].entries, 0, "it has the first one's");
    thread.abandon();
}

/// Longer than a stop waits for a log that says nothing.
const SILENCE: Duration = Duration::from_secs(7);

/// Far below what a stop waits for a log that answers.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn the_last_commit_is_waited_for_while_the_log_answers_and_not_when_it_is_silent() {
    for is_silent in [false, true] {
        let log = embedded();
        let topic = log.topic("in", 1);
        let thread = Scripted::start(&log.log, &blueprint(&counting(&topic), ""), in_memory());
        let input = thread.input(&topic, 0);
        thread.assign(TASK, &[(input, Some(0), Offsets { begin: 0, end: 0 })]);
        thread.until_running(1);
        let before = thread.script.submits().len();
        thread.script.hold();
        thread.deliver(input, 0..1, pair("k", "x"));
        let sequence = eventually("an interval", || thread.script.submits().get(before).copied());
        thread.script.silence(is_silent);
        let since = Instant::now();
        thread.begin_stop();
        if !is_silent {
            std::thread::sleep(SILENCE);
            assert!(!thread.has_ended(), "it did not wait");
            thread.script.say(Event::Committed { sequence, positions: Vec::new() });
        }
        thread.ended().unwrap();
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    }
}
