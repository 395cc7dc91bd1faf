//! A swap in the midst of what else a stream thread may be doing: intervals in flight, aborts, tasks that come and go,
//! other swaps. When each of them happens is decided here ([`tests::gate`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream::app::swap::SwapState;
use millstream::app::{App, Application as Described, Loaded, Options, Swapped, plan};
use millstream::desk::link;
use millstream::log::{Log, Subscription, TaskSet};
use millstream::thread::{
    Command, Parts, Permit, Probation, RECOMMIT_INTERVAL, StartFunctions, StreamThread, Swap, Verdict,
};
use millstream::wasm::{Component, Instance, Owner};
use millstream_engine::config::Manifest;
use millstream_engine::functions::{Fault, Functions};
use millstream_engine::store::TaskStores;
use millstream_engine::task::Settings;
use millstream_engine::topology::Plan;
use tests::application::{Application, ENGINE, Input};
use tests::builds::build;
use tests::gate::Gate;
use tests::logs::{DEADLINE, Owned, TestLog, embedded, eventually};
use tests::rig::Place;

const GUEST: &str = "tests/guests/builds";

/// Short, so that what a test waits for comes soon.
const QUICK: &str = "commit_interval = \"20ms\"\n";

/// Long enough for a thread to have done what it should not.
const A_WHILE: Duration = Duration::from_millis(300);

/// More than a trial takes.
const MANY: usize = 150;

/// Less than a trial takes, and more than half of it.
const PART: usize = 60;

/// An application of the builds' guest on two partitions, its log behind a gate.
struct Gated<'a> {
    application: Application<'a>,
    app: App,
    gate: Gate,
}

