//! Grouped streams in sessions.

use std::time::Duration;

use super::fold::fold_sessions;
use super::graph::Draft;
use super::{Deletes, EmitStrategy, Grouped, Materialized, Stream, Table};
use crate::call::Function;
use crate::codec::Data;
use crate::description::Window;
use crate::windowed::{Session, Windowed};

/// A table of sessions. Those that a record makes one are deleted in front of it.
type SessionTable<K, A> = Table<Windowed<K, Session>, A, Deletes>;

/// A grouped stream in session windows: Kafka Streams' `SessionWindowedKStream`. Records with a null key are left out. Each
/// update of a session goes downstream at once, unless [`SessionWindowed::emit_strategy`] says otherwise.
///
/// The store keeps sessions for their gap and grace, or for the retention of its [`Materialized`], which may not be less.
pub struct SessionWindowed<K, V> {
    stream: Stream<K, V>,
    window: Window,
    emit: EmitStrategy,
    retention: Duration,
}

impl<K: Data, V: Data> SessionWindowed<K, V> {
    pub(super) fn new(grouped: &Grouped<K, V>, window: Window, retention: Duration) -> Self {
        SessionWindowed { stream: grouped.stream().clone(), window, emit: EmitStrategy::default(), retention }
    }

    /// When aggregates go downstream.
    pub fn emit_strategy(self, emit: EmitStrategy) -> Self {
        SessionWindowed { emit, ..self }
    }

    /// How many records each key has had in each session.
    pub fn count(&self, store: impl Into<Materialized>) -> SessionTable<K, i64> {
        self.aggregation("count", store.into(), None)
    }

    /// Folds the values of each session into one, `reduce(so_far, value)`; the first value stands for itself. Sessions that
    /// become one are reduced too, the oldest first and the new value last.
    pub fn reduce(
        &self,
        reduce: impl FnMut(V, V) -> V + 'static,
        store: impl Into<Materialized>,
    ) -> SessionTable<K, V> {
        let reduce = std::rc::Rc::new(std::cell::RefCell::new(reduce));
        let step = move |so_far: Option<V>, value: V| match so_far {
            Some(so_far) => (reduce.borrow_mut())(so_far, value),
            None => value,
        };
        let merge = step.clone();
        let function = fold_sessions(
            move |_: &K, value: V, so_far| step(so_far, value),
            move |_: &K, so_far, value| merge(so_far, value),
        );
        self.aggregation("reduce", store.into(), Some(function))
    }

    /// Folds the values of each session into an aggregate, `aggregate(key, value, so_far)`, which begins as `initial()`.
    /// Sessions that become one are taken in first, `merge(key, so_far, session)`, the oldest first. An aggregate of `None`
    /// is deleted.
    pub fn aggregate<A: Data>(
        &self,
        initial: impl FnMut() -> A + 'static,
        mut aggregate: impl FnMut(&K, V, A) -> A + 'static,
        mut merge: impl FnMut(&K, A, A) -> A + 'static,
        store: impl Into<Materialized>,
    ) -> SessionTable<K, A> {
        let initial = std::rc::Rc::new(std::cell::RefCell::new(initial));
        let begin = initial.clone();
        let function = fold_sessions(
            move |key: &K, value: V, so_far: Option<A>| {
                aggregate(key, value, so_far.unwrap_or_else(|| (initial.borrow_mut())()))
            },
            move |key: &K, so_far, session| merge(key, so_far.unwrap_or_else(|| (begin.borrow_mut())()), session),
        );
        self.aggregation("aggregate", store.into(), Some(function))
    }

    fn aggregation<A: Data>(
        &self,
        op: &'static str,
        store: Materialized,
        function: Option<Function>,
    ) -> SessionTable<K, A> {
        let topology = &self.stream.topology;
        let store = Materialized { retention: Some(store.retention.unwrap_or(self.retention)), ..store };
        let store = topology.graph.borrow_mut().add_store_of::<K, A>("session", op, store);
        let (inputs, window, emit) = (vec![self.stream.port.clone()], Some(self.window), self.emit.describe());
        let draft = Draft { op, inputs, window, emit, store: Some(store), function, ..Draft::default() };
        Table::new(topology.clone(), topology.add(draft))
    }
}
