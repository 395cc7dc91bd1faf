//! What the stores that go by time share: their calls to the host, which alone knows what has expired.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;
use std::vec;

use super::buffer::Buffer;
use super::key_bytes;
use crate::codec::{self, Data};
use crate::failure::Failure;
use crate::frame::{Error, Reader};
use crate::host;

/// Rows asked for at once, as in [`super::scan`].
const PAGE_ROWS: u32 = 256;
/// The least a row takes in a page: two lengths and three times.
const ROW_LEN_MIN: usize = 32;

/// One thing of a store: its key's bytes, a window's start or a session's end or a version's time, and a session's start.
pub(super) struct Thing<'a> {
    pub key: &'a [u8],
    pub time: i64,
    pub start: i64,
}

/// What the store holds of it, with its timestamp.
pub(super) fn get<V: Data>(buffer: &RefCell<Buffer>, thing: Thing<'_>) -> Result<Option<(V, i64)>, Failure> {
    let buffer = buffer.borrow();
    let mut things = Vec::with_capacity(24 + thing.key.len());
    things.extend_from_slice(&1u32.to_le_bytes());
    things.extend_from_slice(&(thing.key.len() as u32).to_le_bytes());
    things.extend_from_slice(&thing.time.to_le_bytes());
    things.extend_from_slice(&thing.start.to_le_bytes());
    things.extend_from_slice(thing.key);
    let answer = host::get_timed(buffer.store(), &things).map_err(|refusal| buffer.refused("read", refusal))?;
    let found = decode_found(&answer).map_err(|error| buffer.refused("read", error))?;
    let value = found.map(|(value, timestamp)| Ok((codec::decode("value", Some(value))?, timestamp)));
    value.transpose().map_err(|error: codec::DecodeError| buffer.refused("read", error))
}

/// Writes it for the element that is being processed, and answers what became of it.
pub(super) fn put(buffer: &RefCell<Buffer>, thing: Thing<'_>, value: Option<&[u8]>) -> Result<i64, Failure> {
    let buffer = buffer.borrow();
    let mut writes = Vec::with_capacity(32 + thing.key.len() + value.map_or(0, <[u8]>::len));
    writes.extend_from_slice(&1u32.to_le_bytes());
    writes.extend_from_slice(&buffer.element().to_le_bytes());
    writes.extend_from_slice(&(thing.key.len() as u32).to_le_bytes());
    writes.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_le_bytes());
    writes.extend_from_slice(&thing.time.to_le_bytes());
    writes.extend_from_slice(&thing.start.to_le_bytes());
    writes.extend_from_slice(thing.key);
    writes.extend_from_slice(value.unwrap_or_default());
    let answer = host::apply_timed(buffer.store(), &writes).map_err(|refusal| buffer.refused("write to", refusal))?;
    let mut reader = Reader(&answer);
    let became = match reader.u32().map_err(|error| buffer.refused("write to", error))? {
        1 => reader.i64(),
        _ => Err(Error::Field("number of writes")),
    };
    became.map_err(|error| buffer.refused("write to", error))
}

/// `count u32` = 1, `len i32` (-1 = absent), `timestamp i64`, value.
fn decode_found(bytes: &[u8]) -> Result<Option<(&[u8], i64)>, Error> {
    let mut reader = Reader(bytes);
    if reader.u32()? != 1 {
        return Err(Error::Field("number of values"));
    }
    let (len, timestamp) = (reader.i32()?, reader.i64()?);
    let value = reader.nullable(len)?;
    if reader.0.is_empty() { Ok(value.map(|value| (value, timestamp))) } else { Err(Error::Long) }
}

/// Which rows a scan walks, all bounds inclusive.
#[derive(Clone, Default)]
pub(super) struct Rows {
    pub key: Option<Vec<u8>>,
    pub lower: Option<Vec<u8>>,
    pub upper: Option<Vec<u8>>,
    /// Of the bounds of keys those that are not among them: the host's all are inclusive.
    pub excluded: Vec<Vec<u8>>,
    pub from: i64,
    pub to: i64,
    /// Of sessions: the latest end.
    pub latest_end: Option<i64>,
    pub reverse: bool,
}

impl Rows {
    /// Those of the keys in a range alone.
    pub fn of<K: Data>(self, keys: impl RangeBounds<K>) -> Rows {
        let mut excluded = Vec::new();
        let mut bytes = |bound: Bound<&K>| match bound {
            Bound::Included(key) => Some(key_bytes(key)),
            Bound::Excluded(key) => {
                excluded.push(key_bytes(key));
                Some(key_bytes(key))
            }
            Bound::Unbounded => None,
        };
        let (lower, upper) = (bytes(keys.start_bound()), bytes(keys.end_bound()));
        Rows { lower, upper, excluded, ..self }
    }

    fn holds(&self, row: &Row) -> bool {
        !self.excluded.contains(&row.key)
    }
}