impl<'a> Gated<'a> {
    fn start(log: &'a TestLog, manifest: &str) -> Gated<'a> {
        Gated::start_with(log, manifest, Gate::default())
    }

    fn start_with(log: &'a TestLog, manifest: &str, gate: Gate) -> Gated<'a> {
        let application = Application::new(log, GUEST, &format!("{QUICK}{manifest}"), &[("records", 2)]);
        let app = App::start(&application.loaded, gate.before(log.log.clone()), &Options::default())
            .expect("the application starts");
        Gated { application, app, gate }
    }

    fn feed(&self, partition: i32, value: &str, times: usize) {
        feed(&self.application, partition, value, times);
    }

    /// As [`counted`].
    fn counted(&self, times: usize) -> BTreeMap<String, usize> {
        assert!(!self.app.has_ended(), "it ended by itself");
        counted(&self.application, times)
    }

    /// Begins a swap beside what `during` does, and answers what became of it.
    fn swap_during(&self, number: u16, kind: char, during: impl FnOnce()) -> Swapped {
        let swapper = self.app.swapper().clone();
        // Compiled before, so that the thread is told of it at once.
        let (running, bytes) = (swapper.loaded(), build(number, kind));
        let component = Component::load(&ENGINE, &bytes, running.application.manifest.limits);
        let new = Loaded::with(running.application.clone(), component.expect("a build is a component"));
        let new = Loaded { named: running.named.clone(), ..new.expect("it describes itself") };
        let swap = std::thread::spawn(move || swapper.swap(new, Some(bytes), &[]));
        during();
        swap.join().expect("no panic").expect("the swap is not refused")
    }

    fn until_swapped(&self) {
        let first = format!("sha256:{}", self.application.loaded.component.digest());
        eventually("the swap", || (self.digest() != first).then_some(()));
    }

    fn digest(&self) -> String {
        self.app.handle().status().component.digest
    }

    fn until_held(&self) {
        eventually("an interval is in flight", || self.gate.holds_one().then_some(()));
    }

    /// Waits until the last swap has come to this.
    fn until(&self, state: SwapState) -> Swapped {
        eventually("the trial's end", || self.app.swapper().last().filter(|last| last.state == state))
    }

    fn stop(self) {
        self.app.stop(false).expect("it stops well");
    }
}

fn feed(application: &Application<'_>, partition: i32, value: &str, times: usize) {
    let key = format!("key-{partition}");
    let input = Input::at(0, "records").partition(partition).key(key).value(value);
    application.produce(&vec![input; times]);
}

/// Waits until so many counts are committed; answers how many each build has counted, after checking that each key's
/// counts go 1, 2, 3 ….
fn counted(application: &Application<'_>, times: usize) -> BTreeMap<String, usize> {
    eventually("the counts", || (application.read("counted").len() >= times).then_some(()));
    std::thread::sleep(A_WHILE);
    let (mut counts, mut builds) = (BTreeMap::<Vec<u8>, usize>::new(), BTreeMap::new());
    for record in application.read("counted") {
        let text = Owned::text(&record);
        let (build, count) = text.split_once(':').expect("build and count");
        let before = counts.entry(record.key.expect("a count has its key")).or_default();
        assert_eq!(count.parse(), Ok(*before + 1), "build {build}");
        *before += 1;
        *builds.entry(build.to_owned()).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), times);
    builds
}

fn by(builds: &[(&str, usize)]) -> BTreeMap<String, usize> {
    builds.iter().map(|(build, times)| ((*build).to_owned(), *times)).collect()
}

#[test]
fn a_swap_waits_for_the_interval_in_flight() {
    let log = embedded();
    let gated = Gated::start(&log, "");
    gated.feed(0, "x", 5);
    gated.counted(5);
    gated.gate.hold();
    gated.feed(0, "x", 10);
    gated.until_held();
    let swapped = gated.swap_during(2, 'n', || {
        std::thread::sleep(A_WHILE);
        assert!(gated.app.swapper().last().is_none(), "it did not wait");
        gated.gate.pass();
        gated.until_swapped();
        gated.feed(0, "x", MANY);
    });
    assert_eq!(swapped.state, SwapState::Kept);
    assert_eq!(gated.counted(15 + MANY), by(&[("0000", 15), ("0002", MANY)]));
    gated.stop();
}

#[test]
fn what_an_aborted_interval_had_done_is_done_again_by_the_build_that_took_over() {
    let log = embedded();
    let gated = Gated::start(&log, "");
    gated.feed(0, "x", 5);
    gated.counted(5);
    gated.gate.hold();
    gated.feed(0, "x", 10);
    gated.until_held();
    let swapped = gated.swap_during(2, 'n', || {
        std::thread::sleep(A_WHILE);
        gated.gate.abort();
        gated.until_swapped();
        gated.feed(0, "x", MANY);
    });
    assert_eq!(swapped.state, SwapState::Kept);
    assert_eq!(gated.counted(15 + MANY), by(&[("0000", 5), ("0002", 10 + MANY)]));
    gated.stop();
}

#[test]
fn an_abort_during_a_trial_takes_nothing_twice() {
    let log = embedded();
    let gated = Gated::start(&log, "");
    gated.feed(0, "x", 5);
    gated.counted(5);
    let swapped = gated.swap_during(2, 'n', || {
        gated.until_swapped();
        gated.gate.hold();
        gated.feed(0, "x", 10);
        gated.until_held();
        gated.gate.abort();
        gated.feed(0, "x", MANY);
    });
    assert!([SwapState::Kept, SwapState::OnTrial].contains(&swapped.state), "{swapped:?}");
    gated.until(SwapState::Kept);
    assert_eq!(gated.counted(15 + MANY), by(&[("0000", 5), ("0002", 10 + MANY)]));
    gated.stop();
}

/// What the trial has committed before its fault stays, what is open goes, and the records of an interval that is
/// aborted in between are the old build's again.
#[test]
fn a_fault_beside_an_interval_of_the_trial_in_flight_waits_for_its_outcome() {
    for passes in [true, false] {
        let log = embedded();
        let gated = Gated::start(&log, "on_error = \"skip\"\n");
        gated.feed(0, "x", 5);
        gated.counted(5);
        gated.swap_during(2, 't', || {
            gated.until_swapped();
            gated.gate.hold();
            gated.feed(0, "x", 10);
            gated.until_held();
            gated.feed(0, "boom", 1);
            gated.feed(0, "x", 20);
            std::thread::sleep(A_WHILE);
            assert!(gated.app.swapper().last().is_none_or(|last| last.state == SwapState::OnTrial), "too early");
            if passes { gated.gate.pass() } else { gated.gate.abort() }
        });
        let last = gated.until(SwapState::PutBack);
        assert!(last.reason.is_some_and(|why| why.contains("this build traps")));
        let expected = if passes { by(&[("0000", 26), ("0002", 10)]) } else { by(&[("0000", 36)]) };
        assert_eq!(gated.counted(36), expected, "passes: {passes}");
        gated.stop();
    }
}

/// A task that goes takes along what the trial has done; one that comes back is on trial with the others.
#[test]
fn a_task_that_is_revoked_during_a_trial_comes_back_into_it() {
    let log = embedded();
    let gated = Gated::start(&log, "on_error = \"skip\"\n");
    gated.feed(0, "x", 5);
    gated.counted(5);
    gated.swap_during(2, 't', || {
        gated.until_swapped();
        gated.feed(0, "x", 5);
        gated.gate.revoke(0);
        eventually("it has gone", || (gated.app.handle().status().tasks.len() == 1).then_some(()));
        gated.gate.give_again(0);
        eventually("it is back", || (gated.app.handle().status().tasks.len() == 2).then_some(()));
        gated.feed(0, "boom", 1);
        gated.feed(1, "x", 5);
    });
    gated.until(SwapState::PutBack);
    let builds = gated.counted(16);
    assert!(builds["0000"] >= 6 && builds.get("0002").is_none_or(|times| *times <= 10), "{builds:?}");
    gated.feed(0, "boom", 1);
    assert_eq!(gated.counted(17)["0000"], builds["0000"] + 1, "the old build counts it");
    gated.stop();
}

#[test]
fn a_task_that_comes_while_a_swap_settles_gets_the_new_build_and_is_on_trial() {
    for (value, state) in [("x", SwapState::Kept), ("boom", SwapState::PutBack)] {
        let log = embedded();
        let gate = Gate::default();
        gate.keep_back(1);
        let gated = Gated::start_with(&log, "on_error = \"skip\"\n", gate);
        gated.feed(0, "x", 5);
        gated.counted(5);
        gated.gate.hold();
        gated.feed(0, "x", 5);
        gated.until_held();
        gated.swap_during(2, 't', || {
            std::thread::sleep(A_WHILE);
            gated.gate.give();
            std::thread::sleep(A_WHILE);
            gated.gate.pass();
            gated.until_swapped();
            gated.feed(1, value, MANY);
        });
        gated.until(state);
        let build = if state == SwapState::Kept { "0002" } else { "0000" };
        let expected = match build {
            "0002" => by(&[("0000", 10), ("0002", MANY)]),
            _ => by(&[("0000", 10 + MANY)]),
        };
        assert_eq!(gated.counted(10 + MANY), expected);
        gated.stop();
    }
}

/// What has gone with a task was processed all the same: the trial does not begin anew with the task that comes back.
#[test]
fn records_of_a_task_that_was_revoked_since_count() {
    let log = embedded();
    let gated = Gated::start(&log, "");
    gated.feed(0, "x", 5);
    gated.counted(5);
    gated.swap_during(2, 'n', || {
        gated.until_swapped();
        gated.feed(0, "x", PART);
        gated.counted(5 + PART);
        gated.gate.revoke(0);
        eventually("it has gone", || (gated.app.handle().status().tasks.len() == 1).then_some(()));
        gated.gate.give_again(0);
        eventually("it is back", || (gated.app.handle().status().tasks.len() == 2).then_some(()));
        gated.feed(0, "x", PART);
    });
    gated.until(SwapState::Kept);
    assert_eq!(gated.counted(5 + 2 * PART), by(&[("0000", 5), ("0002", 2 * PART)]));
    gated.stop();
}

/// The first records of a version are those of all threads. One has no task, another one no records, and what one gets is
/// less than a trial takes.
#[test]
fn a_build_is_kept_where_no_thread_alone_gets_enough_records() {
    for partitions in [&[0][..], &[0, 1]] {
        let log = embedded();
        let gated = Gated::start(&log, "threads = 3\n");
        gated.feed(0, "x", 5);
        gated.counted(5);
        let each = 2 * PART / partitions.len();
        gated.swap_during(2, 'n', || {
            gated.until_swapped();
            partitions.iter().for_each(|partition| gated.feed(*partition, "x", each));
        });
        gated.until(SwapState::Kept);
        assert_eq!(gated.counted(5 + 2 * PART), by(&[("0000", 5), ("0002", 2 * PART)]));
        gated.stop();
    }
}

#[test]
fn a_fault_in_one_thread_puts_back_what_the_others_have_done_on_trial() {
    let log = embedded();
    let gated = Gated::start(&log, "threads = 3\non_error = \"skip\"\n");
    gated.feed(0, "x", 5);
    gated.feed(1, "x", 5);
    gated.counted(10);
    gated.swap_during(2, 't', || {
        gated.until_swapped();
        let input = |partition: i32, value| {
            Input::at(0, "records").partition(partition).key(format!("key-{partition}")).value(value)
        };
        let good = vec![input(0, "x"); PART];
        gated.application.produce(good.iter().chain(&[input(1, "x"), input(1, "boom")]));
    });
    let last = gated.until(SwapState::PutBack);
    assert!(last.reason.is_some_and(|why| why.contains("this build traps")));
    assert_eq!(gated.counted(12 + PART), by(&[("0000", 12 + PART)]));
    // Nobody is on trial any more.
    gated.feed(0, "boom", MANY);
    assert_eq!(gated.counted(12 + PART + MANY), by(&[("0000", 12 + PART + MANY)]));
    gated.stop();
}

/// The other thread gets no records, so its trial is not over: it must not go on with a build that has failed.
#[test]
fn a_thread_whose_trial_is_not_over_goes_back_with_the_one_that_failed() {
    let log = embedded();
    let gated = Gated::start(&log, "threads = 2\non_error = \"skip\"\n");
    gated.feed(0, "x", 5);
    gated.feed(1, "x", 5);
    gated.counted(10);
    gated.swap_during(2, 't', || {
        gated.until_swapped();
        gated.feed(0, "boom", 1);
    });
    gated.until(SwapState::PutBack);
    std::thread::sleep(A_WHILE);
    gated.feed(1, "x", 5);
    assert_eq!(gated.counted(16), by(&[("0000", 16)]));
    gated.stop();
}

#[test]
fn two_swaps_at_once_end_in_one_build() {
    let log = embedded();
    let gated = Gated::start(&log, "threads = 2\n");
    gated.feed(0, "x", 5);
    gated.counted(5);
    let swaps = [2, 3].map(|number| {
        let swapper = gated.app.swapper().clone();
        std::thread::spawn(move || swapper.swap_component(&build(number, 'n'), &[]))
    });
    for _ in 0..20 {
        gated.feed(0, "x", 20);
        gated.feed(1, "x", 20);
        std::thread::sleep(Duration::from_millis(20));
    }
    for swap in swaps {
        swap.join().expect("no panic").expect("neither is refused");
    }
    let before = gated.counted(805);
    gated.feed(0, "x", 5);
    gated.feed(1, "x", 5);
    let after = gated.counted(815);
    let grown: Vec<_> = after.iter().filter(|(build, times)| before.get(*build) != Some(times)).collect();
    assert!(matches!(grown[..], [(build, _)] if build != "0000"), "{before:?} {after:?}");
    gated.stop();
}

/// The guest counting behind a cache, build 1. Nothing is cut but for a swap and at the end.
fn cached(application: &Application<'_>) -> Loaded {
    let (id, records, counted) = (application.id(), application.topic("records"), application.topic("counted"));
    let manifest = format!(
        "id = \"{id}\"\ncommit_interval = \"1h\"\non_error = \"skip\"\n[stores.totals]\ncache = \"1MiB\"\n\
         [sources.records]\ntopic = \"{records}\"\n[sinks.counted]\ntopic = \"{counted}\"\n"
    );
    let manifest = Manifest::parse(&manifest, "app.toml").expect("the test's manifest is good");
    let component = Component::load(&ENGINE, &build(1, 'a'), manifest.limits).expect("a build is a component");
    let described = Described { manifest, ..application.loaded.application.clone() };
    Loaded::with(described, component).expect("guest and manifest agree")
}

/// What the cache holds back goes downstream as the next swap begins: a fault behind it is still that of the build on trial,
/// and not the application's.
#[test]
fn a_build_that_traps_as_the_next_swap_begins_is_put_back_before_it() {
    let log = embedded();
    let application = Application::new(&log, GUEST, "", &[("records", 2)]);
    let loaded = cached(&application);
    let options = Options { state_dir: Some(application.state().to_owned()), ..Options::default() };
    let app = App::start(&loaded, log.log.clone(), &options).expect("the application starts");
    let swap = |number, kind| app.swapper().swap_component(&build(number, kind), &[]).expect("it is not refused");
    assert_eq!(swap(2, 'f').state, SwapState::OnTrial);
    feed(&application, 0, "boom", 1);
    eventually("the record is taken", || {
        (app.handle().counters().records_consumed.values().sum::<u64>() == 1).then_some(())
    });
    std::thread::sleep(A_WHILE);
    let third = swap(3, 'a');
    assert!(!app.has_ended(), "it ended by itself");
    assert_eq!(third.state, SwapState::OnTrial);
    assert_eq!(app.handle().status().component.digest, third.digest);
    let counters = app.handle().counters();
    assert_eq!((counters.swaps_put_back, counters.swaps_kept), (1, 0));
    app.stop(false).expect("it stops well");
    let said: Vec<String> = application.read("counted").iter().map(Owned::text).collect();
    assert_eq!(said, ["0003:1:boom:0003"]);
}

/// A dead letter says which component failed.
#[test]
fn dead_letters_name_the_component_that_was_swapped_in() {
    let log = embedded();
    let gated = Gated::start(&log, "on_error = \"dead-letter:dead\"\n");
    gated.swap_during(2, 't', || {
        gated.until_swapped();
        gated.feed(0, "x", MANY);
    });
    gated.until(SwapState::Kept);
    gated.feed(0, "boom", 1);
    let letter = eventually("the dead letter", || gated.application.read("dead").into_iter().next());
    let said: Vec<String> = letter.headers.iter().map(|(_, value)| shown(value.as_deref())).collect();
    let digest = gated.digest();
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    assert!(said.iter().any(|value| value.contains(hex)), "{hex}: {:?}", letter.headers);
    gated.stop();
}

// === a thread without its application ===

/// A swap as a thread is told of it, and what it answers.
fn order(running: &Loaded, plan: &Arc<Plan>, number: u16, kind: char) -> (Swap, Permit, Receiver<Verdict>) {
    let component = Component::load(&ENGINE, &build(number, kind), running.application.manifest.limits);
    let new = Loaded::with(running.application.clone(), component.expect("a build is a component"));
    let new = new.expect("it describes itself");
    let (verdict, verdicts) = sync_channel(4);
    let permit = Permit::default();
    let swap = Swap {
        // The builds have one topology.
        plan: plan.clone(),
        functions: functions(&new),
        component: None,
        probation: Some(Probation::of(1)),
        verdict,
        permit: permit.clone(),
    };
    (swap, permit, verdicts)
}

fn functions(loaded: &Loaded) -> Arc<StartFunctions> {
    let (component, config, description) =
        (loaded.component.clone(), loaded.config.clone(), loaded.description.clone());
    Arc::new(move |task| {
        let owner = Owner { application: "test".into(), task: Some(task) };
        Box::new(Instance::new(component.clone(), config.clone(), description.clone(), owner)) as Box<dyn Functions>
    })
}

fn thread(loaded: &Loaded, plan: &Arc<Plan>, log: &Arc<dyn Log>, commands: Receiver<Command>) -> StreamThread {
    thread_of(functions(loaded), plan, log, commands)
}

fn thread_of(
    functions: Arc<StartFunctions>,
    plan: &Arc<Plan>,
    log: &Arc<dyn Log>,
    commands: Receiver<Command>,
) -> StreamThread {
    let task_sets = plan.subtopologies.iter().map(|subtopology| TaskSet {
        subtopology: subtopology.id,
        subscribe: subtopology.subscribe,
        partitions: subtopology.partitions,
        inputs: plan.inputs(subtopology).into_iter().map(|(_, topic, partitions)| (topic, partitions)).collect(),
    });
    let client = log.client(Subscription {
        application: plan.application.clone(),
        topics: plan.topics.iter().map(|topic| topic.name.clone()).collect(),
        task_sets: task_sets.collect(),
        guarantee: plan.guarantee,
        thread: 0,
        threads: 1,
        instance: "test".to_owned(),
        plan_hash: "test".to_owned(),
        address: None,
    });
    let of_plan = plan.clone();
    StreamThread::new(Parts {
        plan: plan.clone(),
        log: log.clone(),
        client: client.expect("nobody else runs it"),
        stores: Arc::new(move |task, _| {
            let subtopology = &of_plan.subtopologies[task.subtopology as usize];
            Ok(tests::rig::stores(&of_plan, subtopology, task.partition, Place::Memory).expect("memory can be had"))
        }),
        functions,
        globals: Default::default(),
        settings: Settings::default(),
        commit_interval: Duration::from_millis(20),
        recommit_interval: RECOMMIT_INTERVAL,
        delete_retention_ms: Arc::default(),
        deletes_after_ms: Default::default(),
        anew: Arc::default(),
        desk: link().1,
        commands,
    })
}

/// Whoever asked for the next swap has given up before it happened: the trial goes on, and its fault is still the
/// build's and not the application's.
#[test]
fn a_swap_that_is_withdrawn_leaves_the_trial_before_it_as_it_was() {
    let (test_log, gate) = (embedded(), Gate::default());
    let manifest = format!("{QUICK}on_error = \"skip\"\n");
    let application = Application::new(&test_log, GUEST, &manifest, &[("records", 2)]);
    let (log, loaded) = (gate.before(test_log.log.clone()), &application.loaded);
    let plan = Arc::new(plan::plan(&*log, &loaded.blueprint).expect("the topics are there"));
    plan::create_internal_topics(&*log, &plan).expect("topics can be made");
    let (commands, receiver) = channel();
    let stream = thread(loaded, &plan, &log, receiver);
    let stream = spawn(loaded, stream);
    feed(&application, 0, "x", 5);
    counted(&application, 5);

    let (first, _, verdicts) = order(loaded, &plan, 2, 't');
    commands.send(Command::Swap(first)).expect("it listens");
    let swapped = verdicts.recv_timeout(DEADLINE).expect("it is swapped");
    assert!(matches!(swapped, Verdict::Swapped { .. }), "{swapped:?}");
    gate.hold();
    feed(&application, 0, "x", 10);
    eventually("an interval is in flight", || gate.holds_one().then_some(()));
    let (second, permit, _) = order(loaded, &plan, 3, 'n');
    commands.send(Command::Swap(second)).expect("it listens");
    std::thread::sleep(A_WHILE);
    assert!(permit.withdraw(), "it has happened already");
    gate.pass();
    counted(&application, 15);
    feed(&application, 0, "boom", 1);
    let ended = verdicts.recv_timeout(DEADLINE).expect("the trial ends");
    assert!(matches!(&ended, Verdict::PutBack { why } if why.contains("this build traps")), "{ended:?}");
    assert_eq!(counted(&application, 16), by(&[("0000", 6), ("0002", 10)]));
    commands.send(Command::Stop { stay: false }).expect("it listens");
    stream.join().expect("no panic").expect("it stops well");
}

fn spawn(loaded: &Loaded, stream: StreamThread) -> JoinHandle<Result<(), millstream::thread::Error>> {
    let builder = std::thread::Builder::new().stack_size(loaded.component.thread_stack_bytes());
    builder.spawn(move || stream.run()).expect("a thread starts")
}

/// User code whose calls are counted.
struct Watched {
    functions: Box<dyn Functions>,
    calls: Arc<AtomicUsize>,
}

impl Functions for Watched {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.calls.fetch_add(1, Ordering::AcqRel);
        self.functions.call(node, frame, stores, out)
    }

