//! A store on its way up its changelog.

use super::layout;
use super::task_stores::OneStore;
use super::timed::{self, Segments};
use super::versioned::{is_refused, restore_version};
use super::{Base, Changes, Error, Observed, Position, StoreChanges, StoreKind, closing};
use crate::changelog::{split_session_key, split_window_key};
use crate::record::{Record, Records};

/// What was restored and waits, so that the base is written in long sorted runs: the first one of an empty store is
/// appended, the others touch each page once.
#[derive(Default)]
pub(super) struct Restored {
    changes: Changes,
    position: Option<Position>,
    /// Of a store that goes by time, once it has read something.
    observed: Option<Observed>,
}

/// Bytes of one run: some 60,000 small entries, behind which longer runs gain little.
pub(super) const RUN_BYTES: usize = 8 << 20;
/// Below it a run costs more for its transaction than for its entries.
const RUN_BYTES_MIN: usize = 128 << 10;
/// What the runs of all stores may take that are restored at one time.
const RUNS_BYTES: usize = 64 << 20;

/// The part of a run behind which it gets its whole room.
const GROWN: usize = 8;

/// How long runs are where so many stores are restored at one time: so they take a bounded room together.
pub fn run_bytes(stores: usize) -> usize {
    (RUNS_BYTES / stores.max(1)).clamp(RUN_BYTES_MIN, RUN_BYTES)
}

impl OneStore {
    /// Takes changelog records; see [`super::TaskStores::restore`].
    pub(super) fn restore(
        &mut self,
        base: &mut dyn Base,
        (records, position): (&Records, i64),
        run_bytes: usize,
    ) -> Result<(), Error> {
        if self.restored.changes.bytes() >= run_bytes {
            self.end_restore(base)?;
        }
        let taken = match self.slot.kind {
            StoreKind::KeyValue | StoreKind::Buffer => self.restored.take_values(records),
            kind => self.restored.take_timed((kind, self.log_is_ahead), base, self.slot.slot, records),
        };
        match taken {
            Ok(()) => {
                self.restored.changes.keep();
                // A run that has begun to grow is a long one, and need not be moved again and again on its way.
                if self.restored.changes.bytes() > run_bytes / GROWN {
                    self.restored.changes.reserve(run_bytes);
                }
                self.restored.position = Some(Position { offset: position });
                Ok(())
            }
            Err(error) => {
                self.restored.changes.roll_back();
                Err(error)
            }
        }
    }

    /// Writes what waits.
    pub(super) fn end_restore(&mut self, base: &mut dyn Base) -> Result<(), Error> {
        let Restored { changes, position, observed } = &mut self.restored;
        if position.is_some() {
            if let Some(observed) = observed {
                observed.write(changes, self.slot.kind);
            }
            base.apply(&[StoreChanges { store: self.slot.slot, changes, position: *position }])?;
            changes.clear();
            (*position, *observed) = (None, None);
            self.clock.forget_committed();
            self.order.forget();
        }
        Ok(())
    }
}

impl Restored {
    fn take_values(&mut self, records: &Records) -> Result<(), Error> {
        for (_, record) in records.iter() {
            let Some(key) = record.key else { continue };
            self.put(key, record.value, record.timestamp);
        }
        Ok(())
    }

    fn put(&mut self, row: &[u8], value: Option<&[u8]>, timestamp: i64) {
        let time = timestamp.to_be_bytes();
        self.changes.put(row, value.map(|value| [&time[..], value]), timestamp);
    }

    /// The store's time is raised first to the highest of these records, so that their order does not matter to what has
    /// expired (semantics.md B6). Of a versioned store it does: what it refused it must refuse again, and a latest version
    /// is kept whatever its age.
    ///
    /// Of a changelog that may be ahead of the committed offsets the operator's time is not raised: what is read again from
    /// there would be late, and what came of it the first time may be lost.
    fn take_timed(
        &mut self,
        (kind, is_ahead): (StoreKind, bool),
        base: &dyn Base,
        slot: usize,
        records: &Records,
    ) -> Result<(), Error> {
        let mut observed = match self.observed {
            Some(observed) => observed,
            None => Observed::read(base, slot, kind)?,
        };
        let mut row = Vec::new();
        if let StoreKind::Versioned { .. } = kind {
            for (_, record) in records.iter() {
                let Some(key) = record.key else { continue };
                if !is_refused(kind, observed, record.timestamp) {
                    observed.raise(record.timestamp);
                    restore_version((&mut self.changes, base, slot), key, record.value, record.timestamp, &mut row)?;
                }
            }
        } else {
            let entries = || records.iter().filter_map(|(_, record)| Some((entry(kind, &record)?, record)));
            for (Entry { time, number, .. }, record) in entries() {
                // A null that a store with duplicates did not take moved its numbers and not its time.
                let is_nothing = matches!(kind, StoreKind::Window { duplicates: true, .. }) && record.value.is_none();
                observed.raise(if is_nothing { observed.time } else { time });
                observed.number = number;
                // What had no effect is not in the changelog: this is what is known of the operator's time.
                if !is_ahead {
                    observed.stream_time = observed.stream_time.max(observed.time).max(record.timestamp);
                }
            }
            let segments = Segments::of(kind);
            for (Entry { key, time, rest, .. }, record) in entries() {
                if segments.is_live(time, observed.time) {
                    timed::push_row(segments, key, time, &rest.0[..rest.1], &mut row);
                    self.put(&row, record.value, record.timestamp);
                    if kind.is_closing() {
                        closing::push_row(key, time, &rest.0[..rest.1], &mut row);
                        self.put(&row, record.value.map(|_| &[][..]), record.timestamp);
                    }
                }
            }
        }
        self.observed = Some(observed);
        Ok(())
    }
}

/// A changelog record of a window or session store.
struct Entry<'r> {
    key: &'r [u8],
    time: i64,
    number: u32,
    /// The bytes behind the time in a row, and how many they are.
    rest: ([u8; 8], usize),
}

/// `None`: its key is none of this kind's, so it cannot be of this store.
fn entry<'r>(kind: StoreKind, record: &Record<'r>) -> Option<Entry<'r>> {
    let key = record.key?;
    if let StoreKind::Session { .. } = kind {
        let (key, start, end) = split_session_key(key)?;
        return Some(Entry { key, time: end, number: 0, rest: (layout::ordered(start), 8) });
    }
    let (key, start, number) = split_window_key(key)?;
    let mut rest = [0; 8];
    rest[..4].copy_from_slice(&number.to_be_bytes());
    Some(Entry { key, time: start, number, rest: (rest, 4) })
}
