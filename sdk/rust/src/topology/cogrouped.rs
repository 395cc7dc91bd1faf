//! Several grouped streams that are aggregated together.

use std::marker::PhantomData;

use super::fold::{Initial, steps_from};
use super::graph::{Draft, Port};
use super::{Grouped, Materialized, Table, Topology, WindowedBy};
use crate::call::Input;
use crate::codec::Data;
use crate::failure::Failure;

/// Grouped streams of which one aggregate is made, each by a function of its own: Kafka Streams' `CogroupedKStream`.
/// Records with a null key or value are left out.
pub struct Cogrouped<K, A> {
    topology: Topology,
    ports: Vec<Port>,
    /// By input.
    aggregators: Vec<Aggregator<K, A>>,
    types: PhantomData<A>,
}

pub(super) const OP: &str = "cogroup";

type Aggregator<K, A> = Box<dyn FnMut(&K, Input<'_>, A) -> Result<A, Failure>>;

impl<K: Data, V: Data> Grouped<K, V> {
    /// Begins an aggregate of several grouped streams; `aggregate(key, value, so_far)` takes this one's values.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// # let orders = app.stream::<String, i64>("orders");
    /// # let returns = app.stream::<String, i64>("returns");
    /// orders.group_by_key()
    ///     .cogroup(|_, amount, so_far: i64| so_far + amount)
    ///     .cogroup(&returns.group_by_key(), |_, amount, so_far| so_far - amount)
    ///     .aggregate(|| 0, "balances");
    /// # }
    /// ```
    pub fn cogroup<A: Data>(&self, aggregate: impl FnMut(&K, V, A) -> A + 'static) -> Cogrouped<K, A> {
        let topology = self.stream().topology.clone();
        let none = Cogrouped { topology, ports: Vec::new(), aggregators: Vec::new(), types: PhantomData };
        none.cogroup(self, aggregate)
    }
}

impl<K: Data, A: Data> Cogrouped<K, A> {
    /// Another grouped stream of the same keys, with its own function.
    pub fn cogroup<V: Data>(
        mut self,
        grouped: &Grouped<K, V>,
        mut aggregate: impl FnMut(&K, V, A) -> A + 'static,
    ) -> Cogrouped<K, A> {
        self.ports.push(grouped.stream().port.clone());
        self.aggregators.push(Box::new(move |key, input, so_far| Ok(aggregate(key, input.value()?, so_far))));
        self
    }

    /// Takes the records of all streams apart by time. What is late is judged in each stream by its own records, as in Kafka
    /// Streams.
    pub fn windowed_by<W: WindowedBy>(self, windows: W) -> W::Cogrouped<K, A> {
        windows.over_all(self)
    }

    /// The aggregates, each of which begins as `initial()`. An aggregate of `None` is deleted and begins anew.
    pub fn aggregate(self, initial: impl FnMut() -> A + 'static, store: impl Into<Materialized>) -> Table<K, A> {
        let initial = Initial::new(initial);
        let (topology, ports, step) = self.into_step(initial.clone());
        let store = Some(topology.add_store::<K, A>(OP, store.into()));
        let function = Some(steps_from(move || Some(initial.make()), step));
        let port = topology.add(Draft { op: OP, inputs: ports, store, function, ..Draft::default() });
        Table::new(topology, port)
    }

    /// Topology, inputs, and what a value does to an aggregate.
    #[allow(clippy::type_complexity)]
    pub(super) fn into_step(
        self,
        initial: Initial<A>,
    ) -> (Topology, Vec<Port>, impl FnMut(&K, Input<'_>, Option<A>) -> Result<Option<A>, Failure> + 'static) {
        let Cogrouped { topology, ports, mut aggregators, .. } = self;
        let step = move |key: &K, input: Input<'_>, so_far: Option<A>| -> Result<Option<A>, Failure> {
            let aggregate = aggregators.get_mut(usize::from(input.element.input));
            let aggregate =
                aggregate.ok_or_else(|| Failure::fail("a record of an input that this node does not have"))?;
            aggregate(key, input, so_far.unwrap_or_else(|| initial.make())).map(Some)
        };
        (topology, ports, step)
    }
}
