//! What a guest reaches of its task's stores through its imports. The bytes are those of `wit/README.md`, "Stores";
//! whatever comes from the guest is checked before it is used.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{EntryError, Error, KeyRange, StoreKind, TaskStores};
use crate::frame::{BadFrame, Cursor};
use crate::record::{Span, push};

/// Rows of one page: enough to make a crossing cheap, few enough that a guest cannot make the host hold much.
pub const PAGE_ROWS_MAX: u32 = 1_000;
/// Bytes of one page, before the row that goes beyond it.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of one answer of `get-many`: what one host call may make the host hold.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Work of one guest call in its stores, whatever the number of calls into the host: a unit for each key, each write
/// and each row walked over, deletions too, and for each KiB of them. Two thousand for each record of a full batch, and
/// a few seconds at most; the time a guest has is its own and does not count here.
pub const CALL_WORK_MAX: u64 = 1_000_000;

pub(super) const KIB: u64 = 1 << 10;

/// In a write's element: a timestamp of its own follows the lengths. No frame has as many elements.
const DATED: u32 = 1 << 31;

/// Why a guest's store call was refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("no such store of this kind, or it is not connected to this node")]
    UnknownStore,
    #[error("a key or a value is larger than its limit")]
    TooLarge,
    #[error("the bytes do not follow the layout")]
    Malformed,
    #[error("a host limit was reached")]
    Denied,
    /// Ends the guest's call: an answer would let it see how many records share a batch.
    #[error("{0}")]
    Overrun(String),
    /// The host's own failure: unwinds the call as [`crate::functions::Fault::Host`].
    #[error(transparent)]
    Host(#[from] Error),
}

/// Where a scan begins and ends; `wit/millstream.wit`, `scan-request`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanRequest<'a> {
    pub lower: Option<&'a [u8]>,
    pub upper: Option<&'a [u8]>,
    pub prefix: Option<&'a [u8]>,
    pub after: Option<&'a [u8]>,
    pub reverse: bool,
    pub limit: u32,
}

/// What the running call may touch.
#[derive(Default)]
pub(super) struct Scope {
    /// Places of the stores connected to the node.
    stores: Vec<usize>,
    /// Timestamp of each element of the frame: a write's timestamp.
    timestamps: Vec<i64>,
    /// The latest timestamp that a write may have which is not its element's; `None`: any.
    latest: Option<Latest>,
    /// Of [`CALL_WORK_MAX`].
    pub(super) work_left: u64,
}

/// How late a write may be dated: what the changelogs of the node's stores take.
#[derive(Clone, Copy, Debug)]
pub struct Latest {
    /// The clock's time, ms.
    pub now: i64,
    /// How far ahead of it.
    pub ahead_max_ms: i64,
}

impl TaskStores {
    /// Says which stores, by their numbers, have the topics of their tables for changelogs.
    pub fn set_of_sources(&mut self, is_of_source: impl Fn(u32) -> bool) {
        self.stores.iter_mut().for_each(|one| one.of_source = is_of_source(one.slot.number));
    }

    /// Says what the task reads: the names of topics, by the number of the source that reads them.
    pub fn set_topics(&mut self, topics: BTreeMap<u32, Vec<String>>) {
        self.topics = topics;
    }

    /// The topics of a source; none of what is no source.
    pub fn topics_of(&self, source: u32) -> &[String] {
        self.topics.get(&source).map_or(&[], Vec::as_slice)
    }

    /// Says whether changelogs may be ahead of the committed offsets, as they are under at-least-once.
    pub fn set_logs_ahead(&mut self, are_ahead: bool) {
        self.stores.iter_mut().for_each(|one| one.log_is_ahead = are_ahead);
    }

    /// Opens the stores of a node for one call over elements with these timestamps.
    pub fn enter(&mut self, stores: &[usize], timestamps: impl Iterator<Item = i64>) {
        self.scope.stores.clear();
        self.scope.stores.extend_from_slice(stores);
        self.scope.timestamps.clear();
        self.scope.timestamps.extend(timestamps);
        self.scope.work_left = CALL_WORK_MAX;
        self.scope.latest = None;
    }

    /// Bounds the timestamps of the writes of the call that was entered.
    pub fn date_until(&mut self, latest: Latest) {
        self.scope.latest = Some(latest);
    }

    /// Closes them again: between calls a guest has no store.
    pub fn leave(&mut self) {
        self.scope.stores.clear();
        self.scope.timestamps.clear();
    }

    pub(super) fn granted(&self, number: u32, is_kind: fn(StoreKind) -> bool) -> Result<usize, AccessError> {
        let place = self.place(number).filter(|place| self.scope.stores.contains(place));
        place.filter(|place| is_kind(self.kind(*place))).ok_or(AccessError::UnknownStore)
    }

    /// The timestamp of a write for this element of the frame.
    pub(super) fn element_time(&self, element: usize) -> Result<i64, AccessError> {
        self.scope.timestamps.get(element).copied().ok_or(AccessError::Malformed)
    }

