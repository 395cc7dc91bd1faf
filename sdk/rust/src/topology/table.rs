//! Tables: the latest value of each key.

use std::marker::PhantomData;

use super::graph::{Draft, Port};
use super::{Materialized, Stream, Topology};
use crate::answer::{ALL, Field, SAME};
use crate::call::{Call, Function};
use crate::codec::Data;

/// The latest value of each key, and a stream of its changes: Kafka Streams' `KTable`. `C` says which changes there
/// are: [`Upserts`] alone, as from an aggregation, or [`Deletes`] too, as from a topic or a filter.
pub struct Table<K, V, C = Upserts> {
    pub(super) topology: Topology,
    pub(super) port: Port,
    types: PhantomData<(K, V, C)>,
}

/// Keys get new values and are never deleted, unless the value itself is an `Option` that is `None`.
pub struct Upserts;

/// Keys get new values and are deleted.
pub struct Deletes;

/// What a change of a table with values of `V` looks like in a stream.
pub trait Changes: 'static {
    type Of<V: Data>: Data;
}

impl Changes for Upserts {
    type Of<V: Data> = V;
}

impl Changes for Deletes {
    type Of<V: Data> = Option<V>;
}

impl<K: Data, V: Data, C: Changes> Table<K, V, C> {
    pub(super) fn new(topology: Topology, port: Port) -> Table<K, V, C> {
        Table { topology, port, types: PhantomData }
    }

    /// Names the node that the table comes from; else it is called after its operator and place, `count-3`.
    pub fn named(self, name: &str) -> Table<K, V, C> {
        self.topology.graph.borrow_mut().node(self.port.node).name = Some(name.to_owned());
        self
    }

    /// The keys for whose values `predicate` is true.
    pub fn filter(&self, predicate: impl FnMut(&K, &V) -> bool + 'static) -> Table<K, V, Deletes> {
        self.then("table-filter", passes(predicate))
    }

    /// The keys for whose values `predicate` is false.
    pub fn filter_not(&self, predicate: impl FnMut(&K, &V) -> bool + 'static) -> Table<K, V, Deletes> {
        // The host turns it round.
        self.then("table-filter-not", passes(predicate))
    }

    /// The same keys with other values.
    pub fn map_values<V2: Data>(&self, mut map: impl FnMut(V) -> V2 + 'static) -> Table<K, V2, C> {
        self.then("table-map-values", values::<(), _, _>(move |_, value| map(value)))
    }

    /// The same keys with other values, made with a look at the key.
    pub fn map_values_with_key<V2: Data>(&self, map: impl FnMut(&K, V) -> V2 + 'static) -> Table<K, V2, C> {
        self.then("table-map-values", values(map))
    }

    /// Keeps the table's values in a store of their own, for a `filter`, `filter_not`, `map_values` or join; every
    /// other table has its store already.
    pub fn materialized(self, store: impl Into<Materialized>) -> Table<K, V, C> {
        let mut graph = self.topology.graph.borrow_mut();
        let op = graph.node(self.port.node).op;
        if graph.node(self.port.node).store.is_some() {
            graph.error(format!("a `{op}` has its store already; leave `materialized` out"));
        } else {
            let store = graph.add_store::<K, V>(op, store.into());
            graph.node(self.port.node).store = Some(store);
        }
        drop(graph);
        self
    }

    /// The table's changes: the new value of a key, or `None` where it was deleted (if it can be).
    pub fn to_stream(&self) -> Stream<K, C::Of<V>> {
        let draft = Draft { op: "to-stream", inputs: vec![self.port.clone()], ..Draft::default() };
        Stream::new(self.topology.clone(), self.topology.add(draft))
    }

    fn then<V2: Data, C2: Changes>(&self, op: &'static str, function: Function) -> Table<K, V2, C2> {
        let port = self.behind(Draft { op, function: Some(function), ..Draft::default() });
        Table::new(self.topology.clone(), port)
    }

    /// Adds a node with this table for its input.
    pub(super) fn behind(&self, draft: Draft) -> Port {
        self.topology.add(Draft { inputs: vec![self.port.clone()], ..draft })
    }
}

impl<K, V, C> Clone for Table<K, V, C> {
    fn clone(&self) -> Table<K, V, C> {
        Table { topology: self.topology.clone(), port: self.port.clone(), types: PhantomData }
    }
}

/// A deletion passes no predicate; the host knows what that means for what was there.
fn passes<K: Data, V: Data>(mut predicate: impl FnMut(&K, &V) -> bool + 'static) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.each(|input, answer| {
            if input.element.value.is_some() && predicate(&input.key()?, &input.value()?) {
                answer.same(input.place, ALL, input.timestamp());
            }
            Ok(())
        })
    })
}

/// A deletion stays one.
fn values<K: Data, V: Data, V2: Data>(mut map: impl FnMut(&K, V) -> V2 + 'static) -> Function {
    Box::new(move |call: &mut Call<'_>| {
        call.each(|input, answer| {
            if input.element.value.is_none() {
                answer.same(input.place, ALL, input.timestamp());
                return Ok(());
            }
            let value = map(&input.key()?, input.value()?);
            answer.element(input.place, ALL, input.timestamp(), (SAME, Field::New(&value)), None);
            Ok(())
        })
    })
}
