//! Writes records outside any application.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_engine::record::{Record, TopicId};

use super::connection::Connection;
use super::deliveries::Tag;
use super::native::{self, Failure};
use super::producer::Producer;
use super::properties::Properties;
use super::reports::Reports;
use crate::log::{Error, Result, Writer};

/// How long a flush waits for acknowledgements while nothing answers.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

pub struct KafkaWriter {
    producer: Producer,
    reports: Arc<Reports>,
    connection: Arc<Connection>,
    /// Partitions of the topics written so far.
    topics: HashMap<String, i32>,
}

impl KafkaWriter {
    pub fn open(connection: Arc<Connection>, properties: &Properties) -> Result<KafkaWriter> {
        let reports = Arc::new(Reports::default());
        let producer = Producer::open(&properties.writer(), reports.clone())?;
        Ok(KafkaWriter { producer, reports, connection, topics: HashMap::new() })
    }

    /// Asked once a topic: librdkafka itself would wait half a minute for a topic that is not there.
    fn partitions(&mut self, topic: &str) -> Result<i32> {
        if let Some(partitions) = self.topics.get(topic) {
            return Ok(*partitions);
        }
        let partitions = self.connection.existing(topic)?;
        self.topics.insert(topic.to_owned(), partitions);
        Ok(partitions)
    }

    fn explain(&self, failure: &Failure) -> Error {
        match native::error("write", failure.code, &failure.why) {
            Error::Unreachable { what, why } => {
                self.reports.explain(&what, "no broker acknowledged it", &format!("{why}; "))
            }
            other => self.connection.named(other),
        }
    }
}

impl Writer for KafkaWriter {
    fn send(&mut self, topic: &str, partition: Option<i32>, record: Record<'_>) -> Result<()> {
        let partitions = self.partitions(topic)?;
        if let Some(partition) = partition.filter(|partition| !(0..partitions).contains(partition)) {
            let what = format!("write to partition {partition} of topic {topic}");
            return Err(Error::refused(what, format!("the topic has {partitions} partitions")));
        }
        let sent = self.producer.send(topic, partition, record, Tag::new(TopicId(0), false));
        self.producer.poll(0);
        sent.map_err(|failure| self.explain(&failure))
    }

    fn flush(&mut self) -> Result<()> {
        let done = self.producer.flush(FLUSH_TIMEOUT);
        let failure = self.producer.take_delivered().failure;
        match failure {
            Some(failure) => Err(self.explain(&failure)),
            None if done => Ok(()),
            None => {
                let why = self.reports.why("no broker acknowledged it");
                Err(Error::unreachable("write", format!("not acknowledged within {FLUSH_TIMEOUT:?}: {why}")))
            }
        }
    }
}
