//! The cache of a store: what its operator has written and has not yet given downstream (Kafka Streams' record cache).
//!
//! A further layer, on top of the open one. It never outlives an interval: before one is cut everything in it is flushed,
//! so neither the log nor a base ever knows of it. Only what is dirty is in it. Kafka Streams keeps clean entries too, to
//! read them again; here the layers and the base below are that.

use std::cell::Cell;

use super::changes::Saved;
use super::layers::{Layers, Logged, split_timestamp};
use super::timed::{self, EntryKeys, damaged};
use super::{Base, Changes, Error, StoreKind, TaskStores, layout};

/// What an entry costs beside its bytes: its rows in two tables, and their places there.
const ENTRY_OVERHEAD: usize = 96;

/// Bytes that are flushed together, before the row that goes beyond them: as much as a batch of records has.
const FLUSHED_BYTES_MAX: usize = 4 << 20;

#[derive(Default)]
pub(super) struct Cache {
    /// As they stand in a base.
    pub(super) rows: Changes,
    /// By the same keys: whose update it was.
    notes: Changes,
    /// Of the write to come.
    note: Vec<u8>,
    bytes_max: usize,
    size: Size,
    kept: Size,
    /// Places of the rows in the order of last updates, while it is flushed; nothing is written meanwhile.
    order: Vec<u32>,
    flushed: usize,
    /// It goes with what is in it.
    ends: bool,
    hits: Cell<u64>,
}

/// A place within a batch.
#[derive(Clone, Copy)]
pub(super) struct SavedCache {
    rows: Saved,
    notes: Saved,
    size: Size,
}

#[derive(Clone, Copy, Default)]
struct Size {
    /// Of what is in it, however often it was overwritten.
    bytes: usize,
    /// The highest it was since the batch began.
    peak: usize,
}

impl Cache {
    fn new(bytes_max: usize) -> Cache {
        Cache { bytes_max, ..Cache::default() }
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let found = self.rows.get(key);
        self.hits.set(self.hits.get() + u64::from(found.is_some()));
        found
    }

    pub(super) fn put(&mut self, key: &[u8], value: Option<[&[u8]; 2]>, timestamp: i64) {
        let len = |value: Option<[&[u8]; 2]>| value.map_or(0, |[front, back]| front.len() + back.len());
        let added = len(value) + self.note.len();
        let replaced = self.rows.put(key, value, timestamp);
        let note = self.notes.put(key, Some([&self.note, &[]]), timestamp);
        let before = match (replaced, note) {
            (Some(value), Some(note)) => value + note,
            _ => {
                self.size.bytes += 2 * key.len() + ENTRY_OVERHEAD;
                0
            }
        };
        self.size.bytes = self.size.bytes + added - before;
        self.size.peak = self.size.peak.max(self.size.bytes);
    }

    pub(super) fn bytes(&self) -> usize {
        self.size.bytes
    }

    pub(super) fn batch_bytes(&self) -> usize {
        self.rows.bytes_since_mark() + self.notes.bytes_since_mark()
    }

    pub(super) fn keep_batch(&mut self) {
        self.rows.keep();
        self.notes.keep();
        self.size.peak = self.size.bytes;
        self.kept = self.size;
        if self.order.is_empty() && self.rows.bytes() + self.notes.bytes() > self.size.bytes + self.bytes_max.max(KEPT)
        {
            self.rows = again(&self.rows);
            self.notes = again(&self.notes);
        }
    }

    pub(super) fn drop_batch(&mut self) {
        self.rows.roll_back();
        self.notes.roll_back();
        self.size = self.kept;
    }

    pub(super) fn save(&mut self) -> SavedCache {
        SavedCache { rows: self.rows.save(), notes: self.notes.save(), size: self.size }
    }

    pub(super) fn keep_saved(&mut self, saved: SavedCache) {
        self.rows.keep_saved(saved.rows);
        self.notes.keep_saved(saved.notes);
    }

    pub(super) fn back_to_saved(&mut self, saved: SavedCache) {
        self.rows.back_to_saved(saved.rows);
        self.notes.back_to_saved(saved.notes);
        self.size = saved.size;
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.notes.clear();
        (self.size, self.kept) = Default::default();
        self.order.clear();
        self.flushed = 0;
    }

    fn is_over(&self) -> bool {
        self.size.peak > self.bytes_max || (self.ends && !self.rows.is_empty())
    }

