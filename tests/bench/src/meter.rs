//! A log that notes when records are taken from it and when their intervals are committed. The host is measured from
//! outside: it is given this log instead of the one below it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream::log::{
    Client, Committed, Event, Failed, Fetched, Guarantee, Interval, Isolation, Log, NewTopic, Offsets, Reader, Result,
    Space, Subscription, Swept, Topic, Writer,
};
use millstream_engine::record::{Outgoing, TopicPartition};
use millstream_engine::task::TaskId;

use crate::usage::{Moment, memory_mib};

/// What was noted; shared by all clients and readers of the log.
#[derive(Default)]
pub struct Notes {
    /// When the first input record was handed to the host.
    pub first: Option<Moment>,
    /// When the first record of any topic was.
    pub first_of_all: Option<Moment>,
    /// When the last interval so far was committed.
    pub last_commit: Option<Moment>,
    /// When the last input record was processed.
    pub processed: Option<Instant>,
    /// When the interval with the last one was committed.
    pub committed: Option<Moment>,
    /// Highest anonymous resident memory seen at a commit.
    pub anon_rss_mib: f64,
    /// When the first changelog record was handed over, and how many were.
    pub restore_first: Option<Moment>,
    pub restored: u64,
    /// When the last changelog was read to its end.
    pub restore_last: Option<Moment>,
    /// Committed offsets by partition of the input.
    done: BTreeMap<i32, i64>,
}

/// A log, metered.
pub struct Metered {
    log: Arc<dyn Log>,
    input: Arc<Input>,
}

struct Input {
    topic: String,
    /// The end of each partition.
    ends: BTreeMap<i32, i64>,
    notes: Mutex<Notes>,
}

impl Metered {
    /// Meters the reading of `topic` up to these ends.
    pub fn new(log: Arc<dyn Log>, topic: &str, ends: BTreeMap<i32, i64>) -> Metered {
        Metered { log, input: Arc::new(Input { topic: topic.to_owned(), ends, notes: Mutex::default() }) }
    }

    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.input.notes()
    }
}

impl Input {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything below the ends is committed.
    fn is_done(&self, notes: &Notes) -> bool {
        self.ends.iter().all(|(partition, end)| notes.done.get(partition).is_some_and(|offset| offset >= end))
    }
}

/// A stream thread's client, metered.
struct MeteredClient {
    client: Box<dyn Client>,
    input: Arc<Input>,
    /// Its place among the subscription's topics.
    topic: Option<u32>,
    /// Whether the thread last asked for records without having time to wait for them.
    busy: bool,
    /// When the thread last had nothing more to do.
    idle: Option<Instant>,
    /// Input offsets of the interval in flight.
    in_flight: Vec<(i32, i64)>,
}

impl MeteredClient {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Records { input, .. } => {
                let mut notes = self.input.notes();
                notes.first_of_all.get_or_insert_with(Moment::now);
                if Some(input.topic.0) == self.topic {
                    notes.first.get_or_insert_with(Moment::now);
                }
            }
            Event::Committed { .. } => self.committed(),
            Event::Aborted { .. } => self.in_flight.clear(),
            _ => {}
        }
    }

    fn committed(&mut self) {
        let anon_rss_mib = memory_mib("RssAnon");
        let mut notes = self.input.notes();
        notes.last_commit = Some(Moment::now());
        notes.anon_rss_mib = notes.anon_rss_mib.max(anon_rss_mib);
        notes.done.extend(self.in_flight.drain(..));
        if notes.committed.is_none() && self.input.is_done(&notes) {
            notes.committed = Some(Moment::now());
        }
    }
}

impl Client for MeteredClient {
    fn poll(&mut self, wait: Duration, events: &mut Vec<Event>) -> Result<()> {
        match wait.is_zero() {
            true => self.idle = None,
            false if self.busy => self.idle = Some(Instant::now()),
            false => {}
        }
        self.busy = wait.is_zero();
        let heard = events.len();
        self.client.poll(wait, events)?;
        for event in &events[heard..] {
            self.hear(event);
        }
        Ok(())
    }

