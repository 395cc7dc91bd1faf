//! What a store that goes by time has observed: its stream time and its last number among duplicates. Layered as its rows
//! are, so that what a batch or an interval moved goes back with them.

use std::cell::Cell;

use super::layout::OBSERVED;
use super::{Base, Changes, Error, StoreKind, StoreSlot, split_timestamp};
use crate::record::NO_TIMESTAMP;

/// Highest of the numbers, behind which they begin again with 0 (Kafka Streams').
const NUMBER_MAX: u32 = 0x7FFF_FFFF;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The highest time that was put into this store.
    pub time: i64,
    /// The last number given to one of duplicates.
    pub number: u32,
    /// The highest timestamp that the operator over this store has seen, of records that had no effect too.
    pub stream_time: i64,
}

impl Default for Observed {
    fn default() -> Observed {
        Observed { time: NO_TIMESTAMP, number: 0, stream_time: NO_TIMESTAMP }
    }
}

impl Observed {
    pub(super) fn raise(&mut self, time: i64) {
        self.time = self.time.max(time);
    }

    /// Gives away the next number.
    pub fn next_number(&mut self) -> u32 {
        self.number = if self.number >= NUMBER_MAX { 0 } else { self.number + 1 };
        self.number
    }

    /// Reads what a base holds. `None`: of rows that lie in segments of another span, which would not be found.
    pub(super) fn find(base: &dyn Base, slot: usize, kind: StoreKind) -> Result<Option<Observed>, Error> {
        let mut found = Ok(Some(Observed::default()));
        base.get_many(slot, &[OBSERVED], &mut |_, stored| {
            let Some(stored) = stored else { return };
            found = decode(stored, kind).ok_or_else(|| {
                Error::Corrupted(format!("what a {} store notes of its time cannot be read", kind.name()))
            });
        })?;
        found
    }

    /// Whether a base holds it at all: beside the first row of a store.
    pub(super) fn is_noted(base: &dyn Base, slot: usize) -> Result<bool, Error> {
        let mut is_noted = false;
        base.get_many(slot, &[OBSERVED], &mut |_, stored| is_noted = stored.is_some())?;
        Ok(is_noted)
    }

    pub(super) fn read(base: &dyn Base, slot: usize, kind: StoreKind) -> Result<Observed, Error> {
        let outgrown = || Error::Corrupted(format!("a {} store was written with another retention", kind.name()));
        Observed::find(base, slot, kind)?.ok_or_else(outgrown)
    }

    pub(super) fn write(self, changes: &mut Changes, kind: StoreKind) {
        let mut rest = [0; 20];
        rest[..4].copy_from_slice(&self.number.to_be_bytes());
        rest[4..12].copy_from_slice(&row_span(kind).to_be_bytes());
        rest[12..].copy_from_slice(&self.stream_time.to_be_bytes());
        changes.put(OBSERVED, Some([&self.time.to_be_bytes()[..], &rest]), self.time);
    }
}

/// `None`: it is nothing of ours; `Some(None)`: of another span.
fn decode(stored: &[u8], kind: StoreKind) -> Option<Option<Observed>> {
    let (time, rest) = split_timestamp(stored)?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (span, rest) = rest.split_first_chunk::<8>()?;
    if i64::from_be_bytes(*span) != row_span(kind) {
        return Some(None);
    }
    // A base of an earlier version ends behind the span.
    let stream_time = rest.try_into().map_or(time, i64::from_be_bytes);
    Some(Some(Observed { time, number: u32::from_be_bytes(*number), stream_time }))
}

/// What a base holds of a store that goes by time; `None`: of rows that lie in segments of another span.
pub fn observed(base: &dyn Base, slot: usize, kind: StoreKind) -> Result<Option<Observed>, Error> {
    Observed::find(base, slot, kind)
}

/// The span of the segments that rows of this kind lie in; versions lie in none. Below zero where they stand in the order
/// of time too.
fn row_span(kind: StoreKind) -> i64 {
    match kind {
        StoreKind::Window { .. } | StoreKind::Session { .. } if kind.is_closing() => -kind.segment_ms(),
        StoreKind::Window { .. } | StoreKind::Session { .. } => kind.segment_ms(),
        StoreKind::KeyValue | StoreKind::Buffer | StoreKind::Versioned { .. } => 0,
    }
}

/// `None` in a layer: as in the one below.
#[derive(Default)]
pub(super) struct Clock {
    open: Option<Observed>,
    /// The open layer's as the running batch found it.
    mark: Option<Observed>,
    sealed: Option<Observed>,
    /// The base's, once it was read.
    committed: Cell<Option<Observed>>,
    /// Up to where the base is known to hold nothing that has expired.
    pub(super) swept: Option<i64>,
}

impl Clock {
    pub(super) fn now(&self, base: &dyn Base, slot: &StoreSlot) -> Result<Observed, Error> {
        match self.open.or(self.sealed) {
            Some(observed) => Ok(observed),
            None => self.committed(base, slot),
        }
    }

    pub(super) fn committed(&self, base: &dyn Base, slot: &StoreSlot) -> Result<Observed, Error> {
        match self.committed.get() {
            Some(observed) => Ok(observed),
            None => {
                let observed = Observed::read(base, slot.slot, slot.kind)?;
                self.committed.set(Some(observed));
                Ok(observed)
            }
        }
    }

    pub(super) fn set(&mut self, observed: Observed) {
        self.open = Some(observed);
    }

    pub(super) fn keep_batch(&mut self) {
        self.mark = self.open;
    }

    pub(super) fn drop_batch(&mut self) {
        self.open = self.mark;
    }

    pub(super) fn save(&self) -> Option<Observed> {
        self.open
    }

    pub(super) fn back_to_saved(&mut self, saved: Option<Observed>) {
        self.open = saved;
    }

    /// Moves the open layer under seal, and answers what is to be written with it.
    pub(super) fn seal(&mut self) -> Option<Observed> {
        self.mark = None;
        self.sealed = self.open.take();
        self.sealed
    }

    pub(super) fn apply_sealed(&mut self) {
        if let Some(sealed) = self.sealed.take() {
            self.committed.set(Some(sealed));
        }
    }

    pub(super) fn drop_sealed(&mut self) {
        self.sealed = None;
    }

    pub(super) fn drop_open(&mut self) {
        (self.open, self.mark) = (None, None);
    }

    /// The base was written by another way, or emptied.
    pub(super) fn forget_committed(&mut self) {
        self.committed.set(None);
        self.swept = None;
    }
}
