//! Committed rows of window and session stores in the order of their keys, as queries want them.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::timed::{Direction, KeySpan, Row, Segments, TimeSpan, damaged, row_begin, scan_committed};
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

/// The user's key of a place among the rows of a store of this kind; `None`: it is not one that such a store has.
pub fn place_key(kind: &str, place: &[u8]) -> Option<Vec<u8>> {
    let rest_len = match kind {
        "window" => size_of::<u32>(),
        "session" => size_of::<i64>(),
        _ => return None,
    };
    let mut key = Vec::new();
    let (_, rest) = layout::take_time(layout::take_key(place, &mut key)?)?;
    // What fills up a key's last bytes is nothing, or it would be a place between those of two keys.
    let mut written = Vec::with_capacity(place.len());
    layout::push_key(&key, &mut written);
    (rest.len() == rest_len && place.starts_with(&written)).then_some(key)
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
    /// How many rows may be looked at, and bytes of them, before the row that goes beyond: keys that have no row of these
    /// times are passed by one by one, with all that they hold.
    pub walked: usize,
    pub walked_bytes: usize,
}

impl CommittedScan<'_> {
    /// Whether a scan that ends here comes farther than where it began.
    fn is_behind(&self, place: &[u8]) -> bool {
        self.begin.is_none_or(|begin| if self.reverse { place < begin } else { place > begin })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommittedRows {
    /// In order: at least so many rows or bytes as are wanted and one row more, where there are so many, and at most so
    /// many of each of the few segments.
    pub rows: Vec<CommittedRow>,
    /// The place up to which all was looked at, where that is not all there is: a scan that begins there goes on.
    pub end: Option<Vec<u8>>,
}

/// Of a segment at least so many rows are looked at, so that every scan comes farther: one that begins at a place looks
/// again at its row.
const WALKED_MIN: usize = 1_000;

/// The first visible rows of those asked for that `keep` keeps.
pub fn committed_rows(
    (base, slot, kind): (&dyn Base, usize, StoreKind),
    scan: CommittedScan<'_>,
    keep: &dyn Fn(&CommittedRow) -> bool,
) -> Result<CommittedRows, Error> {
    let (segments, observed) = (Segments::of(kind), Observed::read(base, slot, kind)?);
    let latest = if matches!(kind, StoreKind::Session { .. }) { i64::MAX } else { scan.times.1 };
    let (first, last) = (scan.times.0.max(segments.first_visible(observed.time)), latest.min(observed.time));
    let mut all = CommittedRows::default();
    if first > last {
        return Ok(all);
    }
    let those = segments.at(first)..=segments.at(last);
    let segments = (those.end() - those.start() + 1) as usize;
    let (share, walked_bytes) = (scan.walked / segments, scan.walked_bytes / segments);
    // Every segment is in order itself, and there are few.
    for segment in those {
        let scan = CommittedScan { walked: share.max(WALKED_MIN), walked_bytes, ..scan };
        let end = read_segment((base, slot, kind), segment, TimeSpan::new(first, last), scan, keep, &mut all.rows)?;
        all.end = match (all.end.take(), end) {
            (Some(one), Some(other)) => Some(if scan.reverse { one.max(other) } else { one.min(other) }),
            (one, other) => one.or(other),
        };
    }
    let CommittedRows { rows, end } = &mut all;
    rows.sort_by(|a, b| if scan.reverse { b.place.cmp(&a.place) } else { a.place.cmp(&b.place) });
    if let Some(end) = end {
        rows.retain(|row| if scan.reverse { row.place >= *end } else { row.place <= *end });
    }
    Ok(all)
}

/// Adds a segment's rows; the answer is the place where it had looked at as many as it may.
fn read_segment(
    (base, slot, kind): (&dyn Base, usize, StoreKind),
    segment: i64,
    times: TimeSpan,
    scan: CommittedScan<'_>,
    keep: &dyn Fn(&CommittedRow) -> bool,
    rows: &mut Vec<CommittedRow>,
) -> Result<Option<Vec<u8>>, Error> {
    let (mut found, mut bytes, mut end, mut wrong) = (0, 0, None, None);
    let (mut walked, walked_bytes) = (0, Cell::new(0));
    let after = scan.begin.map(|place| row_beside(segment, place, scan.reverse));
    let only = Direction { reverse: scan.reverse, after: after.as_deref(), segment: Some(segment) };
    let keys = match (scan.keys.lower, scan.keys.upper) {
        (Some(lower), Some(upper)) if lower == upper => KeySpan::One(lower),
        _ => KeySpan::Range(scan.keys),
    };
    scan_committed((base, slot, kind), keys, times, only, &walked_bytes, &mut |row, stored| {
        walked += 1;
        let is_enough = walked_bytes.get() >= scan.walked_bytes;
        if walked >= scan.walked || (is_enough && scan.is_behind(&place_of(&row))) {
            end = Some(place_of(&row));
        }
        let flow = if end.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let Some((timestamp, value)) = stored else { return flow };
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
        // Of windows the walk itself leaves them out.
        if start > scan.times.1 {
            return flow;
        }
        let (key, value, place) = (row.key.to_vec(), value.to_vec(), place_of(&row));
        let row = CommittedRow { key, start, end, timestamp, value, place };
        if !keep(&row) {
            return flow;
        }
        let is_more = found >= scan.rows || bytes >= scan.bytes;
        (found, bytes) = (found + 1, bytes + row.key.len() + row.value.len());
        rows.push(row);
        if is_more { ControlFlow::Break(()) } else { flow }
    })?;
    wrong.map_or(Ok(end), Err)
}

fn place_of(row: &Row<'_>) -> Vec<u8> {
    let mut place = Vec::with_capacity(row.key.len() + 24);
    layout::push_key(row.key, &mut place);
    layout::push_time(row.time, &mut place);
    place.extend_from_slice(row.rest);
    place
}

/// A row of a segment that is passed before this place comes: what is behind it in the scan's direction has the place
/// with it.
fn row_beside(segment: i64, place: &[u8], reverse: bool) -> Vec<u8> {
    let mut row = row_begin(segment);
    match (reverse, place.split_last()) {
        (false, Some((last, begin))) => {
            row.extend_from_slice(begin);
            // All rows that begin so are equally long: between the one before and this one there is none.
            if let Some(before) = last.checked_sub(1) {
                row.extend([before, u8::MAX]);
            }
        }
        (true, _) | (false, None) => row.extend_from_slice(place),
    }
    if reverse {
        row.push(0);
    }
    row
}
