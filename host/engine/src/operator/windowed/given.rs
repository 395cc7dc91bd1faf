//! How far the windows of a node have been given away as they closed: three numbers beside the committed offsets.
//!
//! What closes together may be millions of rows. They go in portions, each a batch of its own: those of a time are told
//! apart by how many of them have gone, in the order of their keys, which stands because a closed window changes no more.

use super::closing::closed_since;
use crate::operator::reached::Reached;
use crate::record::NO_TIMESTAMP;
use crate::store::{Gone, TimeSpan};
use crate::topology::Window;

/// Rows of one portion: their ways through the nodes behind are far below what a batch may have.
pub(super) const ROWS_MAX: usize = 100_000;

/// Bytes of their keys and values; a portion goes beyond it by one row.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// The ranks of the numbers.
const CLOSED: u16 = 0;
const TIME: u16 = 1;
const ROWS: u16 = 2;

#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// Up to here everything is closed and gone.
    closed: i64,
    /// What has gone of the portions behind it.
    pub gone: Gone,
}

impl Given {
    pub fn of(reached: &Reached, store: usize) -> Given {
        let (time, rows) = (reached.get((store, TIME)), reached.get((store, ROWS)));
        let rows = if time == NO_TIMESTAMP { 0 } else { u64::try_from(rows).unwrap_or(0) };
        Given { closed: reached.get((store, CLOSED)), gone: Gone { time, rows } }
    }

    /// The times of what has closed up to `close` and has not gone; `None`: there can be nothing.
    pub fn span(&self, window: Window, close: i64) -> Option<TimeSpan> {
        let times = closed_since(window, self.closed, close)?;
        Some(TimeSpan { from: times.from.max(self.gone.time), ..times })
    }

    /// Notes that everything has gone up to `close`.
    pub fn note_all(reached: &mut Reached, store: usize, close: i64) {
        reached.set((store, CLOSED), close);
        reached.forget((store, TIME));
        reached.forget((store, ROWS));
    }

    /// Notes that there is more behind the last row that has gone.
    pub fn note_part(reached: &mut Reached, store: usize, gone: Gone) {
        reached.set((store, TIME), gone.time);
        reached.set((store, ROWS), i64::try_from(gone.rows).unwrap_or(i64::MAX));
    }
}

/// Whether a portion is to follow.
pub(in crate::operator) fn has_more(reached: &Reached, store: usize) -> bool {
    reached.get((store, TIME)) != NO_TIMESTAMP
}