    /// Checks one write before any is made.
    pub(super) fn check_write(&self, store: usize, key: &[u8], value: Option<&[u8]>) -> Result<(), AccessError> {
        match self.check(store, key, value) {
            Ok(()) => Ok(()),
            Err(EntryError::Batch) => Err(AccessError::Overrun(EntryError::Batch.to_string())),
            Err(_) => Err(AccessError::TooLarge),
        }
    }

    /// `count u32`, then per key `len i32 (-1 = absent), timestamp i64, value`.
    pub fn get_many(&mut self, store: u32, keys: &[u8], out: &mut Vec<u8>) -> Result<(), AccessError> {
        let store = self.granted(store, is_key_value)?;
        let keys = read_keys(keys, self.limits.key_bytes)?;
        self.spend(keys.len() as u64)?;
        // Stores answer in any order: first all values in one place, then one after the other.
        let (mut values, mut found) = (Vec::new(), vec![(-1, Span::NULL); keys.len()]);
        let mut bytes = 0;
        self.get_each(store, &keys, &mut |at, entry| {
            let Some((timestamp, value)) = entry else { return };
            bytes += value.len();
            if bytes <= ANSWER_BYTES_MAX {
                found[at] = (timestamp, push(&mut values, Some(value)));
            }
        })?;
        if bytes > ANSWER_BYTES_MAX {
            return Err(AccessError::Denied);
        }
        self.spend(bytes as u64 / KIB)?;
        out.reserve(4 + bytes + 12 * found.len());
        out.extend_from_slice(&(found.len() as u32).to_le_bytes());
        for (timestamp, value) in found {
            let len = value.of(&values).map_or(-1, |value| value.len() as i32);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&timestamp.to_le_bytes());
            out.extend_from_slice(value.bytes(&values));
        }
        Ok(())
    }

    /// Writes in order, all or nothing.
    pub fn apply_writes(&mut self, store: u32, writes: &[u8]) -> Result<(), AccessError> {
        let store = self.granted(store, is_key_value)?;
        if self.is_global(store) {
            return Err(of_global(&self.one(store).0.slot.name));
        }
        if self.one(store).0.of_source {
            return Err(of_source(&self.one(store).0.slot.name));
        }
        let (mut count, mut bytes) = (0, 0);
        let mut checked = Writes::read(writes)?;
        while let Some(write) = checked.next()? {
            self.time_of(store, &write)?;
            self.check_write(store, write.key, write.value)?;
            count += 1;
            bytes += write.key.len() + write.value.map_or(0, <[u8]>::len);
        }
        self.spend(count + bytes as u64 / KIB)?;
        let mut writes = Writes::read(writes)?;
        while let Some(write) = writes.next()? {
            let timestamp = self.time_of(store, &write)?;
            self.put(store, write.key, write.value, timestamp);
        }
        Ok(())
    }

    /// A write's own timestamp, or its element's. One that the changelog would refuse would take the whole interval along.
    fn time_of(&self, store: usize, write: &Write<'_>) -> Result<i64, AccessError> {
        let of_element = self.element_time(write.element)?;
        let Some(own) = write.timestamp else { return Ok(of_element) };
        if own < 0 {
            return Err(AccessError::Malformed);
        }
        match self.scope.latest {
            Some(latest) if own > latest.now.saturating_add(latest.ahead_max_ms) => {
                Err(too_far_ahead(&self.one(store).0.slot.name, own, latest))
            }
            _ => Ok(own),
        }
    }

    /// Whether the store at this place is a global table, which the task only reads.
    fn is_global(&self, store: usize) -> bool {
        self.one(store).0.slot.base >= self.own_bases
    }

    pub(super) fn spend(&mut self, work: u64) -> Result<(), AccessError> {
        let left = self.scope.work_left.checked_sub(work);
        self.scope.work_left = left.unwrap_or(0);
        left.map(drop).ok_or_else(overrun)
    }

    /// Appends one page, `count u32`, then per row `key_len u32, value_len u32, timestamp i64, key, value`;
    /// `true` when there are rows behind it.
    pub fn scan_page(&mut self, store: u32, request: ScanRequest<'_>, out: &mut Vec<u8>) -> Result<bool, AccessError> {
        let store = self.granted(store, is_key_value)?;
        let limit = request.limit.clamp(1, PAGE_ROWS_MAX);
        let ceiling = request.prefix.and_then(successor);
        let start = out.len();
        out.extend_from_slice(&0u32.to_le_bytes());
        let (mut rows, mut more) = (0u32, false);
        let mut left = self.scope.work_left;
        let range = KeyRange { lower: lowest(&request), upper: highest(&request, ceiling.as_deref()) };
        self.walk(store, range, request.reverse, &mut |key, found| {
            let work = 1 + found.map_or(0, |(_, value)| value.len()) as u64 / KIB;
            let Some(rest) = left.checked_sub(work) else {
                left = 0;
                return ControlFlow::Break(());
            };
            left = rest;
            let Some((timestamp, value)) = found else { return ControlFlow::Continue(()) };
            // Bounds are inclusive, so the range may hold the key behind the prefix and the one to continue behind.
            if request.after == Some(key) || request.prefix.is_some_and(|prefix| !key.starts_with(prefix)) {
                return ControlFlow::Continue(());
            }
            if rows == limit || out.len() - start > PAGE_BYTES_MAX {
                more = true;
                return ControlFlow::Break(());
            }
            rows += 1;
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(&timestamp.to_le_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(value);
            ControlFlow::Continue(())
        })?;
        self.scope.work_left = left;
        if left == 0 {
            return Err(overrun());
        }
        out[start..start + 4].copy_from_slice(&rows.to_le_bytes());
        Ok(more)
    }

    pub fn approximate_entries(&mut self, store: u32) -> Result<u64, AccessError> {
        let store = self.granted(store, is_key_value)?;
        self.spend(1)?;
        Ok(self.entries(store)?)
    }
}

