//! Caches of stores: which store has one, and which cannot.

use super::description::{Emit, Store};
use super::{Blueprint, Flow, Node, Operator};
use crate::changelog::StoreKind;
use crate::config::CACHE_BYTES_MAX;

impl Blueprint {
    /// How many bytes the cache of a store may hold of each task; `None`: it has none. The manifest's word wins, and 0 is
    /// none.
    pub fn cache(&self, store: &Store) -> Option<usize> {
        let own = self.manifest.stores.get(&store.name).and_then(|own| own.cache).map(|bytes| bytes.0);
        own.or(store.cache_bytes).filter(|bytes| *bytes > 0).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Whether something goes downstream of a store as its operator writes it. Windows that go when they close do not: there,
    /// and in stores of processors, a cache only spares the changelog, as in Kafka Streams.
    pub(super) fn holds_back(&self, store: &Store) -> bool {
        self.owners(store).any(|node| node.emit != Emit::OnWindowClose)
    }

    /// The nodes whose own store it is.
    fn owners<'b>(&'b self, store: &'b Store) -> impl Iterator<Item = &'b Node> {
        let is_own = |number: usize| self.graph.stores[number].name == store.name;
        self.graph.nodes.iter().filter(move |node| node.store.is_some_and(is_own))
    }

    pub(super) fn cache_errors(&self, store: &Store) -> Vec<String> {
        let Some(bytes) = self.cache(store) else { return Vec::new() };
        let mut errors = Vec::new();
        let mut error = |why: String| errors.push(format!("store `{}` cannot have a cache: {why}", store.name));
        if bytes as u64 > CACHE_BYTES_MAX.0 {
            error(format!("`cache_bytes` is {bytes}, and may be {} at most", CACHE_BYTES_MAX.0));
        }
        match self.kind(store) {
            StoreKind::Versioned { .. } => error("it keeps versions, and those in between would be lost".to_owned()),
            StoreKind::Window { duplicates: true, .. } => error("it keeps every value that is put".to_owned()),
            StoreKind::Buffer => error("a suppression has its own buffer".to_owned()),
            _ if self.graph.global_table(&store.name).is_some() => error("it is a global table's".to_owned()),
            StoreKind::KeyValue | StoreKind::Window { .. } | StoreKind::Session { .. } => {}
        }
        if self.owners(store).any(|node| node.operator.gives() != Flow::Table) {
            error("it is an operator's own, and nobody's table".to_owned());
        }
        let reaches = |node: &&Node| {
            let mut names = node.stores.iter().map(|number| self.graph.stores[*number].name.as_str());
            node.operator == Operator::Process && names.any(|name| name == store.name)
        };
        let processor = self.graph.nodes.iter().find(reaches);
        if processor.is_none() && self.owners(store).next().is_none() {
            error("it is an operator's own, and nobody's table".to_owned());
        }
        if self.holds_back(store) {
            let mut owners = self.owners(store);
            if let (Some(one), Some(other)) = (owners.next(), owners.next()) {
                error(format!("both `{}` and `{}` write it", one.name, other.name));
            }
            if let Some(processor) = processor {
                error(format!("the processor `{}` would write past it", processor.name));
            }
        }
        errors
    }
}
