//! Session stores: of each key a value for each session, from a start to an end, both included. A store goes by the ends.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::layout;
use super::timed::{self, Direction, KeySpan, Row, Segments, TimeSpan, damaged};
use super::{Base, Error, StoreKind, TaskStores, closing};
use crate::changelog::push_session_key;

/// One session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRow<'a> {
    pub key: &'a [u8],
    pub start: i64,
    pub end: i64,
    /// Of the record whose update put it.
    pub timestamp: i64,
    pub value: &'a [u8],
}

/// A session store, read.
#[derive(Clone, Copy)]
pub struct Sessions<'s> {
    stores: &'s TaskStores,
    place: usize,
}

/// A session store, written.
pub struct SessionsMut<'s> {
    stores: &'s mut TaskStores,
    place: usize,
}

impl TaskStores {
    /// Reads the session store at this place.
    pub fn sessions(&self, place: usize) -> Sessions<'_> {
        Sessions { stores: self, place }
    }

    /// Writes the session store at this place.
    pub fn sessions_mut(&mut self, place: usize) -> SessionsMut<'_> {
        SessionsMut { stores: self, place }
    }
}

impl SessionsMut<'_> {
    /// Puts the value of a session; `None` removes it, which is logged whether there was one or not. Raises the store's time
    /// to the session's end. Answers whether the store took it: `false` when the session has expired. The caller has asked
    /// [`TaskStores::check`] before.
    pub fn put(
        &mut self,
        key: &[u8],
        (start, end): (i64, i64),
        value: Option<&[u8]>,
        timestamp: i64,
    ) -> Result<bool, Error> {
        let mut observed = self.stores.observed(self.place)?;
        let (one, late, row) = self.stores.one_mut(self.place);
        row.clear();
        push_session_key(key, start, end, row);
        one.layers.log_each(row, value, timestamp);
        observed.raise(end);
        one.clock.set(observed);
        let segments = Segments::of(one.slot.kind);
        if !segments.is_live(end, observed.time) {
            // To remove what has gone by itself is no loss.
            *late += u64::from(value.is_some());
            return Ok(false);
        }
        timed::push_row(segments, key, end, &layout::ordered(start), row);
        one.layers.put_row(row, value, timestamp);
        if one.slot.kind.is_closing() {
            closing::push_row(key, end, &layout::ordered(start), row);
            one.layers.put_row(row, value.map(|_| &[][..]), timestamp);
        }
        Ok(true)
    }
}

impl Sessions<'_> {
    /// The value of the session from this start to this end, with the timestamp of its update.
    pub fn fetch_one(
        &self,
        key: &[u8],
        (start, end): (i64, i64),
        visit: &mut dyn FnMut(i64, &[u8]),
    ) -> Result<(), Error> {
        let (one, base) = self.stores.one(self.place);
        let observed = one.clock.now(base, &one.slot)?;
        let segments = Segments::of(one.slot.kind);
        if end < segments.first_visible(observed.time) {
            return Ok(());
        }
        let mut row = Vec::new();
        timed::push_row(segments, key, end, &layout::ordered(start), &mut row);
        one.layers.get_many(base, one.slot.slot, &[&row], &mut |_, found| {
            if let Some((timestamp, value)) = found {
                visit(timestamp, value);
            }
        })
    }

    /// The sessions of these keys that end at or behind `earliest_end` and start at or before `latest_start`: segment
    /// after segment, in each by key, then by end, then by start; or all of it backwards. So the sessions of one key are in
    /// the order of their ends.
    pub fn find(
        &self,
        keys: KeySpan<'_>,
        earliest_end: i64,
        latest_start: i64,
        reverse: bool,
        visit: &mut dyn FnMut(SessionRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let ends = TimeSpan::new(earliest_end, i64::MAX);
        self.walk(keys, ends, latest_start, Direction::of(reverse), &mut |row| match row {
            Some(row) => visit(row),
            None => ControlFlow::Continue(()),
        })
    }

    /// As [`Sessions::find`], of sessions that end within `ends`, over what is passed by too: `None`.
    pub(super) fn walk(
        &self,
        keys: KeySpan<'_>,
        ends: TimeSpan,
        latest_start: i64,
        direction: Direction<'_>,
        visit: &mut dyn FnMut(Option<SessionRow<'_>>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (one, base) = self.stores.one(self.place);
        let mut wrong = None;
        timed::scan_rows(one, base, keys, ends, direction, &mut |row, found| {
            let Some((timestamp, value)) = found else { return visit(None) };
            let Some(row) = session_row(row, timestamp, value) else {
                wrong = Some(damaged(row.rest));
                return ControlFlow::Break(());
            };
            visit((row.start <= latest_start).then_some(row))
        })?;
        wrong.map_or(Ok(()), Err)
    }
}

/// Walks the committed rows of a session store; see [`Sessions::find`].
pub fn scan_sessions(
    (base, slot, kind): (&dyn Base, usize, StoreKind),
    keys: KeySpan<'_>,
    (earliest_end, latest_start): (i64, i64),
    reverse: bool,
    visit: &mut dyn FnMut(SessionRow<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let ends = TimeSpan::new(earliest_end, i64::MAX);
    timed::scan_committed((base, slot, kind), keys, ends, Direction::of(reverse), &Cell::new(0), &mut |row, found| {
        match found.and_then(|(timestamp, value)| session_row(row, timestamp, value)) {
            Some(row) if row.start <= latest_start => visit(row),
            _ => ControlFlow::Continue(()),
        }
    })
}

fn session_row<'a>(row: Row<'a>, timestamp: i64, value: &'a [u8]) -> Option<SessionRow<'a>> {
    let (start, rest) = layout::take_time(row.rest)?;
    rest.is_empty().then_some(SessionRow { key: row.key, start, end: row.time, timestamp, value })
}
