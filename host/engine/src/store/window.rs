//! Window stores: of each key a value for each start of a window, or, with duplicates, as many as were put.
//!
//! A put into a segment that has expired is not kept, and is counted; without coalescing its changelog has it all the same,
//! as Kafka Streams' has.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::timed::{self, Direction, KeySpan, Row, Segments, TimeSpan, damaged};
use super::{Base, Error, StoreKind, TaskStores, closing};
use crate::changelog::push_window_key;

/// One value of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRow<'a> {
    pub key: &'a [u8],
    pub start: i64,
    /// Which of its duplicates, in the order they were put; 0 where the store keeps none.
    pub number: u32,
    /// Of the update that put it.
    pub timestamp: i64,
    pub value: &'a [u8],
}

/// A window store, read.
#[derive(Clone, Copy)]
pub struct Windows<'s> {
    stores: &'s TaskStores,
    place: usize,
}

/// A window store, written.
pub struct WindowsMut<'s> {
    stores: &'s mut TaskStores,
    place: usize,
}

impl TaskStores {
    /// Reads the window store at this place.
    pub fn windows(&self, place: usize) -> Windows<'_> {
        Windows { stores: self, place }
    }

    /// Writes the window store at this place.
    pub fn windows_mut(&mut self, place: usize) -> WindowsMut<'_> {
        WindowsMut { stores: self, place }
    }
}

impl WindowsMut<'_> {
    /// Puts the value of a window; `None` deletes it, and does nothing in a store with duplicates. Raises the store's time to
    /// the window's start. Answers whether the store took it: `false` when the window has expired. The caller has asked
    /// [`TaskStores::check`] before.
    pub fn put(&mut self, key: &[u8], start: i64, value: Option<&[u8]>, timestamp: i64) -> Result<bool, Error> {
        let mut observed = self.stores.observed(self.place)?;
        let (one, late, row) = self.stores.one_mut(self.place);
        let StoreKind::Window { duplicates, .. } = one.slot.kind else { return Ok(false) };
        let number = if duplicates { observed.next_number() } else { 0 };
        row.clear();
        push_window_key(key, start, number, row);
        one.layers.log_each(row, value, timestamp);
        if duplicates && value.is_none() {
            one.clock.set(observed);
            return Ok(true);
        }
        observed.raise(start);
        one.clock.set(observed);
        let segments = Segments::of(one.slot.kind);
        if !segments.is_live(start, observed.time) {
            *late += 1;
            return Ok(false);
        }
        timed::push_row(segments, key, start, &number.to_be_bytes(), row);
        one.layers.put_row(row, value, timestamp);
        if one.slot.kind.is_closing() {
            closing::push_row(key, start, &number.to_be_bytes(), row);
            one.layers.put_row(row, value.map(|_| &[][..]), timestamp);
        }
        Ok(true)
    }
}

impl Windows<'_> {
    /// The value of one window, with the timestamp of its update; of duplicates the first.
    pub fn fetch_one(&self, key: &[u8], start: i64, visit: &mut dyn FnMut(i64, &[u8])) -> Result<(), Error> {
        let (one, base) = self.stores.one(self.place);
        let observed = one.clock.now(base, &one.slot)?;
        let segments = Segments::of(one.slot.kind);
        if start < segments.first_visible(observed.time) {
            return Ok(());
        }
        if matches!(one.slot.kind, StoreKind::Window { duplicates: true, .. }) {
            return self.scan(KeySpan::One(key), TimeSpan::new(start, start), false, &mut |row| {
                visit(row.timestamp, row.value);
                ControlFlow::Break(())
            });
        }
        let mut row = Vec::new();
        timed::push_row(segments, key, start, &0u32.to_be_bytes(), &mut row);
        one.layers.get_many(base, one.slot.slot, &[&row], &mut |_, found| {
            if let Some((timestamp, value)) = found {
                visit(timestamp, value);
            }
        })
    }

    /// The values of several windows, all in one look-up; `visit` gets the place among them of each that is there.
    pub fn fetch_each(&self, windows: &[(&[u8], i64)], visit: &mut dyn FnMut(usize, i64, &[u8])) -> Result<(), Error> {
        let (one, base) = self.stores.one(self.place);
        let observed = one.clock.now(base, &one.slot)?;
        let segments = Segments::of(one.slot.kind);
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (place, (key, start)) in windows.iter().enumerate() {
            if *start >= segments.first_visible(observed.time) {
                let mut row = Vec::new();
                timed::push_row(segments, key, *start, &0u32.to_be_bytes(), &mut row);
                rows.push(row);
                places.push(place);
            }
        }
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        one.layers.get_many(base, one.slot.slot, &rows, &mut |row, found| {
            if let Some((timestamp, value)) = found {
                visit(places[row], timestamp, value);
            }
        })
    }

    /// The windows of one key that start in a span of time, in the order of their starts.
    pub fn fetch(
        &self,
        key: &[u8],
        starts: TimeSpan,
        visit: &mut dyn FnMut(WindowRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.scan(KeySpan::One(key), starts, false, visit)
    }

    /// The windows of these keys that start in a span of time: segment after segment, in each by key, then by start, then
    /// in the order they were put; or all of it backwards. So of each key the starts are in order.
    pub fn scan(
        &self,
        keys: KeySpan<'_>,
        starts: TimeSpan,
        reverse: bool,
        visit: &mut dyn FnMut(WindowRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.walk(keys, starts, Direction::of(reverse), &mut |row| row.map_or(ControlFlow::Continue(()), &mut *visit))
    }

    /// As [`Windows::scan`], over uncommitted deletions too: `None`.
    pub(super) fn walk(
        &self,
        keys: KeySpan<'_>,
        starts: TimeSpan,
        direction: Direction<'_>,
        visit: &mut dyn FnMut(Option<WindowRow<'_>>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let (one, base) = self.stores.one(self.place);
        let mut wrong = None;
        timed::scan_rows(one, base, keys, starts, direction, &mut |row, found| match found {
            None => visit(None),
            Some((timestamp, value)) => match window_row(row, timestamp, value) {
                Some(row) => visit(Some(row)),
                None => {
                    wrong = Some(damaged(row.rest));
                    ControlFlow::Break(())
                }
            },
        })?;
        wrong.map_or(Ok(()), Err)
    }
}

/// Walks the committed rows of a window store; see [`Windows::scan`].
pub fn scan_windows(
    (base, slot, kind): (&dyn Base, usize, StoreKind),
    keys: KeySpan<'_>,
    starts: TimeSpan,
    reverse: bool,
    visit: &mut dyn FnMut(WindowRow<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    timed::scan_committed((base, slot, kind), keys, starts, Direction::of(reverse), &Cell::new(0), &mut |row, found| {
        let row = found.and_then(|(timestamp, value)| window_row(row, timestamp, value));
        row.map_or(ControlFlow::Continue(()), &mut *visit)
    })
}

fn window_row<'a>(row: Row<'a>, timestamp: i64, value: &'a [u8]) -> Option<WindowRow<'a>> {
    let number = u32::from_be_bytes(row.rest.try_into().ok()?);
    Some(WindowRow { key: row.key, start: row.time, number, timestamp, value })
}
