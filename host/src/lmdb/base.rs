//! The committed state of one task, on disk.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Weak};

use millstream_engine::config::ByteSize;
use millstream_engine::store::{Base, Error, KeyRange, Position, StoreChanges};

use super::environment::Environment;
use super::marker::Marker;

/// Stores in LMDB, one environment for all stores of a task. Written by its owner alone, one transaction per
/// [`Base::apply`]; a crash of the process loses nothing that was applied.
pub struct LmdbBase {
    environment: Arc<Environment>,
    marker: Marker,
}

/// Reads a base from other threads while its task lives.
#[derive(Clone)]
pub struct LmdbReader(Weak<Environment>);

impl LmdbBase {
    /// See [`super::TaskDirectory::open`], which checks what there is first.
    pub(super) fn open(
        directory: &Path,
        stores: &[&str],
        max_size: ByteSize,
        marker: Marker,
    ) -> Result<LmdbBase, Error> {
        Ok(LmdbBase { environment: Arc::new(Environment::open(directory, stores, max_size)?), marker })
    }

    pub fn reader(&self) -> LmdbReader {
        LmdbReader(Arc::downgrade(&self.environment))
    }

    /// Writes everything to disk, so that the state survives the machine too. A base that is only dropped survives
    /// the process.
    pub fn close(self) -> Result<(), Error> {
        self.environment.sync()?;
        self.marker.clear().map_err(|why| Error::Retry(format!("the state's marker: {why}")))
    }
}

impl LmdbReader {
    /// The environment, for as long as one read takes: its task waits for it to close. `None` when the task has
    /// moved on.
    pub fn get(&self) -> Option<Arc<Environment>> {
        self.0.upgrade()
    }
}

impl Base for LmdbBase {
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        self.environment.get_many(store, keys, visit)
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.environment.scan(store, range, reverse, visit)
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        self.environment.entries(store)
    }

    fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        self.environment.position(store)
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        self.environment.apply(changes)
    }

    fn wipe(&mut self) -> Result<(), Error> {
        self.environment.wipe()
    }
}
