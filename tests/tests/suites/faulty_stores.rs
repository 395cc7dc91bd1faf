//! Stores that fail in the middle of everything, under a stream thread: each record is still counted once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream::app::plan::{create_internal_topics, plan};
use millstream::desk::{self, TaskState};
use millstream::lmdb::TaskDirectory;
use millstream::log::{Subscription, TaskSet};
use millstream::thread::{Command, Parts, RECOMMIT_INTERVAL, StreamThread};
use millstream_engine::config::{ByteSize, Manifest};
use millstream_engine::functions::{Fault, Functions};
use millstream_engine::store::{
    Base, Error, KeyRange, MemoryBase, Position, SizeLimits, StoreChanges, StoreKind, StoreSlot,
};
use millstream_engine::store::{TaskStores, with_timestamp};
use millstream_engine::task::{Settings, TaskId};
use millstream_engine::topology::{Blueprint, Description, Plan};
use tests::chance::Chance;
use tests::logs::{TestLog, each_log, eventually, pair, unique};

const PARTITIONS: i32 = 4;
const RECORDS: usize = 5_000;
const RECORDS_MAX: usize = 200_000;
const FED_AT_ONCE: usize = 100;
const KEYS: u64 = 50;
/// Failures of one run. Each costs a wait, so that they are few enough for a test and many enough to meet each other.
const FAULTS: u32 = 40;
/// One call of a store in so many fails.
const ONE_IN: u64 = 12;

/// What is still to go wrong, for all tasks of a run.
struct Faults {
    chance: Mutex<Chance>,
    left: AtomicU32,
}

impl Faults {
    fn draw(&self) -> Option<Error> {
        let mut chance = self.chance.lock().unwrap();
        if self.left.load(Ordering::Relaxed) == 0 || chance.below(ONE_IN) > 0 {
            return None;
        }
        self.left.fetch_sub(1, Ordering::Relaxed);
        Some(match chance.below(2) {
            0 => Error::Retry("the disk is full".into()),
            _ => Error::Corrupted("a page is torn".into()),
        })
    }
}

/// A base whose calls fail by chance. Once damaged it stays so until it is wiped.
struct FaultyBase {
    inner: Box<dyn Base>,
    faults: Arc<Faults>,
    damaged: Cell<bool>,
}

impl FaultyBase {
    fn check(&self) -> Result<(), Error> {
        if self.damaged.get() {
            return Err(Error::Corrupted("it was found damaged".into()));
        }
        match self.faults.draw() {
            None => Ok(()),
            Some(error) => {
                self.damaged.set(matches!(error, Error::Corrupted(_)));
                Err(error)
            }
        }
    }
}

impl Base for FaultyBase {
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        self.check()?;
        self.inner.get_many(store, keys, visit)
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.check()?;
        self.inner.scan(store, range, reverse, visit)
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        self.inner.entries(store)
    }

    fn bytes(&self, store: usize) -> Result<u64, Error> {
        self.inner.bytes(store)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        self.check()?;
        self.inner.position(store)
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        self.check()?;
        self.inner.apply(changes)
    }

    fn is_damaged(&self, _store: usize) -> bool {
        self.damaged.get()
    }

    fn wipe(&mut self) -> Result<(), Error> {
        if let Some(Error::Retry(why)) = self.faults.draw() {
            return Err(Error::Retry(why));
        }
        self.damaged.set(false);
        self.inner.wipe()
    }

    fn wipe_store(&mut self, store: usize) -> Result<(), Error> {
        self.check()?;
        self.inner.wipe_store(store)
    }
}

/// The topology has native operators alone.
struct NoFunctions;

impl Functions for NoFunctions {
    fn call(&mut self, node: u32, _: &[u8], _: &mut TaskStores, _: &mut Vec<u8>) -> Result<(), Fault> {
        panic!("node {node} has a function");
    }

    fn discard(&mut self) {}
}

