//! `bare`: what librdkafka alone allows. A hash map counts, and each record makes two: its changelog entry and its
//! update. No group, no offsets, no state on disk, no transaction.

use std::collections::HashMap;
use std::ffi::CString;
use std::ptr;
use std::slice;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use millstream::log;
use millstream_engine::partitioner::partition;
use rdkafka::Message;
use rdkafka::bindings as native;
use rdkafka::bindings::rd_kafka_vtype_t as Kind;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;

use crate::app::{ends, make_topic};
use crate::usage::{Moment, cpu, memory_mib, rate, rounded};

/// Records taken from librdkafka in one call, and between two looks at delivery reports.
const BATCH: usize = 1_000;
const POLL: Duration = Duration::from_millis(100);
const FULL: Duration = Duration::from_millis(5);
const FLUSH: Duration = Duration::from_secs(120);

#[derive(Args)]
pub struct Bare {
    /// kafka://HOST:PORT
    #[arg(long)]
    log: String,
    /// Records and updates go to `TOPIC-bare-changelog` and `TOPIC-bare-out`, which are made anew
    #[arg(long)]
    topic: String,
    #[arg(long, value_enum, default_value = "count-batch")]
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Only read, record by record
    Poll,
    /// Only read, a batch a call
    Batch,
    /// Count, by the safe interface
    CountPoll,
    /// Count, by the batch calls: the fastest
    CountBatch,
}

struct Counts(HashMap<Vec<u8>, i64>);

impl Counts {
    fn add(&mut self, key: &[u8]) -> i64 {
        if let Some(count) = self.0.get_mut(key) {
            *count += 1;
            return *count;
        }
        self.0.insert(key.to_vec(), 1);
        1
    }
}

impl Bare {
    pub fn run(self) -> Result<()> {
        let log = log::open(&self.log, &log::Options::default())?;
        let ends = ends(&*log, &self.topic)?;
        let partitions = i32::try_from(ends.len())?;
        let records = ends.values().sum::<i64>().unsigned_abs();
        ensure!(records > 0, "topic {} is empty", self.topic);
        let (out, changelog) = (format!("{}-bare-out", self.topic), format!("{}-bare-changelog", self.topic));
        if matches!(self.mode, Mode::CountPoll | Mode::CountBatch) {
            make_topic(&*log, &out, ends.len(), true)?;
            make_topic(&*log, &changelog, ends.len(), true)?;
        }
        let brokers = self.log.strip_prefix("kafka://").context("the bare client speaks to Kafka alone")?;
        let source = Source { consumer: consumer(brokers, &self.topic, partitions)?, records };
        let mut counts = Counts(HashMap::new());
        let first = match self.mode {
            Mode::Poll => source.polls(|_, _, _| Ok(()))?,
            Mode::Batch => source.batches(|_, _, _| Ok(()))?,
            Mode::CountPoll | Mode::CountBatch => {
                let sink = Sink::new(producer(brokers)?, &changelog, &out)?;
                let mut handled = 0;
                let mut each = |at: i32, key: &[u8], timestamp: i64| {
                    let value = counts.add(key).to_be_bytes();
                    let to = partition(key, partitions);
                    match self.mode {
                        Mode::CountPoll => {
                            sink.send(&changelog, at, key, &value, timestamp)?;
                            sink.send(&out, to, key, &value, timestamp)?;
                        }
                        _ => {
                            sink.send_raw(sink.changelog, at, key, &value, timestamp)?;
                            sink.send_raw(sink.out, to, key, &value, timestamp)?;
                        }
                    }
                    handled += 1;
                    if handled % BATCH == 0 {
                        sink.producer.poll(Duration::ZERO);
                    }
                    Ok(())
                };
                let first = match self.mode {
                    Mode::CountPoll => source.polls(&mut each)?,
                    _ => source.batches(&mut each)?,
                };
                sink.producer.flush(FLUSH)?;
                first
            }
        };
        self.print(first, records, counts.0.len());
        Ok(())
    }

    fn print(&self, first: Moment, records: u64, keys: usize) {
        let (wall, used) = (first.at.elapsed(), cpu() - first.cpu);
        let line = json!({
            "records": records, "wall_s": rounded(wall.as_secs_f64(), 3), "cpu_s": rounded(used.as_secs_f64(), 3),
            "per_cpu_s": rate(records, used), "per_s": rate(records, wall),
            "total_cpu_s": rounded(cpu().as_secs_f64(), 3), "peak_rss_mib": memory_mib("VmHWM"),
            "anon_rss_mib": memory_mib("RssAnon"), "keys": keys,
        });
        println!("{line}");
    }
}

fn consumer(brokers: &str, topic: &str, partitions: i32) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench-bare")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        // The default second of pause leaves a fast reader idle; it changes wall time, hardly CPU.
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn producer(brokers: &str) -> Result<BaseProducer> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "100")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("delivery.report.only.error", "true")
        .create()?;
    Ok(producer)
}

