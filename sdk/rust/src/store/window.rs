//! Window stores.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::rc::Rc;

use super::buffer::Buffer;
use super::key_bytes;
use super::timed::{self, Rows, Thing, TimedScan};
use crate::codec::{self, Data};
use crate::failure::Failure;

/// A window store of the topology, to be opened in the processors that use it ([`crate::Init::window_store`]).
pub struct Windows<K, V> {
    pub(crate) buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl<K, V> Windows<K, V> {
    pub(crate) fn new(buffer: Rc<RefCell<Buffer>>) -> Windows<K, V> {
        Windows { buffer, types: PhantomData }
    }
}

impl<K, V> Clone for Windows<K, V> {
    fn clone(&self) -> Windows<K, V> {
        Windows::new(self.buffer.clone())
    }
}

/// An open window store of the task that runs: of each key a value for each start of a window, or many with
/// [`crate::Materialized::retain_duplicates`].
///
/// Windows go by the store's own time, the latest start that was put: one that starts longer ago than the retention is not
/// seen any more, to the millisecond. Times are milliseconds; bounds of scans are inclusive. A write is seen by every later
/// read, and undone with its record.
pub struct WindowStore<K, V> {
    buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl<K: Data, V: Data> WindowStore<K, V> {
    pub(crate) fn new(buffer: Rc<RefCell<Buffer>>) -> WindowStore<K, V> {
        WindowStore { buffer, types: PhantomData }
    }

    /// Puts the value of the window of `key` that starts at `start`; a null value deletes it, and does nothing where
    /// duplicates are kept. `false`: the window has expired, nothing was kept.
    pub fn put(&self, key: &K, start: i64, value: &V) -> Result<bool, Failure> {
        let thing = Thing { key: &key_bytes(key), time: start, start };
        Ok(timed::put(&self.buffer, thing, codec::to_bytes(value).as_deref())? != i64::MIN)
    }

    /// The value of one window; of duplicates the first.
    pub fn fetch_one(&self, key: &K, start: i64) -> Result<Option<V>, Failure> {
        let thing = Thing { key: &key_bytes(key), time: start, start };
        Ok(timed::get(&self.buffer, thing)?.map(|(value, _)| value))
    }

    /// The windows of a key that start in a range of times, the earliest first.
    pub fn fetch(&self, key: &K, starts: impl RangeBounds<i64>) -> TimedScan<K, V> {
        self.scan(Rows { key: Some(key_bytes(key)), ..rows(starts, false) })
    }

    /// The same, the latest first.
    pub fn backward_fetch(&self, key: &K, starts: impl RangeBounds<i64>) -> TimedScan<K, V> {
        self.scan(Rows { key: Some(key_bytes(key)), ..rows(starts, true) })
    }

    /// The windows of all keys in a range, by the bytes of their codec, `from..=to` or with an open end, that start in a
    /// range of times.
    pub fn fetch_keys(&self, keys: impl RangeBounds<K>, starts: impl RangeBounds<i64>) -> TimedScan<K, V> {
        self.scan(rows(starts, false).of(keys))
    }

    /// The same backwards.
    pub fn backward_fetch_keys(&self, keys: impl RangeBounds<K>, starts: impl RangeBounds<i64>) -> TimedScan<K, V> {
        self.scan(rows(starts, true).of(keys))
    }

    /// The windows of all keys that start in a range of times.
    pub fn fetch_all(&self, starts: impl RangeBounds<i64>) -> TimedScan<K, V> {
        self.scan(rows(starts, false))
    }

    /// The same backwards.
    pub fn backward_fetch_all(&self, starts: impl RangeBounds<i64>) -> TimedScan<K, V> {
        self.scan(rows(starts, true))
    }

    /// All windows.
    pub fn all(&self) -> TimedScan<K, V> {
        self.fetch_all(..)
    }

    /// All windows backwards.
    pub fn backward_all(&self) -> TimedScan<K, V> {
        self.backward_fetch_all(..)
    }

    fn scan(&self, rows: Rows) -> TimedScan<K, V> {
        TimedScan::new(self.buffer.clone(), rows)
    }
}

fn rows(starts: impl RangeBounds<i64>, reverse: bool) -> Rows {
    let (from, to) = timed::times(starts);
    Rows { from, to, reverse, ..Rows::default() }
}
