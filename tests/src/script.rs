//! A stream thread whose client says what a test tells it to say, over a log whose answers a test can spoil: what a
//! broker does by chance, and in an order that it has only by chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream::app::plan::{create_internal_topics, plan};
use millstream::desk::{self, Link, TaskState};
use millstream::log::{
    AssignedInput, AssignedTask, Client, Committed, Error, Event, Failed, Fetched, Interval, Isolation, Log, NewTopic,
    Offsets, Reader, Result, Space, Subscription, Swept, Topic, Writer,
};
use millstream::thread::{self, Anew, Command, OpenStores, Parts, RECOMMIT_INTERVAL, StreamThread};
use millstream_engine::functions::{Fault, Functions};
use millstream_engine::record::{Outgoing, Record, Records, TopicPartition};
use millstream_engine::store::TaskStores;
use millstream_engine::task::{Settings, TaskId};
use millstream_engine::topology::{Blueprint, Plan};

use crate::logs::eventually;

/// The test's hand on client and log.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    calls: Vec<Call>,
    /// Intervals get no outcome by themselves.
    holds: bool,
    /// Nothing can be published now.
    full: bool,
    /// The log says nothing when it is asked whether it is there.
    silent: bool,
    /// What the log answers when it is asked for offsets.
    offsets: Option<Error>,
    /// What readers find of a topic, once they have read what else there is.
    unreadable: BTreeMap<String, Error>,
    readers: usize,
}

/// What the thread has asked its client for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Release(Vec<TaskId>),
    Start(TopicPartition, i64),
    /// So many records, which were taken.
    Publish(usize),
    /// An interval's number, its offsets, and how many records go out with it.
    Submit(u64, Vec<(TopicPartition, i64)>, usize),
}

impl Script {
    /// The thread hears of it at its next poll.
    pub fn say(&self, event: Event) {
        self.state().events.push_back(event);
    }

    /// From now on no interval gets an outcome, unless the test says it.
    pub fn hold(&self) {
        self.state().holds = true;
    }

    pub fn go_on(&self) {
        self.state().holds = false;
    }

