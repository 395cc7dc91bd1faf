//! Reads partitions outside any group, all through one queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as native_api;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::connection::Connection;
use super::fetch::{self, Stretch};
use super::native::{self, Queue};
use super::properties::Properties;
use super::reports::Reports;
use crate::log::{Error, Failed, Fetched, Isolation, Reader, Result};

/// Fields are dropped from the top: partitions stop before their queue goes, the client goes last.
pub struct KafkaReader {
    partitions: BTreeMap<(String, i32), Fetching>,
    queue: Queue,
    consumer: BaseConsumer<Reports>,
    connection: Arc<Connection>,
}

impl KafkaReader {
    pub fn open(connection: Arc<Connection>, properties: &Properties, isolation: Isolation) -> Result<KafkaReader> {
        let consumer: BaseConsumer<Reports> = properties
            .reader(isolation)
            .create_with_context(Reports::default())
            .map_err(|e| native::kafka_error("kafka reader", &e))?;
        // SAFETY: the client outlives the queue, see the order of the fields.
        let queue = unsafe { Queue::own(native_api::rd_kafka_queue_new(consumer.client().native_ptr())) };
        let queue = queue.ok_or_else(|| Error::refused("kafka reader", "librdkafka made no queue"))?;
        Ok(KafkaReader { partitions: BTreeMap::new(), queue, consumer, connection })
    }

    fn start(&mut self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let key = (topic.to_owned(), partition);
        self.partitions.remove(&key);
        let fetching = Fetching::start(&self.consumer, &self.queue, topic, partition, offset)?;
        self.partitions.insert(key, fetching);
        Ok(())
    }
}

impl Reader for KafkaReader {
    fn assign(&mut self, partitions: &[(String, i32, i64)]) -> Result<()> {
        let mut counts: BTreeMap<&str, i32> = BTreeMap::new();
        for (topic, partition, _) in partitions {
            let count = match counts.get(topic.as_str()) {
                Some(count) => *count,
                None => *counts.entry(topic).or_insert(self.connection.existing(topic)?),
            };
            if !(0..count).contains(partition) {
                let what = format!("read partition {partition} of topic {topic}");
                return Err(Error::refused(what, format!("the topic has {count} partitions")));
            }
        }
        partitions.iter().try_for_each(|(topic, partition, offset)| self.start(topic, *partition, *offset))
    }

    fn unassign(&mut self, partitions: &[(String, i32)]) -> Result<()> {
        for partition in partitions {
            self.partitions.remove(partition);
        }
        Ok(())
    }

    fn poll_each(&mut self, wait: Duration, out: &mut Vec<Fetched>, failed: &mut Vec<Failed>) -> Result<()> {
        while self.consumer.poll(Duration::ZERO).is_some() {}
        let mut over = Vec::new();
        fetch::take(&self.queue, wait, |topic, partition, stretch| match stretch {
            Stretch::Records(records) => {
                out.push(Fetched::Records { topic: topic.to_owned(), partition, records });
            }
            Stretch::End(offset) => out.push(Fetched::End { topic: topic.to_owned(), partition, offset }),
            Stretch::Truncated(offset) => {
                over.push((topic.to_owned(), partition));
                out.push(Fetched::Truncated { topic: topic.to_owned(), partition, offset });
            }
            // What a reader cannot reach it reaches later; only a whole cluster gone is told, below.
            Stretch::Failed(code, _) if native::is_unreachable(code) => {}
            Stretch::Failed(code, why) => {
                let error = match native::is_unknown_topic(code) {
                    true => Error::UnknownTopic(topic.to_owned()),
                    false => native::error(&format!("read partition {partition} of topic {topic}"), code, &why),
                };
                over.push((topic.to_owned(), partition));
                failed.push(Failed { topic: topic.to_owned(), partition, error });
            }
        });
        self.unassign(&over)?;
        let reports = self.consumer.client().context();
        if out.is_empty() && failed.is_empty() && reports.take_down() {
            return Err(Error::unreachable("read", reports.why("all brokers are down")));
        }
        Ok(())
    }
}

/// One partition whose messages flow into the reader's queue, until it is dropped.
struct Fetching {
    topic: *mut native_api::rd_kafka_topic_t,
    partition: i32,
}

// SAFETY: librdkafka's topics may be used from any thread.
unsafe impl Send for Fetching {}

impl Fetching {
    fn start(
        consumer: &BaseConsumer<Reports>,
        queue: &Queue,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Fetching> {
        let what = format!("read partition {partition} of topic {topic}");
        let name = native::c_string(topic)?;
        // SAFETY: the client is live, the name is copied; without a configuration the client's own is used.
        let handle = unsafe {
            native_api::rd_kafka_topic_new(consumer.client().native_ptr(), name.as_ptr(), std::ptr::null_mut())
        };
        if handle.is_null() {
            return Err(Error::refused(what, "not a topic librdkafka takes"));
        }
        // SAFETY: the topic was made just now by the queue's client. Logical offsets are negative and not meant.
        let started =
            unsafe { native_api::rd_kafka_consume_start_queue(handle, partition, offset.max(0), queue.ptr()) };
        if started != 0 {
            // SAFETY: nothing else holds the handle.
            unsafe { native_api::rd_kafka_topic_destroy(handle) };
            return Err(Error::refused(what, "librdkafka does not start it"));
        }
        Ok(Fetching { topic: handle, partition })
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        // SAFETY: started once; stopping waits until librdkafka has stopped, messages still in the queue become
        // outdated and are never handed out. The handle is destroyed once.
        unsafe {
            native_api::rd_kafka_consume_stop(self.topic, self.partition);
            native_api::rd_kafka_topic_destroy(self.topic);
        }
    }
}
