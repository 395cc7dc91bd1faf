//! Records as bytes: spans into one arena per batch, so that a record costs no allocation.

/// A record's place in time when it has none.
pub const NO_TIMESTAMP: i64 = -1;

/// A run of bytes in an arena, or null. Eight bytes, so that a batch of records stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Null, as in a record without a key or a tombstone's value; not the same as empty.
    pub const NULL: Span = Span { start: 0, len: u32::MAX };
    pub const EMPTY: Span = Span { start: 0, len: 0 };

    pub fn new(start: usize, len: usize) -> Span {
        debug_assert!(start + len < u32::MAX as usize);
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

    /// The same bytes after their arena was copied to `base` in a larger one.
    pub fn shifted(self, base: usize) -> Span {
        if self.is_null() { self } else { Span { start: self.start + base as u32, len: self.len } }
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

/// Records on their way into the log, each for an explicit partition, in the order they were made.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
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
    rows: usize,
    bytes: usize,
}

impl Outgoing {
    pub fn push(&mut self, to: TopicPartition, record: Record<'_>) {
        let row = OutRow {
            to,
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

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    pub fn mark(&self) -> OutgoingMark {
        OutgoingMark { rows: self.rows.len(), bytes: self.arena.len() }
    }

    /// Forgets everything pushed after the mark.
    pub fn truncate(&mut self, mark: OutgoingMark) {
        self.rows.truncate(mark.rows);
        self.arena.truncate(mark.bytes);
    }

    /// In the order they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, Record<'_>)> {
        self.rows.iter().map(|row| self.row(row))
    }

    /// Grouped by topic and partition, in push order inside each: a producer pays half for a run of records of
    /// one partition of what it pays for interleaved ones.
    pub fn by_partition(&self) -> impl Iterator<Item = (TopicPartition, Record<'_>)> {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_by_key(|&i| (self.rows[i as usize].to, i));
        order.into_iter().map(|i| self.row(&self.rows[i as usize]))
    }

    /// Appends all records of another one.
    pub fn append(&mut self, other: &Outgoing) {
        let base = self.arena.len();
        self.arena.extend_from_slice(&other.arena);
        self.rows.extend(other.rows.iter().map(|row| OutRow {
            key: row.key.shifted(base),
            value: row.value.shifted(base),
            headers: row.headers.shifted(base),
            ..*row
        }));
    }

    fn row(&self, row: &OutRow) -> (TopicPartition, Record<'_>) {
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
}
