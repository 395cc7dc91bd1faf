//! Keys and values with their timestamps, with a cache and without, against sorted maps.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use millstream_engine::store::{KeyRange, StoreKind, Timestamped, with_timestamp};

use super::subject::{Bases, Entry, Subject};
use super::{Chance, KEYS};

type Rows = BTreeMap<Vec<u8>, Timestamped>;

#[derive(Clone, Default)]
struct Model {
    /// What reads see.
    rows: Rows,
    /// The same without what the cache holds back.
    below: Rows,
    /// What the cache holds back, in the order of last updates: a key, and when it was updated.
    held_back: Vec<(Vec<u8>, i64)>,
    /// What the open interval has to say to the changelog, write by write.
    said: Vec<Entry>,
}

impl Model {
    fn put(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64, is_cached: bool) {
        match value {
            Some(value) => drop(self.rows.insert(key.to_vec(), Timestamped { timestamp, value: value.to_vec() })),
            None => drop(self.rows.remove(key)),
        }
        if is_cached {
            self.held_back.retain(|(held, _)| held != key);
            self.held_back.push((key.to_vec(), timestamp));
        } else {
            self.said.push((key.to_vec(), value.map(<[u8]>::to_vec), timestamp));
        }
    }

    /// What flushing everything hands over: key, value, the value before, timestamp.
    fn flush(&mut self) -> Vec<Flushed> {
        let mut flushed = Vec::new();
        for (key, timestamp) in std::mem::take(&mut self.held_back) {
            let value = self.rows.get(&key).map(|row| row.value.clone());
            let old = self.below.get(&key).map(|row| row.value.clone());
            // What came and went in between has changed nothing.
            if value.is_some() || old.is_some() {
                self.said.push((key.clone(), value.clone(), timestamp));
                flushed.push((key, value, old, timestamp));
            }
        }
        self.below = self.rows.clone();
        flushed
    }

    /// The changelog records of the interval.
    fn seal(&mut self, coalesce: bool) -> Vec<Entry> {
        let mut said = std::mem::take(&mut self.said);
        if coalesce {
            let all = said.clone();
            let mut places = 0..;
            said.retain(|(key, ..)| {
                let place = places.next().unwrap_or(0);
                !all[place + 1..].iter().any(|(later, ..)| later == key)
            });
        }
        said
    }
}

type Flushed = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, i64);

/// One store under test and what it should be.
pub struct Keyed<'b> {
    is_cached: bool,
    chance: Chance,
    subject: Subject<'b>,
    batch: Model,
    open: Model,
    committed: Rows,
}

