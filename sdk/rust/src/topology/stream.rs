//! A stream of records: its shape. What functions do to it stands in [`super::stateless`].

use std::marker::PhantomData;

use super::graph::{Draft, Port, Way};
use super::{Grouped, Produced, Split, Topology};
use crate::call::Function;
use crate::codec::{self, Data};
use crate::processor::{FixedKey, FixedKeyProcessor, Init, Processor, node_function};

/// Records with keys of type `K` and values of type `V`, one after the other: Kafka Streams' `KStream`.
pub struct Stream<K, V> {
    pub(super) topology: Topology,
    pub(super) port: Port,
    types: PhantomData<(K, V)>,
}

impl<K: Data, V: Data> Stream<K, V> {
    pub(super) fn new(topology: Topology, port: Port) -> Stream<K, V> {
        Stream { topology, port, types: PhantomData }
    }

    /// Names the node that the stream comes from; else it is called after its operator and place, `map-values-3`.
    pub fn named(self, name: &str) -> Stream<K, V> {
        self.topology.graph.borrow_mut().node(self.port.node).name = Some(name.to_owned());
        self
    }

    /// The records of both streams.
    pub fn merge(&self, other: &Stream<K, V>) -> Stream<K, V> {
        let inputs = vec![self.port.clone(), other.port.clone()];
        Stream::new(self.topology.clone(), self.topology.add(Draft { op: "merge", inputs, ..Draft::default() }))
    }

    /// Takes the stream apart: each record goes to the first branch whose predicate is true for it.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// # let orders = app.stream::<String, i64>("orders");
    /// let mut orders = orders.split();
    /// let large = orders.branch(|_, amount| *amount >= 1000);
    /// let small = orders.branch(|_, amount| *amount >= 0);
    /// let odd = orders.default();
    /// # }
    /// ```
    pub fn split(&self) -> Split<K, V> {
        Split::new(self)
    }

    /// Groups the records by the key they have, to count, reduce or aggregate them.
    pub fn group_by_key(&self) -> Grouped<K, V> {
        Grouped::new(self.clone())
    }

    /// Groups the records by a new key. The host sends them through a repartition topic, so that all records of a
    /// key meet in one task.
    pub fn group_by<K2: Data>(&self, key: impl FnMut(&K, &V) -> K2 + 'static) -> Grouped<K2, V> {
        Grouped::new(self.select_key(key))
    }

    /// Sends the records through the topic `{application id}-{name}-repartition`, so that all records of a key meet
    /// in one task: for a [`Stream::process`] behind a change of the key. Aggregations do it by themselves.
    pub fn repartition(&self, repartitioned: impl Into<Repartitioned>) -> Stream<K, V> {
        let Repartitioned { name, partitions } = repartitioned.into();
        let draft = Draft {
            op: "repartition",
            name: Some(name),
            inputs: vec![self.port.clone()],
            key: Some(codec::name::<K>()),
            value: Some(codec::name::<V>()),
            partitions,
            ..Draft::default()
        };
        Stream::new(self.topology.clone(), self.topology.add(draft))
    }

    /// Hands each record to a processor. `open` makes it, and says what it needs: stores and punctuations.
    pub fn process<P, K2, V2>(&self, name: &str, open: impl FnOnce(&mut Init) -> P) -> Stream<K2, V2>
    where
        P: Processor<K, V, K2, V2> + 'static,
        K2: Data,
        V2: Data,
    {
        Stream::new(self.topology.clone(), self.processed::<P, K2, V2>(name, false, open))
    }

    /// Hands each record to a processor that leaves its key as it is: Kafka Streams' `processValues`. An aggregation or a join
    /// behind it needs no repartition topic for its sake, as it would behind [`Stream::process`].
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// /// How much more or less a value is than the one before.
    /// struct Steps(KeyValueStore<String, i64>);
    ///
    /// impl FixedKeyProcessor<String, i64, i64> for Steps {
    ///     fn process(&mut self, record: Record<String, i64>, ctx: &mut FixedKeyContext<i64>) -> Result<(), Failure> {
    ///         let before = self.0.get(&record.key)?.unwrap_or(0);
    ///         self.0.put(&record.key, &record.value);
    ///         ctx.forward(record.value - before);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn topology(app: &mut Topology) {
    /// let last = app.store("last");
    /// let steps = app.stream("levels").process_values("steps", |init| Steps(init.store(&last)));
    /// steps.group_by_key().count("steps-by-key");
    /// # }
    /// ```
    pub fn process_values<P, V2>(&self, name: &str, open: impl FnOnce(&mut Init) -> P) -> Stream<K, V2>
    where
        P: FixedKeyProcessor<K, V, V2> + 'static,
        V2: Data,
    {
        let port = self.processed::<FixedKey<P>, (), V2>(name, true, |init| FixedKey(open(init)));
        Stream::new(self.topology.clone(), port)
    }

    fn processed<P, K2, V2>(&self, name: &str, fixed_key: bool, open: impl FnOnce(&mut Init) -> P) -> Port
    where
        P: Processor<K, V, K2, V2> + 'static,
        K2: Data,
        V2: Data,
    {
        let mut init = Init::default();
        let processor = open(&mut init);
        let mut graph = self.topology.graph.borrow_mut();
        let mut draft = Draft {
            op: "process",
            name: Some(name.to_owned()),
            inputs: vec![self.port.clone()],
            stores: init.store_places(),
            punctuations: init.punctuations.clone(),
            schedules: init.schedules,
            fixed_key,
            resumes: init.resumes,
            ..Draft::default()
        };
        draft.function = Some(node_function(processor, init, draft.children.clone(), graph.names()));
        graph.add(draft)
    }

    /// What a processor forwards to all its children or to this one by name ([`crate::Context::forward_to`]).
    pub fn child(&self, name: &str) -> Stream<K, V> {
        Stream::new(self.topology.clone(), Port { node: self.port.node, way: Way::Child(name.to_owned()) })
    }

    /// Writes the records to a topic. Its name is the sink's; the manifest's `[sinks.NAME]` may point it elsewhere.
    pub fn to(&self, produced: impl Into<Produced<K, V>>) {
        self.topology.add(produced.into().into_draft(self));
    }

    /// A node behind this stream that runs a function and nothing else.
    pub(super) fn then<K2: Data, V2: Data>(&self, op: &'static str, function: Function) -> Stream<K2, V2> {
        let draft = Draft { op, inputs: vec![self.port.clone()], function: Some(function), ..Draft::default() };
        Stream::new(self.topology.clone(), self.topology.add(draft))
    }
}

impl<K, V> Clone for Stream<K, V> {
    fn clone(&self) -> Stream<K, V> {
        Stream { topology: self.topology.clone(), port: self.port.clone(), types: PhantomData }
    }
}

/// The name of a repartition topic and how many partitions it has. A plain name will do: then it has as many as
/// what feeds it.
#[derive(Clone, Debug)]
pub struct Repartitioned {
    name: String,
    partitions: Option<u32>,
}

impl Repartitioned {
    pub fn named(name: impl Into<String>) -> Repartitioned {
        Repartitioned { name: name.into(), partitions: None }
    }

    pub fn partitions(self, partitions: u32) -> Repartitioned {
        Repartitioned { partitions: Some(partitions), ..self }
    }
}

impl From<&str> for Repartitioned {
    fn from(name: &str) -> Repartitioned {
        Repartitioned::named(name)
    }
}
