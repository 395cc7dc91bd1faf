//! What stores that go by time are asked: windows, sessions, and what a key was at a time.

use millstream_engine::task::TaskId;

use super::{DEADLINE, Entry, ReadError, Store, between};
use crate::desk::Row;
use crate::desk::query::{Keys, Range};
use crate::text::Coded;

/// The value of a key in one window or session. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowEntry<K, V> {
    pub key: K,
    pub start: i64,
    /// Of a window the first moment behind it, of a session its last record's.
    pub end: i64,
    pub value: V,
    /// Of the last change.
    pub timestamp: i64,
    /// Who holds it.
    pub task: TaskId,
}

impl<K: Coded, V: Coded> Store<K, V> {
    /// Of a versioned store: what the key was at this time. As [`Store::get`].
    pub fn get_as_of(&self, key: &K, time: i64) -> Result<Option<Entry<K, V>>, ReadError> {
        let page = self.handle.query(&self.name, Keys::AsOf(key.encode(), time), DEADLINE)?;
        page.rows.first().map(|row| self.entry(row)).transpose()
    }

    /// Of a window store: the window of the key that begins at `start`. As [`Store::get`].
    pub fn window(&self, key: &K, start: i64) -> Result<Option<WindowEntry<K, V>>, ReadError> {
        self.one(Keys::Window(key.encode(), start))
    }

    /// Of a window store: the windows of the key, or of all keys, that begin from `from` to `to`, both included, in order
    /// of key and start. As [`Store::scan`].
    pub fn windows(
        &self,
        key: Option<&K>,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = Result<WindowEntry<K, V>, ReadError>> {
        self.timed(key, (from, to), false)
    }

    /// As [`Store::windows`], from the last one to the first.
    pub fn windows_reverse(
        &self,
        key: Option<&K>,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = Result<WindowEntry<K, V>, ReadError>> {
        self.timed(key, (from, to), true)
    }

    /// Of a session store: the session of the key that begins and ends so. As [`Store::get`].
    pub fn session(&self, key: &K, start: i64, end: i64) -> Result<Option<WindowEntry<K, V>>, ReadError> {
        self.one(Keys::Session(key.encode(), start, end))
    }

    /// Of a session store: the sessions of the key, or of all keys, that end at `earliest_end` or later and begin at
    /// `latest_start` or earlier, in order of key, end and start. As [`Store::scan`].
    pub fn sessions(
        &self,
        key: Option<&K>,
        earliest_end: i64,
        latest_start: i64,
    ) -> impl Iterator<Item = Result<WindowEntry<K, V>, ReadError>> {
        self.timed(key, (earliest_end, latest_start), false)
    }

    /// As [`Store::sessions`], from the last one to the first.
    pub fn sessions_reverse(
        &self,
        key: Option<&K>,
        earliest_end: i64,
        latest_start: i64,
    ) -> impl Iterator<Item = Result<WindowEntry<K, V>, ReadError>> {
        self.timed(key, (earliest_end, latest_start), true)
    }

    fn one(&self, keys: Keys) -> Result<Option<WindowEntry<K, V>>, ReadError> {
        let page = self.handle.query(&self.name, keys, DEADLINE)?;
        page.rows.first().map(|row| self.window_entry(row)).transpose()
    }

    fn timed(
        &self,
        key: Option<&K>,
        times: (i64, i64),
        reverse: bool,
    ) -> impl Iterator<Item = Result<WindowEntry<K, V>, ReadError>> {
        self.rows(Range { times: Some(times), ..between(key, key, reverse) }).map(|row| self.window_entry(&row?))
    }

    fn window_entry(&self, row: &Row) -> Result<WindowEntry<K, V>, ReadError> {
        let Entry { key, value, timestamp, task } = self.entry(row)?;
        // The kind was looked at before, so there is a window.
        let (start, end) = row.window.as_ref().map_or((timestamp, timestamp), |window| (window.start, window.end));
        Ok(WindowEntry { key, start, end, value, timestamp, task })
    }
}
