//! The partitions a member reads, each with a queue of its own: a task that is full leaves its queue alone, and what
//! was fetched stays there (pausing would throw it away).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_engine::record::TopicPartition;
use rdkafka::bindings as native_api;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::fetch::{self, Stretch};
use super::native::{self, Queue};
use super::rebalance::Membership;
use super::rights::{Missing, Right, is_about_rights};
use super::wakeup::Wakeup;
use crate::log::{Error, Event, Result, Subscription};

/// How long a rewind may wait for librdkafka to have started the partition, which takes milliseconds; then it is assigned
/// anew.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
const SEEK_AGAIN: Duration = Duration::from_millis(1);

pub struct Inputs {
    subscription: Arc<Subscription>,
    wakeup: Arc<Wakeup>,
    reading: BTreeMap<TopicPartition, Input>,
    unwanted: BTreeSet<TopicPartition>,
}

/// A partition in librdkafka's assignment.
struct Input {
    queue: Queue,
    /// `false`: silent until it is started again.
    started: bool,
    /// librdkafka has stopped it: the log did not have the next offset. It can only be assigned anew.
    stopped: bool,
    /// Everything below it was handed out.
    next: i64,
}

impl Inputs {
    pub fn new(subscription: Arc<Subscription>, wakeup: Arc<Wakeup>) -> Inputs {
        Inputs { subscription, wakeup, reading: BTreeMap::new(), unwanted: BTreeSet::new() }
    }

    /// Delivers from this offset on. The first start, and one after librdkafka has stopped the partition, assigns the partition to librdkafka; the group's own assignment,
    /// which may be another topic's, was answered without it.
    pub fn start(&mut self, consumer: &BaseConsumer<Membership>, input: TopicPartition, offset: i64) -> Result<()> {
        let topic = self.topic(input);
        if let Some(reading) = self.reading.get_mut(&input) {
            if !reading.stopped && seek(consumer, &topic, input.partition, offset) {
                (reading.started, reading.next) = (true, offset);
                return Ok(());
            }
            self.unassign(consumer, &[input])?;
        }
        // Before the assignment, so that no message takes the way of the consumer's own queue.
        let queue = own_queue(consumer, &topic, input.partition)?;
        self.wakeup.watch(&queue);
        let mut list = TopicPartitionList::with_capacity(1);
        let what = format!("start partition {} of topic {topic}", input.partition);
        list.add_partition_offset(&topic, input.partition, Offset::Offset(offset))
            .map_err(|e| native::kafka_error(&what, &e))?;
        consumer.incremental_assign(&list).map_err(|e| native::kafka_error(&what, &e))?;
        self.reading.insert(input, Input { queue, started: true, stopped: false, next: offset });
        Ok(())
    }

    pub fn want(&mut self, input: TopicPartition, wanted: bool) {
        if !wanted {
            self.unwanted.insert(input);
        } else if self.unwanted.remove(&input) {
            // What came meanwhile rang already, and will not ring again.
            self.wakeup.ring();
        }
    }

    /// Nothing of these is delivered until they are started again.
    pub fn silence(&mut self, inputs: &[TopicPartition]) {
        for input in inputs {
            self.unwanted.remove(input);
            if let Some(reading) = self.reading.get_mut(input) {
                reading.started = false;
            }
        }
    }

    pub fn silence_all(&mut self) {
        self.reading.values_mut().for_each(|reading| reading.started = false);
    }

    /// Puts every started input back to where it stands. librdkafka pauses the assignment for a rebalance and resumes it
    /// from its own idea of the position, which a batch that ended with a partition's end has put one too far: it
    /// would skip a record, or find the offset out of range. To be called when a rebalance was answered.
    pub fn hold_positions(&mut self, consumer: &BaseConsumer<Membership>) -> Result<()> {
        let started = self.reading.iter().filter(|(_, reading)| reading.started);
        let started: Vec<_> = started.map(|(input, reading)| (*input, reading.next)).collect();
        started.into_iter().try_for_each(|(input, next)| self.start(consumer, input, next))
    }

