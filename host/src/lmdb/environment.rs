//! One task's LMDB environment, open ([`super::layout`] says what is in it).

use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

use heed::{PutFlags, RwTxn};
use millstream_engine::config::ByteSize;
use millstream_engine::store::{Error, KeyRange, Position, StoreChanges};

use super::failure::failed;
use super::layout::{self, Database};
use super::opening::{self, Databases, Env};
use crate::fail_point::{self, Point};

/// An open environment. Each call opens and closes a transaction of its own.
pub struct Environment {
    env: Env,
    databases: Databases<'static>,
    directory: PathBuf,
}

impl Environment {
    /// Opens the environment in `directory`, or makes one, for exactly these stores, numbered as they stand here.
    /// `max_size` is address space, not disk. The directory's file has been checked ([`super::file_check`]).
    pub fn open(directory: &Path, stores: &[&str], max_size: ByteSize) -> Result<Environment, Error> {
        let (env, databases) = opening::for_writing(directory, stores, max_size)?;
        Ok(Environment { env, databases, directory: directory.to_owned() })
    }

    /// Opens what an application left in `directory`, with all the stores in it, for reading alone. Another process
    /// may write meanwhile; each read sees one commit.
    pub fn open_read_only(directory: &Path) -> Result<Environment, Error> {
        let (env, databases) = opening::for_reading(directory)?;
        Ok(Environment { env, databases, directory: directory.to_owned() })
    }

    /// The stores by their numbers.
    pub fn stores(&self) -> impl ExactSizeIterator<Item = &str> {
        self.databases.stores.iter().map(|(name, _)| name.as_str())
    }

    /// The number of a store.
    pub fn store(&self, name: &str) -> Option<usize> {
        self.stores().position(|store| store == name)
    }

    /// As [`millstream_engine::store::Base::get_many`].
    pub fn get_many(
        &self,
        store: usize,
        keys: &[&[u8]],
        visit: &mut dyn FnMut(usize, Option<&[u8]>),
    ) -> Result<(), Error> {
        self.reading(|| {
            let txn = self.env.read_txn()?;
            let mut row = Vec::new();
            for (index, key) in keys.iter().enumerate() {
                layout::entry_key(key, &mut row);
                // LMDB refuses to look for a key that it could not hold.
                let fits = row.len() <= self.env.max_key_size();
                visit(index, if fits { self.database(store).get(&txn, &row)? } else { None });
            }
            Ok(())
        })
    }

    /// As [`millstream_engine::store::Base::scan`].
    pub fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if range.is_inverted() {
            return Ok(());
        }
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        layout::entry_key(range.lower.unwrap_or_default(), &mut lower);
        let bounds = (Bound::Included(lower.as_slice()), layout::upper_bound(range.upper, &mut upper));
        self.reading(|| {
            let txn = self.env.read_txn()?;
            let mut each = |row: heed::Result<(&[u8], &[u8])>| -> heed::Result<ControlFlow<()>> {
                let (key, value) = row?;
                Ok(visit(layout::user_key(key), value))
            };
            let database = self.database(store);
            if reverse {
                for row in database.rev_range(&txn, &bounds)? {
                    if each(row)?.is_break() {
                        break;
                    }
                }
            } else {
                for row in database.range(&txn, &bounds)? {
                    if each(row)?.is_break() {
                        break;
                    }
                }
            }
            Ok(())
        })
    }

    /// As [`millstream_engine::store::Base::entries`].
    pub fn entries(&self, store: usize) -> Result<u64, Error> {
        self.reading(|| {
            let txn = self.env.read_txn()?;
            self.database(store).len(&txn)
        })
    }

    /// As [`millstream_engine::store::Base::position`].
    pub fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        self.reading(|| {
            let txn = self.env.read_txn()?;
            layout::position(&self.databases.meta, &txn, &self.databases.stores[store].0)
        })
    }

    /// All or nothing: in one transaction, in the order of the keys.
    pub(super) fn apply(&self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        self.check_lengths(changes)?;
        let written = (|| {
            let mut txn = self.env.write_txn()?;
            changes.iter().try_for_each(|changes| self.put(&mut txn, changes))?;
            fail_point::pass(Point::StateCommit);
            txn.commit()
        })();
        written.map_err(|error| self.failed(error))
    }

    fn put(&self, txn: &mut RwTxn<'_>, changes: &StoreChanges<'_>) -> heed::Result<()> {
        let (name, database) = &self.databases.stores[changes.store];
        let mut row = Vec::new();
        let mut appends = None;
        for change in changes.changes.by_key() {
            layout::entry_key(change.key, &mut row);
            // What stands behind everything there is needs no search and leaves full pages: an empty store above all.
            let appends = match appends {
                Some(appends) => appends,
                None => *appends.insert(database.last(txn)?.is_none_or(|(last, _)| last < row.as_slice())),
            };
            match change.value {
                Some(value) if appends => database.put_with_flags(txn, PutFlags::APPEND, &row, value)?,
                Some(value) => database.put(txn, &row, value)?,
                None if appends => {}
                None => drop(database.delete(txn, &row)?),
            }
        }
        match changes.position {
            Some(position) => layout::put_position(&self.databases.meta, txn, name, Some(position)),
            None => Ok(()),
        }
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.reading(|| self.env.force_sync())
    }

    fn database(&self, store: usize) -> &Database<'static> {
        &self.databases.stores[store].1
    }

    fn reading<T>(&self, read: impl FnOnce() -> heed::Result<T>) -> Result<T, Error> {
        read().map_err(|error| self.failed(error))
    }

    fn check_lengths(&self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
        let max = self.env.max_key_size() - layout::ENTRY_OVERHEAD;
        let longest = changes.iter().flat_map(|store| store.changes.keys()).map(<[u8]>::len).max().unwrap_or(0);
        if longest > max {
            let directory = self.directory.display();
            return Err(Error::Retry(format!(
                "the state in {directory} cannot take a key of {longest} bytes, {max} are the most in LMDB; keep this \
                 store in memory ([stores.NAME] provider = \"memory\")"
            )));
        }
        Ok(())
    }

    fn failed(&self, error: heed::Error) -> Error {
        failed(&self.directory, error, ByteSize(self.env.info().map_size as u64))
    }
}
