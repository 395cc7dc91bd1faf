//! The committed state of stores that live with the process.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

use super::Change;
use super::base::{Base, Error, KeyRange, Position, StoreChanges};

/// Stores in memory: empty at every start, restored from their changelogs.
#[derive(Default)]
pub struct MemoryBase {
    stores: Vec<MemoryStore>,
}

/// A hash map, so that a look-up costs the same in a large store; the keys' order is made by the first scan and kept
/// from then on.
#[derive(Default)]
struct MemoryStore {
    entries: HashMap<Arc<[u8]>, Vec<u8>, DefaultHashBuilder>,
    order: OnceCell<BTreeSet<Arc<[u8]>>>,
    /// Of keys and values.
    bytes: usize,
    position: Option<Position>,
}

impl MemoryBase {
    /// As many empty stores as asked for.
    pub fn new(stores: usize) -> MemoryBase {
        MemoryBase { stores: (0..stores).map(|_| MemoryStore::default()).collect() }
    }
}

impl MemoryStore {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.bytes = self.bytes - entry.len() + value.len();
            entry.clear();
            entry.extend_from_slice(value);
            return;
        }
        let key: Arc<[u8]> = key.into();
        if let Some(order) = self.order.get_mut() {
            order.insert(key.clone());
        }
        self.bytes += key.len() + value.len();
        self.entries.insert(key, value.to_vec());
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(value) = self.entries.remove(key) {
            self.bytes -= key.len() + value.len();
        }
        if let Some(order) = self.order.get_mut() {
            order.remove(key);
        }
    }
}

impl Base for MemoryBase {
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        let entries = &self.stores[store].entries;
        for (index, key) in keys.iter().enumerate() {
            visit(index, entries.get(*key).map(Vec::as_slice));
        }
        Ok(())
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if range.is_inverted() {
            return Ok(());
        }
        let MemoryStore { entries, order, .. } = &self.stores[store];
        let order = order.get_or_init(|| entries.keys().cloned().collect());
        let bound = |key: Option<_>| key.map_or(Bound::Unbounded, Bound::Included);
        let mut keys = order.range::<[u8], _>((bound(range.lower), bound(range.upper)));
        while let Some(key) = if reverse { keys.next_back() } else { keys.next() } {
            let Some(value) = entries.get(key) else { continue };
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        Ok(self.stores[store].entries.len() as u64)
    }

    fn bytes(&self, store: usize) -> Result<u64, Error> {
        Ok(self.stores[store].bytes as u64)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        Ok(self.stores[store].position)
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        for StoreChanges { store, changes, position } in changes {
            let store = &mut self.stores[*store];
            for Change { key, value, .. } in changes.iter() {
                match value {
                    Some(value) => store.put(key, value),
                    None => store.remove(key),
                }
            }
            store.position = position.or(store.position);
        }
        Ok(())
    }

    fn wipe(&mut self) -> Result<(), Error> {
        self.stores.fill_with(MemoryStore::default);
        Ok(())
    }

    fn wipe_store(&mut self, store: usize) -> Result<(), Error> {
        self.stores[store] = MemoryStore::default();
        Ok(())
    }
}
