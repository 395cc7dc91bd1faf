//! What an application left in a task's directory, read by another process.

use std::ops::ControlFlow;
use std::path::Path;

use millstream_engine::store::{Base, Error, KeyRange, Position, StoreChanges};

use super::environment::Environment;

/// A base that can be read; whoever writes to it gets an error.
pub struct ReadOnlyBase(Environment);

impl ReadOnlyBase {
    pub fn open(directory: &Path) -> Result<ReadOnlyBase, Error> {
        Environment::open_read_only(directory).map(ReadOnlyBase)
    }

    /// Writes a copy of all of it, positions included, as one commit left it; the owner goes on meanwhile. The copy is
    /// on disk when this returns.
    pub fn copy_to(&self, file: &Path) -> Result<(), Error> {
        self.0.copy_to(file)
    }

    /// The number of a store by its name.
    pub fn store(&self, name: &str) -> Option<usize> {
        self.0.store(name)
    }
}

impl Base for ReadOnlyBase {
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
        self.0.scan(store, range, reverse, visit)
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

    fn apply(&mut self, _changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        Err(not_ours())
    }

    fn wipe(&mut self) -> Result<(), Error> {
        Err(not_ours())
    }

    fn wipe_store(&mut self, _store: usize) -> Result<(), Error> {
        Err(not_ours())
    }
}

fn not_ours() -> Error {
    Error::Retry("the state is opened for reading alone: it belongs to its application".to_owned())
}
