//! One store of a task: the committed base under its uncommitted layers.
//!
//! ```text
//! cache   what the operator of a cached store wrote and holds back ([`super::cache`]); flushed into the open layer
//! open    what the interval being filled wrote; what the running batch wrote of it goes when that is rolled back
//! sealed  what the interval in flight wrote; applied to the base when the log says Committed
//! base    committed state
//! ```
//! Reads merge from the top. A key-value store keeps its values with their timestamp in front, as eight big-endian
//! bytes (semantics.md B6); the changelog has the raw value and the record's timestamp.

use std::iter::Peekable;
use std::ops::ControlFlow;

use super::cache::{Cache, SavedCache};
use super::changes::{Change, Saved};
use super::entries::{EntriesMark, LogEntries};
use super::timed::EntryKeys;
use super::{Base, Changes, Error, KeyRange, Observed, StoreKind};
use crate::changelog::SUPPRESSED_HEADER;
use crate::record::{Headers, Record, push_header};

const TIMESTAMP_LEN: usize = 8;

/// A stored value and the timestamp of the update that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamped {
    pub timestamp: i64,
    pub value: Vec<u8>,
}

/// Puts a value behind its timestamp, as it stands in a base.
pub fn with_timestamp(timestamp: i64, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TIMESTAMP_LEN + value.len());
    bytes.extend_from_slice(&timestamp.to_be_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// Takes a base's value apart; `None` when it is too short to be one.
pub fn split_timestamp(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (timestamp, value) = bytes.split_first_chunk::<TIMESTAMP_LEN>()?;
    Some((i64::from_be_bytes(*timestamp), value))
}

/// What a store says to its changelog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Logged {
    /// It has none.
    #[default]
    Nothing,
    /// Of each key the last write of an interval, in the order of last writes; every update still goes downstream,
    /// only the changelog is spared (design.md 5). It is the open layer itself.
    Last,
    /// Every write, in write order.
    All,
}

#[derive(Default)]
pub(super) struct Layers {
    pub(super) cache: Option<Box<Cache>>,
    open: Changes,
    sealed: Changes,
    pub(super) logged: Logged,
    /// Of the open layer, where every write is logged.
    entries: LogEntries,
    mark: EntriesMark,
}

/// A place within a batch.
#[derive(Clone, Copy)]
pub(super) struct SavedLayers {
    open: Saved,
    entries: EntriesMark,
    cache: Option<SavedCache>,
}

