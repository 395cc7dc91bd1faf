//! State stores as a processor uses them.

mod buffer;
mod read_only;
mod scan;
mod session;
mod timed;
mod timestamped;
mod versioned;
mod window;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use crate::codec::{self, Data};
use crate::failure::Failure;
pub(crate) use buffer::{Buffer, Mark};
pub use read_only::ReadOnlyKeyValueStore;
use scan::Keys;
pub use scan::Scan;
pub use session::{SessionStore, Sessions};
pub use timed::{TimedEntry, TimedScan};
pub use timestamped::{TimestampedScan, ValueAndTimestamp};
pub use versioned::{ValidTo, Versioned, VersionedStore, Versions};
pub use window::{WindowStore, Windows};

/// A store of the topology, to be opened in the processors that use it ([`crate::Init::store`]).
pub struct Store<K, V> {
    pub(crate) buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl<K, V> Store<K, V> {
    pub(crate) fn new(buffer: Rc<RefCell<Buffer>>) -> Store<K, V> {
        Store { buffer, types: PhantomData }
    }
}

impl<K, V> Clone for Store<K, V> {
    fn clone(&self) -> Store<K, V> {
        Store::new(self.buffer.clone())
    }
}

/// An open key-value store of the task that runs.
///
/// A write is seen by every later read of the same record and of those behind it, and undone with its record. The
/// order of keys is the byte order of what their codec writes.
pub struct KeyValueStore<K, V> {
    pub(crate) buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl<K: Data, V: Data> KeyValueStore<K, V> {
    pub(crate) fn new(buffer: Rc<RefCell<Buffer>>) -> KeyValueStore<K, V> {
        KeyValueStore { buffer, types: PhantomData }
    }

    /// The value of a key. An error is the record's failure: hand it on with `?`.
    pub fn get(&self, key: &K) -> Result<Option<V>, Failure> {
        Ok(self.get_with_timestamp(key)?.map(|found| found.value))
    }

    /// Sets the value of a key; a null value deletes it.
    pub fn put(&self, key: &K, value: &V) {
        self.buffer.borrow_mut().put(key_bytes(key), codec::to_bytes(value), None);
    }

    /// Sets the value of a key that has none; else answers the one it has and changes nothing.
    pub fn put_if_absent(&self, key: &K, value: &V) -> Result<Option<V>, Failure> {
        let old = self.get(key)?;
        if old.is_none() {
            self.put(key, value);
        }
        Ok(old)
    }

    pub fn put_all<'a>(&self, entries: impl IntoIterator<Item = (&'a K, &'a V)>) {
        entries.into_iter().for_each(|(key, value)| self.put(key, value));
    }

    /// Deletes a key and answers its old value.
    pub fn delete(&self, key: &K) -> Result<Option<V>, Failure> {
        let old = self.get(key)?;
        self.buffer.borrow_mut().put(key_bytes(key), None, None);
        Ok(old)
    }

    /// The entries with keys in a range, `from..=to` or with an open end; a range the wrong way round is empty.
    pub fn range(&self, keys: impl RangeBounds<K>) -> Result<Scan<K, V>, Failure> {
        self.scan(keys_in(keys, false))
    }

    /// The entries of a range, the last one first.
    pub fn reverse_range(&self, keys: impl RangeBounds<K>) -> Result<Scan<K, V>, Failure> {
        self.scan(keys_in(keys, true))
    }

    pub fn all(&self) -> Result<Scan<K, V>, Failure> {
        self.scan(Keys::all(false))
    }

    pub fn reverse_all(&self) -> Result<Scan<K, V>, Failure> {
        self.scan(Keys::all(true))
    }

    /// The entries whose keys' bytes start with those of `prefix`.
    pub fn prefix<P: Data>(&self, prefix: &P) -> Result<Scan<K, V>, Failure> {
        self.scan(Keys { prefix: Some(key_bytes(prefix)), ..Keys::all(false) })
    }

    /// How many keys the task's part of the store holds, roughly.
    pub fn approximate_entries(&self) -> Result<u64, Failure> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.flush()?;
        crate::host::approximate_entries(buffer.store()).map_err(|refusal| buffer.refused("count", refusal))
    }

    /// The entries behind a key that is known by its bytes; `None`: all.
    pub(crate) fn behind(&self, key: Option<&[u8]>) -> Result<Scan<K, V>, Failure> {
        let lower = key.map_or(Bound::Unbounded, |key| Bound::Excluded(key.to_vec()));
        self.scan(Keys { lower, ..Keys::all(false) })
    }

    fn scan(&self, keys: Keys) -> Result<Scan<K, V>, Failure> {
        Scan::new(self.buffer.clone(), keys)
    }
}

/// A store's key is never null: null and empty are the same to it.
fn key_bytes<K: Data>(key: &K) -> Vec<u8> {
    codec::to_bytes(key).unwrap_or_default()
}

fn keys_in<K: Data>(keys: impl RangeBounds<K>, reverse: bool) -> Keys {
    let bytes = |bound: Bound<&K>| bound.map(key_bytes);
    Keys { lower: bytes(keys.start_bound()), upper: bytes(keys.end_bound()), prefix: None, reverse }
}