    /// All records of the interval were processed before it was cut: since the thread had nothing more to do, if it
    /// came to that.
    fn submit(&mut self, interval: Interval) -> Result<()> {
        let offsets = interval.offsets.iter().filter(|offset| Some(offset.input.topic.0) == self.topic);
        self.in_flight = offsets.map(|offset| (offset.input.partition, offset.offset)).collect();
        let ends = &self.input.ends;
        if self.in_flight.iter().any(|(partition, offset)| ends.get(partition).is_some_and(|end| offset >= end)) {
            let processed = self.idle.unwrap_or_else(Instant::now);
            let mut notes = self.input.notes();
            if notes.committed.is_none() {
                notes.processed = notes.processed.max(Some(processed));
            }
        }
        self.client.submit(interval)
    }

    fn accept(&mut self, tasks: &[TaskId]) -> Result<()> {
        self.client.accept(tasks)
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<()> {
        self.client.release(tasks)
    }

    fn start(&mut self, input: TopicPartition, offset: i64) -> Result<()> {
        self.client.start(input, offset)
    }

    fn want(&mut self, input: TopicPartition, wanted: bool) {
        self.client.want(input, wanted);
    }

    fn publish(&mut self, outgoing: &Outgoing) -> Result<bool> {
        self.client.publish(outgoing)
    }

    fn leave(&mut self, stay: bool) -> Result<()> {
        self.client.leave(stay)
    }
}

/// A reader of changelogs, metered.
struct MeteredReader {
    reader: Box<dyn Reader>,
    input: Arc<Input>,
}

impl Reader for MeteredReader {
    fn assign(&mut self, partitions: &[(String, i32, i64)]) -> Result<()> {
        self.reader.assign(partitions)
    }

    /// What the host does with a changelog that it has put into its store to the end.
    fn unassign(&mut self, partitions: &[(String, i32)]) -> Result<()> {
        self.input.notes().restore_last = Some(Moment::now());
        self.reader.unassign(partitions)
    }

    fn poll_each(&mut self, wait: Duration, out: &mut Vec<Fetched>, failed: &mut Vec<Failed>) -> Result<()> {
        let heard = out.len();
        self.reader.poll_each(wait, out, failed)?;
        for fetched in &out[heard..] {
            if let Fetched::Records { records, .. } = fetched {
                let mut notes = self.input.notes();
                notes.restore_first.get_or_insert_with(Moment::now);
                notes.restored += records.len() as u64;
            }
        }
        Ok(())
    }
}

impl Log for Metered {
    fn client(&self, subscription: Subscription) -> Result<Box<dyn Client>> {
        let topic = subscription.topics.iter().position(|topic| *topic == self.input.topic);
        let topic = topic.and_then(|place| u32::try_from(place).ok());
        let client = self.log.client(subscription)?;
        let input = self.input.clone();
        Ok(Box::new(MeteredClient { client, input, topic, busy: false, idle: None, in_flight: Vec::new() }))
    }

    fn reader(&self, isolation: Isolation) -> Result<Box<dyn Reader>> {
        Ok(Box::new(MeteredReader { reader: self.log.reader(isolation)?, input: self.input.clone() }))
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        self.log.writer()
    }

    fn url(&self) -> &str {
        self.log.url()
    }

    fn ping(&self, timeout: Duration) -> Result<()> {
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
        self.log.offsets(topic, partition)
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

    fn members(&self, application: &str) -> Result<Option<Vec<String>>> {
        self.log.members(application)
    }

    fn holder(&self, application: &str) -> Result<Option<String>> {
        self.log.holder(application)
    }

    fn forget(&self, application: &str) -> Result<()> {
        self.log.forget(application)
    }

    fn committed(&self, application: &str, partitions: &[(String, i32)]) -> Result<Vec<Option<Committed>>> {
        self.log.committed(application, partitions)
    }

    fn committed_partitions(&self, application: &str) -> Result<Vec<(String, i32)>> {
        self.log.committed_partitions(application)
    }
}

/// How an application commits; what the command line calls it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Promise {
    AtLeastOnce,
    ExactlyOnce,
}

impl From<Promise> for Guarantee {
    fn from(promise: Promise) -> Guarantee {
        match promise {
            Promise::AtLeastOnce => Guarantee::AtLeastOnce,
            Promise::ExactlyOnce => Guarantee::ExactlyOnce,
        }
    }
}