/// A window or a session as a store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedEntry<K, V> {
    pub key: K,
    /// Milliseconds.
    pub start: i64,
    /// Of a window the first millisecond behind it, of a session its last.
    pub end: i64,
    pub value: V,
    /// Of the record whose update put it.
    pub timestamp: i64,
}

/// The rows of a window or session store, page by page. The host walks its segments of time one after the other and each
/// by key, so the rows of one key come in the order of their times. Ends after the first error.
pub struct TimedScan<K, V> {
    buffer: Rc<RefCell<Buffer>>,
    rows: Rows,
    ask: Ask,
    page: vec::IntoIter<Row>,
    next: Option<Vec<u8>>,
    done: bool,
    types: PhantomData<(K, V)>,
}

/// The host's function that answers a page.
type Ask = fn(u32, &host::TimedPage<'_>) -> Result<(Vec<u8>, Option<Vec<u8>>), host::Refusal>;

struct Row {
    key: Vec<u8>,
    value: Vec<u8>,
    timestamp: i64,
    start: i64,
    end: i64,
}

impl<K: Data, V: Data> TimedScan<K, V> {
    pub(super) fn new(buffer: Rc<RefCell<Buffer>>, rows: Rows) -> TimedScan<K, V> {
        TimedScan::asking(host::scan_timed, buffer, rows)
    }

    /// Of sessions, those that end no later than the rows' latest end.
    pub(super) fn of_sessions(buffer: Rc<RefCell<Buffer>>, rows: Rows) -> TimedScan<K, V> {
        TimedScan::asking(host::scan_sessions, buffer, rows)
    }

    fn asking(ask: Ask, buffer: Rc<RefCell<Buffer>>, rows: Rows) -> TimedScan<K, V> {
        TimedScan { buffer, rows, ask, page: Vec::new().into_iter(), next: None, done: false, types: PhantomData }
    }

    fn step(&mut self) -> Result<Option<TimedEntry<K, V>>, Failure> {
        loop {
            if let Some(row) = self.page.next() {
                if !self.rows.holds(&row) {
                    continue;
                }
                let buffer = self.buffer.borrow();
                let key = codec::decode("key", Some(&row.key)).map_err(|error| buffer.refused("scan", error))?;
                let value = codec::decode("value", Some(&row.value)).map_err(|error| buffer.refused("scan", error))?;
                let Row { timestamp, start, end, .. } = row;
                return Ok(Some(TimedEntry { key, start, end, value, timestamp }));
            }
            if self.done {
                return Ok(None);
            }
            self.fetch()?;
        }
    }

    fn fetch(&mut self) -> Result<(), Failure> {
        let buffer = self.buffer.borrow();
        let Rows { key, lower, upper, from, to, latest_end, reverse, .. } = &self.rows;
        let page = host::TimedPage {
            key: key.as_deref(),
            lower: lower.as_deref(),
            upper: upper.as_deref(),
            from: *from,
            to: *to,
            latest_end: *latest_end,
            after: self.next.as_deref(),
            reverse: *reverse,
            limit: PAGE_ROWS,
        };
        let answer = (self.ask)(buffer.store(), &page);
        let (entries, next) = answer.map_err(|refusal| buffer.refused("scan", refusal))?;
        let rows = decode_rows(&entries).map_err(|error| buffer.refused("scan", error))?;
        // A page that says "more" and holds nothing would be asked for again for ever.
        self.done = next.is_none() || rows.is_empty();
        self.next = next;
        self.page = rows.into_iter();
        Ok(())
    }
}

impl<K: Data, V: Data> Iterator for TimedScan<K, V> {
    type Item = Result<TimedEntry<K, V>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.step().transpose();
        if matches!(next, Some(Err(_))) {
            self.done = true;
            self.page = Vec::new().into_iter();
        }
        next
    }
}

/// `count u32`, then per row `key_len u32, value_len u32, timestamp i64, start i64, end i64`, key, value.
fn decode_rows(bytes: &[u8]) -> Result<Vec<Row>, Error> {
    let mut reader = Reader(bytes);
    let count = reader.u32()?;
    let rows = reader.many(count, ROW_LEN_MIN, |reader| {
        let (key_len, value_len) = (reader.u32()?, reader.u32()?);
        let (timestamp, start, end) = (reader.i64()?, reader.i64()?, reader.i64()?);
        let key = reader.take(key_len as usize)?.to_vec();
        Ok(Row { key, value: reader.take(value_len as usize)?.to_vec(), timestamp, start, end })
    })?;
    if reader.0.is_empty() { Ok(rows) } else { Err(Error::Long) }
}

/// A range of times as the host wants it: both bounds inclusive. An excluded bound moves by a millisecond.
pub(super) fn times(range: impl RangeBounds<i64>) -> (i64, i64) {
    let from = match range.start_bound() {
        Bound::Included(time) => *time,
        Bound::Excluded(time) => time.saturating_add(1),
        Bound::Unbounded => i64::MIN,
    };
    let to = match range.end_bound() {
        Bound::Included(time) => *time,
        Bound::Excluded(time) => time.saturating_sub(1),
        Bound::Unbounded => i64::MAX,
    };
    (from, to)
}
