//! Which record of each key stays: a pass's look at what was not compacted yet.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use millstream_engine::record::Record;

use crate::log::embedded::cleaned::Newest;

/// Keys of one pass: some 50 MiB. What is behind them is for the next pass, as with Kafka's `log.cleaner.dedupe.buffer`.
pub const KEYS_MAX: usize = 1 << 20;

/// The last records of keys. A key counts as its hash of 128 bits, under secrets of this value: nobody can write two
/// keys that are taken for one.
pub struct Survey {
    keys: HashMap<[u64; 2], Last>,
    secrets: [RandomState; 2],
    /// Whether an earlier record with a greater timestamp stays.
    by_time: bool,
    /// Where a record of the greatest timestamp stands, the last of them.
    pub newest: Option<Newest>,
    keys_max: usize,
}

/// Of one key.
#[derive(Clone, Copy)]
struct Last {
    /// The last record with the greatest timestamp; the last record, where timestamps do not count.
    offset: i64,
    timestamp: i64,
    /// The last record.
    end: i64,
}

impl Survey {
    pub fn new(by_time: bool, newest: Option<Newest>, keys_max: usize) -> Survey {
        let secrets = [RandomState::new(), RandomState::new()];
        Survey { keys: HashMap::new(), secrets, by_time, newest, keys_max }
    }

    pub fn is_full(&self) -> bool {
        self.keys.len() >= self.keys_max
    }

    /// Takes note of a record; offsets grow.
    pub fn note(&mut self, offset: i64, record: &Record<'_>) {
        let timestamp = record.timestamp;
        if self.newest.is_none_or(|newest| timestamp >= newest.timestamp) {
            self.newest = Some(Newest { offset, timestamp });
        }
        let Some(key) = record.key else { return };
        let last = self.keys.entry(self.hash(key)).or_insert(Last { offset, timestamp, end: offset });
        last.end = offset;
        if !self.by_time || timestamp >= last.timestamp {
            (last.offset, last.timestamp) = (offset, timestamp);
        }
    }

    /// Whether a later record has taken its place. A record without a key has no successor.
    pub fn is_superseded(&self, offset: i64, record: &Record<'_>) -> bool {
        let last = record.key.and_then(|key| self.keys.get(&self.hash(key)));
        last.is_some_and(|last| offset < last.offset && (!self.by_time || record.timestamp <= last.timestamp))
    }

    /// Whether a tombstone would leave another record of its key behind, if it went.
    pub fn has_more(&self, offset: i64, record: &Record<'_>) -> bool {
        let last = record.key.and_then(|key| self.keys.get(&self.hash(key)));
        self.by_time && last.is_none_or(|last| (last.offset, last.end) != (offset, offset))
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.secrets[0].hash_one(key), self.secrets[1].hash_one(key)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_engine::record::Headers;

    fn record(key: &'static str, timestamp: i64) -> Record<'static> {
        Record { key: Some(key.as_bytes()), value: Some(b"v"), headers: Headers(b""), timestamp }
    }

    fn stays(by_time: bool, records: &[Record<'_>]) -> Vec<i64> {
        let mut survey = Survey::new(by_time, None, KEYS_MAX);
        let offsets = || (0..).zip(records);
        offsets().for_each(|(offset, record)| survey.note(offset, record));
        offsets().filter(|(offset, record)| !survey.is_superseded(*offset, record)).map(|(offset, _)| offset).collect()
    }

    #[test]
    fn the_last_record_of_a_key_stays_whatever_its_time() {
        let records = [record("a", 9), record("b", 1), record("a", 3), record("b", 1)];
        assert_eq!(stays(false, &records), [2, 3]);
    }

    /// Of versions the latest is not always the last: both stay.
    #[test]
    fn of_versions_the_latest_stays_too() {
        let records = [record("a", 5), record("a", 9), record("a", 3), record("a", 4), record("b", 1), record("b", 1)];
        assert_eq!(stays(true, &records), [1, 2, 3, 5], "what came behind the latest stays until a later one comes");
    }
}
