//! A base in memory that tells how much of it is looked through.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_engine::store::{Base, Error, KeyRange, MemoryBase, Position, StoreChanges};

/// Counts the rows that scans walk over.
pub struct Walked(pub MemoryBase, pub Arc<AtomicUsize>);

impl Base for Walked {
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        self.0.get_many(store, keys, visit)
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.0.scan(store, range, reverse, &mut |key, value| {
            self.1.fetch_add(1, Ordering::Relaxed);
            visit(key, value)
        })
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        self.0.entries(store)
    }

    fn bytes(&self, store: usize) -> Result<u64, Error> {
        self.0.bytes(store)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        self.0.position(store)
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        self.0.apply(changes)
    }

    fn wipe(&mut self) -> Result<(), Error> {
        self.0.wipe()
    }

    fn wipe_store(&mut self, store: usize) -> Result<(), Error> {
        self.0.wipe_store(store)
    }
}
