//! The committed state of stores that live with the process.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::Change;
use super::base::{Base, Error, KeyRange, Position, StoreChanges};

/// Stores in memory: empty at every start, restored from their changelogs.
#[derive(Debug, Default)]
pub struct MemoryBase {
    stores: Vec<MemoryStore>,
}

#[derive(Clone, Debug, Default)]
struct MemoryStore {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    position: Option<Position>,
}

impl MemoryBase {
    /// As many empty stores as asked for.
    pub fn new(stores: usize) -> MemoryBase {
        MemoryBase { stores: vec![MemoryStore::default(); stores] }
    }
}

impl MemoryStore {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        match self.entries.get_mut(key) {
            Some(entry) => {
                entry.clear();
                entry.extend_from_slice(value);
            }
            None => drop(self.entries.insert(key.to_vec(), value.to_vec())),
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
        let bound = |key: Option<_>| key.map_or(Bound::Unbounded, Bound::Included);
        let mut rows = self.stores[store].entries.range::<[u8], _>((bound(range.lower), bound(range.upper)));
        while let Some((key, value)) = if reverse { rows.next_back() } else { rows.next() } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        Ok(self.stores[store].entries.len() as u64)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        Ok(self.stores[store].position)
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        for StoreChanges { store, changes, position } in changes {
            let store = &mut self.stores[*store];
            for Change { key, value, .. } in changes.by_key() {
                match value {
                    Some(value) => store.put(key, value),
                    None => drop(store.entries.remove(key)),
                }
            }
            store.position = position.or(store.position);
        }
        Ok(())
    }

    fn wipe(&mut self) -> Result<(), Error> {
        self.stores.fill(MemoryStore::default());
        Ok(())
    }
}