    /// Whether there is no room for what is published ahead of its interval.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Whether nobody answers [`Log::ping`].
    pub fn silence(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// What [`Log::offsets`] answers from now on, if it is not what it finds.
    pub fn spoil_offsets(&self, error: Option<Error>) {
        self.state().offsets = error;
    }

    /// What readers find of a topic from now on, if it is not its records.
    pub fn spoil_topic(&self, topic: &str, error: Option<Error>) {
        match error {
            Some(error) => self.state().unreadable.insert(topic.to_owned(), error),
            None => self.state().unreadable.remove(topic),
        };
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Where an input was started, each time.
    pub fn starts(&self, input: TopicPartition) -> Vec<i64> {
        let of_input = |call: &Call| match call {
            Call::Start(at, offset) if *at == input => Some(*offset),
            Call::Start(..) | Call::Release(_) | Call::Publish(_) | Call::Submit(..) => None,
        };
        self.state().calls.iter().filter_map(of_input).collect()
    }

    /// The sequences of the intervals that were submitted.
    pub fn submits(&self) -> Vec<u64> {
        let sequence = |call: &Call| match call {
            Call::Submit(sequence, ..) => Some(*sequence),
            Call::Start(..) | Call::Release(_) | Call::Publish(_) => None,
        };
        self.state().calls.iter().filter_map(sequence).collect()
    }

    /// How many readers were opened.
    pub fn readers(&self) -> usize {
        self.state().readers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream thread under a script.
pub struct Scripted {
    pub script: Script,
    pub plan: Arc<Plan>,
    pub link: Link,
    commands: Sender<Command>,
    running: JoinHandle<std::result::Result<(), thread::Error>>,
}

impl Scripted {
    /// Of an application with native operators alone.
    pub fn start(log: &Arc<dyn Log>, blueprint: &Blueprint, stores: Arc<OpenStores>) -> Scripted {
        Scripted::start_anew(log, blueprint, stores, &BTreeSet::new())
    }

    /// As [`Scripted::start`], where these inputs were created anew.
    pub fn start_anew(
        log: &Arc<dyn Log>,
        blueprint: &Blueprint,
        stores: Arc<OpenStores>,
        anew: &BTreeSet<String>,
    ) -> Scripted {
        Scripted::spawn(log, blueprint, stores, anew, RECOMMIT_INTERVAL)
    }

    /// As [`Scripted::start`], where inputs that do not move are committed again so often.
    pub fn start_to_recommit(
        log: &Arc<dyn Log>,
        blueprint: &Blueprint,
        stores: Arc<OpenStores>,
        recommit_interval: Duration,
    ) -> Scripted {
        Scripted::spawn(log, blueprint, stores, &BTreeSet::new(), recommit_interval)
    }

    fn spawn(
        log: &Arc<dyn Log>,
        blueprint: &Blueprint,
        stores: Arc<OpenStores>,
        anew: &BTreeSet<String>,
        recommit_interval: Duration,
    ) -> Scripted {
        let plan = Arc::new(plan(&**log, blueprint).expect("the test has its topics"));
        create_internal_topics(&**log, &plan).expect("internal topics can be created");
        let script = Script::default();
        let (link, desk) = desk::link();
        let (commands, receiver) = channel();
        let thread = StreamThread::new(Parts {
            plan: plan.clone(),
            log: Arc::new(ScriptedLog { log: log.clone(), script: script.clone() }),
            client: Box::new(ScriptedClient { script: script.clone() }),
            stores,
            functions: Arc::new(|_| Box::new(NoFunctions)),
            globals: Default::default(),
            settings: Settings::default(),
            commit_interval: Duration::from_millis(5),
            recommit_interval,
            delete_retention_ms: Default::default(),
            deletes_after_ms: Default::default(),
            anew: Arc::new(Anew::of(&plan, anew)),
            desk,
            commands: receiver,
        });
        let running = std::thread::spawn(move || thread.run());
        Scripted { script, plan, link, commands, running }
    }

    pub fn input(&self, topic: &str, partition: i32) -> TopicPartition {
        let place = self.plan.topics.iter().position(|known| known.name == topic).expect("a topic of the plan");
        TopicPartition { topic: millstream_engine::record::TopicId(place as u32), partition }
    }

    /// Gives the thread a task whose inputs are committed at these offsets and have so much.
    pub fn assign(&self, task: TaskId, inputs: &[(TopicPartition, Option<i64>, Offsets)]) {
        let of = |(input, committed, offsets): &(TopicPartition, Option<i64>, Offsets)| AssignedInput {
            input: *input,
            committed: committed.map(|offset| Committed { offset, metadata: String::new() }),
            offsets: *offsets,
        };
        let tasks = vec![AssignedTask { task, inputs: inputs.iter().map(of).collect() }];
        self.script.say(Event::Assigned { tasks });
    }

    /// Delivers records of these offsets.
    pub fn deliver(&self, input: TopicPartition, offsets: std::ops::Range<i64>, record: Record<'_>) {
        let mut records = Records::default();
        offsets.for_each(|offset| records.push(offset, record));
        self.script.say(Event::Records { input, records });
    }

    /// Waits until the thread says that so many tasks run.
    pub fn until_running(&self, tasks: usize) {
        eventually("tasks that run", || {
            assert!(!self.running.is_finished(), "the thread has ended");
            let running = |task: &&desk::TaskStatus| task.state == TaskState::Running;
            (self.link.report().tasks.iter().filter(running).count() == tasks).then_some(())
        });
    }

    pub fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Waits for the end that the thread has come to by itself.
    pub fn ended(self) -> std::result::Result<(), thread::Error> {
        eventually("the end", || self.running.is_finished().then_some(()));
        self.running.join().expect("no panic")
    }

    /// Tells the thread to stop, and does not wait for it.
    pub fn begin_stop(&self) {
        self.commands.send(Command::Stop { stay: false }).expect("it listens");
    }

    /// Stops the thread, and waits for its end.
    pub fn stop(self) {
        self.begin_stop();
        self.running.join().expect("no panic").expect("it ends well");
    }

    /// Ends the thread with nothing more committed.
    pub fn abandon(self) {
        // One that has ended does not listen.
        let _ = self.commands.send(Command::Abandon);
        self.running.join().expect("no panic").expect("it ends well");
    }
}

struct ScriptedClient {
    script: Script,
}

impl Client for ScriptedClient {
    fn poll(&mut self, wait: Duration, events: &mut Vec<Event>) -> Result<()> {
        let heard = events.len();
        events.extend(self.script.state().events.drain(..));
        if events.len() == heard {
            std::thread::sleep(wait.min(Duration::from_millis(2)));
        }
        Ok(())
    }

    fn accept(&mut self, _: &[TaskId]) -> Result<()> {
        Ok(())
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<()> {
        self.script.state().calls.push(Call::Release(tasks.to_vec()));
        Ok(())
    }

    fn start(&mut self, input: TopicPartition, offset: i64) -> Result<()> {
        self.script.state().calls.push(Call::Start(input, offset));
        Ok(())
    }

    fn want(&mut self, _: TopicPartition, _: bool) {}

    fn publish(&mut self, outgoing: &Outgoing) -> Result<bool> {
        let mut state = self.script.state();
        if !state.full {
            state.calls.push(Call::Publish(outgoing.len()));
        }
        Ok(!state.full)
    }

    fn submit(&mut self, interval: Interval) -> Result<()> {
        let mut state = self.script.state();
        let offsets = interval.offsets.iter().map(|one| (one.input, one.offset)).collect();
        state.calls.push(Call::Submit(interval.sequence, offsets, interval.outgoing.len()));
        if !state.holds {
            state.events.push_back(Event::Committed { sequence: interval.sequence, positions: Vec::new() });
        }
        Ok(())
    }

    fn leave(&mut self, _: bool) -> Result<()> {
        Ok(())
    }
}

struct ScriptedLog {
    log: Arc<dyn Log>,
    script: Script,
}

impl Log for ScriptedLog {
    fn client(&self, subscription: Subscription) -> Result<Box<dyn Client>> {
        self.log.client(subscription)
    }

    fn url(&self) -> &str {
        self.log.url()
    }

    fn ping(&self, timeout: Duration) -> Result<()> {
        if self.script.state().silent {
            std::thread::sleep(timeout);
            return Err(Error::unreachable("ping", "the test says so"));
        }
        self.log.ping(timeout)
    }

    fn topics(&self) -> Result<Vec<String>> {
        self.log.topics()
    }

    fn describe(&self, names: &[&str]) -> Result<Vec<Option<Topic>>> {
        self.log.describe(names)
    }

    fn create(&self, topic: &NewTopic) -> Result<()> {
        self.log.create(topic)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.log.delete(name)
    }

    fn offsets(&self, topic: &str, partition: i32) -> Result<Offsets> {
        let spoilt = self.script.state().offsets.clone();
        spoilt.map_or_else(|| self.log.offsets(topic, partition), Err)
    }

    fn space(&self) -> Result<Option<Space>> {
        self.log.space()
    }

    fn sweep(&self, topic: &str) -> Result<Swept> {
        self.log.sweep(topic)
    }

    fn delete_records(&self, below: &[(String, i32, i64)]) -> Result<()> {
        self.log.delete_records(below)
    }

    fn committed(&self, application: &str, partitions: &[(String, i32)]) -> Result<Vec<Option<Committed>>> {
        self.log.committed(application, partitions)
    }

    fn committed_partitions(&self, application: &str) -> Result<Vec<(String, i32)>> {
        self.log.committed_partitions(application)
    }

    fn members(&self, application: &str) -> Result<Option<Vec<String>>> {
        self.log.members(application)
    }

    fn holder(&self, application: &str) -> Result<Option<String>> {
        self.log.holder(application)
    }

    fn forget(&self, application: &str) -> Result<()> {
        self.log.forget(application)
    }

    fn reader(&self, isolation: Isolation) -> Result<Box<dyn Reader>> {
        self.script.state().readers += 1;
        let reader = self.log.reader(isolation)?;
        Ok(Box::new(ScriptedReader { reader, script: self.script.clone(), assigned: Vec::new() }))
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        self.log.writer()
    }
}

struct ScriptedReader {
    reader: Box<dyn Reader>,
    script: Script,
    assigned: Vec<(String, i32)>,
}

impl Reader for ScriptedReader {
    fn assign(&mut self, partitions: &[(String, i32, i64)]) -> Result<()> {
        self.assigned.extend(partitions.iter().map(|(topic, partition, _)| (topic.clone(), *partition)));
        self.reader.assign(partitions)
    }

    fn unassign(&mut self, partitions: &[(String, i32)]) -> Result<()> {
        self.assigned.retain(|one| !partitions.contains(one));
        self.reader.unassign(partitions)
    }

    fn poll_each(&mut self, wait: Duration, out: &mut Vec<Fetched>, failed: &mut Vec<Failed>) -> Result<()> {
        self.reader.poll_each(wait, out, failed)?;
        let spoilt = self.script.state().unreadable.clone();
        let topic_of = |one: &Fetched| match one {
            Fetched::Records { topic, .. } | Fetched::End { topic, .. } | Fetched::Truncated { topic, .. } => {
                topic.clone()
            }
        };
        out.retain(|one| !spoilt.contains_key(&topic_of(one)));
        let over = self.assigned.iter().filter(|(topic, _)| spoilt.contains_key(topic));
        let over: Vec<(String, i32)> = over.cloned().collect();
        failed.extend(over.iter().map(|(topic, partition)| Failed {
            topic: topic.clone(),
            partition: *partition,
            error: spoilt[topic].clone(),
        }));
        self.unassign(&over)
    }
}

/// For topologies of native operators alone.
pub struct NoFunctions;

impl Functions for NoFunctions {
    fn call(&mut self, node: u32, _: &[u8], _: &mut TaskStores, _: &mut Vec<u8>) -> std::result::Result<(), Fault> {
        panic!("node {node} has a function");
    }

    fn discard(&mut self) {}
}
