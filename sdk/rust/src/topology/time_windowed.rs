//! Grouped streams in windows that are equally long.

use std::time::Duration;

use super::fold::{fold, fold_from};
use super::graph::Draft;
use super::{EmitStrategy, Grouped, Materialized, Stream, Table};
use crate::call::Function;
use crate::codec::Data;
use crate::description::Window;
use crate::windowed::Windowed;

/// A grouped stream in time or sliding windows: Kafka Streams' `TimeWindowedKStream`. Records with a null key are left out;
/// in sliding windows those with a null value too. Each update of a window goes downstream at once,
/// unless [`TimeWindowed::emit_strategy`] says otherwise.
///
/// The store keeps windows for their size and grace (sliding ones for twice the difference and grace), or for the
/// retention of its [`Materialized`], which may not be less.
pub struct TimeWindowed<K, V> {
    stream: Stream<K, V>,
    window: Window,
    emit: EmitStrategy,
    size: Duration,
    retention: Duration,
}

impl<K: Data, V: Data> TimeWindowed<K, V> {
    pub(super) fn new(grouped: &Grouped<K, V>, window: Window, size: Duration, retention: Duration) -> Self {
        TimeWindowed { stream: grouped.stream().clone(), window, emit: EmitStrategy::default(), size, retention }
    }

    /// When aggregates go downstream.
    pub fn emit_strategy(self, emit: EmitStrategy) -> Self {
        TimeWindowed { emit, ..self }
    }

    /// How many records each key has had in each window.
    pub fn count(&self, store: impl Into<Materialized>) -> Table<Windowed<K>, i64> {
        self.aggregation("count", store.into(), None)
    }

    /// Folds the values of each window into one, `reduce(so_far, value)`; the first value stands for itself.
    pub fn reduce(
        &self,
        mut reduce: impl FnMut(V, V) -> V + 'static,
        store: impl Into<Materialized>,
    ) -> Table<Windowed<K>, V> {
        let step = move |_: &K, value: V, so_far: Option<V>| match so_far {
            Some(so_far) => reduce(so_far, value),
            None => value,
        };
        self.aggregation("reduce", store.into(), Some(fold(step)))
    }

    /// Folds the values of each window into an aggregate, `aggregate(key, value, so_far)`, which begins as `initial()`. An
    /// aggregate of `None` is deleted and begins anew.
    pub fn aggregate<A: Data>(
        &self,
        initial: impl FnMut() -> A + 'static,
        aggregate: impl FnMut(&K, V, A) -> A + 'static,
        store: impl Into<Materialized>,
    ) -> Table<Windowed<K>, A> {
        self.aggregation("aggregate", store.into(), Some(fold_from(initial, aggregate)))
    }

    fn aggregation<A: Data>(
        &self,
        op: &'static str,
        store: Materialized,
        function: Option<Function>,
    ) -> Table<Windowed<K>, A> {
        let topology = &self.stream.topology;
        let retention = store.retention.unwrap_or(self.retention);
        let store = Materialized { retention: Some(retention), window_size: Some(self.size), ..store };
        let store = topology.graph.borrow_mut().add_store_of::<K, A>("window", op, store);
        let (inputs, window, emit) = (vec![self.stream.port.clone()], Some(self.window), self.emit.describe());
        let draft = Draft { op, inputs, window, emit, store: Some(store), function, ..Draft::default() };
        Table::new(topology.clone(), topology.add(draft))
    }
}
