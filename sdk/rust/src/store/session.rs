//! Session stores.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::rc::Rc;

use super::buffer::Buffer;
use super::key_bytes;
use super::timed::{self, Rows, Thing, TimedScan};
use crate::codec::{self, Data};
use crate::failure::Failure;

/// A session store of the topology, to be opened in the processors that use it ([`crate::Init::session_store`]).
pub struct Sessions<K, V> {
    pub(crate) buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl<K, V> Sessions<K, V> {
    pub(crate) fn new(buffer: Rc<RefCell<Buffer>>) -> Sessions<K, V> {
        Sessions { buffer, types: PhantomData }
    }
}

impl<K, V> Clone for Sessions<K, V> {
    fn clone(&self) -> Sessions<K, V> {
        Sessions::new(self.buffer.clone())
    }
}

/// An open session store of the task that runs: of each key a value for each session, from its start to its end, both
/// included, in milliseconds.
///
/// Sessions go by the store's own time, the latest end that was put: one that ended longer ago than the retention is not
/// seen any more, to the millisecond. A write is seen by every later read, and undone with its record.
pub struct SessionStore<K, V> {
    buffer: Rc<RefCell<Buffer>>,
    types: PhantomData<(K, V)>,
}

impl<K: Data, V: Data> SessionStore<K, V> {
    pub(crate) fn new(buffer: Rc<RefCell<Buffer>>) -> SessionStore<K, V> {
        SessionStore { buffer, types: PhantomData }
    }

    /// Puts the value of the session from `start` to `end`; a null value removes it. `false`: the session has expired,
    /// nothing was kept.
    pub fn put(&self, key: &K, start: i64, end: i64, value: &V) -> Result<bool, Failure> {
        self.write(key, start, end, codec::to_bytes(value).as_deref())
    }

    /// Removes a session, whether it is there or not.
    pub fn remove(&self, key: &K, start: i64, end: i64) -> Result<(), Failure> {
        self.write(key, start, end, None).map(drop)
    }

    fn write(&self, key: &K, start: i64, end: i64, value: Option<&[u8]>) -> Result<bool, Failure> {
        let thing = Thing { key: &key_bytes(key), time: end, start };
        Ok(timed::put(&self.buffer, thing, value)? != i64::MIN)
    }

    /// The value of the session with exactly this start and end.
    pub fn fetch_session(&self, key: &K, start: i64, end: i64) -> Result<Option<V>, Failure> {
        let thing = Thing { key: &key_bytes(key), time: end, start };
        Ok(timed::get(&self.buffer, thing)?.map(|(value, _)| value))
    }

    /// The sessions of a key that end at or behind `earliest_end` and start at or before `latest_start`, in the order of
    /// their ends.
    pub fn find_sessions(&self, key: &K, earliest_end: i64, latest_start: i64) -> TimedScan<K, V> {
        self.scan(Rows { key: Some(key_bytes(key)), ..rows(earliest_end, latest_start, false) })
    }

    /// The same, the latest first.
    pub fn backward_find_sessions(&self, key: &K, earliest_end: i64, latest_start: i64) -> TimedScan<K, V> {
        self.scan(Rows { key: Some(key_bytes(key)), ..rows(earliest_end, latest_start, true) })
    }

    /// The same of all keys in a range, by the bytes of their codec, `from..=to` or with an open end.
    pub fn find_sessions_of(&self, keys: impl RangeBounds<K>, earliest_end: i64, latest_start: i64) -> TimedScan<K, V> {
        self.scan(rows(earliest_end, latest_start, false).of(keys))
    }

    /// The same backwards.
    pub fn backward_find_sessions_of(
        &self,
        keys: impl RangeBounds<K>,
        earliest_end: i64,
        latest_start: i64,
    ) -> TimedScan<K, V> {
        self.scan(rows(earliest_end, latest_start, true).of(keys))
    }

    /// The sessions of all keys that end in a range of times.
    pub fn find_sessions_that_end(&self, ends: impl RangeBounds<i64>) -> TimedScan<K, V> {
        // Such a session starts at or before the last of these times.
        let (from, to) = timed::times(ends);
        TimedScan::of_sessions(self.buffer.clone(), Rows { latest_end: Some(to), ..rows(from, to, false) })
    }

    /// All sessions of a key, in the order of their ends.
    pub fn fetch(&self, key: &K) -> TimedScan<K, V> {
        self.find_sessions(key, i64::MIN, i64::MAX)
    }

    /// The same, the latest first.
    pub fn backward_fetch(&self, key: &K) -> TimedScan<K, V> {
        self.backward_find_sessions(key, i64::MIN, i64::MAX)
    }

    /// The sessions of all keys in a range.
    pub fn fetch_keys(&self, keys: impl RangeBounds<K>) -> TimedScan<K, V> {
        self.find_sessions_of(keys, i64::MIN, i64::MAX)
    }

    /// The same backwards.
    pub fn backward_fetch_keys(&self, keys: impl RangeBounds<K>) -> TimedScan<K, V> {
        self.backward_find_sessions_of(keys, i64::MIN, i64::MAX)
    }

    /// All sessions.
    pub fn all(&self) -> TimedScan<K, V> {
        self.scan(rows(i64::MIN, i64::MAX, false))
    }

    /// All sessions backwards.
    pub fn backward_all(&self) -> TimedScan<K, V> {
        self.scan(rows(i64::MIN, i64::MAX, true))
    }

    fn scan(&self, rows: Rows) -> TimedScan<K, V> {
        TimedScan::new(self.buffer.clone(), rows)
    }
}

fn rows(earliest_end: i64, latest_start: i64, reverse: bool) -> Rows {
    Rows { from: earliest_end, to: latest_start, reverse, ..Rows::default() }
}
