//! Windows and sessions in the order of time, where they are given away as they close: beside each stands a row of its own,
//! which is not logged. So what has closed is found without a look at what is open.

use std::ops::ControlFlow;

use super::layout::{self, BEHIND_ALL, BY_TIME};
use super::timed::{self, Segments, TimeSpan, damaged};
use super::{Error, KeyRange, StoreKind, TaskStores};
use crate::record::NO_TIMESTAMP;

/// Rows that are looked up together: enough to make a look-up cheap, few enough that their values are no burden.
const PORTION: usize = 1_000;

/// A window with its start, or a session with both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedRow<'a> {
    pub key: &'a [u8],
    pub start: i64,
    /// Of a session.
    pub end: i64,
    /// Of the update that put it.
    pub timestamp: i64,
    pub value: &'a [u8],
}

/// Which rows were handed over already: the first so many of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    pub time: i64,
    pub rows: u64,
}

/// How a walk over what has closed has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOver {
    /// With all of it; the time of the first row behind it, or [`i64::MAX`].
    All(i64),
    /// With a row behind which nobody wanted more: what has gone with it.
    Part(Gone),
}

impl Gone {
    pub const NOTHING: Gone = Gone { time: NO_TIMESTAMP, rows: 0 };
}

/// The row by time of a window (`rest`: its number) or a session (`rest`: its start).
pub(super) fn push_row(key: &[u8], time: i64, rest: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(BY_TIME);
    layout::push_time(time, out);
    out.extend_from_slice(rest);
    out.extend_from_slice(key);
}

/// The row by time of what stands in a row by key; `None`: it is none.
pub(super) fn row_of(row: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    let timed::Row { key, time, rest } = timed::split_row(row, &mut key)?;
    let mut by_time = Vec::with_capacity(1 + 8 + rest.len() + key.len());
    push_row(key, time, rest, &mut by_time);
    Some(by_time)
}

/// Time, rest and key.
fn split_row(kind: StoreKind, row: &[u8]) -> Option<(i64, &[u8], &[u8])> {
    let (time, behind) = layout::take_time(row.strip_prefix(&[BY_TIME])?)?;
    let rest_len = if let StoreKind::Session { .. } = kind { 8 } else { 4 };
    let (rest, key) = behind.split_at_checked(rest_len)?;
    Some((time, rest, key))
}

impl TaskStores {
    /// Hands over the windows that start in a span of time, or the sessions that end in it, as far as the store shows them:
    /// in the order of that time, of sessions' starts, of keys, without those that have gone. Only of a store that is closing.
    pub fn closed(
        &self,
        store: usize,
        times: TimeSpan,
        gone: Gone,
        visit: &mut dyn FnMut(ClosedRow<'_>) -> ControlFlow<()>,
    ) -> Result<HandedOver, Error> {
        let (one, base) = self.one(store);
        let kind = one.slot.kind;
        let (observed, segments) = (one.clock.now(base, &one.slot)?, Segments::of(kind));
        let first = match kind {
            StoreKind::Session { .. } => segments.first_live_time(observed.time),
            _ => segments.first_visible(observed.time),
        };
        let upper = [&[BY_TIME][..], &BEHIND_ALL].concat();
        let mut portion =
            Portion { kind, to: times.to, gone, next: None, by_key: Vec::new(), last: vec![BY_TIME], wrong: None };
        let from = times.from.max(first);
        layout::push_time(from, &mut portion.last);
        // Where it is known it is not counted again: nor where what went then was taken back.
        let known = one.last_gone.borrow().iter().flatten().find(|(known, _)| *known == gone).cloned();
        if let Some((_, row)) = known.as_ref().filter(|_| gone.time >= from) {
            (portion.last, portion.gone) = (row.clone(), Gone::NOTHING);
        }
        let mut handed = Gone::NOTHING;
        while portion.next.is_none() {
            let lower = portion.last.clone();
            portion.by_key.clear();
            let range = KeyRange { lower: Some(&lower), upper: Some(&upper) };
            one.layers.scan(base, one.slot.slot, range, false, &mut |row, found| {
                // Of a portion behind another one the first row is known.
                if found.is_none() || row == lower { ControlFlow::Continue(()) } else { portion.take(segments, row) }
            })?;
            if let Some(error) = portion.wrong.take() {
                return Err(error);
            }
            if portion.by_key.len() < PORTION {
                portion.next = portion.next.or(Some(i64::MAX));
            }
            if let Some(last) = self.hand_over(store, &portion.by_key, &mut handed, visit)? {
                let gone =
                    if handed.time == gone.time { Gone { rows: gone.rows + handed.rows, ..handed } } else { handed };
                one.last_gone.replace([known, row_of(last).map(|row| (gone, row))]);
                return Ok(HandedOver::Part(gone));
            }
        }
        Ok(HandedOver::All(portion.next.unwrap_or(i64::MAX)))
    }

    /// Looks rows up and hands them over in their order; answers the one behind which nobody wanted more. Counts those of the
    /// last time.
    fn hand_over<'r>(
        &self,
        store: usize,
        rows: &'r [Vec<u8>],
        handed: &mut Gone,
        visit: &mut dyn FnMut(ClosedRow<'_>) -> ControlFlow<()>,
    ) -> Result<Option<&'r [u8]>, Error> {
        let (mut values, mut found) = (Vec::new(), vec![None; rows.len()]);
        let keys: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        self.get_each(store, &keys, &mut |at, entry| {
            if let Some((timestamp, value)) = entry {
                found[at] = Some((timestamp, values.len(), value.len()));
                values.extend_from_slice(value);
            }
        })?;
        let (mut key, is_session) = (Vec::new(), matches!(self.kind(store), StoreKind::Session { .. }));
        for (row, found) in rows.iter().zip(found) {
            let (Some(timed::Row { key, time, rest }), Some((timestamp, from, len))) =
                (timed::split_row(row, &mut key), found)
            else {
                return Err(damaged(row));
            };
            let start = match (is_session, layout::take_time(rest)) {
                (false, _) => time,
                (true, Some((start, []))) => start,
                (true, _) => return Err(damaged(row)),
            };
            let before = if handed.time == time { handed.rows } else { 0 };
            *handed = Gone { time, rows: before + 1 };
            let closed = ClosedRow { key, start, end: time, timestamp, value: &values[from..from + len] };
            if visit(closed).is_break() {
                return Ok(Some(row.as_slice()));
            }
        }
        Ok(None)
    }
}

/// Some rows by time, and the rows by key that they lead to.
struct Portion {
    kind: StoreKind,
    to: i64,
    /// What is yet to be passed over.
    gone: Gone,
    /// The time of the first row behind `to`.
    next: Option<i64>,
    by_key: Vec<Vec<u8>>,
    /// The last row by time that was taken.
    last: Vec<u8>,
    wrong: Option<Error>,
}

impl Portion {
    fn take(&mut self, segments: Segments, row: &[u8]) -> ControlFlow<()> {
        let Some((time, rest, key)) = split_row(self.kind, row) else {
            self.wrong = Some(damaged(row));
            return ControlFlow::Break(());
        };
        if time > self.to {
            self.next = Some(time);
            return ControlFlow::Break(());
        }
        if time == self.gone.time && self.gone.rows > 0 {
            self.gone.rows -= 1;
            return ControlFlow::Continue(());
        }
        let mut by_key = Vec::new();
        timed::push_row(segments, key, time, rest, &mut by_key);
        self.by_key.push(by_key);
        row.clone_into(&mut self.last);
        if self.by_key.len() < PORTION { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
