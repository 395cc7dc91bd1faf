//! Records as bytes: spans into one arena per batch, so that a record costs no allocation.

use std::collections::BTreeSet;

/// What a span can reach.
pub const ARENA_BYTES_MAX: usize = u32::MAX as usize - 1;

/// A record's place in time when it has none.
pub const NO_TIMESTAMP: i64 = -1;

/// A run of bytes in an arena, or null. Eight bytes, so that a batch of records stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Null, as in a record without a key or a tombstone's value; not the same as empty.
    pub const NULL: Span = Span { start: 0, len: u32::MAX };
    pub const EMPTY: Span = Span { start: 0, len: 0 };

    /// Whoever fills an arena keeps it far below [`ARENA_BYTES_MAX`]. A span that does not fit would name other bytes
    /// than those meant, so there is none.
    pub fn new(start: usize, len: usize) -> Span {
        let end = start.saturating_add(len);
        assert!(end <= ARENA_BYTES_MAX, "an arena of {end} bytes; its owner should have stopped before");
        Span { start: start as u32, len: len as u32 }
    }

    pub fn is_null(self) -> bool {
        self.len == u32::MAX
    }

    /// The bytes, or `None` when null.
    pub fn of(self, arena: &[u8]) -> Option<&[u8]> {
        (!self.is_null()).then(|| &arena[self.start as usize..self.start as usize + self.len as usize])
    }

    /// The bytes, with null as empty.
    pub fn bytes(self, arena: &[u8]) -> &[u8] {
        self.of(arena).unwrap_or_default()
    }

    /// Where it begins in its arena.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// How many bytes; null has none.
    pub fn len(self) -> usize {
        if self.is_null() { 0 } else { self.len as usize }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Appends bytes to an arena and says where they are.
pub fn push(arena: &mut Vec<u8>, bytes: Option<&[u8]>) -> Span {
    match bytes {
        None => Span::NULL,
        Some(bytes) => {
            let span = Span::new(arena.len(), bytes.len());
            arena.extend_from_slice(bytes);
            span
        }
    }
}

/// Headers as they travel in frames: for each `name_len u32, value_len i32 (-1 = null), name, value`,
/// little-endian. No headers are no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a>(pub &'a [u8]);

impl<'a> Headers<'a> {
    /// Every header in order. Ends early where the bytes are malformed; see [`Headers::is_valid`].
    pub fn iter(self) -> HeaderIter<'a> {
        HeaderIter { rest: self.0, broken: false }
    }

    /// The last header of this name, as Kafka's `lastHeader`.
    pub fn last(self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter().filter(|(found, _)| *found == name).last().map(|(_, value)| value)
    }

    /// Whether the bytes are headers from the first to the last one, with names in UTF-8.
    pub fn is_valid(self) -> bool {
        let mut iter = self.iter();
        iter.by_ref().for_each(drop);
        !iter.broken
    }
}

/// Appends one header in the layout of [`Headers`].
pub fn push_header(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    out.extend_from_slice(&(name.len() as u32).to_le_bytes());
    out.extend_from_slice(&value.map_or(-1, |v| v.len() as i32).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(value.unwrap_or_default());
}

pub struct HeaderIter<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> HeaderIter<'a> {
    fn step(&mut self) -> Option<(&'a str, Option<&'a [u8]>)> {
        let (name_len, rest) = self.rest.split_first_chunk::<4>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (name_len, value_len) = (u32::from_le_bytes(*name_len) as usize, i32::from_le_bytes(*value_len));
        let (name, rest) = rest.split_at_checked(name_len)?;
        let (value, rest) = match value_len {
            -1 => (None, rest),
            _ => rest.split_at_checked(usize::try_from(value_len).ok()?).map(|(v, r)| (Some(v), r))?,
        };
        self.rest = rest;
        Some((std::str::from_utf8(name).ok()?, value))
    }
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.broken {
            return None;
        }
        let found = self.step();
        self.broken = found.is_none();
        found
    }
}

/// A borrowed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

impl Record<'_> {
    /// Of key, value and headers.
    pub fn bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.headers.0.len()
    }
}

/// Records of one partition in offset order, in one arena.
#[derive(Clone, Debug, Default)]
pub struct Records {
    arena: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    offset: i64,
    timestamp: i64,
    key: Span,
    value: Span,
    headers: Span,
}