fn is_key_value(kind: StoreKind) -> bool {
    kind == StoreKind::KeyValue
}

pub(super) fn overrun() -> AccessError {
    AccessError::Overrun(format!("more than {CALL_WORK_MAX} rows and KiB of the stores during one call"))
}

/// What it wrote would not be in the topic, and gone after the next restore.
fn of_source(store: &str) -> AccessError {
    AccessError::Overrun(format!(
        "store `{store}` has its table's topic for its changelog (reuse_source_topic), so only that topic writes it"
    ))
}

fn of_global(store: &str) -> AccessError {
    AccessError::Overrun(format!("store `{store}` is a global table's, which its topic alone writes"))
}

fn too_far_ahead(store: &str, timestamp: i64, Latest { now, ahead_max_ms }: Latest) -> AccessError {
    let by = timestamp.saturating_sub(now);
    AccessError::Overrun(format!(
        "a write to store `{store}` is dated {timestamp}, {by} ms ahead of the clock; what its node writes takes \
         {ahead_max_ms} (message.timestamp.after.max.ms)"
    ))
}

/// One of a guest's writes.
struct Write<'w> {
    element: usize,
    /// In place of its element's.
    timestamp: Option<i64>,
    key: &'w [u8],
    value: Option<&'w [u8]>,
}

/// A guest's writes, one after the other.
struct Writes<'w> {
    cursor: Cursor<'w>,
    left: u32,
}

impl<'w> Writes<'w> {
    fn read(bytes: &'w [u8]) -> Result<Writes<'w>, AccessError> {
        let mut cursor = Cursor(bytes);
        let left = cursor.u32().map_err(malformed)?;
        Ok(Writes { cursor, left })
    }

    /// `None` behind the last one, where nothing else may stand.
    fn next(&mut self) -> Result<Option<Write<'w>>, AccessError> {
        let cursor = &mut self.cursor;
        if self.left == 0 {
            return if cursor.0.is_empty() { Ok(None) } else { Err(AccessError::Malformed) };
        }
        self.left -= 1;
        let element = cursor.u32().map_err(malformed)?;
        let (key_len, value_len) = (cursor.u32().map_err(malformed)?, cursor.i32().map_err(malformed)?);
        let is_dated = element & DATED != 0;
        let timestamp = is_dated.then(|| cursor.i64()).transpose().map_err(malformed)?;
        let key = cursor.take(key_len as usize).map_err(malformed)?;
        let value = cursor.nullable(value_len).map_err(malformed)?;
        Ok(Some(Write { element: (element & !DATED) as usize, timestamp, key, value }))
    }
}

pub(super) fn malformed(_: BadFrame) -> AccessError {
    AccessError::Malformed
}

fn read_keys(keys: &[u8], key_bytes_max: usize) -> Result<Vec<&[u8]>, AccessError> {
    let mut cursor = Cursor(keys);
    let count = cursor.u32().map_err(malformed)?;
    let mut read = Vec::with_capacity((count as usize).min(keys.len() / 4));
    for _ in 0..count {
        let len = cursor.u32().map_err(malformed)?;
        let key = cursor.take(len as usize).map_err(malformed)?;
        if key.len() > key_bytes_max {
            return Err(AccessError::TooLarge);
        }
        read.push(key);
    }
    if cursor.0.is_empty() { Ok(read) } else { Err(AccessError::Malformed) }
}

/// The lowest key a page may hold: the highest of the bounds that close it from below.
fn lowest<'a>(request: &ScanRequest<'a>) -> Option<&'a [u8]> {
    let after = (!request.reverse).then_some(request.after).flatten();
    request.lower.max(request.prefix).max(after)
}

/// The highest key a page may hold: the lowest of the bounds that close it from above.
fn highest<'a>(request: &ScanRequest<'a>, ceiling: Option<&'a [u8]>) -> Option<&'a [u8]> {
    let after = request.reverse.then_some(request.after).flatten();
    [request.upper, after, ceiling].into_iter().flatten().min()
}

/// The first key behind all keys that start with these bytes; `None` when there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}
