//! The plan's topics: which there are, and which have to be.

use std::collections::BTreeMap;

use super::{Extractor, InternalTopic, Node, TopicPlan};
use crate::config;
use crate::error::{Problem, exit};
use crate::record::TopicId;

/// What a plan has to know of a topic that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    pub partitions: i32,
    /// Its `max.message.bytes`; `None`: the log does not say.
    pub max_message_bytes: Option<usize>,
    /// How far ahead of its broker's clock it takes timestamps (`message.timestamp.after.max.ms`); `None`: the log does
    /// not say, or writes its own.
    pub timestamp_ahead_max_ms: Option<i64>,
    /// Whether its broker writes the timestamps (`message.timestamp.type=LogAppendTime`).
    pub is_appended: bool,
}

impl TopicFacts {
    /// Of a topic of which nothing else is known.
    pub fn of_partitions(partitions: i32) -> TopicFacts {
        TopicFacts { partitions, max_message_bytes: None, timestamp_ahead_max_ms: None, is_appended: false }
    }
}

/// What the client sends by default (`message.max.bytes` of librdkafka, 1,000,000), less what it puts around a record.
const RECORD_BYTES_MAX: usize = 1_000_000 - 1_024;

/// What stands around a lone record where a topic's `max.message.bytes` is held against it: 61 bytes of its batch and
/// less than as much of its own lengths, rounded up.
const RECORD_OVERHEAD: usize = 128;

/// The largest record, key and value and headers, that a topic takes.
fn record_bytes_max(max_message_bytes: Option<usize>) -> usize {
    let own = max_message_bytes.map_or(RECORD_BYTES_MAX, |max| max.saturating_sub(RECORD_OVERHEAD));
    own.min(RECORD_BYTES_MAX)
}

/// What a broker's clock may be behind ours before a record that we let pass is refused: far more than clocks that
/// somebody sets differ. At most a tenth of what a topic takes.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// How far ahead of our clock a timestamp may be.
fn timestamp_ahead_max_ms(of_topic: Option<i64>) -> i64 {
    of_topic.map_or(i64::MAX, |max| max - (max / 10).min(CLOCKS_DIFFER_MS))
}

/// The plan's list of topics while it is made.
pub struct Topics<'a> {
    list: Vec<TopicPlan>,
    by_name: BTreeMap<String, TopicId>,
    existing: &'a dyn Fn(&str) -> Option<TopicFacts>,
}

impl<'a> Topics<'a> {
    pub fn new(existing: &'a dyn Fn(&str) -> Option<TopicFacts>) -> Topics<'a> {
        Topics { list: Vec::new(), by_name: BTreeMap::new(), existing }
    }

    pub fn into_list(self) -> Vec<TopicPlan> {
        self.list
    }

    /// How many partitions a topic has on the log; `None`: there is no such topic.
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        (self.existing)(topic).map(|facts| facts.partitions)
    }

    /// A topic that a source reads.
    pub fn source(&mut self, name: &str, partitions: i32, node: &Node) -> Result<TopicId, Problem> {
        let is_appended = (self.existing)(name).is_some_and(|facts| facts.is_appended);
        match node.times.extractor {
            Extractor::LogAppend if !is_appended => Err(not_appended(name, &node.name)),
            _ => Ok(self.known(name, partitions)),
        }
    }

    pub fn known(&mut self, name: &str, partitions: i32) -> TopicId {
        self.add(name, partitions, None)
    }

    fn add(&mut self, name: &str, partitions: i32, internal: Option<InternalTopic>) -> TopicId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = TopicId(self.list.len() as u32);
        let configured = internal.as_ref().and_then(|topic| topic.configs.get("max.message.bytes")?.parse().ok());
        let max_message_bytes = match (self.existing)(name) {
            Some(facts) => facts.max_message_bytes,
            None => configured,
        };
        let record_bytes_max = record_bytes_max(max_message_bytes);
        let timestamp_ahead_max_ms =
            timestamp_ahead_max_ms((self.existing)(name).and_then(|facts| facts.timestamp_ahead_max_ms));
        let name_of = name.to_owned();
        self.list.push(TopicPlan { name: name_of, partitions, record_bytes_max, timestamp_ahead_max_ms, internal });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    pub fn external(
        &mut self,
        name: &str,
        error: &'static str,
        code: &'static str,
        node: &str,
    ) -> Result<TopicId, Problem> {
        match (self.existing)(name) {
            Some(facts) => Ok(self.known(name, facts.partitions)),
            None => Err(Problem::new(error, code, exit::BAD_PLAN, format!("topic {name} does not exist"))
                .field("topic", name)
                .field("node", node)
                .why("only the application's own internal topics are created for it")
                .fix(format!("millstream topics create {name} --partitions N"))),
        }
    }

    pub fn internal(
        &mut self,
        name: &str,
        partitions: i32,
        (own, configs): (&config::InternalTopics, BTreeMap<String, String>),
        mismatch: &'static str,
    ) -> Result<TopicId, Problem> {
        let exists = match self.partitions(name) {
            Some(actual) if actual != partitions => return Err(wrong_count(mismatch, name, partitions, actual)),
            Some(_) => true,
            None if own.auto_create => false,
            None => return Err(not_created(name, partitions, &configs)),
        };
        let replication_factor = own.replication_factor.map(|factor| factor.get());
        Ok(self.add(name, partitions, Some(InternalTopic { exists, replication_factor, configs })))
    }
}

fn not_appended(topic: &str, source: &str) -> Problem {
    let message = format!("source {source} goes by when the broker took a record, and topic {topic} does not tell");
    Problem::new("TimestampTypeMismatch", "E0215", exit::BAD_PLAN, message)
        .field("topic", topic)
        .field("source", source)
        .field("expected_timestamp_type", "LogAppendTime")
        .field("actual_timestamp_type", "CreateTime")
        .why("its timestamps are those of whoever produced the records")
        .fix(format!(
            "kafka-configs --alter --topic {topic} --add-config message.timestamp.type=LogAppendTime, which the embedded \
             log does not have; or let the source go by the record's timestamp"
        ))
}

fn wrong_count(name: &'static str, topic: &str, expected: i32, actual: i32) -> Problem {
    Problem::new(
        name,
        "E0208",
        exit::BAD_PLAN,
        format!("internal topic {topic} has {actual} partitions and needs {expected}"),
    )
    .field("topic", topic)
    .field("expected_partitions", expected)
    .field("actual_partitions", actual)
    .why("its partitions are the tasks that read it")
    .fix(format!("recreate {topic} with {expected} partitions"))
}

fn not_created(topic: &str, partitions: i32, configs: &BTreeMap<String, String>) -> Problem {
    let policy = configs.get("cleanup.policy").map(|policy| format!(" --config cleanup.policy={policy}"));
    Problem::new(
        "InternalTopicNotFound",
        "E0209",
        exit::BAD_PLAN,
        format!("internal topic {topic} does not exist and auto_create is false"),
    )
    .field("topic", topic)
    .field("expected_partitions", partitions)
    .why("the manifest says that internal topics are created by hand")
    .fix(format!("millstream topics create {topic} --partitions {partitions}{}", policy.unwrap_or_default()))
}
