//! The committed state of one task, on disk.

use std::cell::Cell;
use std::ops::ControlFlow;

use millstream_engine::config::ByteSize;
use millstream_engine::store::{Base, Error, KeyRange, Position, StoreChanges};

use super::environment::Environment;
use super::task_directory::TaskDirectory;

/// Stores in LMDB, one environment for all stores of a task. Written by its owner alone, one transaction per
/// [`Base::apply`]; a crash of the process loses nothing that was applied.
pub struct LmdbBase {
    directory: TaskDirectory,
    stores: Vec<String>,
    max_size: ByteSize,
    /// `None` after [`Base::close`], or when it could not be opened again after [`Base::wipe`].
    environment: Option<Environment>,
    /// Why what was there when it was opened was put aside.
    put_aside: Option<String>,
    /// Whether that is noted beside the directory.
    is_noted: Cell<bool>,
    /// Whether a call found damage: then nothing in the environment is touched any more.
    damaged: Cell<bool>,
}

impl LmdbBase {
    pub(super) fn open(directory: TaskDirectory, stores: &[&str], max_size: ByteSize) -> Result<LmdbBase, Error> {
        let environment = Some(directory.open_environment(stores, max_size)?);
        let put_aside = directory.put_aside()?;
        let stores = stores.iter().map(|store| (*store).to_owned()).collect();
        let is_noted = Cell::new(put_aside.is_some());
        Ok(LmdbBase { directory, stores, max_size, environment, put_aside, is_noted, damaged: Cell::new(false) })
    }

    fn with<T>(&self, call: impl FnOnce(&Environment) -> Result<T, Error>) -> Result<T, Error> {
        let path = self.directory.path().display();
        if self.damaged.get() {
            return Err(Error::Corrupted(format!("the state in {path} was found damaged")));
        }
        let environment = self.environment.as_ref();
        let answer = call(environment.ok_or_else(|| Error::Retry(format!("the state in {path} is not open")))?);
        self.damaged.set(matches!(answer, Err(Error::Corrupted(_))));
        answer
    }
}

impl Base for LmdbBase {
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        self.with(|environment| environment.get_many(store, keys, visit))
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.with(|environment| environment.scan(store, range, reverse, visit))
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        self.with(|environment| environment.entries(store))
    }

    fn bytes(&self, store: usize) -> Result<u64, Error> {
        self.with(|environment| environment.bytes(store))
    }

    fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        self.with(|environment| environment.position(store))
    }

    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        self.with(|environment| environment.apply(changes))
    }

    /// Who asks tells it: the next who opens it hears nothing.
    fn emptied_at_open(&self, _store: usize) -> Option<&str> {
        if self.is_noted.take() {
            // A note that stays is told once more.
            drop(self.directory.forget_put_aside());
        }
        self.put_aside.as_deref()
    }

    /// All stores are in one file. One that could not be opened again after it was put aside is not whole either.
    fn is_damaged(&self, _store: usize) -> bool {
        self.damaged.get() || self.environment.is_none()
    }

    /// Begins with new files. Damaged ones are put aside, for a walk through them could end the process.
    fn wipe(&mut self) -> Result<(), Error> {
        self.environment = None;
        match self.damaged.get() {
            true => self.directory.quarantine("damage was found in it")?,
            false => self.directory.clear()?,
        }
        self.damaged.set(false);
        let stores: Vec<&str> = self.stores.iter().map(String::as_str).collect();
        self.environment = Some(self.directory.open_environment(&stores, self.max_size)?);
        Ok(())
    }

    fn wipe_store(&mut self, store: usize) -> Result<(), Error> {
        self.with(|environment| environment.wipe_store(store))
    }

    fn whole_at(&self) -> Result<Option<i64>, Error> {
        self.with(Environment::whole_at).map(Some)
    }

    fn mark_whole(&mut self, now: i64) -> Result<(), Error> {
        self.with(|environment| environment.mark_whole(now))
    }

    fn close(&mut self) -> Result<(), Error> {
        self.with(Environment::sync)?;
        self.environment = None;
        self.directory.mark_clean()
    }
}
