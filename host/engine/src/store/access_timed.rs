//! What a guest reaches of its window, session and versioned stores. The bytes are those of `wit/README.md`, "Stores that
//! go by time"; whatever comes from the guest is checked before it is used.

use std::ops::ControlFlow;

use super::access::{KIB, PAGE_BYTES_MAX, PAGE_ROWS_MAX, malformed, overrun};
use super::timed::{Direction, KeySpan, TimeSpan, push_row, split_row};
use super::{AccessError, KeyRange, StoreKind, TaskStores, layout, timed};
use crate::frame::Cursor;
use crate::store::access::ANSWER_BYTES_MAX;

/// What a scan walks over; `wit/millstream.wit`, `timed-scan`.
#[derive(Clone, Copy, Debug)]
pub struct TimedRequest<'a> {
    pub key: Option<&'a [u8]>,
    pub lower: Option<&'a [u8]>,
    pub upper: Option<&'a [u8]>,
    pub from: i64,
    pub to: i64,
    /// Of sessions alone; `scan-sessions`.
    pub latest_end: Option<i64>,
    pub after: Option<&'a [u8]>,
    pub reverse: bool,
    pub limit: u32,
}

/// Answered for a write that a store did not take.
const NOT_TAKEN: i64 = i64::MIN;

/// One of a window or session store's rows on its way to a guest.
struct Found<'r> {
    key: &'r [u8],
    start: i64,
    end: i64,
    timestamp: i64,
    value: &'r [u8],
    /// Behind the time in its row.
    rest: Vec<u8>,
}

impl TaskStores {
    /// `count u32`, then per thing `len u32, time i64, start i64, key`; the answer is that of `get-many`.
    pub fn get_timed(&mut self, store: u32, things: &[u8], out: &mut Vec<u8>) -> Result<(), AccessError> {
        let store = self.granted(store, StoreKind::goes_by_time)?;
        let mut cursor = Cursor(things);
        let count = cursor.u32().map_err(malformed)?;
        self.spend(u64::from(count))?;
        let began = out.len();
        out.extend_from_slice(&count.to_le_bytes());
        for _ in 0..count {
            let len = cursor.u32().map_err(malformed)?;
            let (time, start) = (cursor.i64().map_err(malformed)?, cursor.i64().map_err(malformed)?);
            let key = cursor.take(len as usize).map_err(malformed)?;
            if key.len() > self.limits.key_bytes {
                return Err(AccessError::TooLarge);
            }
            let at = out.len();
            let mut answer = |timestamp: i64, value: &[u8]| {
                out.extend_from_slice(&(value.len() as i32).to_le_bytes());
                out.extend_from_slice(&timestamp.to_le_bytes());
                out.extend_from_slice(value);
            };
            match self.kind(store) {
                StoreKind::Session { .. } => self.sessions(store).fetch_one(key, (start, time), &mut answer)?,
                StoreKind::Versioned { .. } => {
                    self.versions(store).get_as_of(key, time, &mut |found| answer(found.valid_from, found.value))?
                }
                _ => self.windows(store).fetch_one(key, time, &mut answer)?,
            }
            if out.len() == at {
                out.extend_from_slice(&(-1i32).to_le_bytes());
                out.extend_from_slice(&(-1i64).to_le_bytes());
            }
            if out.len() - began > ANSWER_BYTES_MAX {
                return Err(AccessError::Denied);
            }
        }
        if !cursor.0.is_empty() {
            return Err(AccessError::Malformed);
        }
        self.spend((out.len() - began) as u64 / KIB)
    }

    /// Writes in order, all or nothing. The answer is `count u32`, then what became of each, `i64`.
    pub fn apply_timed(&mut self, store: u32, writes: &[u8], out: &mut Vec<u8>) -> Result<(), AccessError> {
        let store = self.granted(store, StoreKind::goes_by_time)?;
        let kind = self.kind(store);
        let writes = read_writes(writes)?;
        let mut bytes = 0;
        for write in &writes {
            self.element_time(write.element)?;
            if matches!(kind, StoreKind::Session { .. }) && write.start > write.time {
                return Err(AccessError::Malformed);
            }
            self.check_write(store, write.key, write.value)?;
            bytes += write.key.len() + write.value.map_or(0, <[u8]>::len);
        }
        self.spend(writes.len() as u64 + bytes as u64 / KIB)?;
        out.extend_from_slice(&(writes.len() as u32).to_le_bytes());
        for Write { element, key, value, time, start } in writes {
            let timestamp = self.element_time(element)?;
            let became = match kind {
                StoreKind::Session { .. } => {
                    taken(self.sessions_mut(store).put(key, (start, time), value, timestamp)?)
                }
                StoreKind::Versioned { .. } => self.versions_mut(store).put(key, value, time)?.code(),
                _ => taken(self.windows_mut(store).put(key, time, value, timestamp)?),
            };
            out.extend_from_slice(&became.to_le_bytes());
        }
        Ok(())
    }