fn counting(id: &str, input: &str, output: &str, guarantee: &str) -> Blueprint {
    let manifest = format!("id = \"{id}\"\nguarantee = \"{guarantee}\"\n");
    let description = format!(
        r#"{{"version":1,"nodes":[
            {{"name":"in","op":"source","topic":"{input}","key":"utf8","value":"utf8"}},
            {{"name":"count","op":"count","inputs":["in"],"store":"counts"}},
            {{"name":"news","op":"to-stream","inputs":["count"]}},
            {{"name":"out","op":"sink","inputs":["news"],"topic":"{output}","key":"utf8","value":"i64"}}],
        "stores":[{{"name":"counts","kind":"key-value","key":"utf8","value":"i64"}}]}}"#
    );
    let description: Description = serde_json::from_str(&description).unwrap();
    Blueprint::new(Manifest::parse(&manifest, "app.toml").unwrap(), &description).unwrap()
}

fn subscription(plan: &Plan) -> Subscription {
    let set = |of: &millstream_engine::topology::SubtopologyPlan| TaskSet {
        subtopology: of.id,
        subscribe: of.subscribe,
        partitions: of.partitions,
        inputs: plan.inputs(of).into_iter().map(|(_, topic, partitions)| (topic, partitions)).collect(),
    };
    Subscription {
        application: plan.application.clone(),
        topics: plan.topics.iter().map(|topic| topic.name.clone()).collect(),
        task_sets: plan.subtopologies.iter().map(set).collect(),
        guarantee: plan.guarantee,
        thread: 0,
        threads: 1,
        instance: unique("instance"),
        plan_hash: "plan".to_owned(),
        address: None,
    }
}

fn open_stores(dir: Option<&Path>, id: TaskId, faults: Arc<Faults>) -> Result<TaskStores, Error> {
    let kind = StoreKind::KeyValue;
    let slot = StoreSlot { number: 0, name: "counts".into(), base: 0, slot: 0, logged: true, kind };
    let inner: Box<dyn Base> = match dir {
        None => Box::new(MemoryBase::new(1)),
        Some(dir) => Box::new(TaskDirectory::of(dir, "in", id.partition).open(&["counts"], ByteSize::mib(64))?),
    };
    let base = FaultyBase { inner, faults, damaged: Cell::new(false) };
    Ok(TaskStores::new(vec![slot], vec![Box::new(base)], SizeLimits::default()))
}

/// Feeds the topic while the thread runs; ends when everything is committed.
fn count(log: &TestLog, guarantee: &str, dir: Option<&Path>, chance: &mut Chance) {
    let (id, input) = (unique("faulty"), log.topic("in", PARTITIONS));
    let output = log.topic("out", PARTITIONS);
    let blueprint = counting(&id, &input, &output, guarantee);
    let plan = Arc::new(plan(&*log.log, &blueprint).unwrap());
    create_internal_topics(&*log.log, &plan).unwrap();
    let faults = Arc::new(Faults { chance: Mutex::new(chance.fork()), left: AtomicU32::new(FAULTS) });
    let (link, desk) = desk::link();
    let (commands, receiver) = channel();
    let state = dir.map(Path::to_owned);
    let thread = StreamThread::new(Parts {
        plan: plan.clone(),
        log: log.log.clone(),
        client: log.log.client(subscription(&plan)).unwrap(),
        stores: {
            let faults = faults.clone();
            Arc::new(move |task, _| open_stores(state.as_deref(), task, faults.clone()))
        },
        functions: Arc::new(|_| Box::new(NoFunctions)),
        globals: Default::default(),
        settings: Settings::default(),
        commit_interval: Duration::from_millis(5),
        recommit_interval: RECOMMIT_INTERVAL,
        delete_retention_ms: Default::default(),
        deletes_after_ms: Default::default(),
        anew: Arc::default(),
        desk,
        commands: receiver,
    });
    let running = std::thread::spawn(move || thread.run());
    let mut writer = log.log.writer().unwrap();
    let mut fed = 0;
    while fed < RECORDS || faults.left.load(Ordering::Relaxed) > 0 {
        assert!(fed < RECORDS_MAX, "not everything that should fail has failed");
        for _ in 0..FED_AT_ONCE {
            let key = format!("key-{}", chance.below(KEYS));
            writer.send(&input, None, pair(&key, "x")).unwrap();
        }
        writer.flush().unwrap();
        fed += FED_AT_ONCE;
        std::thread::sleep(Duration::from_millis(20));
    }
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| (input.clone(), partition)).collect();
    eventually("everything is committed", || {
        assert!(!running.is_finished(), "the thread has ended");
        let committed = log.log.committed(&id, &partitions).unwrap();
        let at_end = |(partition, committed): (i32, Option<millstream::log::Committed>)| {
            committed.is_some_and(|one| one.offset >= log.log.offsets(&input, partition).unwrap().end)
        };
        (0..PARTITIONS).zip(committed).all(at_end).then_some(())
    });
    // A store that was damaged last may still be on its way back: a stop would leave it to the next start.
    let fresh = link.reports() + 2;
    eventually("every task runs again", || {
        let report = link.report();
        let run = report.tasks.iter().filter(|task| task.state == TaskState::Running).count();
        (link.reports() >= fresh && report.hindered.is_none() && run == PARTITIONS as usize).then_some(())
    });
    commands.send(Command::Stop { stay: false }).unwrap();
    running.join().unwrap().unwrap();
    drop(link);
    if guarantee == "exactly-once" {
        check_exact(log, &output, &format!("{id}-counts-changelog"), dir, fed);
    } else {
        check_at_least(log, &output, fed);
    }
}

