//! Topics as somebody reads them who knows nothing of the host: Kafka with rdkafka alone, the embedded log as the text
//! that `consume` prints.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::logs::{Kind, Owned, TestLog};
use crate::millstream::Millstream;

/// How long a topic may take to be read. An open transaction of a dead process holds its readers back for its timeout.
const DEADLINE: Duration = Duration::from_secs(120);

const ANSWER: Duration = Duration::from_secs(30);

/// What a topic's values are. Keys are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    Text,
    /// Eight bytes, the highest first.
    Number,
}

/// A committed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: String,
    /// `Null`: a tombstone.
    pub value: Value,
    /// Names and values, as text.
    pub headers: Vec<(String, String)>,
}

impl Row {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Its value, which is text.
    #[track_caller]
    pub fn text(&self) -> &str {
        self.value.as_str().unwrap_or_else(|| panic!("{self:?} is no text"))
    }
}

pub enum Outside<'a> {
    Kafka(String),
    Embedded(&'a Millstream),
}

impl<'a> Outside<'a> {
    pub fn of(log: &TestLog, mill: &'a Millstream) -> Outside<'a> {
        let url = log.log.url();
        match (log.kind, url.strip_prefix("kafka://")) {
            (Kind::Kafka, Some(broker)) => Outside::Kafka(broker.to_owned()),
            _ => Outside::Embedded(mill),
        }
    }

    /// As [`Outside::ends`], once no transaction is open: behind the marker of the last one.
    pub fn settled_ends(&self, topic: &str) -> Vec<i64> {
        let Outside::Kafka(broker) = self else { return self.ends(topic) };
        let stable = consumer(broker, Isolation::Committed);
        let start = Instant::now();
        loop {
            let ends = kafka_ends(&stable, topic);
            if ends == self.ends(topic) {
                return ends;
            }
            assert!(start.elapsed() < DEADLINE, "a transaction of {topic} is open for {DEADLINE:?}");
        }
    }

    /// All committed records of a topic, partition after partition.
    pub fn read(&self, topic: &str, values: Values) -> Vec<Row> {
        match self {
            Outside::Kafka(broker) => {
                read_kafka(broker, topic, &|message| row(message, values)).into_iter().flatten().collect()
            }
            Outside::Embedded(mill) => read_text(mill, topic, values),
        }
    }

    /// All committed records of a topic by partition, byte by byte.
    pub fn read_bytes(&self, topic: &str) -> Vec<Vec<Owned>> {
        match self {
            Outside::Kafka(broker) => read_kafka(broker, topic, &owned),
            Outside::Embedded(mill) => {
                let mut read = vec![Vec::new(); self.ends(topic).len()];
                for record in consume(mill, topic, &[]) {
                    read[number(&record, "partition") as usize].push(owned_of_text(&record));
                }
                read
            }
        }
    }

    /// The next offset that an application has to process, if it has committed any.
    pub fn committed(&self, id: &str, topic: &str, partition: i32) -> Option<i64> {
        match self {
            Outside::Kafka(broker) => kafka_committed(broker, id, topic, partition),
            Outside::Embedded(mill) => {
                let described = mill.run(&["groups", "describe", id, "-o", "json"]);
                // There is no group before the first commit.
                let described = (described.code == Some(0)).then(|| described.json())?;
                let partitions = described["partitions"].as_array().expect("a group has partitions");
                let is_it = |one: &&Value| one["topic"] == topic && one["partition"] == partition;
                partitions.iter().find(is_it).map(|found| number(found, "committed"))
            }
        }
    }

    /// The offsets behind the last record of each partition, committed or not.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        match self {
            Outside::Kafka(broker) => kafka_ends(&consumer(broker, Isolation::Uncommitted), topic),
            Outside::Embedded(mill) => {
                let described = mill.run(&["topics", "describe", topic, "-o", "json"]).ok().json();
                let offsets = described["offsets"].as_array().expect("a topic has offsets");
                offsets.iter().map(|partition| partition["end"].as_i64().expect("a number")).collect()
            }
        }
    }
}

// === Kafka ===

#[derive(Clone, Copy, Debug)]
enum Isolation {
    Committed,
    Uncommitted,
}

/// Its isolation decides what the end of a partition is as well: the last stable offset, or the high watermark.
fn consumer(broker: &str, isolation: Isolation) -> BaseConsumer {
    consumer_of("nobody", broker, isolation)
}

fn consumer_of(group: &str, broker: &str, isolation: Isolation) -> BaseConsumer {
    let isolation = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("group.id", group).set("enable.auto.commit", "false");
    config.set("isolation.level", isolation).set("enable.partition.eof", "true");
    config.create().expect("a consumer can be made")
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> i32 {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER).expect("the broker answers");
    metadata.topics()[0].partitions().len() as i32
}

fn end(consumer: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    consumer.fetch_watermarks(topic, partition, ANSWER).expect("the broker answers").1
}

fn kafka_ends(consumer: &BaseConsumer, topic: &str) -> Vec<i64> {
    (0..partitions(consumer, topic)).map(|partition| end(consumer, topic, partition)).collect()
}

/// Once no transaction is open that would change it.
fn kafka_committed(broker: &str, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let consumer = consumer_of(group, broker, Isolation::Committed);
    let known = consumer.committed_offsets(asked, ANSWER).expect("the broker answers");
    known.find_partition(topic, partition)?.offset().to_raw().filter(|offset| *offset >= 0)
}