    /// Appends one page, `count u32`, then per row `key_len u32, value_len u32, timestamp i64, start i64, end i64`, key,
    /// value. Answers behind which row the next page begins, where there is one.
    pub fn scan_timed(
        &mut self,
        store: u32,
        request: TimedRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, AccessError> {
        let is_kind: fn(StoreKind) -> bool = match request.latest_end {
            Some(_) => |kind| matches!(kind, StoreKind::Session { .. }),
            None => |kind| matches!(kind, StoreKind::Window { .. } | StoreKind::Session { .. }),
        };
        let store = self.granted(store, is_kind)?;
        let kind = self.kind(store);
        if request.after.is_some_and(|after| split_row(after, &mut Vec::new()).is_none()) {
            return Err(AccessError::Malformed);
        }
        let limit = request.limit.clamp(1, PAGE_ROWS_MAX);
        let began = out.len();
        out.extend_from_slice(&0u32.to_le_bytes());
        let (mut rows, mut last, mut more) = (0u32, Vec::new(), false);
        let mut left = self.scope.work_left;
        self.each_found(store, &request, &mut |found| {
            let work = 1 + found.as_ref().map_or(0, |found| found.value.len()) as u64 / KIB;
            let Some(rest) = left.checked_sub(work) else {
                left = 0;
                return ControlFlow::Break(());
            };
            left = rest;
            let Some(found) = found else { return ControlFlow::Continue(()) };
            if rows == limit || out.len() - began > PAGE_BYTES_MAX {
                more = true;
                return ControlFlow::Break(());
            }
            rows += 1;
            let time = if matches!(kind, StoreKind::Session { .. }) { found.end } else { found.start };
            push_row(timed::Segments::of(kind), found.key, time, &found.rest, &mut last);
            out.extend_from_slice(&(found.key.len() as u32).to_le_bytes());
            out.extend_from_slice(&(found.value.len() as u32).to_le_bytes());
            for number in [found.timestamp, found.start, found.end] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(found.key);
            out.extend_from_slice(found.value);
            ControlFlow::Continue(())
        })?;
        self.scope.work_left = left;
        if left == 0 {
            return Err(overrun());
        }
        out[began..began + 4].copy_from_slice(&rows.to_le_bytes());
        Ok(more.then_some(last))
    }

    /// Every row of a request, and `None` for what is passed by.
    fn each_found(
        &self,
        store: usize,
        request: &TimedRequest<'_>,
        visit: &mut dyn FnMut(Option<Found<'_>>) -> ControlFlow<()>,
    ) -> Result<(), AccessError> {
        let keys = match request.key {
            Some(key) => KeySpan::One(key),
            None => KeySpan::Range(KeyRange { lower: request.lower, upper: request.upper }),
        };
        let direction = Direction { reverse: request.reverse, after: request.after, segment: None };
        if let StoreKind::Session { .. } = self.kind(store) {
            let ends = TimeSpan::new(request.from, request.latest_end.unwrap_or(i64::MAX));
            self.sessions(store).walk(keys, ends, request.to, direction, &mut |row| {
                visit(row.map(|row| Found {
                    key: row.key,
                    start: row.start,
                    end: row.end,
                    timestamp: row.timestamp,
                    value: row.value,
                    rest: layout::ordered(row.start).to_vec(),
                }))
            })?;
            return Ok(());
        }
        let size = if let StoreKind::Window { size_ms, .. } = self.kind(store) { size_ms } else { 0 };
        self.windows(store).walk(keys, TimeSpan::new(request.from, request.to), direction, &mut |row| {
            visit(row.map(|row| Found {
                key: row.key,
                start: row.start,
                end: row.start.saturating_add(size),
                timestamp: row.timestamp,
                value: row.value,
                rest: row.number.to_be_bytes().to_vec(),
            }))
        })?;
        Ok(())
    }
}

fn taken(is_taken: bool) -> i64 {
    if is_taken { 0 } else { NOT_TAKEN }
}

/// One of a guest's writes.
struct Write<'w> {
    element: usize,
    key: &'w [u8],
    value: Option<&'w [u8]>,
    time: i64,
    start: i64,
}

/// `count u32`, then per write `element u32, key_len u32, value_len i32` (-1 = delete), `time i64, start i64`, key, value.
fn read_writes(bytes: &[u8]) -> Result<Vec<Write<'_>>, AccessError> {
    const LEN_MIN: usize = 28;
    let mut cursor = Cursor(bytes);
    let count = cursor.u32().map_err(malformed)?;
    let mut writes = Vec::with_capacity((count as usize).min(bytes.len() / LEN_MIN));
    for _ in 0..count {
        let element = cursor.u32().map_err(malformed)? as usize;
        let (key_len, value_len) = (cursor.u32().map_err(malformed)?, cursor.i32().map_err(malformed)?);
        let (time, start) = (cursor.i64().map_err(malformed)?, cursor.i64().map_err(malformed)?);
        let key = cursor.take(key_len as usize).map_err(malformed)?;
        writes.push(Write { element, key, value: cursor.nullable(value_len).map_err(malformed)?, time, start });
    }
    if cursor.0.is_empty() { Ok(writes) } else { Err(AccessError::Malformed) }
}