impl Records {
    /// With room for this many records of as many bytes together.
    pub fn with_capacity(records: usize, bytes: usize) -> Records {
        Records { arena: Vec::with_capacity(bytes), rows: Vec::with_capacity(records) }
    }

    pub fn push(&mut self, offset: i64, record: Record<'_>) {
        let row = Row {
            offset,
            timestamp: record.timestamp,
            key: push(&mut self.arena, record.key),
            value: push(&mut self.arena, record.value),
            headers: push(&mut self.arena, Some(record.headers.0)),
        };
        self.rows.push(row);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Gives the record at a place below [`Records::len`] another time.
    pub fn set_timestamp(&mut self, at: usize, timestamp: i64) {
        self.rows[at].timestamp = timestamp;
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The record at a place below [`Records::len`], with its offset.
    pub fn get(&self, index: usize) -> (i64, Record<'_>) {
        let row = self.rows[index];
        let record = Record {
            key: row.key.of(&self.arena),
            value: row.value.of(&self.arena),
            headers: Headers(row.headers.bytes(&self.arena)),
            timestamp: row.timestamp,
        };
        (row.offset, record)
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, Record<'_>)> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Drops the records from this offset on; whether there were any.
    pub fn truncate_at(&mut self, offset: i64) -> bool {
        let kept = self.rows.partition_point(|row| row.offset < offset);
        let dropped = kept < self.rows.len();
        self.rows.truncate(kept);
        dropped
    }

    pub fn clear(&mut self) {
        self.arena.clear();
        self.rows.clear();
    }
}

/// A topic by its place in the plan's list of topics ([`crate::topology::Plan`]), so that a record on its
/// way out carries four bytes and no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u32);

/// One partition of one topic of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: i32,
}

/// Bytes of one chunk of [`Outgoing`], before the record that goes beyond it: growing copies no more than this, and a
/// span reaches far further.
const CHUNK_BYTES: usize = 4 << 20;

/// Records on their way into the log, each for an explicit partition, in the order they were made. In chunks, so that
/// any number of them can be put together without a copy.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    chunks: Vec<Chunk>,
    len: usize,
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Chunk {
    arena: Vec<u8>,
    rows: Vec<OutRow>,
}

#[derive(Clone, Copy, Debug)]
struct OutRow {
    to: TopicPartition,
    timestamp: i64,
    key: Span,
    value: Span,
    headers: Span,
}

/// A place in an [`Outgoing`] to which it can be cut back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutgoingMark {
    chunks: usize,
    /// Of the last chunk.
    rows: usize,
    arena: usize,
    len: usize,
    bytes: usize,
}

impl Outgoing {
    pub fn push(&mut self, to: TopicPartition, record: Record<'_>) {
        if self.chunks.last().is_none_or(|chunk| chunk.arena.len() >= CHUNK_BYTES) {
            self.chunks.push(Chunk::default());
        }
        let Some(Chunk { arena, rows }) = self.chunks.last_mut() else { return };
        let before = arena.len();
        rows.push(OutRow {
            to,
            timestamp: record.timestamp,
            key: push(arena, record.key),
            value: push(arena, record.value),
            headers: push(arena, Some(record.headers.0)),
        });
        self.len += 1;
        self.bytes += arena.len() - before;
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The topics that records go to.
    pub fn topics(&self) -> BTreeSet<TopicId> {
        self.chunks.iter().flat_map(|chunk| &chunk.rows).map(|row| row.to.topic).collect()
    }

    pub fn mark(&self) -> OutgoingMark {
        let (rows, arena) = self.chunks.last().map_or((0, 0), |chunk| (chunk.rows.len(), chunk.arena.len()));
        OutgoingMark { chunks: self.chunks.len(), rows, arena, len: self.len, bytes: self.bytes }
    }

    /// Forgets everything pushed after the mark.
    pub fn truncate(&mut self, mark: OutgoingMark) {
        self.chunks.truncate(mark.chunks);
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.rows.truncate(mark.rows);
            chunk.arena.truncate(mark.arena);
        }
        (self.len, self.bytes) = (mark.len, mark.bytes);
    }

