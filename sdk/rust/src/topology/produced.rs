//! Where a sink's records go.

use super::Stream;
use super::graph::Draft;
use crate::answer::{Field, SAME};
use crate::call::{Call, Function};
use crate::codec::{self, Data};
use crate::failure::Failure;
use crate::frame::Kind;
use crate::record::{Headers, Record};

/// A sink: its topic, or the topics of which each record goes to one, and which partition there. A plain name will do:
/// `to("totals")`. Kafka Streams' `Produced` and `TopicNameExtractor`.
///
/// ```
/// # use millstream_sdk::prelude::*;
/// # fn topology(app: &mut Topology) {
/// let orders = app.stream::<String, i64>("orders");
/// // Two sinks may write one topic, each under a name of its own.
/// orders.filter(|_, size| *size > 100).to(Produced::named("large").topic("orders-of-note"));
/// orders.filter(|_, size| *size < 0).to(Produced::named("returned").topic("orders-of-note"));
/// orders.to(Produced::named("by-size").partitioner(|_, size, partitions| Some(*size as u32 % partitions)));
/// orders.to(Produced::to_one_of("audit", ["small", "large"], |order: &Record<String, i64>| {
///     if order.value < 100 { "small" } else { "large" }.to_string()
/// }));
/// # }
/// ```
pub struct Produced<K, V> {
    name: String,
    topic: Option<String>,
    topics: Vec<String>,
    choose: Option<Choose<K, V>>,
    partition: Option<Partition<K, V>>,
}

/// The topic of a record.
type Choose<K, V> = Box<dyn FnMut(&Record<K, V>) -> String>;

/// The partition for a key and a value, of so many; `None`: by its key.
type Partition<K, V> = Box<dyn FnMut(&K, &V, u32) -> Option<u32>>;

impl<K: Data, V: Data> Produced<K, V> {
    /// The sink's name is that of its topic, unless [`Produced::topic`] names another; the manifest's `[sinks.NAME]` may
    /// point it elsewhere.
    pub fn named(name: impl Into<String>) -> Produced<K, V> {
        Produced { name: name.into(), topic: None, topics: Vec::new(), choose: None, partition: None }
    }

    /// The topic of a sink that is not called like it, as a second one of one topic cannot be.
    pub fn topic(self, topic: impl Into<String>) -> Produced<K, V> {
        Produced { topic: Some(topic.into()), ..self }
    }

    /// A node of this name with a sink for each topic, called like it, to which `choose` sends the records. One that it
    /// sends anywhere else fails, and its source's `on_error` decides: a plugin writes to no topic that it has not named.
    pub fn to_one_of<T: Into<String>>(
        name: impl Into<String>,
        topics: impl IntoIterator<Item = T>,
        choose: impl FnMut(&Record<K, V>) -> String + 'static,
    ) -> Produced<K, V> {
        let topics = topics.into_iter().map(Into::into).collect();
        Produced { topics, choose: Some(Box::new(choose)), ..Produced::named(name) }
    }

    /// Chooses the partition of each record by its key, its value and how many there are; `None`: by its key. One that is
    /// not there fails the record.
    ///
    /// What is read by key elsewhere, in joins or tables, is looked for where the key's hash says.
    pub fn partitioner(self, partition: impl FnMut(&K, &V, u32) -> Option<u32> + 'static) -> Produced<K, V> {
        Produced { partition: Some(Box::new(partition)), ..self }
    }

    pub(super) fn into_draft(self, stream: &Stream<K, V>) -> Draft {
        let is_routed = self.choose.is_some() || self.partition.is_some();
        Draft {
            op: "sink",
            name: Some(self.name),
            inputs: vec![stream.port.clone()],
            topic: self.topic,
            topics: self.topics.clone(),
            partitioner: self.partition.is_some(),
            key: Some(codec::name::<K>()),
            value: Some(codec::name::<V>()),
            function: is_routed.then(|| routing(self.topics, self.choose, self.partition)),
            ..Draft::default()
        }
    }
}

impl<K: Data, V: Data> From<&str> for Produced<K, V> {
    fn from(name: &str) -> Produced<K, V> {
        Produced::named(name)
    }
}

impl<K: Data, V: Data> From<&String> for Produced<K, V> {
    fn from(name: &String) -> Produced<K, V> {
        Produced::named(name)
    }
}

impl<K: Data, V: Data> From<String> for Produced<K, V> {
    fn from(name: String) -> Produced<K, V> {
        Produced::named(name)
    }
}

fn routing<K: Data, V: Data>(
    topics: Vec<String>,
    mut choose: Option<Choose<K, V>>,
    mut partition: Option<Partition<K, V>>,
) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.expect(Kind::Route)?;
        let count = |bytes: Option<&[u8]>| bytes.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let partitions: Vec<u32> = call.frame.groups.iter().filter_map(|topic| count(topic.aggregate)).collect();
        call.run(|input, answer| {
            let headers = Headers::from_bytes(input.element.headers);
            let (key, value, timestamp) = (input.key()?, input.value()?, input.timestamp());
            let record = Record { key, value, timestamp, headers };
            let place = match &mut choose {
                Some(choose) => place(&topics, &choose(&record))?,
                None => 0,
            };
            let partitions = partitions.get(place).copied().unwrap_or_default();
            let chosen = partition.as_mut().and_then(|choose| choose(&record.key, &record.value, partitions));
            let chosen = chosen.map(|partition| i32::try_from(partition).unwrap_or(i32::MAX));
            answer.element(input.place, place as u16, 0, (SAME, Field::New(&chosen)), None);
            Ok(())
        });
        Ok(())
    })
}

fn place(topics: &[String], chosen: &str) -> Result<usize, Failure> {
    topics.iter().position(|topic| topic == chosen).ok_or_else(|| {
        Failure::fail(format!("topic `{chosen}` is none of those that the sink has named: {}", topics.join(", ")))
    })
}