    fn discard(&mut self) {
        self.functions.discard();
    }
}

/// A thread of the guest's build 0 with an interval in flight, for as long as the gate holds it.
struct Busy<'a> {
    application: Application<'a>,
    plan: Arc<Plan>,
    gate: Gate,
    commands: Sender<Command>,
    calls: Arc<AtomicUsize>,
    stream: JoinHandle<Result<(), millstream::thread::Error>>,
}

impl<'a> Busy<'a> {
    /// 5 records are counted, and 10 are in flight.
    fn start(log: &'a TestLog) -> Busy<'a> {
        let (gate, calls) = (Gate::default(), Arc::<AtomicUsize>::default());
        let application = Application::new(log, GUEST, QUICK, &[("records", 2)]);
        let gated = gate.before(log.log.clone());
        let plan = Arc::new(plan::plan(&*gated, &application.loaded.blueprint).expect("the topics are there"));
        plan::create_internal_topics(&*gated, &plan).expect("topics can be made");
        let (commands, receiver) = channel();
        let (of, instances) = (calls.clone(), functions(&application.loaded));
        let watched: Arc<StartFunctions> = Arc::new(move |task| {
            Box::new(Watched { functions: instances(task), calls: of.clone() }) as Box<dyn Functions>
        });
        let stream = thread_of(watched, &plan, &gated, receiver);
        let stream = spawn(&application.loaded, stream);
        let busy = Busy { application, plan, gate, commands, calls, stream };
        feed(&busy.application, 0, "x", 5);
        counted(&busy.application, 5);
        busy.gate.hold();
        feed(&busy.application, 0, "x", 10);
        eventually("an interval is in flight", || busy.gate.holds_one().then_some(()));
        busy
    }

    fn order(&self, number: u16) -> (Swap, Permit, Receiver<Verdict>) {
        order(&self.application.loaded, &self.plan, number, 'n')
    }

    fn tell(&self, swap: Swap) {
        self.commands.send(Command::Swap(swap)).expect("it listens");
    }

    fn stop(self) {
        self.commands.send(Command::Stop { stay: false }).expect("it listens");
        self.stream.join().expect("no panic").expect("it stops well");
    }
}

/// An interval may be on its way for as long as a disk is full.
#[test]
fn tasks_go_on_as_soon_as_the_swap_that_they_stand_still_for_is_withdrawn() {
    let log = embedded();
    let busy = Busy::start(&log);
    let (swap, permit, _verdicts) = busy.order(2);
    busy.tell(swap);
    std::thread::sleep(A_WHILE);
    let before = busy.calls.load(Ordering::Acquire);
    feed(&busy.application, 0, "x", 10);
    std::thread::sleep(A_WHILE);
    assert_eq!(busy.calls.load(Ordering::Acquire), before, "it does not stand still");
    assert!(permit.withdraw(), "it has happened already");
    eventually("the tasks go on", || (busy.calls.load(Ordering::Acquire) > before).then_some(()));
    assert!(busy.gate.holds_one(), "the interval is not on its way any more");
    busy.gate.pass();
    assert_eq!(counted(&busy.application, 25), by(&[("0000", 25)]));
    busy.stop();
}

/// The one before it brings back what all other threads run.
#[test]
fn a_swap_that_is_withdrawn_leaves_the_one_that_it_came_over_as_it_was() {
    let log = embedded();
    let busy = Busy::start(&log);
    let (back, _, verdicts) = busy.order(2);
    busy.tell(Swap { probation: None, ..back });
    let (next, permit, _next_verdicts) = busy.order(3);
    busy.tell(next);
    std::thread::sleep(A_WHILE);
    assert!(permit.withdraw(), "it has happened already");
    busy.gate.pass();
    let swapped = verdicts.recv_timeout(DEADLINE).expect("it is swapped");
    assert!(matches!(swapped, Verdict::Swapped { .. }), "{swapped:?}");
    feed(&busy.application, 0, "x", 5);
    assert_eq!(counted(&busy.application, 20), by(&[("0000", 15), ("0002", 5)]));
    busy.stop();
}

fn shown(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}
