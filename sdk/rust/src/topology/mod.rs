//! The topology, written in the words of Kafka Streams' DSL.

mod cogrouped;
mod consumed;
mod cogrouped_windows;
mod fold;
mod foreign_key;
mod global;
pub(crate) mod graph;
mod grouped;
mod grouped_table;
mod join;
mod keyed_join;
mod materialized;
mod produced;
mod split;
mod stateless;
mod stream;
mod stream_join;
mod suppressed;
mod table;
mod table_store;
mod time_windowed;
mod session_windowed;
mod windows;

use std::cell::RefCell;
use std::rc::Rc;

pub use cogrouped::Cogrouped;
pub use cogrouped_windows::{SessionWindowedCogrouped, TimeWindowedCogrouped};
pub use consumed::{Consumed, InvalidTimestamp};
pub use global::GlobalTable;
pub use grouped::Grouped;
pub use grouped_table::GroupedTable;
pub use materialized::Materialized;
pub use produced::Produced;
pub use session_windowed::SessionWindowed;
pub use split::Split;
pub use stream::{Repartitioned, Stream};
pub use stream_join::JoinWindows;
pub use suppressed::{BufferConfig, Suppressed};
pub use table::{Changes, Deletes, Table, Upserts};
pub use time_windowed::TimeWindowed;
pub use windows::{EmitStrategy, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows, WindowedBy};

use crate::codec::Data;
use crate::store::{Buffer, Sessions, Store, Versions, Windows};
use graph::{Draft, Finished, Graph, Port};

/// What a plugin's topology is written into. Streams and tables are handles: use one as often as you like.
#[derive(Clone, Default)]
pub struct Topology {
    graph: Rc<RefCell<Graph>>,
}

impl Topology {
    /// The records of a topic. Its name is the source's; the manifest's `[sources.NAME]` may point it elsewhere.
    ///
    /// A key or a value that may be null is an `Option`; a key that nobody looks at is `()`.
    pub fn stream<K: Data, V: Data>(&mut self, consumed: impl Into<Consumed<K, V>>) -> Stream<K, V> {
        Stream::new(self.clone(), self.add(consumed.into().into_draft("source")))
    }

    /// A topic read as a table, the latest value of each key kept in a store; a null value deletes.
    pub fn table<K: Data, V: Data>(
        &mut self,
        consumed: impl Into<Consumed<K, V>>,
        store: impl Into<Materialized>,
    ) -> Table<K, V, Deletes> {
        let op = "table-source";
        let store = self.add_store::<K, V>(op, store.into());
        Table::new(self.clone(), self.add(Draft { store: Some(store), ..consumed.into().into_draft(op) }))
    }

    /// The same with a store that keeps the versions of each key for as long as [`Materialized::retention`] says, as it does
    /// with [`Materialized::versioned`].
    pub fn versioned_table<K: Data, V: Data>(
        &mut self,
        consumed: impl Into<Consumed<K, V>>,
        store: impl Into<Materialized>,
    ) -> Table<K, V, Deletes> {
        let op = "table-source";
        let store = self.graph.borrow_mut().add_store_of::<K, V>("versioned", op, store.into());
        Table::new(self.clone(), self.add(Draft { store: Some(store), ..consumed.into().into_draft(op) }))
    }

    /// A key-value store for processors, which open it with [`crate::Init::store`].
    pub fn store<K: Data, V: Data>(&mut self, store: impl Into<Materialized>) -> Store<K, V> {
        let place = self.add_store::<K, V>("process", store.into());
        Store::new(self.graph.borrow().buffer(place))
    }

    /// A window store for processors, which open it with [`crate::Init::window_store`]. It needs
    /// [`Materialized::window_size`] and [`Materialized::retention`].
    pub fn window_store<K: Data, V: Data>(&mut self, store: impl Into<Materialized>) -> Windows<K, V> {
        Windows::new(self.add_timed::<K, V>("window", store.into()))
    }

    /// A session store for processors, which open it with [`crate::Init::session_store`]. It needs
    /// [`Materialized::retention`].
    pub fn session_store<K: Data, V: Data>(&mut self, store: impl Into<Materialized>) -> Sessions<K, V> {
        Sessions::new(self.add_timed::<K, V>("session", store.into()))
    }

    /// A versioned store for processors, which open it with [`crate::Init::versioned_store`]. It needs
    /// [`Materialized::retention`]: how far back it knows what a key's value was.
    pub fn versioned_store<K: Data, V: Data>(&mut self, store: impl Into<Materialized>) -> Versions<K, V> {
        Versions::new(self.add_timed::<K, V>("versioned", store.into()))
    }

    fn add_timed<K: Data, V: Data>(&self, kind: &'static str, store: Materialized) -> Rc<RefCell<Buffer>> {
        let mut graph = self.graph.borrow_mut();
        let place = graph.add_store_of::<K, V>(kind, "process", store);
        graph.buffer(place)
    }

    pub(crate) fn finish(&self) -> Result<Finished, String> {
        self.graph.take().finish()
    }

    fn add(&self, draft: Draft) -> Port {
        self.graph.borrow_mut().add(draft)
    }

    fn add_store<K: Data, V: Data>(&self, op: &'static str, store: Materialized) -> usize {
        self.graph.borrow_mut().add_store::<K, V>(op, store)
    }
}