impl<'b> Keyed<'b> {
    pub fn new(cache: Option<usize>, seed: u64, bases: &'b mut dyn Bases) -> Keyed<'b> {
        let mut chance = Chance(seed);
        let coalesce = chance.below(2) == 0;
        let subject = Subject::new(StoreKind::KeyValue, coalesce, cache, bases);
        let (batch, open, committed) = Default::default();
        Keyed { is_cached: cache.is_some(), chance, subject, batch, open, committed }
    }

    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.chance.below(100) {
                0..46 => self.put(),
                46..50 => self.put_some_apart(),
                50..74 => self.compare(),
                74..80 => self.keep_batch(),
                80..84 => self.drop_batch(),
                84..88 => self.flush(),
                88..93 => self.commit(),
                93..95 => self.abort(),
                95 => self.reopen(),
                96..99 => self.die(),
                _ => self.restore(),
            }
        }
        self.commit();
        self.restore();
    }

    fn key(&mut self) -> Vec<u8> {
        self.chance.one_of(&KEYS).to_vec()
    }

    // === a batch ===

    fn put(&mut self) {
        let (key, timestamp) = (self.key(), self.chance.below(1_000) as i64 - 1);
        let bytes = self.chance.next().to_be_bytes();
        let value = match self.chance.below(8) {
            0 | 1 => None,
            2 => Some(&[][..]),
            // Of the length of another, which is written in its place, and of others.
            3 => Some(&bytes[..7]),
            _ => Some(&bytes[..3]),
        };
        self.subject.stores.check(0, &key, value).unwrap();
        self.subject.stores.put(0, &key, value, timestamp);
        self.batch.put(&key, value, timestamp, self.is_cached);
    }

    /// A part of a batch, which is kept with it or goes by itself.
    fn put_some_apart(&mut self) {
        let (saved, before) = (self.subject.stores.save(), self.batch.clone());
        for _ in 0..self.chance.below(4) {
            self.put();
        }
        self.compare();
        if self.chance.below(2) == 0 {
            return self.subject.stores.keep_saved(saved);
        }
        self.subject.stores.back_to_saved(saved);
        self.batch = before;
        self.compare();
    }

    fn keep_batch(&mut self) {
        self.subject.stores.keep_batch();
        self.open = self.batch.clone();
    }

    fn drop_batch(&mut self) {
        self.subject.stores.drop_batch();
        self.batch = self.open.clone();
    }

    // === reads ===

    fn compare(&mut self) {
        let (key, other, limit) = (self.key(), self.key(), self.chance.below(9) as usize);
        let stores = &self.subject.stores;
        assert_eq!(stores.get(0, &key).unwrap().as_ref(), self.batch.rows.get(&key), "{key:?}");
        let mut found = vec![None; KEYS.len()];
        let mut visit = |at: usize, row: Option<(i64, &[u8])>| {
            found[at] = row.map(|(timestamp, value)| Timestamped { timestamp, value: value.to_vec() });
        };
        stores.get_each(0, &KEYS, &mut visit).unwrap();
        assert_eq!(found, KEYS.map(|key| self.batch.rows.get(key).cloned()));
        for reverse in [false, true] {
            for (lower, upper) in [(None, None), (Some(&*key), Some(&*other)), (Some(&*key), None), (None, Some(&*key))]
            {
                self.compare_range(KeyRange { lower, upper }, reverse, limit);
            }
        }
        self.compare_committed();
        if let Some(size) = stores.cache_size(0) {
            assert_eq!(size.entries, self.batch.held_back.len());
            assert_eq!(size.bytes == 0, size.entries == 0);
        }
    }

    /// As far as somebody walks.
    fn compare_range(&self, range: KeyRange<'_>, reverse: bool, limit: usize) {
        let rows = self.batch.rows.iter().filter(|(key, _)| !range.is_inverted() && range.contains(key));
        let mut expected: Vec<_> = rows.map(|(key, row)| (key.clone(), row.timestamp, row.value.clone())).collect();
        if reverse {
            expected.reverse();
        }
        expected.truncate(limit + 1);
        let mut found = Vec::new();
        let mut visit = |key: &[u8], timestamp, value: &[u8]| {
            found.push((key.to_vec(), timestamp, value.to_vec()));
            if found.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.subject.stores.scan(0, range, reverse, &mut visit).unwrap();
        assert_eq!(found, expected, "{range:?}, reverse {reverse}");
    }

    /// What queries see: nothing of the layers over the base.
    fn compare_committed(&self) {
        let (base, slot) = self.subject.stores.committed(0);
        let mut found = Vec::new();
        let mut visit = |key: &[u8], row: &[u8]| {
            found.push((key.to_vec(), row.to_vec()));
            ControlFlow::Continue(())
        };
        base.scan(slot, KeyRange::default(), false, &mut visit).unwrap();
        let rows = self.committed.iter();
        let expected: Vec<_> =
            rows.map(|(key, row)| (key.clone(), with_timestamp(row.timestamp, &row.value))).collect();
        assert_eq!(found, expected, "committed");
        assert_eq!(self.subject.stores.entries(0).unwrap(), expected.len() as u64);
    }

    // === intervals ===

    /// All of what the cache holds back, in portions; one that fails is done again.
    fn flush(&mut self) {
        self.keep_batch();
        let expected = self.batch.flush();
        let mut flushed = Vec::new();
        while self.subject.stores.holds_back() {
            let (most, before) = (1 + self.chance.below(4) as usize, flushed.len());
            let rows = self.subject.stores.flush(0, most, &mut |row| {
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                flushed.push((row.key.to_vec(), owned(row.value), owned(row.old), row.timestamp));
            });
            if self.chance.below(4) == 0 {
                self.subject.stores.drop_batch();
                flushed.truncate(before);
                continue;
            }
            self.subject.stores.keep_batch();
            self.subject.stores.flushed(0, rows.unwrap());
        }
        assert_eq!(flushed, expected);
        self.open = self.batch.clone();
    }

    fn seal(&mut self) {
        self.flush();
        self.subject.seal();
        let expected = self.batch.seal(self.subject.coalesce);
        assert_eq!(self.subject.sealed, expected, "what the changelog is told");
        self.open = self.batch.clone();
    }

    fn apply(&mut self, sealed: Rows) {
        self.subject.log();
        self.subject.apply();
        self.committed = sealed;
    }

    fn commit(&mut self) {
        self.seal();
        let sealed = self.batch.rows.clone();
        // A batch between a seal and its commit sees what is under seal.
        self.compare();
        self.put();
        self.keep_batch();
        self.apply(sealed);
        self.compare();
        self.seal();
        self.apply(self.batch.rows.clone());
        self.compare();
    }

    /// The model of what the base has.
    fn forget_uncommitted(&mut self) {
        self.batch = Model { rows: self.committed.clone(), below: self.committed.clone(), ..Model::default() };
        self.open = self.batch.clone();
    }

    /// Of an interval under seal, or of one that is being filled, in the middle of a flush too.
    fn abort(&mut self) {
        match self.chance.below(3) {
            0 => {
                self.seal();
                self.put();
            }
            1 => {
                self.keep_batch();
                let rows = self.subject.stores.flush(0, 1, &mut |_| {}).unwrap();
                self.subject.stores.keep_batch();
                self.subject.stores.flushed(0, rows);
            }
            _ => {}
        }
        self.subject.abort();
        self.forget_uncommitted();
        self.compare();
    }

    fn reopen(&mut self) {
        self.commit();
        self.subject.die();
        let whole = self.subject.stands_at() == self.subject.changelog.len();
        assert!(whole || !self.subject.are_kept(), "what was committed is gone");
        self.catch_up();
    }

    /// In the middle of an interval: before the log has it, or behind that and before the base has it.
    fn die(&mut self) {
        let way = self.chance.below(3);
        if way > 0 {
            self.seal();
        }
        if way == 1 {
            self.subject.log();
            self.committed = self.batch.rows.clone();
        }
        self.put();
        self.subject.die();
        self.forget_uncommitted();
        self.catch_up();
    }

    /// From nothing.
    fn restore(&mut self) {
        self.commit();
        self.subject.begin_anew();
        self.catch_up();
    }

    fn catch_up(&mut self) {
        self.subject.catch_up(&mut self.chance);
        self.compare();
    }
}
