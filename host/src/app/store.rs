//! A store read from Rust, in the process that runs its application.

mod timed;

use std::marker::PhantomData;
use std::time::Duration;

use millstream_engine::task::TaskId;

use super::handle::Handle;
use super::query::QueryError;
use crate::desk::Row;
use crate::desk::query::{Keys, ROWS_MAX, Range};
use crate::text::{Codec, Coded};

pub use timed::WindowEntry;

/// How long a read may wait for the threads: longer than a batch takes.
const DEADLINE: Duration = Duration::from_secs(2);

/// The committed state of one store, typed. Cheap to clone, good for any thread; it stays good over swaps of the
/// component.
pub struct Store<K, V> {
    handle: Handle,
    name: String,
    types: PhantomData<fn() -> (K, V)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<K, V> {
    pub key: K,
    pub value: V,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// Who holds it.
    pub task: TaskId,
}

/// Why there is no answer. Never a wrong one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no such store, or it restores or moves: then ask again.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Its bytes would be read as something else.
    #[error("store {store}: the component writes {part} with the codec {declared}, and {asked} was asked for")]
    OtherCodec { store: String, part: &'static str, declared: String, asked: String },
    /// The component wrote other bytes than its codec does.
    #[error("store {store}: {part} does not decode: {why}")]
    Undecodable { store: String, part: &'static str, why: String },
}

fn between<K: Coded>(from: Option<&K>, to: Option<&K>, reverse: bool) -> Range {
    Range { from: from.map(Coded::encode), to: to.map(Coded::encode), reverse, limit: ROWS_MAX, ..Range::default() }
}

impl<K, V> Clone for Store<K, V> {
    fn clone(&self) -> Store<K, V> {
        Store { handle: self.handle.clone(), name: self.name.clone(), types: PhantomData }
    }
}

impl<K: Coded, V: Coded> Store<K, V> {
    /// Refuses types that the store's codecs do not write.
    pub(super) fn open(handle: Handle, name: &str) -> Result<Store<K, V>, ReadError> {
        let codecs = handle.store(name)?.info.codecs;
        for (part, declared, asked) in [("keys", &codecs.key, K::CODEC), ("values", &codecs.value, V::CODEC)] {
            if let Some(asked) = asked.filter(|asked| Codec::declared(declared) != *asked) {
                let (store, declared, asked) = (name.to_owned(), declared.clone(), asked.to_string());
                return Err(ReadError::OtherCodec { store, part, declared, asked });
            }
        }
        Ok(Store { handle, name: name.to_owned(), types: PhantomData })
    }

    /// Blocks up to two seconds, so not on an async thread.
    pub fn get(&self, key: &K) -> Result<Option<Entry<K, V>>, ReadError> {
        let page = self.handle.query(&self.name, Keys::One(key.encode()), DEADLINE)?;
        page.rows.first().map(|row| self.entry(row)).transpose()
    }

    /// The entries from one key to another, both included, in byte order of their keys. Page by page: each is
    /// committed state, and a later one may be of a later commit.
    pub fn scan(&self, from: Option<&K>, to: Option<&K>) -> impl Iterator<Item = Result<Entry<K, V>, ReadError>> {
        self.entries(between(from, to, false))
    }

    /// As [`Store::scan`], from the last key to the first.
    pub fn scan_reverse(
        &self,
        from: Option<&K>,
        to: Option<&K>,
    ) -> impl Iterator<Item = Result<Entry<K, V>, ReadError>> {
        self.entries(between(from, to, true))
    }

    /// As [`Store::scan`], the entries whose keys, as their codec writes them, begin with these bytes.
    pub fn scan_prefix(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Entry<K, V>, ReadError>> {
        self.entries(Range { prefix: Some(prefix.to_vec()), limit: ROWS_MAX, ..Range::default() })
    }

    fn entries(&self, range: Range) -> impl Iterator<Item = Result<Entry<K, V>, ReadError>> {
        self.rows(range).map(|row| self.entry(&row?))
    }

    /// The rows of a range, page by page.
    fn rows(&self, range: Range) -> impl Iterator<Item = Result<Row, ReadError>> {
        let mut next = Some(range);
        let pages = std::iter::from_fn(move || {
            let mut range = next.take()?;
            let page = match self.handle.query(&self.name, Keys::Range(range.clone()), DEADLINE) {
                Ok(page) => page,
                Err(error) => return Some(vec![Err(error.into())]),
            };
            if page.next.is_some() {
                range.after = page.next;
                next = Some(range);
            }
            Some(page.rows.into_iter().map(Ok).collect())
        });
        pages.flatten()
    }

    fn entry(&self, row: &Row) -> Result<Entry<K, V>, ReadError> {
        let key = K::decode(&row.key).map_err(|why| self.undecodable("a key", why))?;
        let value = V::decode(&row.value).map_err(|why| self.undecodable("a value", why))?;
        Ok(Entry { key, value, timestamp: row.timestamp, task: row.task })
    }

    fn undecodable(&self, part: &'static str, why: String) -> ReadError {
        ReadError::Undecodable { store: self.name.clone(), part, why }
    }
}