impl Layers {
    /// `Some(None)`: deleted in a layer.
    fn find(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let cached = self.cache.as_ref().and_then(|cache| cache.find(key));
        cached.or_else(|| self.open.get(key)).or_else(|| self.sealed.get(key))
    }

    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        self.put_row(key, value, timestamp);
        self.log_each(key, value, timestamp);
    }

    /// Writes a row that is not a changelog's entry as it stands.
    pub(super) fn put_row(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        let time = timestamp.to_be_bytes();
        let value = value.map(|value| [&time[..], value]);
        match &mut self.cache {
            None => {
                self.open.put(key, value, timestamp);
            }
            Some(cache) => cache.put(key, value, timestamp),
        }
    }

    /// The same, with a value in two pieces of which the first begins with a timestamp.
    pub(super) fn put_pieces(&mut self, key: &[u8], value: Option<[&[u8]; 2]>, timestamp: i64) {
        self.open.put(key, value, timestamp);
    }

    /// An entry for a changelog that gets every write; any other is made of the rows. Those of a cached store are logged
    /// as they are flushed.
    pub(super) fn log_each(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        if self.logged == Logged::All && self.cache.is_none() {
            self.entries.push(key, value, timestamp);
        }
    }

    /// Bytes held by what is not committed, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.open.bytes() + self.entries.bytes() + self.cache.as_ref().map_or(0, |cache| cache.bytes())
    }

    /// Bytes the running batch wrote, roughly.
    pub(super) fn batch_bytes(&self) -> usize {
        let cached = self.cache.as_ref().map_or(0, |cache| cache.batch_bytes());
        self.open.bytes_since_mark() + self.entries.bytes_since(self.mark) + cached
    }

    pub(super) fn keep_batch(&mut self) {
        self.mark = self.entries.mark();
        self.open.keep();
        if let Some(cache) = &mut self.cache {
            cache.keep_batch();
        }
    }

    pub(super) fn drop_batch(&mut self) {
        self.open.roll_back();
        self.entries.truncate(self.mark);
        if let Some(cache) = &mut self.cache {
            cache.drop_batch();
        }
    }

    /// Marks a place within the batch.
    pub(super) fn save(&mut self) -> SavedLayers {
        let cache = self.cache.as_mut().map(|cache| cache.save());
        SavedLayers { open: self.open.save(), entries: self.entries.mark(), cache }
    }

    pub(super) fn keep_saved(&mut self, saved: SavedLayers) {
        self.open.keep_saved(saved.open);
        if let (Some(cache), Some(saved)) = (&mut self.cache, saved.cache) {
            cache.keep_saved(saved);
        }
    }

    /// Drops what the batch wrote since it was saved.
    pub(super) fn back_to_saved(&mut self, saved: SavedLayers) {
        self.open.back_to_saved(saved.open);
        self.entries.truncate(saved.entries);
        if let (Some(cache), Some(saved)) = (&mut self.cache, saved.cache) {
            cache.back_to_saved(saved);
        }
    }

    /// Moves the open layer under seal, once what was sealed before is gone, and hands its changelog records to `send`.
    /// Of a kind that goes by time what it has observed is written too.
    pub(super) fn seal(&mut self, kind: StoreKind, observed: Option<Observed>, send: &mut dyn FnMut(Record<'_>)) {
        match (self.logged, kind) {
            (Logged::Nothing, _) => {}
            (Logged::Last, StoreKind::KeyValue) => self.open.by_write().for_each(|change| send(entry(change))),
            (Logged::Last, StoreKind::Buffer) => {
                let mut headers = Vec::new();
                push_header(&mut headers, SUPPRESSED_HEADER.0, Some(SUPPRESSED_HEADER.1));
                self.open.by_write().map(entry).for_each(|entry| match entry.value {
                    Some(_) => send(Record { headers: Headers(&headers), ..entry }),
                    None => send(entry),
                });
            }
            (Logged::Last, kind) => {
                let mut keys = EntryKeys::new(kind);
                self.open.by_write().for_each(|change| keys.send(change, send));
            }
            (Logged::All, _) => std::mem::take(&mut self.entries).iter().for_each(send),
        }
        if let Some(observed) = observed {
            observed.write(&mut self.open, kind);
        }
        self.mark = EntriesMark::default();
        std::mem::swap(&mut self.open, &mut self.sealed);
        self.open.clear();
    }

    pub(super) fn sealed(&self) -> &Changes {
        &self.sealed
    }

    pub(super) fn drop_sealed(&mut self) {
        self.sealed.clear();
    }

    /// Drops the batch and the open layer.
    pub(super) fn drop_open(&mut self) {
        self.open.clear();
        self.entries = LogEntries::default();
        self.mark = EntriesMark::default();
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
    }

    pub(super) fn get_many(
        &self,
        base: &dyn Base,
        slot: usize,
        keys: &[&[u8]],
        visit: &mut dyn FnMut(usize, Option<(i64, &[u8])>),
    ) -> Result<(), Error> {
        let mut damaged = None;
        let mut missing = Vec::new();
        let mut places = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            match self.find(key) {
                Some(found) => visit(at, found.and_then(split_timestamp)),
                None => {
                    missing.push(*key);
                    places.push(at);
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        base.get_many(slot, &missing, &mut |at, value| {
            let split = value.map(split_timestamp);
            if let Some(None) = split {
                damaged = Some(places[at]);
            }
            visit(places[at], split.flatten());
        })?;
        match damaged {
            Some(at) => Err(too_short(keys[at])),
            None => Ok(()),
        }
    }

    /// Walks the merged view; a deletion that hides nothing or something is walked over as `None`.
    pub(super) fn scan(
        &self,
        base: &dyn Base,
        slot: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Option<(i64, &[u8])>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        match self.cached() {
            None => scan_merged([&self.open, &self.sealed], base, slot, range, reverse, visit),
            Some(cache) => scan_merged([cache, &self.open, &self.sealed], base, slot, range, reverse, visit),
        }
    }
}

/// Walks a base under changes, the first of them on top.
pub(super) fn scan_merged<const N: usize>(
    layers: [&Changes; N],
    base: &dyn Base,
    slot: usize,
    range: KeyRange<'_>,
    reverse: bool,
    visit: &mut dyn FnMut(&[u8], Option<(i64, &[u8])>) -> ControlFlow<()>,
) -> Result<(), Error> {
    if range.is_inverted() {
        return Ok(());
    }
    let mut damaged = None;
    let mut emit = |key: &[u8], stored: Option<&[u8]>| match stored.map(split_timestamp) {
        Some(None) => {
            damaged = Some(too_short(key));
            ControlFlow::Break(())
        }
        found => visit(key, found.flatten()),
    };
    let mut overlay = Overlay::new(layers, range, reverse);
    let mut stopped = false;
    base.scan(slot, range, reverse, &mut |key, stored| {
        let flow = match overlay.up_to(key, &mut emit) {
            ControlFlow::Continue(false) => emit(key, Some(stored)),
            ControlFlow::Continue(true) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(()),
        };
        stopped = flow.is_break();
        flow
    })?;
    if !stopped {
        let _ = overlay.rest(&mut emit);
    }
    damaged.map_or(Ok(()), Err)
}

fn entry(change: Change<'_>) -> Record<'_> {
    let value = change.value.and_then(split_timestamp).map(|(_, value)| value);
    Record { key: Some(change.key), value, headers: Headers(&[]), timestamp: change.timestamp }
}

fn too_short(key: &[u8]) -> Error {
    Error::Corrupted(format!("the value of key {} is shorter than its timestamp", key.escape_ascii()))
}

type Emit<'e> = &'e mut dyn FnMut(&[u8], Option<&[u8]>) -> ControlFlow<()>;
type LayerIter<'a> = Peekable<Box<dyn Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + 'a>>;

/// The layers above the base as one run of keys; of equal keys the topmost layer's wins.
struct Overlay<'a, const N: usize> {
    iters: [LayerIter<'a>; N],
    reverse: bool,
}

impl<'a, const N: usize> Overlay<'a, N> {
    fn new(layers: [&'a Changes; N], range: KeyRange<'_>, reverse: bool) -> Overlay<'a, N> {
        let iters = layers.map(|layer| {
            let iter: Box<dyn Iterator<Item = _>> = match (layer.is_empty(), reverse) {
                (true, _) => Box::new(std::iter::empty()),
                (false, false) => Box::new(layer.range(range)),
                (false, true) => Box::new(layer.range(range).rev()),
            };
            iter.peekable()
        });
        Overlay { iters, reverse }
    }

    /// Emits what stands in front of `key`; answers whether the layers have `key` themselves (emitted too).
    fn up_to(&mut self, key: &[u8], emit: Emit<'_>) -> ControlFlow<(), bool> {
        loop {
            let Some(next) = self.peek() else { return ControlFlow::Continue(false) };
            let in_front = if self.reverse { next > key } else { next < key };
            let equal = next == key;
            if !in_front && !equal {
                return ControlFlow::Continue(false);
            }
            self.emit_next(emit)?;
            if equal {
                return ControlFlow::Continue(true);
            }
        }
    }

    fn rest(&mut self, emit: Emit<'_>) -> ControlFlow<()> {
        while self.peek().is_some() {
            self.emit_next(emit)?;
        }
        ControlFlow::Continue(())
    }

    fn peek(&mut self) -> Option<&'a [u8]> {
        let reverse = self.reverse;
        let keys = self.iters.iter_mut().filter_map(|iter| iter.peek().map(|(key, _)| *key));
        if reverse { keys.max() } else { keys.min() }
    }

    fn emit_next(&mut self, emit: Emit<'_>) -> ControlFlow<()> {
        let Some(key) = self.peek() else { return ControlFlow::Continue(()) };
        let mut topmost = None;
        for iter in &mut self.iters {
            if let Some((_, value)) = iter.next_if(|(found, _)| *found == key) {
                topmost = topmost.or(Some(value));
            }
        }
        emit(key, topmost.flatten())
    }
}