    /// The places of the rows that come next: at most so many, and bytes.
    fn next(&mut self, most: usize) -> &[u32] {
        if self.order.is_empty() {
            self.order = self.rows.places_by_write();
        }
        let mut bytes = 0;
        let rows = self.order[self.flushed..].iter().take(most).take_while(|place| {
            let is_first = bytes == 0;
            let row = self.rows.at(**place);
            bytes += row.key.len() + row.value.map_or(0, <[u8]>::len) + 1;
            is_first || bytes <= FLUSHED_BYTES_MAX
        });
        let count = rows.count();
        &self.order[self.flushed..self.flushed + count]
    }
}

/// Room for what was overwritten, whatever little a cache may hold.
const KEPT: usize = 1 << 20;

/// The same changes, without what they have overwritten.
fn again(changes: &Changes) -> Changes {
    let mut fresh = Changes::new();
    for change in changes.by_write() {
        fresh.put(change.key, change.value.map(|value| [value, &[][..]]), change.timestamp);
    }
    fresh.keep();
    fresh
}

/// What a key's updates have come to since the last flush.
#[derive(Clone, Copy, Debug)]
pub struct FlushedRow<'a> {
    pub key: &'a [u8],
    /// Of a window its start, of a session its start and its end.
    pub times: (i64, i64),
    /// `None`: deleted.
    pub value: Option<&'a [u8]>,
    /// What the store has held until now.
    pub old: Option<&'a [u8]>,
    /// Of the last update's value; of a deletion that of the update itself.
    pub timestamp: i64,
    /// What was said by [`TaskStores::note`] before the last update.
    pub note: &'a [u8],
}

/// How full a cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheSize {
    pub entries: usize,
    pub bytes: usize,
    /// Look-ups that it answered, since the task was opened.
    pub hits: u64,
}

impl TaskStores {
    /// Which stores have a cache, by their numbers, and of how many bytes. One that loses it with something in it has it
    /// until that is flushed.
    pub fn set_caches(&mut self, bytes: impl Fn(u32) -> Option<usize>) {
        for one in &mut self.stores {
            let cache = &mut one.layers.cache;
            match (bytes(one.slot.number), cache.as_mut()) {
                (Some(bytes_max), None) => *cache = Some(Box::new(Cache::new(bytes_max))),
                (Some(bytes_max), Some(cache)) => {
                    cache.bytes_max = bytes_max;
                    cache.ends = false;
                }
                (None, Some(cache)) if !cache.rows.is_empty() => cache.ends = true,
                (None, _) => *cache = None,
            }
        }
    }

    /// Which stores have nothing to give downstream, and a cache that only spares their changelogs: they get the last
    /// write of each key, whatever others get.
    pub fn coalesce(&mut self, is_one: impl Fn(u32) -> bool) {
        for one in self.stores.iter_mut().filter(|one| is_one(one.slot.number)) {
            if one.layers.logged == Logged::All {
                one.layers.logged = Logged::Last;
            }
        }
    }

    pub fn is_cached(&self, store: usize) -> bool {
        self.stores[store].layers.cache.is_some()
    }

    /// Says of the next write of a cached store whose update it is: bytes that come back as it is flushed.
    pub fn note(&mut self, store: usize, fill: impl FnOnce(&mut Vec<u8>)) {
        if let Some(cache) = &mut self.stores[store].layers.cache {
            cache.note.clear();
            fill(&mut cache.note);
        }
    }

    /// How full the cache of a store is; `None`: it has none.
    pub fn cache_size(&self, store: usize) -> Option<CacheSize> {
        let cache = self.stores[store].layers.cache.as_ref()?;
        Some(CacheSize { entries: cache.rows.len(), bytes: cache.size.bytes, hits: cache.hits.get() })
    }

    /// Whether anything waits in a cache.
    pub fn holds_back(&self) -> bool {
        self.stores.iter().any(|one| one.layers.cache.as_ref().is_some_and(|cache| !cache.rows.is_empty()))
    }

    /// Whether a cache has more in it than it may, or had since the batch began.
    pub fn has_full_cache(&self) -> bool {
        self.stores.iter().any(|one| one.layers.cache.as_ref().is_some_and(|cache| cache.is_over()))
    }

    /// Of these stores, in the order in which records reach them, the one to be flushed next: one that is in the middle
    /// of it, else one that is over its bound, and with `all` any that holds something.
    pub fn flushes_next(&self, stores: impl Iterator<Item = usize> + Clone, all: bool) -> Option<usize> {
        let cache = |place: &usize| self.stores[*place].layers.cache.as_deref();
        let begun = |place: &usize| cache(place).is_some_and(|cache| !cache.order.is_empty());
        let due = |place: &usize| cache(place).is_some_and(|cache| cache.is_over() || (all && !cache.rows.is_empty()));
        stores.clone().find(begun).or_else(|| stores.clone().find(due))
    }