/// By partition, each record as `form` wants it.
fn read_kafka<T>(broker: &str, topic: &str, form: &dyn Fn(&BorrowedMessage<'_>) -> T) -> Vec<Vec<T>> {
    let ends = kafka_ends(&consumer(broker, Isolation::Uncommitted), topic);
    (0..).zip(ends).map(|(partition, end)| read_partition(broker, topic, partition, end, form)).collect()
}

/// Up to this end. Transactions that were open there are waited for: what a group has committed may be known before the
/// broker has written, behind the output, that it is committed as well.
fn read_partition<T>(
    broker: &str,
    topic: &str,
    partition: i32,
    end: i64,
    form: &dyn Fn(&BorrowedMessage<'_>) -> T,
) -> Vec<T> {
    let consumer = consumer(broker, Isolation::Committed);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset can be named");
    consumer.assign(&assignment).expect("a partition can be read");
    let (mut rows, start) = (Vec::new(), Instant::now());
    // Of a partition without records there is no place to tell.
    if end == 0 {
        return rows;
    }
    loop {
        assert!(start.elapsed() < DEADLINE, "{topic}-{partition} is not read to {end} within {DEADLINE:?}");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => rows.push(form(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) if position(&consumer, topic, partition) >= end => return rows,
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            // Connections may still be coming back.
            Some(Err(error)) => eprintln!("reading {topic}-{partition}: {error}"),
        }
    }
}

/// Behind everything that was read or skipped, markers included.
fn position(consumer: &BaseConsumer, topic: &str, partition: i32) -> i64 {
    let positions = consumer.position().expect("a consumer knows its place");
    let found = positions.find_partition(topic, partition).map(|found| found.offset());
    found.and_then(|offset| offset.to_raw()).unwrap_or(0)
}

fn owned(message: &BorrowedMessage<'_>) -> Owned {
    let bytes = <[u8]>::to_vec;
    let header = |header: rdkafka::message::Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(bytes));
    Owned {
        offset: message.offset(),
        key: message.key().map(bytes),
        value: message.payload().map(bytes),
        headers: message.headers().map(|all| all.iter().map(header).collect()).unwrap_or_default(),
        timestamp: message.timestamp().to_millis().expect("every record has one"),
    }
}

fn row(message: &impl Message, values: Values) -> Row {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is text");
    let header = |header: rdkafka::message::Header<'_, &[u8]>| {
        (header.key.to_owned(), header.value.map(text).unwrap_or_default())
    };
    let value = match (message.payload(), values) {
        (None, _) => Value::Null,
        (Some(bytes), Values::Text) => text(bytes).into(),
        (Some(bytes), Values::Number) => i64::from_be_bytes(bytes.try_into().expect("eight bytes")).into(),
    };
    Row {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().expect("every record has one"),
        key: message.key().map(text).unwrap_or_default(),
        value,
        headers: message.headers().map(|all| all.iter().map(header).collect()).unwrap_or_default(),
    }
}

// === text ===

/// The records as `consume` prints them, in the order of each partition.
fn consume(mill: &Millstream, topic: &str, codecs: &[&str]) -> Vec<Value> {
    mill.run(&[&["consume", topic, "--until-end", "-o", "jsonl"], codecs].concat()).ok().jsonl()
}

fn number(record: &Value, name: &str) -> i64 {
    record[name].as_i64().expect("a number")
}

fn read_text(mill: &Millstream, topic: &str, values: Values) -> Vec<Row> {
    let value = match values {
        Values::Text => "utf8",
        Values::Number => "i64",
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let header = |pair: &Value| (text(&pair[0]), text(&pair[1]));
    let row = |record: Value| Row {
        partition: number(&record, "partition") as i32,
        offset: number(&record, "offset"),
        timestamp: number(&record, "timestamp"),
        key: record["key"].as_str().unwrap_or_default().to_owned(),
        value: record["value"].clone(),
        headers: record["headers"].as_array().into_iter().flatten().map(header).collect(),
    };
    let printed = consume(mill, topic, &["--key", "utf8", "--value", value]);
    let mut rows: Vec<Row> = printed.into_iter().map(row).collect();
    rows.sort_by_key(|row| (row.partition, row.offset));
    rows
}

/// Printed without a codec.
fn owned_of_text(record: &Value) -> Owned {
    let header = |pair: &Value| (pair[0].as_str().expect("a header has a name").to_owned(), bytes(&pair[1]));
    Owned {
        offset: number(record, "offset"),
        key: bytes(&record["key"]),
        value: bytes(&record["value"]),
        headers: record["headers"].as_array().expect("a record has headers").iter().map(header).collect(),
        timestamp: number(record, "timestamp"),
    }
}

/// A string, `{"base64": …}` of what is none, or nothing.
fn bytes(shown: &Value) -> Option<Vec<u8>> {
    match shown {
        Value::Null => None,
        Value::String(text) => Some(text.as_bytes().to_vec()),
        other => {
            let coded = other["base64"].as_str().unwrap_or_else(|| panic!("{other} are no bytes"));
            Some(BASE64.decode(coded).expect("it is base64"))
        }
    }
}
