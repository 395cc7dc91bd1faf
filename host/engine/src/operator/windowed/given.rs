//! How far the windows of a node have been given away as they closed: numbers beside the committed offsets.
//!
//! What closes together may be millions of rows. They go in portions, each a batch of its own: those of a time are told
//! apart by how many of them have gone, in the order of their keys. That stands because nothing is put into the store before
//! the last portion has gone ([`super::aggregate`]), and because only its own node writes it.

use super::closing::closed_since;
use crate::operator::reached::Reached;
use crate::record::NO_TIMESTAMP;
use crate::store::{Gone, TimeSpan};
use crate::topology::Window;

/// Rows of one portion: what a guest is well asked about in one call, and so many that their keys' look-up is cheap.
pub(super) const ROWS_MAX: usize = 10_000;

/// Bytes of their keys and values; a portion goes beyond it by one row.
pub(super) const BYTES_MAX: usize = 8 << 20;

/// The same of what has to go with one record, since portions would show.
pub(super) const CLOSED_BYTES_MAX: usize = 128 << 20;

/// The ranks of the numbers.
const CLOSED: u16 = 0;
const TIME: u16 = 1;
const ROWS: u16 = 2;
const UNTIL: u16 = 3;

#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// Up to here everything is closed and gone.
    closed: i64,
    /// What has gone of the portions behind it.
    pub gone: Gone,
    /// Up to where they go.
    until: i64,
}

impl Given {
    pub fn of(reached: &Reached, store: usize) -> Given {
        let number = |rank| reached.get((store, rank));
        let gone = match number(TIME) {
            NO_TIMESTAMP => Gone::NOTHING,
            time => Gone { time, rows: u64::try_from(number(ROWS)).unwrap_or(0) },
        };
        Given { closed: number(CLOSED), gone, until: number(UNTIL) }
    }

    /// Up to where windows close at this time: no less than the portions that have begun, whatever the store remembers of
    /// the time at which they did.
    pub fn close(&self, close: i64) -> i64 {
        close.max(self.until)
    }

    /// The times of what has closed up to `close` and has not gone; `None`: there can be nothing.
    pub fn span(&self, window: Window, close: i64) -> Option<TimeSpan> {
        let times = closed_since(window, self.closed, close)?;
        Some(TimeSpan { from: times.from.max(self.gone.time), ..times })
    }

    /// Notes that everything has gone up to `close`.
    pub fn note_all(reached: &mut Reached, store: usize, close: i64) {
        reached.set((store, CLOSED), close);
        [TIME, ROWS, UNTIL].into_iter().for_each(|rank| reached.forget((store, rank)));
    }

    /// Notes that up to `until` there is more behind the last row that has gone.
    pub fn note_part(reached: &mut Reached, store: usize, gone: Gone, until: i64) {
        reached.set((store, TIME), gone.time);
        reached.set((store, ROWS), i64::try_from(gone.rows).unwrap_or(i64::MAX));
        reached.set((store, UNTIL), until);
    }
}

/// Whether a portion is to follow.
pub(in crate::operator) fn has_more(reached: &Reached, store: usize) -> bool {
    reached.get((store, TIME)) != NO_TIMESTAMP
}

/// What tells a portion from the one before it.
pub(in crate::operator) fn portion(reached: &Reached, store: usize) -> (i64, i64) {
    (reached.get((store, TIME)), reached.get((store, ROWS)))
}