    /// Writes the next rows of a store's cache, at most so many, in the order of their last updates, and hands over those
    /// that have changed anything: a key that came and went in between has not. Answers how many it was; keep them with
    /// [`TaskStores::flushed`], or drop the batch.
    pub fn flush(&mut self, store: usize, most: usize, visit: &mut dyn FnMut(FlushedRow<'_>)) -> Result<usize, Error> {
        let one = &mut self.stores[store];
        let (base, slot, kind) = (&*self.bases[one.slot.base], one.slot.slot, one.slot.kind);
        one.layers.flush(base, slot, kind, most, visit)
    }

    /// So many rows more are done. Answers whether it is all.
    pub fn flushed(&mut self, store: usize, rows: usize) -> bool {
        let Some(cache) = &mut self.stores[store].layers.cache else { return true };
        cache.flushed += rows;
        if cache.flushed < cache.order.len() {
            return false;
        }
        cache.clear();
        if cache.ends {
            self.stores[store].layers.cache = None;
        }
        true
    }
}

/// The key of a row, and its times.
fn key_of<'a>(kind: StoreKind, row: &'a [u8], key: &'a mut Vec<u8>) -> Result<(&'a [u8], (i64, i64)), Error> {
    if !kind.goes_by_time() {
        return Ok((row, (0, 0)));
    }
    let timed::Row { key, time, rest } = timed::split_row(row, key).ok_or_else(|| damaged(row))?;
    match (kind, layout::take_time(rest)) {
        (StoreKind::Session { .. }, Some((start, []))) => Ok((key, (start, time))),
        (StoreKind::Window { .. }, _) => Ok((key, (time, time))),
        _ => Err(damaged(row)),
    }
}

impl Layers {
    fn flush(
        &mut self,
        base: &dyn Base,
        slot: usize,
        kind: StoreKind,
        most: usize,
        visit: &mut dyn FnMut(FlushedRow<'_>),
    ) -> Result<usize, Error> {
        let Some(mut cache) = self.cache.take() else { return Ok(0) };
        let places = cache.next(most).to_vec();
        let olds = self.below(base, slot, &cache, &places);
        let flushed = olds.and_then(|olds| {
            let (mut keys, mut key) = (EntryKeys::new(kind), Vec::new());
            for (place, old) in places.iter().zip(&olds) {
                let row = cache.rows.at(*place);
                if row.value.is_none() && old.is_none() {
                    continue;
                }
                let (key, times) = key_of(kind, row.key, &mut key)?;
                self.put_flushed(kind, &mut keys, row);
                visit(FlushedRow {
                    key,
                    times,
                    value: row.value.and_then(split_timestamp).map(|(_, value)| value),
                    old: old.as_deref(),
                    timestamp: row.timestamp,
                    note: cache.notes.get(row.key).flatten().unwrap_or_default(),
                });
            }
            Ok(places.len())
        });
        self.cache = Some(cache);
        flushed
    }

    /// What the layers under the cache hold for these rows.
    fn below(
        &self,
        base: &dyn Base,
        slot: usize,
        cache: &Cache,
        places: &[u32],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let keys: Vec<&[u8]> = places.iter().map(|place| cache.rows.at(*place).key).collect();
        let mut olds = vec![None; keys.len()];
        // The cache itself is out of its place meanwhile.
        self.get_many(base, slot, &keys, &mut |at, found| olds[at] = found.map(|(_, value)| value.to_vec()))?;
        Ok(olds)
    }

    fn put_flushed(&mut self, kind: StoreKind, keys: &mut EntryKeys, row: super::Change<'_>) {
        self.put_pieces(row.key, row.value.map(|value| [value, &[][..]]), row.timestamp);
        if self.logged != Logged::All {
            return;
        }
        match kind {
            StoreKind::KeyValue => {
                let value = row.value.and_then(split_timestamp).map(|(_, value)| value);
                self.log_each(row.key, value, row.timestamp);
            }
            _ => keys.send(row, &mut |record| {
                self.log_each(record.key.unwrap_or_default(), record.value, record.timestamp);
            }),
        }
    }

    /// Nothing to walk over where there is no cache.
    pub(super) fn cached(&self) -> Option<&Changes> {
        self.cache.as_ref().map(|cache| &cache.rows)
    }
}
