//! Committed rows of window and session stores in the order of their keys, as queries want them.

use std::ops::ControlFlow;

use super::timed::{Direction, KeySpan, Segments, TimeSpan, damaged, row_begin, scan_committed};
use super::{Base, Error, KeyRange, Observed, StoreKind, layout};

/// A window or a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedRow {
    pub key: Vec<u8>,
    pub start: i64,
    /// Of a window the first millisecond behind it, of a session its last.
    pub end: i64,
    pub timestamp: i64,
    pub value: Vec<u8>,
    /// Where it stands among all rows: by key, then by time. Opaque, and good for [`place_key`].
    pub place: Vec<u8>,
}

/// The user's key of a place.
pub fn place_key(place: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    layout::take_key(place, &mut key).map(|_| key)
}

/// What is asked of a window or session store.
#[derive(Clone, Copy, Debug)]
pub struct CommittedScan<'a> {
    pub keys: KeyRange<'a>,
    /// A window's starts; of sessions those with an end not before the first and a start not behind the second.
    pub times: (i64, i64),
    pub reverse: bool,
    /// Rows that stand before this place, in the scan's direction, need not be told.
    pub begin: Option<&'a [u8]>,
    /// How many rows are wanted, and bytes of their keys and values.
    pub rows: usize,
    pub bytes: usize,
}

/// The first visible rows of those asked for that `keep` keeps, in order: at least so many rows or bytes as are wanted and
/// one row more, where there are so many, and at most so many of each of the few segments.
pub fn committed_rows(
    (base, slot, kind): (&dyn Base, usize, StoreKind),
    scan: CommittedScan<'_>,
    keep: &dyn Fn(&CommittedRow) -> bool,
) -> Result<Vec<CommittedRow>, Error> {
    let (CommittedScan { keys, reverse, .. }, (from, to)) = (scan, scan.times);
    let (segments, observed) = (Segments::of(kind), Observed::read(base, slot, kind)?);
    let is_session = matches!(kind, StoreKind::Session { .. });
    let latest = if is_session { i64::MAX } else { to };
    let (first, last) = (from.max(segments.first_visible(observed.time)), latest.min(observed.time));
    let mut rows = Vec::new();
    if first > last {
        return Ok(rows);
    }
    // Every segment is in order itself, and there are few.
    for segment in segments.at(first)..=segments.at(last) {
        let (mut found, mut bytes, mut wrong) = (0, 0, None);
        let times = TimeSpan::new(first, last);
        let after = scan.begin.map(|place| row_beside(segment, place, reverse));
        let only = Direction { reverse, after: after.as_deref(), segment: Some(segment) };
        let keys = match (keys.lower, keys.upper) {
            (Some(lower), Some(upper)) if lower == upper => KeySpan::One(lower),
            _ => KeySpan::Range(keys),
        };
        scan_committed(base, slot, kind, keys, times, only, &mut |row, timestamp, value| {
            let (start, end) = match kind {
                StoreKind::Session { .. } => match layout::take_time(row.rest) {
                    Some((start, [])) => (start, row.time),
                    _ => {
                        wrong = Some(damaged(row.rest));
                        return ControlFlow::Break(());
                    }
                },
                StoreKind::Window { size_ms, .. } => (row.time, row.time.saturating_add(size_ms)),
                _ => return ControlFlow::Break(()),
            };
            if is_session && start > to {
                return ControlFlow::Continue(());
            }
            let mut place = Vec::with_capacity(row.key.len() + 24);
            layout::push_key(row.key, &mut place);
            layout::push_time(row.time, &mut place);
            place.extend_from_slice(row.rest);
            let row = CommittedRow { key: row.key.to_vec(), start, end, timestamp, value: value.to_vec(), place };
            if !keep(&row) {
                return ControlFlow::Continue(());
            }
            let is_more = found >= scan.rows || bytes >= scan.bytes;
            (found, bytes) = (found + 1, bytes + row.key.len() + row.value.len());
            rows.push(row);
            if is_more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(error) = wrong {
            return Err(error);
        }
    }
    rows.sort_by(|a, b| if reverse { b.place.cmp(&a.place) } else { a.place.cmp(&b.place) });
    Ok(rows)
}

/// A row of a segment that is passed before this place comes: what is behind it in the scan's direction has the place
/// with it.
fn row_beside(segment: i64, place: &[u8], reverse: bool) -> Vec<u8> {
    let mut row = row_begin(segment);
    match (reverse, place.split_last()) {
        (false, Some((_, begin))) => row.extend_from_slice(begin),
        (true, _) | (false, None) => row.extend_from_slice(place),
    }
    if reverse {
        row.push(0);
    }
    row
}
