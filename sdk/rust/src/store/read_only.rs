//! A store that a processor may not write.

use std::ops::RangeBounds;

use super::{KeyValueStore, Scan, ValueAndTimestamp};
use crate::codec::Data;
use crate::failure::Failure;

/// An open store that is only read: a global table's. The order of keys is the byte order of what their codec writes. An
/// error is the record's failure: hand it on with `?`.
pub struct ReadOnlyKeyValueStore<K, V>(KeyValueStore<K, V>);

impl<K: Data, V: Data> ReadOnlyKeyValueStore<K, V> {
    pub(crate) fn new(store: KeyValueStore<K, V>) -> ReadOnlyKeyValueStore<K, V> {
        ReadOnlyKeyValueStore(store)
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Result<Option<V>, Failure> {
        self.0.get(key)
    }

    /// The value of a key, and the timestamp of the record that it came with.
    pub fn get_with_timestamp(&self, key: &K) -> Result<Option<ValueAndTimestamp<V>>, Failure> {
        self.0.get_with_timestamp(key)
    }

    /// The entries with keys in a range, `from..=to` or with an open end; a range the wrong way round is empty.
    pub fn range(&self, keys: impl RangeBounds<K>) -> Result<Scan<K, V>, Failure> {
        self.0.range(keys)
    }

    /// The entries of a range, the last one first.
    pub fn reverse_range(&self, keys: impl RangeBounds<K>) -> Result<Scan<K, V>, Failure> {
        self.0.reverse_range(keys)
    }

    pub fn all(&self) -> Result<Scan<K, V>, Failure> {
        self.0.all()
    }

    pub fn reverse_all(&self) -> Result<Scan<K, V>, Failure> {
        self.0.reverse_all()
    }

    /// The entries whose keys' bytes start with those of `prefix`.
    pub fn prefix<P: Data>(&self, prefix: &P) -> Result<Scan<K, V>, Failure> {
        self.0.prefix(prefix)
    }

    /// How many keys the store holds, roughly.
    pub fn approximate_entries(&self) -> Result<u64, Failure> {
        self.0.approximate_entries()
    }
}
