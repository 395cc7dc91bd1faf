//! Entries of key-value stores with their timestamps: Kafka Streams' `ValueAndTimestamp` and its timestamped store.
//!
//! Every key-value store keeps them, and so does its changelog.

use super::{KeyValueStore, Scan, key_bytes};
use crate::codec::{self, Data};
use crate::failure::Failure;

/// A value, and the timestamp it was put with, in milliseconds: that of the record whose processing put it, unless it was
/// put with another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueAndTimestamp<V> {
    pub value: V,
    pub timestamp: i64,
}

impl<K: Data, V: Data> KeyValueStore<K, V> {
    /// The value of a key, and its timestamp.
    ///
    /// ```
    /// # use millstream_sdk::prelude::*;
    /// # struct Latest(KeyValueStore<String, i64>);
    /// # impl Processor<String, i64, String, i64> for Latest {
    /// // Keeps of each key what happened last, whatever comes in last.
    /// fn process(&mut self, record: Record<String, i64>, _: &mut Context<String, i64>) -> Result<(), Failure> {
    ///     let found = self.0.get_with_timestamp(&record.key)?;
    ///     if found.is_none_or(|found| record.timestamp >= found.timestamp) {
    ///         self.0.put(&record.key, &record.value);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn get_with_timestamp(&self, key: &K) -> Result<Option<ValueAndTimestamp<V>>, Failure> {
        let mut buffer = self.buffer.borrow_mut();
        let found = buffer.get(&key_bytes(key))?;
        let value = found.map(|(value, timestamp)| {
            codec::decode("value", Some(value)).map(|value| ValueAndTimestamp { value, timestamp })
        });
        value.transpose().map_err(|error| buffer.refused("read", error))
    }

    /// Sets the value of a key as of another time than that of the record; a null value deletes it. A negative timestamp is
    /// an error here. One so far ahead of the clock that the store's changelog would not take it
    /// (`message.timestamp.after.max.ms`) is none here, for writes wait: the call traps where they are handed over, at the
    /// end of its batch at the latest, and the host judges the record whose write it was as one that failed by a trap.
    pub fn put_with_timestamp(&self, key: &K, value: &V, timestamp: i64) -> Result<(), Failure> {
        let mut buffer = self.buffer.borrow_mut();
        if timestamp < 0 {
            return Err(buffer.refused("write to", format!("the timestamp {timestamp} is negative")));
        }
        buffer.put(key_bytes(key), codec::to_bytes(value), Some(timestamp));
        Ok(())
    }
}

/// A [`Scan`] that gives each entry's timestamp too ([`Scan::with_timestamps`]).
pub struct TimestampedScan<K, V>(pub(super) Scan<K, V>);

impl<K: Data, V: Data> Iterator for TimestampedScan<K, V> {
    type Item = Result<(K, ValueAndTimestamp<V>), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.0.next_timestamped()?;
        Some(next.map(|(key, value, timestamp)| (key, ValueAndTimestamp { value, timestamp })))
    }
}
