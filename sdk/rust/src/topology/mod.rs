//! The topology, written in the words of Kafka Streams' DSL.

mod fold;
pub(crate) mod graph;
mod grouped;
mod materialized;
mod split;
mod stateless;
mod stream;
mod table;

use std::cell::RefCell;
use std::rc::Rc;

pub use grouped::Grouped;
pub use materialized::Materialized;
pub use split::Split;
pub use stream::{Repartitioned, Stream};
pub use table::{Changes, Deletes, Table, Upserts};

use crate::codec::{self, Data};
use crate::store::Store;
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
    pub fn stream<K: Data, V: Data>(&mut self, name: &str) -> Stream<K, V> {
        Stream::new(self.clone(), self.add(Draft { op: "source", ..source::<K, V>(name) }))
    }

    /// A topic read as a table, the latest value of each key kept in a store; a null value deletes.
    pub fn table<K: Data, V: Data>(&mut self, name: &str, store: impl Into<Materialized>) -> Table<K, V, Deletes> {
        let op = "table-source";
        let store = self.add_store::<K, V>(op, store.into());
        Table::new(self.clone(), self.add(Draft { op, store: Some(store), ..source::<K, V>(name) }))
    }

    /// A key-value store for processors, which open it with [`crate::Init::store`].
    pub fn store<K: Data, V: Data>(&mut self, store: impl Into<Materialized>) -> Store<K, V> {
        let place = self.add_store::<K, V>("process", store.into());
        Store::new(self.graph.borrow().buffer(place))
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

fn source<K: Data, V: Data>(name: &str) -> Draft {
    Draft {
        name: Some(name.to_owned()),
        key: Some(codec::name::<K>()),
        value: Some(codec::name::<V>()),
        ..Draft::default()
    }
}
