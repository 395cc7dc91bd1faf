//! What window and session stores share: rows in segments of time, found by key and then by time.
//!
//! A segment holds the rows whose times lie in it, key by key; there are never more than a few that are alive. So one key
//! is fetched with a short walk in each of them, and what has expired goes segment by segment. What a reader sees is
//! decided by the store's time alone, to the millisecond, and never by what was cleaned up (semantics.md B6).

use std::cell::Cell;
use std::ops::ControlFlow;

use super::changes::Change;
use super::layers::split_timestamp;
use super::layout::{self, BEHIND_ALL, ROW};
use super::task_stores::OneStore;
use super::{Base, Error, KeyRange, Observed, StoreKind};
use crate::changelog::{push_session_key, push_window_key};
use crate::record::{Headers, Record};

/// Which keys, both bounds included, `None` = open. A lower bound above the upper is empty.
#[derive(Clone, Copy, Debug)]
pub enum KeySpan<'a> {
    One(&'a [u8]),
    Range(KeyRange<'a>),
}

impl KeySpan<'_> {
    pub const ALL: KeySpan<'static> = KeySpan::Range(KeyRange { lower: None, upper: None });
}

/// Which times, both bounds included. A lower bound above the upper is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    pub from: i64,
    pub to: i64,
}

impl TimeSpan {
    pub const ALL: TimeSpan = TimeSpan { from: i64::MIN, to: i64::MAX };

    pub fn new(from: i64, to: i64) -> TimeSpan {
        TimeSpan { from, to }
    }
}

/// Which way a walk goes, and behind which row it begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Direction<'a> {
    pub reverse: bool,
    pub after: Option<&'a [u8]>,
    /// Only this one of the segments.
    pub segment: Option<i64>,
}

impl Direction<'_> {
    pub(super) fn of(reverse: bool) -> Direction<'static> {
        Direction { reverse, after: None, segment: None }
    }
}

/// What expires when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segments {
    kind: StoreKind,
    retention: i64,
    span: i64,
}

impl Segments {
    pub(super) fn of(kind: StoreKind) -> Segments {
        Segments { kind, retention: kind.retention_ms().unwrap_or(i64::MAX), span: kind.segment_ms() }
    }

    pub(super) fn at(self, time: i64) -> i64 {
        time / self.span
    }

    /// The first segment that takes rows.
    pub(super) fn first_live(self, observed: i64) -> i64 {
        self.at(observed.saturating_sub(self.retention))
    }

    pub(super) fn is_live(self, time: i64, observed: i64) -> bool {
        self.at(time) >= self.first_live(observed)
    }

    /// The earliest time that is seen.
    pub(super) fn first_visible(self, observed: i64) -> i64 {
        self.kind.first_visible(observed)
    }

    /// The earliest time that a segment which takes rows may hold.
    pub(super) fn first_live_time(self, observed: i64) -> i64 {
        self.first_live(observed).saturating_mul(self.span)
    }
}

/// One row: a window with `rest` = number, or a session with `rest` = start, each in its own bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub key: &'a [u8],
    pub time: i64,
    pub rest: &'a [u8],
}

pub(super) fn push_row(segments: Segments, key: &[u8], time: i64, rest: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.push(ROW);
    layout::push_time(segments.at(time), out);
    layout::push_key(key, out);
    layout::push_time(time, out);
    out.extend_from_slice(rest);
}

/// What the rows of a segment begin with.
pub(super) fn row_begin(segment: i64) -> Vec<u8> {
    let mut row = vec![ROW];
    layout::push_time(segment, &mut row);
    row
}

/// Takes a row's key apart; the user's key goes into `key`.
pub(super) fn split_row<'a>(row: &'a [u8], key: &'a mut Vec<u8>) -> Option<Row<'a>> {
    let (_segment, rest) = layout::take_time(row.strip_prefix(&[ROW])?)?;
    let rest = layout::take_key(rest, key)?;
    let (time, rest) = layout::take_time(rest)?;
    Some(Row { key, time, rest })
}

pub(super) fn damaged(row: &[u8]) -> Error {
    Error::Corrupted(format!("a row of a store is none of its kind: {}", row.escape_ascii()))
}

