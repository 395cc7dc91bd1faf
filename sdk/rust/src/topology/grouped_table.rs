//! A grouped table and its aggregations.

use std::marker::PhantomData;

use super::fold::fold_changes;
use super::graph::{Draft, Port};
use super::{Changes, Materialized, Table, Topology};
use crate::answer::{ALL, Field};
use crate::call::{Call, Function};
use crate::codec::Data;

/// The rows of a table under other keys: Kafka Streams' `KGroupedTable`. A row that changes leaves its old group and
/// comes into the new one.
pub struct GroupedTable<K, V> {
    topology: Topology,
    port: Port,
    types: PhantomData<(K, V)>,
}

impl<K: Data, V: Data, C: Changes> Table<K, V, C> {
    /// Groups the rows by a new key, with a new value; a null key or value leaves the row out. The host sends changes
    /// through a repartition topic.
    pub fn group_by<K2: Data, V2: Data>(
        &self,
        mut group: impl FnMut(&K, V) -> (K2, V2) + 'static,
    ) -> GroupedTable<K2, V2> {
        let function: Function = Box::new(move |call: &mut Call<'_>| {
            call.each(|input, answer| {
                let (key, value) = group(&input.key()?, input.value()?);
                answer.element(input.place, ALL, input.timestamp(), (Field::New(&key), Field::New(&value)), None);
                Ok(())
            })
        });
        let port = self.behind(Draft { op: "table-group-by", function: Some(function), ..Draft::default() });
        GroupedTable { topology: self.topology.clone(), port, types: PhantomData }
    }
}

impl<K: Data, V: Data> GroupedTable<K, V> {
    /// How many rows each key has. A key that has lost its last row has zero.
    pub fn count(&self, store: impl Into<Materialized>) -> Table<K, i64> {
        self.aggregation("table-count", store.into(), None)
    }

    /// Folds the values of each key into one: `add(so_far, value)` for what comes, `subtract(so_far, value)` for what
    /// goes; the first value stands for itself.
    pub fn reduce(
        &self,
        mut add: impl FnMut(V, V) -> V + 'static,
        mut subtract: impl FnMut(V, V) -> V + 'static,
        store: impl Into<Materialized>,
    ) -> Table<K, V> {
        let add = move |_: &K, value: V, so_far: Option<V>| match so_far {
            Some(so_far) => add(so_far, value),
            None => value,
        };
        let function = fold_changes(add, move |_: &K, value: V, so_far: V| subtract(so_far, value));
        self.aggregation("table-reduce", store.into(), Some(function))
    }

    /// Folds the values of each key into an aggregate, which begins as `initial()`: `add(key, value, so_far)` for what
    /// comes, `subtract(key, value, so_far)` for what goes. An aggregate of `None` is deleted and begins anew.
    pub fn aggregate<A: Data>(
        &self,
        mut initial: impl FnMut() -> A + 'static,
        mut add: impl FnMut(&K, V, A) -> A + 'static,
        subtract: impl FnMut(&K, V, A) -> A + 'static,
        store: impl Into<Materialized>,
    ) -> Table<K, A> {
        let add = move |key: &K, value: V, so_far: Option<A>| add(key, value, so_far.unwrap_or_else(&mut initial));
        self.aggregation("table-aggregate", store.into(), Some(fold_changes(add, subtract)))
    }

    fn aggregation<A: Data>(&self, op: &'static str, store: Materialized, function: Option<Function>) -> Table<K, A> {
        let store = Some(self.topology.add_store::<K, A>(op, store));
        let inputs = vec![self.port.clone()];
        let port = self.topology.add(Draft { op, inputs, store, function, ..Draft::default() });
        Table::new(self.topology.clone(), port)
    }
}
