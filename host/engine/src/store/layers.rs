//! One store of a task: the committed base under its uncommitted layers.
//!
//! ```text
//! batch   what the running batch wrote; dropped when it is rolled back
//! open    what the interval being filled wrote
//! sealed  what the interval in flight wrote; applied to the base when the log says Committed
//! base    committed state
//! ```
//! Reads merge from the top. A key-value store keeps its values with their timestamp in front, as eight big-endian
//! bytes (semantics.md B6); the changelog has the raw value and the record's timestamp.

use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};

use super::entries::{EntriesMark, LogEntries};
use super::{Base, Changes, Error, KeyRange};

const TIMESTAMP_LEN: usize = 8;
/// What a change costs beside its bytes: two vectors and a tree slot.
const CHANGE_OVERHEAD: usize = 96;

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

#[derive(Default)]
pub(super) struct Layers {
    batch: Changes,
    open: Changes,
    sealed: Changes,
    pub(super) open_entries: LogEntries,
    mark: EntriesMark,
    bytes: usize,
    batch_bytes: usize,
}

impl Layers {
    /// `Some(None)`: deleted in a layer.
    fn find(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        [&self.batch, &self.open, &self.sealed]
            .into_iter()
            .find_map(|layer| (!layer.is_empty()).then(|| layer.get(key)).flatten())
            .map(|value| value.as_deref())
    }

    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64, logged: bool) {
        let stored = value.map(|value| with_timestamp(timestamp, value));
        self.batch_bytes += key.len() + value.map_or(0, <[u8]>::len) + CHANGE_OVERHEAD;
        match self.batch.get_mut(key) {
            Some(slot) => *slot = stored,
            None => {
                self.batch.insert(key.to_vec(), stored);
            }
        }
        if logged {
            self.open_entries.push(key, value, timestamp);
        }
    }

    /// Bytes held by what is not committed, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.batch_bytes + self.open_entries.bytes()
    }

    pub(super) fn keep_batch(&mut self) {
        self.mark = self.open_entries.mark();
        self.bytes += std::mem::take(&mut self.batch_bytes);
        if self.open.is_empty() {
            std::mem::swap(&mut self.open, &mut self.batch);
        } else {
            self.open.extend(std::mem::take(&mut self.batch));
        }
    }

    pub(super) fn drop_batch(&mut self) {
        self.batch.clear();
        self.batch_bytes = 0;
        self.open_entries.truncate(self.mark);
    }

    pub(super) fn seal(&mut self) -> LogEntries {
        debug_assert!(self.batch.is_empty() && self.sealed.is_empty());
        self.sealed = std::mem::take(&mut self.open);
        self.bytes = 0;
        self.mark = EntriesMark::default();
        std::mem::take(&mut self.open_entries)
    }

    pub(super) fn sealed(&self) -> &Changes {
        &self.sealed
    }

    pub(super) fn drop_sealed(&mut self) {
        self.sealed.clear();
    }

    /// Drops the batch and the open layer.
    pub(super) fn drop_open(&mut self) {
        *self = Layers { sealed: std::mem::take(&mut self.sealed), ..Layers::default() };
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

    /// Walks the merged view, skipping deletions.
    pub(super) fn scan(
        &self,
        base: &dyn Base,
        slot: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], i64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if range.is_inverted() {
            return Ok(());
        }
        let mut damaged = None;
        let mut emit = |key: &[u8], stored: &[u8]| match split_timestamp(stored) {
            Some((timestamp, value)) => visit(key, timestamp, value),
            None => {
                damaged = Some(too_short(key));
                ControlFlow::Break(())
            }
        };
        let mut overlay = Overlay::new([&self.batch, &self.open, &self.sealed], range, reverse);
        let mut stopped = false;
        base.scan(slot, range, reverse, &mut |key, stored| {
            let flow = match overlay.up_to(key, &mut emit) {
                ControlFlow::Continue(false) => emit(key, stored),
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
}

fn too_short(key: &[u8]) -> Error {
    Error::Corrupted(format!("the value of key {} is shorter than its timestamp", key.escape_ascii()))
}

type Emit<'e> = &'e mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;
type LayerIter<'a> = Peekable<Box<dyn Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> + 'a>>;

/// The layers above the base as one run of keys; of equal keys the topmost layer's wins.
struct Overlay<'a> {
    iters: [LayerIter<'a>; 3],
    reverse: bool,
}

impl<'a> Overlay<'a> {
    fn new(layers: [&'a Changes; 3], range: KeyRange<'_>, reverse: bool) -> Overlay<'a> {
        let bound = |key: Option<&[u8]>| key.map_or(Bound::Unbounded, |key| Bound::Included(key.to_vec()));
        let bounds = (bound(range.lower), bound(range.upper));
        let iters = layers.map(|layer| {
            let iter = layer.range(bounds.clone());
            let iter: Box<dyn Iterator<Item = _>> = if reverse { Box::new(iter.rev()) } else { Box::new(iter) };
            iter.peekable()
        });
        Overlay { iters, reverse }
    }

    /// Emits what stands in front of `key`; answers whether the layers have `key` themselves (emitted too).
    fn up_to(&mut self, key: &[u8], emit: Emit<'_>) -> ControlFlow<(), bool> {
        loop {
            let Some(next) = self.peek() else { return ControlFlow::Continue(false) };
            let in_front = if self.reverse { next.as_slice() > key } else { next.as_slice() < key };
            let equal = next.as_slice() == key;
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

    fn peek(&mut self) -> Option<&'a Vec<u8>> {
        let reverse = self.reverse;
        let keys = self.iters.iter_mut().filter_map(|iter| iter.peek().map(|(key, _)| *key));
        if reverse { keys.max() } else { keys.min() }
    }

    fn emit_next(&mut self, emit: Emit<'_>) -> ControlFlow<()> {
        let Some(key) = self.peek() else { return ControlFlow::Continue(()) };
        let mut value = None;
        for iter in &mut self.iters {
            if let Some((_, found)) = iter.next_if(|(found, _)| *found == key) {
                value = value.or(Some(found));
            }
        }
        match value.and_then(|value| value.as_deref()) {
            Some(stored) => emit(key, stored),
            None => ControlFlow::Continue(()),
        }
    }
}