struct Source {
    consumer: BaseConsumer,
    records: u64,
}

impl Source {
    /// Hands over partition, key and timestamp of every record; answers when the first one came.
    fn polls(&self, mut each: impl FnMut(i32, &[u8], i64) -> Result<()>) -> Result<Moment> {
        let (mut seen, mut first) = (0, None);
        while seen < self.records {
            let Some(message) = self.consumer.poll(POLL) else { continue };
            let message = message?;
            first.get_or_insert_with(Moment::now);
            each(message.partition(), message.key().unwrap_or_default(), message.timestamp().to_millis().unwrap_or(0))?;
            seen += 1;
        }
        first.ok_or_else(|| anyhow!("no record came"))
    }

    /// The same by `rd_kafka_consume_batch_queue`.
    fn batches(&self, mut each: impl FnMut(i32, &[u8], i64) -> Result<()>) -> Result<Moment> {
        let (mut seen, mut first) = (0, None);
        let mut messages: Vec<*mut native::rd_kafka_message_t> = vec![ptr::null_mut(); BATCH];
        // SAFETY: the queue is live until it is destroyed below; librdkafka writes at most `BATCH` pointers, each to a
        // live message that is ours to destroy; keys are read before that.
        unsafe {
            let queue = native::rd_kafka_queue_get_consumer(self.consumer.client().native_ptr());
            while seen < self.records {
                let wait_ms = i32::try_from(POLL.as_millis())?;
                let taken = native::rd_kafka_consume_batch_queue(queue, wait_ms, messages.as_mut_ptr(), BATCH);
                for &message in &messages[..usize::try_from(taken)?] {
                    if (*message).err == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && seen < self.records
                    {
                        first.get_or_insert_with(Moment::now);
                        let key = slice::from_raw_parts((*message).key.cast::<u8>(), (*message).key_len);
                        let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
                        each((*message).partition, key, native::rd_kafka_message_timestamp(message, &mut kind))?;
                        seen += 1;
                    }
                    native::rd_kafka_message_destroy(message);
                }
            }
            native::rd_kafka_queue_destroy(queue);
        }
        first.ok_or_else(|| anyhow!("no record came"))
    }
}

/// A producer, with handles of its two topics for the raw calls.
struct Sink {
    producer: BaseProducer,
    changelog: *mut native::rd_kafka_topic_t,
    out: *mut native::rd_kafka_topic_t,
}

impl Sink {
    fn new(producer: BaseProducer, changelog: &str, out: &str) -> Result<Sink> {
        let topic = |name: &str| {
            let name = CString::new(name)?;
            // SAFETY: the client is live and the name is copied. The handle lives as long as the process.
            let topic =
                unsafe { native::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
            ensure!(!topic.is_null(), "librdkafka does not take topic {name:?}");
            Ok(topic)
        };
        let (changelog, out) = (topic(changelog)?, topic(out)?);
        Ok(Sink { producer, changelog, out })
    }

    fn send(&self, topic: &str, partition: i32, key: &[u8], value: &[u8], timestamp: i64) -> Result<()> {
        let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value).timestamp(timestamp);
        while let Err((error, back)) = self.producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), error);
            self.producer.poll(FULL);
            record = back;
        }
        Ok(())
    }

    fn send_raw(
        &self,
        topic: *mut native::rd_kafka_topic_t,
        partition: i32,
        key: &[u8],
        value: &[u8],
        timestamp: i64,
    ) -> Result<()> {
        loop {
            // SAFETY: client and topic are live; the arguments are of the types that their tags ask for; key and value
            // are copied.
            let code = unsafe {
                native::rd_kafka_producev(
                    self.producer.client().native_ptr(),
                    Kind::RD_KAFKA_VTYPE_RKT,
                    topic,
                    Kind::RD_KAFKA_VTYPE_PARTITION,
                    partition,
                    Kind::RD_KAFKA_VTYPE_MSGFLAGS,
                    native::RD_KAFKA_MSG_F_COPY,
                    Kind::RD_KAFKA_VTYPE_VALUE,
                    value.as_ptr(),
                    value.len(),
                    Kind::RD_KAFKA_VTYPE_KEY,
                    key.as_ptr(),
                    key.len(),
                    Kind::RD_KAFKA_VTYPE_TIMESTAMP,
                    timestamp,
                    Kind::RD_KAFKA_VTYPE_END,
                )
            };
            match RDKafkaErrorCode::from(code) {
                RDKafkaErrorCode::NoError => return Ok(()),
                RDKafkaErrorCode::QueueFull => {
                    self.producer.poll(FULL);
                }
                code => return Err(anyhow!("{code}")),
            }
        }
    }
}
