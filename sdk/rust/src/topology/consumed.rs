//! How a source is read.

use super::graph::Draft;
use crate::answer::{ALL, Answer, Field, SAME};
use crate::call::{Call, Function, Input};
use crate::codec::{self, Data};
use crate::failure::Failure;
use crate::record::{Headers, Record};

/// A source's name, and when its records happened: Kafka Streams' `Consumed`. A plain name will do: `stream("orders")`.
///
/// ```
/// # use millstream_sdk::prelude::*;
/// # fn topology(app: &mut Topology) {
/// let orders = Consumed::named("orders")
///     .extract_timestamp(|order: &Record<String, i64>, _| order.value)
///     .on_invalid_timestamp(InvalidTimestamp::Skip);
/// app.stream(orders).to("orders-of-their-time");
/// # }
/// ```
pub struct Consumed<K, V> {
    name: String,
    topic: Option<String>,
    topics: Vec<String>,
    pattern: Option<String>,
    timestamp: Option<&'static str>,
    invalid: Option<InvalidTimestamp>,
    extract: Option<Extract<K, V>>,
}

/// The record as it came in, and the highest time of its partition so far (-1: none yet); answers its time in ms.
type Extract<K, V> = Box<dyn FnMut(&Record<K, V>, i64) -> Result<i64, Failure>>;

/// What becomes of a record whose time is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTimestamp {
    /// It fails, and its source's `on_error` decides. So it is where nothing is said.
    Fail,
    /// It is dropped and counted.
    Skip,
    /// It happened at the highest time of its partition so far; in front of the first valid one it fails.
    PartitionTime,
}

impl<K: Data, V: Data> Consumed<K, V> {
    /// The source's name is that of its topic, unless [`Consumed::topic`] names another; the manifest's `[sources.NAME]`
    /// may point it elsewhere. Its records happened when their timestamps say.
    pub fn named(name: impl Into<String>) -> Consumed<K, V> {
        let (topic, topics, pattern) = (None, Vec::new(), None);
        Consumed { name: name.into(), topic, topics, pattern, timestamp: None, invalid: None, extract: None }
    }

    /// The topic of a source that is not called like it. A topic has one source: what is read twice is one
    /// [`crate::Stream`], used twice.
    pub fn topic(self, topic: impl Into<String>) -> Consumed<K, V> {
        Consumed { topic: Some(topic.into()), ..self }
    }

    /// Reads several topics as one stream. To the manifest each is a source called like it; what `[sources.NAME]` says of
    /// this name counts for all. For [`crate::Topology::stream`].
    pub fn topics<T: Into<String>>(name: impl Into<String>, topics: impl IntoIterator<Item = T>) -> Consumed<K, V> {
        Consumed { topics: topics.into_iter().map(Into::into).collect(), ..Consumed::named(name) }
    }

    /// The same of all topics whose whole names match a regular expression when the application starts. One that comes
    /// later stops it, and is read after the next start. A test driver has one topic in their place, called `name`.
    pub fn pattern(name: impl Into<String>, pattern: impl Into<String>) -> Consumed<K, V> {
        Consumed { pattern: Some(pattern.into()), ..Consumed::named(name) }
    }

    /// Goes by when the broker took a record: a topic that does not keep that (`message.timestamp.type=LogAppendTime`) is
    /// refused.
    pub fn log_append_time(self) -> Consumed<K, V> {
        Consumed { timestamp: Some("log-append"), ..self }
    }

    /// Goes by the clock on the wall when a record comes in; one that is read again has another time then.
    pub fn wall_clock_time(self) -> Consumed<K, V> {
        Consumed { timestamp: Some("wall-clock"), ..self }
    }

    /// Goes by what `extract` answers, in ms since the epoch: Kafka Streams' `TimestampExtractor`. It is given the record
    /// as it came in, and the highest time of its partition so far, -1 in front of the first record.
    ///
    /// It runs ahead of everything else, over all the records that come in together, and must answer the same for the
    /// same record.
    pub fn extract_timestamp(self, mut extract: impl FnMut(&Record<K, V>, i64) -> i64 + 'static) -> Consumed<K, V> {
        self.try_extract_timestamp(move |record, partition_time| Ok(extract(record, partition_time)))
    }

    pub fn try_extract_timestamp(
        self,
        extract: impl FnMut(&Record<K, V>, i64) -> Result<i64, Failure> + 'static,
    ) -> Consumed<K, V> {
        Consumed { timestamp: Some("function"), extract: Some(Box::new(extract)), ..self }
    }

    pub fn on_invalid_timestamp(self, invalid: InvalidTimestamp) -> Consumed<K, V> {
        Consumed { invalid: Some(invalid), ..self }
    }

    pub(super) fn into_draft(self, op: &'static str) -> Draft {
        let invalid = |invalid| match invalid {
            InvalidTimestamp::Fail => "fail",
            InvalidTimestamp::Skip => "skip",
            InvalidTimestamp::PartitionTime => "partition-time",
        };
        Draft {
            op,
            name: Some(self.name),
            key: Some(codec::name::<K>()),
            value: Some(codec::name::<V>()),
            topic: self.topic,
            topics: self.topics,
            pattern: self.pattern,
            timestamp: self.timestamp,
            invalid_timestamp: self.invalid.map(invalid),
            function: self.extract.map(extraction),
            ..Draft::default()
        }
    }
}

impl<K: Data, V: Data> From<&str> for Consumed<K, V> {
    fn from(name: &str) -> Consumed<K, V> {
        Consumed::named(name)
    }
}

impl<K: Data, V: Data> From<&String> for Consumed<K, V> {
    fn from(name: &String) -> Consumed<K, V> {
        Consumed::named(name)
    }
}

impl<K: Data, V: Data> From<String> for Consumed<K, V> {
    fn from(name: String) -> Consumed<K, V> {
        Consumed::named(name)
    }
}

/// The host says how far the partition had come in front of the frame; from there on the answers say it.
fn extraction<K: Data, V: Data>(mut extract: Extract<K, V>) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        let mut partition_time = call.frame.contexts.first().map_or(-1, |origin| origin.stream_time);
        call.each(|input: Input<'_>, answer: &mut Answer| {
            let headers = Headers::from_bytes(input.element.headers);
            let (key, value, timestamp) = (input.key()?, input.value()?, input.timestamp());
            let time = extract(&Record { key, value, timestamp, headers }, partition_time)?;
            partition_time = partition_time.max(time);
            // An answer's own timestamp is never negative; what counts here is its value.
            answer.element(input.place, ALL, 0, (SAME, Field::New(&time)), None);
            Ok(())
        })
    })
}