/// Walks what is visible of these keys and times: segment after segment, in each by key and time. `None` is what is passed
/// by: an uncommitted deletion, or another time.
pub(super) fn scan_rows(
    one: &OneStore,
    base: &dyn Base,
    keys: KeySpan<'_>,
    times: TimeSpan,
    from: Direction<'_>,
    visit: &mut dyn FnMut(Row<'_>, Option<(i64, &[u8])>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let observed = one.clock.now(base, &one.slot)?;
    let read =
        &mut |range: KeyRange<'_>, each: Each<'_>| one.layers.scan(base, one.slot.slot, range, from.reverse, each);
    walk_rows((Segments::of(one.slot.kind), observed), keys, times, from, read, visit)
}

/// As [`scan_rows`], of what is committed; `None`: another time. `walked` counts the bytes of all that is looked at.
pub(super) fn scan_committed(
    (base, slot, kind): (&dyn Base, usize, StoreKind),
    keys: KeySpan<'_>,
    times: TimeSpan,
    from: Direction<'_>,
    walked: &Cell<usize>,
    visit: &mut dyn FnMut(Row<'_>, Option<(i64, &[u8])>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let observed = Observed::read(base, slot, kind)?;
    let read = &mut |range: KeyRange<'_>, each: Each<'_>| {
        base.scan(slot, range, from.reverse, &mut |row, stored| {
            walked.set(walked.get() + row.len() + stored.len());
            each(row, split_timestamp(stored))
        })
    };
    walk_rows((Segments::of(kind), observed), keys, times, from, read, visit)
}

type Each<'e> = &'e mut dyn FnMut(&[u8], Option<(i64, &[u8])>) -> ControlFlow<()>;

fn walk_rows(
    (segments, observed): (Segments, Observed),
    keys: KeySpan<'_>,
    times: TimeSpan,
    Direction { reverse, after, segment: only }: Direction<'_>,
    read: &mut dyn FnMut(KeyRange<'_>, Each<'_>) -> Result<(), Error>,
    visit: &mut dyn FnMut(Row<'_>, Option<(i64, &[u8])>) -> ControlFlow<()>,
) -> Result<(), Error> {
    if matches!(keys, KeySpan::Range(range) if range.is_inverted()) {
        return Ok(());
    }
    // Nothing is later than what was observed, so there are no more segments than retention has.
    let from = times.from.max(segments.first_visible(observed.time));
    let to = times.to.min(observed.time);
    if from > to {
        return Ok(());
    }
    let (first, last) = (segments.at(from), segments.at(to));
    let (mut lower, mut upper, mut key) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..=last - first {
        let segment = if reverse { last - step } else { first + step };
        if only.is_some_and(|only| only != segment) {
            continue;
        }
        segment_bounds(segment, keys, TimeSpan { from, to }, &mut lower, &mut upper);
        match after {
            Some(after) if reverse && after < upper.as_slice() => after.clone_into(&mut upper),
            Some(after) if !reverse && after > lower.as_slice() => after.clone_into(&mut lower),
            _ => {}
        }
        let (mut stopped, mut wrong) = (false, None);
        read(KeyRange { lower: Some(&lower), upper: Some(&upper) }, &mut |bytes, found| {
            let Some(row) = split_row(bytes, &mut key) else {
                wrong = Some(damaged(bytes));
                return ControlFlow::Break(());
            };
            let is_within = (from..=to).contains(&row.time) && after != Some(bytes);
            let flow = visit(row, found.filter(|_| is_within));
            stopped = flow.is_break();
            flow
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
        if stopped {
            break;
        }
    }
    Ok(())
}

/// The first and the last row that a segment may have of these keys and times.
fn segment_bounds(segment: i64, keys: KeySpan<'_>, times: TimeSpan, lower: &mut Vec<u8>, upper: &mut Vec<u8>) {
    for bound in [&mut *lower, &mut *upper] {
        bound.clear();
        bound.push(ROW);
        layout::push_time(segment, bound);
    }
    match keys {
        KeySpan::One(key) => {
            layout::push_key(key, lower);
            layout::push_time(times.from, lower);
            layout::push_key(key, upper);
            layout::push_time(times.to, upper);
        }
        KeySpan::Range(range) => {
            if let Some(key) = range.lower {
                layout::push_key(key, lower);
            }
            if let Some(key) = range.upper {
                layout::push_key(key, upper);
            }
        }
    }
    upper.extend_from_slice(&BEHIND_ALL);
}

/// Makes changelog entries of rows.
pub(super) struct EntryKeys {
    kind: StoreKind,
    key: Vec<u8>,
    entry: Vec<u8>,
}

impl EntryKeys {
    pub(super) fn new(kind: StoreKind) -> EntryKeys {
        EntryKeys { kind, key: Vec::new(), entry: Vec::new() }
    }

    /// Sends the row's entry; one that is not in the changelog has none.
    pub(super) fn send(&mut self, change: Change<'_>, send: &mut dyn FnMut(Record<'_>)) {
        let value = change.value.and_then(split_timestamp).map(|(_, value)| value);
        let EntryKeys { kind, key, entry } = self;
        entry.clear();
        let value = match *kind {
            StoreKind::KeyValue | StoreKind::Buffer => return,
            StoreKind::Window { .. } => {
                let Some(Row { key, time, rest }) = split_row(change.key, key) else { return };
                let Ok(number) = rest.try_into() else { return };
                push_window_key(key, time, u32::from_be_bytes(number), entry);
                value
            }
            StoreKind::Session { .. } => {
                let Some(Row { key, time, rest }) = split_row(change.key, key) else { return };
                let Some((start, [])) = layout::take_time(rest) else { return };
                push_session_key(key, start, time, entry);
                value
            }
            StoreKind::Versioned { .. } => {
                let Some(_) = super::versioned::split_row(change.key, entry) else { return };
                super::versioned::value_of(value.unwrap_or_default())
            }
        };
        send(Record { key: Some(entry), value, headers: Headers(&[]), timestamp: change.timestamp });
    }
}
