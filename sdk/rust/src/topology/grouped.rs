//! A grouped stream and its aggregations.

use super::fold::{fold, fold_from};
use super::graph::Draft;
use super::{Materialized, Stream, Table, WindowedBy};
use crate::call::Function;
use crate::codec::Data;

/// A stream grouped by its key: Kafka Streams' `KGroupedStream`. Records with a null key or value are left out.
pub struct Grouped<K, V> {
    stream: Stream<K, V>,
}

impl<K: Data, V: Data> Grouped<K, V> {
    pub(super) fn new(stream: Stream<K, V>) -> Grouped<K, V> {
        Grouped { stream }
    }

    pub(super) fn stream(&self) -> &Stream<K, V> {
        &self.stream
    }

    /// How many records each key has had.
    pub fn count(&self, store: impl Into<Materialized>) -> Table<K, i64> {
        self.aggregation("count", store.into(), None)
    }

    /// Folds the values of each key into one, `reduce(so_far, value)`; the first value stands for itself.
    pub fn reduce(&self, mut reduce: impl FnMut(V, V) -> V + 'static, store: impl Into<Materialized>) -> Table<K, V> {
        let step = move |_: &K, value: V, so_far: Option<V>| match so_far {
            Some(so_far) => reduce(so_far, value),
            None => value,
        };
        self.aggregation("reduce", store.into(), Some(fold(step)))
    }

    /// Folds the values of each key into an aggregate, `aggregate(key, value, so_far)`, which begins as `initial()`.
    /// An aggregate of `None` is deleted and begins anew.
    pub fn aggregate<A: Data>(
        &self,
        initial: impl FnMut() -> A + 'static,
        aggregate: impl FnMut(&K, V, A) -> A + 'static,
        store: impl Into<Materialized>,
    ) -> Table<K, A> {
        self.aggregation("aggregate", store.into(), Some(fold_from(initial, aggregate)))
    }

    /// Takes the records of each key apart by time, into [`super::TimeWindows`], [`super::SlidingWindows`] or
    /// [`super::SessionWindows`].
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # fn topology(app: &mut Topology) {
    /// # let clicks = app.stream::<String, String>("clicks");
    /// let minute = TimeWindows::of(Duration::from_secs(60)).advance_by(Duration::from_secs(10));
    /// let counts = clicks.group_by_key().windowed_by(minute.grace(Duration::from_secs(5))).count("counts");
    /// counts.to_stream().map(|minute, count| (minute.key, (count * 1_000) / (minute.end - minute.start))).to("rates");
    /// # }
    /// ```
    pub fn windowed_by<W: WindowedBy>(&self, windows: W) -> W::Windowed<K, V> {
        windows.over(self)
    }

    fn aggregation<A: Data>(&self, op: &'static str, store: Materialized, function: Option<Function>) -> Table<K, A> {
        let topology = &self.stream.topology;
        let store = topology.add_store::<K, A>(op, store);
        let inputs = vec![self.stream.port.clone()];
        let port = topology.add(Draft { op, inputs, store: Some(store), function, ..Draft::default() });
        Table::new(topology.clone(), port)
    }
}