fn number(value: Option<Vec<u8>>) -> i64 {
    i64::from_be_bytes(value.unwrap().try_into().unwrap())
}

fn check_exact(log: &TestLog, output: &str, changelog: &str, dir: Option<&Path>, fed: usize) {
    let (mut counts, mut records) = (BTreeMap::new(), 0);
    for partition in 0..PARTITIONS {
        for record in log.read(output, partition) {
            let (key, count) = (record.key.unwrap(), number(record.value));
            let before = counts.insert(key.clone(), count).unwrap_or(0);
            assert_eq!(count, before + 1, "{}", key.escape_ascii());
            records += 1;
        }
    }
    assert_eq!(records, fed);
    for partition in 0..PARTITIONS {
        let logged: BTreeMap<_, _> =
            log.read(changelog, partition).into_iter().map(|record| (record.key.clone().unwrap(), record)).collect();
        for (key, record) in &logged {
            assert_eq!(Some(&number(record.value.clone())), counts.get(key), "changelog of {}", key.escape_ascii());
        }
        let Some(dir) = dir else { continue };
        let base = TaskDirectory::of(dir, "in", partition).open(&["counts"], ByteSize::mib(64)).unwrap();
        let fold =
            logged.into_iter().map(|(key, record)| (key, with_timestamp(record.timestamp, &record.value.unwrap())));
        let mut held = Vec::new();
        base.scan(0, KeyRange::default(), false, &mut |key, value| {
            held.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(held, fold.collect::<Vec<_>>(), "the store of partition {partition}");
    }
}

/// Nothing is lost: the counts of each key reach at least the number of its records.
fn check_at_least(log: &TestLog, output: &str, fed: usize) {
    let mut counts: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for record in log.read(output, partition) {
            let highest = counts.entry(record.key.unwrap()).or_default();
            *highest = number(record.value).max(*highest);
        }
    }
    assert!(counts.values().sum::<i64>() >= fed as i64, "{counts:?}");
}

fn under_faults(guarantee: &str, on_disk: bool) {
    let chance = RefCell::new(Chance::new());
    each_log(|log| {
        let dir = on_disk.then(|| tempfile::tempdir().unwrap());
        count(log, guarantee, dir.as_ref().map(|dir| dir.path()), &mut chance.borrow_mut());
    });
}

#[test]
fn exactly_once_holds_over_stores_in_memory_that_fail() {
    under_faults("exactly-once", false);
}

#[test]
fn exactly_once_holds_over_stores_in_lmdb_that_fail() {
    under_faults("exactly-once", true);
}

#[test]
fn at_least_once_loses_nothing_over_stores_that_fail() {
    under_faults("at-least-once", true);
}
