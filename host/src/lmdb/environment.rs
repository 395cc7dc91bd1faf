//! One task's LMDB environment, open ([`super::layout`] says what is in it).

use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};

use heed::{CompactionOption, PutFlags, RwTxn};
use millstream_engine::config::ByteSize;
use millstream_engine::error::{Problem, exit};
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
                let sealed = if fits { self.database(store).get(&txn, &row)? } else { None };
                visit(index, sealed.map(|sealed| layout::checked(&row, sealed)).transpose()?);
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
                let (key, sealed) = row?;
                Ok(visit(layout::user_key(key), layout::checked(key, sealed)?))
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

    /// The pages of a store's tree: as [`millstream_engine::store::Base::bytes`].
    pub fn bytes(&self, store: usize) -> Result<u64, Error> {
        self.reading(|| {
            let txn = self.env.read_txn()?;
            let stat = self.database(store).stat(&txn)?;
            let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
            Ok(pages as u64 * u64::from(stat.page_size))
        })
    }

    /// As [`super::ReadOnlyBase::copy_to`].
    pub(super) fn copy_to(&self, file: &Path) -> Result<(), Error> {
        self.reading(|| Ok(self.env.copy_to_path(file, CompactionOption::Enabled)?.sync_all()?))
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
        let (mut row, mut sealed) = (Vec::new(), Vec::new());
        let mut appends = None;
        for change in changes.changes.by_key() {
            layout::entry_key(change.key, &mut row);
            // What stands behind everything there is needs no search and leaves full pages: an empty store above all.
            let appends = match appends {
                Some(appends) => appends,
                None => *appends.insert(database.last(txn)?.is_none_or(|(last, _)| last < row.as_slice())),
            };
            match change.value {
                Some(value) => {
                    layout::seal(&row, value, &mut sealed);
                    let flags = if appends { PutFlags::APPEND } else { PutFlags::empty() };
                    database.put_with_flags(txn, flags, &row, &sealed)?;
                }
                None if appends => {}
                None => drop(database.delete(txn, &row)?),
            }
        }
        match changes.position {
            Some(position) => layout::put_position(&self.databases.meta, txn, name, Some(position)),
            None => Ok(()),
        }
    }

    /// As [`millstream_engine::store::Base::wipe_store`]: entries and position in one transaction.
    pub(super) fn wipe_store(&self, store: usize) -> Result<(), Error> {
        let wiped = (|| {
            let mut txn = self.env.write_txn()?;
            let (name, database) = &self.databases.stores[store];
            database.clear(&mut txn)?;
            layout::put_position(&self.databases.meta, &mut txn, name, None)?;
            fail_point::pass(Point::StoreWipe);
            txn.commit()
        })();
        wiped.map_err(|error| self.failed(error))
    }

    /// As [`millstream_engine::store::Base::whole_at`]. A state that was never marked is older than any.
    pub(super) fn whole_at(&self) -> Result<i64, Error> {
        self.reading(|| {
            let txn = self.env.read_txn()?;
            Ok(layout::whole_at(&self.databases.meta, &txn)?.unwrap_or(0))
        })
    }

    pub(super) fn mark_whole(&self, now: i64) -> Result<(), Error> {
        self.reading(|| {
            let mut txn = self.env.write_txn()?;
            layout::put_whole_at(&self.databases.meta, &mut txn, now)?;
            txn.commit()
        })
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
            return Err(Error::Refused(Box::new(too_long(&self.directory, longest, max))));
        }
        Ok(())
    }

    fn failed(&self, error: heed::Error) -> Error {
        failed(&self.directory, error, ByteSize(self.env.info().map_size as u64))
    }
}

/// Of a changelog that was written elsewhere, or before the store came here: no other try will take it.
fn too_long(directory: &Path, bytes: usize, max: usize) -> Problem {
    let message =
        format!("the state in {} cannot take a key of {bytes} bytes, {max} are the most", directory.display());
    Problem::new("KeyTooLong", "E0704", exit::FAILED, message)
        .field("state_dir", directory.display().to_string())
        .field("key_bytes", bytes)
        .field("key_bytes_max", max)
        .why("LMDB takes no longer ones")
        .fix("keep this store in memory: [stores.NAME] provider = \"memory\"")
}