    /// In the order they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, Record<'_>)> {
        self.chunks.iter().flat_map(|chunk| chunk.rows.iter().map(|row| chunk.record(row)))
    }

    /// Grouped by topic and partition, in push order inside each: a producer pays half for a run of records of
    /// one partition of what it pays for interleaved ones.
    pub fn by_partition(&self) -> impl Iterator<Item = (TopicPartition, Record<'_>)> {
        let mut order: Vec<(&Chunk, &OutRow)> = Vec::with_capacity(self.len);
        order.extend(self.chunks.iter().flat_map(|chunk| chunk.rows.iter().map(move |row| (chunk, row))));
        order.sort_by_key(|(_, row)| row.to); // stable
        order.into_iter().map(|(chunk, row)| chunk.record(row))
    }

    /// Puts all records of another one behind these.
    pub fn append(&mut self, other: Outgoing) {
        self.chunks.extend(other.chunks);
        self.len += other.len;
        self.bytes += other.bytes;
    }
}

impl Chunk {
    fn record(&self, row: &OutRow) -> (TopicPartition, Record<'_>) {
        let record = Record {
            key: row.key.of(&self.arena),
            value: row.value.of(&self.arena),
            headers: Headers(row.headers.bytes(&self.arena)),
            timestamp: row.timestamp,
        };
        (row.to, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_apart() {
        let mut records = Records::default();
        records.push(7, Record { key: None, value: Some(b""), headers: Headers(b""), timestamp: 3 });
        let (offset, record) = records.get(0);
        assert_eq!((offset, record.key, record.value), (7, None, Some(&b""[..])));
    }

    #[test]
    fn headers_that_lie_about_their_length_are_not_valid() {
        let mut bytes = Vec::new();
        push_header(&mut bytes, "a", Some(b"1"));
        push_header(&mut bytes, "a", None);
        assert!(Headers(&bytes).is_valid());
        assert_eq!(Headers(&bytes).last("a"), Some(None));
        bytes[4] = 200;
        assert!(!Headers(&bytes).is_valid());
    }

    #[test]
    fn outgoing_records_come_grouped_by_partition_in_their_order() {
        let mut out = Outgoing::default();
        let to = |p| TopicPartition { topic: TopicId(0), partition: p };
        let record = |v: &'static [u8]| Record { key: None, value: Some(v), headers: Headers(b""), timestamp: 0 };
        for (p, v) in [(1, &b"a"[..]), (0, b"b"), (1, b"c")] {
            out.push(to(p), record(v));
        }
        let values: Vec<_> = out.by_partition().map(|(_, r)| r.value.unwrap_or_default()).collect();
        assert_eq!(values, [&b"b"[..], b"a", b"c"]);
        let mark = out.mark();
        out.push(to(0), record(b"d"));
        out.truncate(mark);
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn outgoing_records_of_many_chunks_are_one_run_and_cut_back_over_their_borders() {
        let value = vec![7; CHUNK_BYTES / 2 + 1];
        let to = TopicPartition { topic: TopicId(0), partition: 0 };
        let record = |key| Record { key: Some(key), value: Some(&value), headers: Headers(b""), timestamp: 0 };
        let keys = |out: &Outgoing| out.iter().map(|(_, r)| r.key.unwrap_or_default()[0]).collect::<Vec<u8>>();
        let (mut out, mut other) = (Outgoing::default(), Outgoing::default());
        out.push(to, record(b"a"));
        let mark = out.mark();
        [b"b", b"c", b"d"].into_iter().for_each(|key| out.push(to, record(key)));
        assert_eq!((keys(&out), out.len(), out.bytes()), (b"abcd".to_vec(), 4, 4 * (value.len() + 1)));
        out.truncate(mark);
        assert_eq!((keys(&out), out.bytes()), (b"a".to_vec(), value.len() + 1));
        other.push(to, record(b"x"));
        out.append(other);
        out.push(to, record(b"y"));
        assert_eq!((keys(&out), out.len()), (b"axy".to_vec(), 3));
    }

    #[test]
    #[should_panic(expected = "an arena of 4294967295 bytes")]
    fn a_span_beyond_its_reach_is_none() {
        Span::new(ARENA_BYTES_MAX, 1);
    }
}
