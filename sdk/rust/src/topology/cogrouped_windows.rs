//! Several grouped streams that are aggregated together, in windows.

use std::time::Duration;

use super::cogrouped::OP;
use super::fold::{Initial, session_steps, steps_from};
use super::graph::Draft;
use super::{Cogrouped, Deletes, Materialized, Table};
use crate::codec::Data;
use crate::description::Window;
use crate::windowed::{Session, Windowed};

/// Cogrouped streams in time or sliding windows: Kafka Streams' `TimeWindowedCogroupedKStream`.
pub struct TimeWindowedCogrouped<K, A> {
    cogrouped: Cogrouped<K, A>,
    window: Window,
    size: Duration,
    retention: Duration,
}

/// Cogrouped streams in sessions: Kafka Streams' `SessionWindowedCogroupedKStream`.
pub struct SessionWindowedCogrouped<K, A> {
    cogrouped: Cogrouped<K, A>,
    window: Window,
    retention: Duration,
}

impl<K: Data, A: Data> TimeWindowedCogrouped<K, A> {
    pub(super) fn new(cogrouped: Cogrouped<K, A>, window: Window, size: Duration, retention: Duration) -> Self {
        TimeWindowedCogrouped { cogrouped, window, size, retention }
    }

    /// The aggregates of the windows, each of which begins as `initial()`.
    pub fn aggregate(
        self,
        initial: impl FnMut() -> A + 'static,
        store: impl Into<Materialized>,
    ) -> Table<Windowed<K>, A> {
        let store = store.into();
        let retention = Some(store.retention.unwrap_or(self.retention));
        let store = Materialized { retention, window_size: Some(self.size), ..store };
        let initial = Initial::new(initial);
        let (topology, inputs, step) = self.cogrouped.into_step(initial.clone());
        let store = Some(topology.graph.borrow_mut().add_store_of::<K, A>("window", OP, store));
        let (function, window) = (Some(steps_from(move || Some(initial.make()), step)), Some(self.window));
        let port = topology.add(Draft { op: OP, inputs, window, store, function, ..Draft::default() });
        Table::new(topology, port)
    }
}

impl<K: Data, A: Data> SessionWindowedCogrouped<K, A> {
    pub(super) fn new(cogrouped: Cogrouped<K, A>, window: Window, retention: Duration) -> Self {
        SessionWindowedCogrouped { cogrouped, window, retention }
    }

    /// The aggregates of the sessions, each of which begins as `initial()`. Sessions that become one are taken in first,
    /// `merge(key, so_far, session)`, the oldest first.
    pub fn aggregate(
        self,
        initial: impl FnMut() -> A + 'static,
        mut merge: impl FnMut(&K, A, A) -> A + 'static,
        store: impl Into<Materialized>,
    ) -> Table<Windowed<K, Session>, A, Deletes> {
        let store = store.into();
        let store = Materialized { retention: Some(store.retention.unwrap_or(self.retention)), ..store };
        let initial = Initial::new(initial);
        let (topology, inputs, step) = self.cogrouped.into_step(initial.clone());
        let merge =
            move |key: &K, so_far: Option<A>, session: A| merge(key, so_far.unwrap_or_else(|| initial.make()), session);
        let store = Some(topology.graph.borrow_mut().add_store_of::<K, A>("session", OP, store));
        let (function, window) = (Some(session_steps(step, merge)), Some(self.window));
        let port = topology.add(Draft { op: OP, inputs, window, store, function, ..Draft::default() });
        Table::new(topology, port)
    }
}