    /// Takes these out of librdkafka's assignment: the answer to a revoke, even where none of them was started.
    pub fn unassign(&mut self, consumer: &BaseConsumer<Membership>, inputs: &[TopicPartition]) -> Result<()> {
        let assigned: Vec<TopicPartition> = inputs.iter().copied().filter(|i| self.reading.contains_key(i)).collect();
        let mut list = TopicPartitionList::with_capacity(assigned.len());
        for input in &assigned {
            list.add_partition(&self.topic(*input), input.partition);
        }
        let unassigned = consumer.incremental_unassign(&list);
        for input in &assigned {
            if let Some(reading) = self.reading.remove(input) {
                self.wakeup.ignore(&reading.queue);
            }
        }
        unassigned.map_err(|e| native::kafka_error("give partitions back", &e))
    }

    /// Whether nothing is in librdkafka's assignment.
    pub fn is_empty(&self) -> bool {
        self.reading.is_empty()
    }

    /// Takes what the wanted queues hold, a batch of each.
    pub fn fetch(&mut self, events: &mut Vec<Event>, missing: &Missing) -> Result<()> {
        let mut failed = None;
        for (input, reading) in self.reading.iter_mut().filter(|(input, _)| !self.unwanted.contains(input)) {
            if !reading.started {
                continue;
            }
            let next = &mut reading.next;
            let more = fetch::take(&reading.queue, Duration::ZERO, |topic, _, stretch| match stretch {
                Stretch::Records(records) => {
                    let last = records.iter().last().map_or(0, |(offset, _)| offset + 1);
                    *next = last.max(*next);
                    events.push(Event::Records { input: *input, records });
                }
                Stretch::End(offset) => {
                    *next = offset.max(*next);
                    events.push(Event::End { input: *input, offset });
                }
                Stretch::Truncated(_) => {
                    (reading.started, reading.stopped) = (false, true);
                    events.push(Event::Truncated { input: *input, offset: *next });
                }
                Stretch::Failed(code, _) if native::is_unreachable(code) => {}
                // librdkafka goes on asking for records; when they may be read again, they come.
                Stretch::Failed(code, _) if is_about_rights(code) => missing.suspect([Right::Read(topic.to_owned())]),
                Stretch::Failed(code, _) if native::is_unknown_topic(code) => {
                    failed = Some(Error::UnknownTopic(topic.to_owned()));
                }
                Stretch::Failed(code, why) => {
                    let what = format!("read partition {} of topic {topic}", input.partition);
                    failed = Some(native::error(&what, code, &why));
                }
            });
            if more {
                // A queue that is not empty does not ring.
                self.wakeup.ring();
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn topic(&self, input: TopicPartition) -> String {
        self.subscription.topics[input.topic.0 as usize].clone()
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        for reading in self.reading.values() {
            self.wakeup.ignore(&reading.queue);
        }
    }
}

/// The queue that only this partition's messages go to.
fn own_queue(consumer: &BaseConsumer<Membership>, topic: &str, partition: i32) -> Result<Queue> {
    let name = native::c_string(topic)?;
    // SAFETY: the client outlives the queue: `Inputs` is dropped before it. Forwarding to none keeps the messages in
    // the partition's own queue.
    unsafe {
        let client = consumer.client().native_ptr();
        let queue = Queue::own(native_api::rd_kafka_queue_get_partition(client, name.as_ptr(), partition));
        let queue =
            queue.ok_or_else(|| Error::refused(format!("partition {partition} of topic {topic}"), "no queue"))?;
        native_api::rd_kafka_queue_forward(queue.ptr(), std::ptr::null_mut());
        Ok(queue)
    }
}

/// What was fetched from before is outdated with this call and never handed out. `false`: librdkafka does not take it,
/// for it has stopped the partition.
fn seek(consumer: &BaseConsumer<Membership>, topic: &str, partition: i32, offset: i64) -> bool {
    let start = Instant::now();
    // Refused while the partition is between two states of librdkafka's, too.
    while consumer.seek(topic, partition, Offset::Offset(offset), SEEK_TIMEOUT).is_err() {
        if start.elapsed() >= SEEK_TIMEOUT {
            return false;
        }
        std::thread::sleep(SEEK_AGAIN);
    }
    true
}
