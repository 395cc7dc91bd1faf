//! A batch: a run of records of one partition under one key.
//!
//! All numbers little-endian. The key is not part of the value but covered by its checksum, so that a batch found in
//! a wrong place is noticed too.
//! ```text
//! header  crc u32 │ version u8, 0 0 0 │ count u32 │ last offset i64 │ greatest timestamp i64
//! record  offset delta u32 │ timestamp i64 │ key i32 │ value i32 │ headers u32 │ key, value, headers
//! ```
//! A length of -1 is null. Offset deltas are explicit and count from the key's base offset, so that compaction can
//! take records out of a batch and keep it under its base. The batches of a partition cover its offsets without a gap,
//! compacted ones too: each up to its last offset, whether a record stands there or not. So one that is missing is
//! noticed.

use crc32fast::Hasher;
use millstream_engine::record::{Headers, NO_TIMESTAMP, Record, Records};

/// The most a batch with more than one record takes: sixteen pages of LMDB less the header of the first.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 - 16;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 28;
const ROW_BYTES: usize = 24;

/// Bytes a record takes in a batch.
pub fn size(record: &Record<'_>) -> usize {
    let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    ROW_BYTES + len(record.key) + len(record.value) + record.headers.0.len()
}

/// A batch without its place: records encoded ahead of the transaction, which only adds header and key.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    body: Vec<u8>,
    count: u32,
    /// Offsets it covers: the next record's delta.
    covers: u32,
    max_timestamp: i64,
    /// Of the body; joined with the checksum of key and header when they are known.
    checksum: Hasher,
}

impl Draft {
    fn push(&mut self, record: &Record<'_>) {
        self.push_at(self.covers, record);
    }

    /// Adds a record at a delta that is not covered yet.
    fn push_at(&mut self, delta: u32, record: &Record<'_>) {
        let start = self.body.len();
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |b| b.len() as i32);
        self.body.extend_from_slice(&delta.to_le_bytes());
        self.body.extend_from_slice(&record.timestamp.to_le_bytes());
        self.body.extend_from_slice(&len(record.key).to_le_bytes());
        self.body.extend_from_slice(&len(record.value).to_le_bytes());
        self.body.extend_from_slice(&(record.headers.0.len() as u32).to_le_bytes());
        for part in [record.key, record.value, Some(record.headers.0)].into_iter().flatten() {
            self.body.extend_from_slice(part);
        }
        self.checksum.update(&self.body[start..]);
        self.max_timestamp = if self.count == 0 { record.timestamp } else { self.max_timestamp.max(record.timestamp) };
        self.count += 1;
        self.covers = delta + 1;
    }

    /// Offsets it covers, from its base on; at least one, when it is stored.
    pub fn covers(&self) -> u32 {
        self.covers
    }

    /// The greatest timestamp of its records; [`NO_TIMESTAMP`] without any.
    pub fn max_timestamp(&self) -> i64 {
        if self.count == 0 { NO_TIMESTAMP } else { self.max_timestamp }
    }

    /// Length of the whole value.
    pub fn len(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// The value's two parts, for this key and base offset.
    pub fn seal(&self, key: &[u8], base: i64) -> ([u8; HEADER_BYTES], &[u8]) {
        let mut header = [0; HEADER_BYTES];
        header[4] = VERSION;
        header[8..12].copy_from_slice(&self.count.to_le_bytes());
        header[12..20].copy_from_slice(&(base + i64::from(self.covers) - 1).to_le_bytes());
        header[20..].copy_from_slice(&self.max_timestamp().to_le_bytes());
        let mut checksum = Hasher::new();
        checksum.update(key);
        checksum.update(&header[4..]);
        checksum.combine(&self.checksum);
        header[..4].copy_from_slice(&checksum.finalize().to_le_bytes());
        (header, &self.body)
    }
}

/// Records of one partition on their way in, cut into batches.
#[derive(Clone, Debug, Default)]
pub struct Drafts(Vec<Draft>);

impl Drafts {
    pub fn push(&mut self, record: &Record<'_>) {
        let fits = |draft: &Draft| draft.len() + size(record) <= BATCH_BYTES_MAX;
        if !self.0.last().is_some_and(fits) {
            self.0.push(Draft::default());
        }
        if let Some(draft) = self.0.last_mut() {
            draft.push(record);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Draft> {
        self.0.iter()
    }
}

/// Batches in the place of others: what is left of their records, under the offsets that these have.
#[derive(Debug)]
pub struct Rest(Vec<(i64, Draft)>);

impl Rest {
    /// Begins to cover a partition from this offset on.
    pub fn from(base: i64) -> Rest {
        Rest(vec![(base, Draft::default())])
    }

    /// Adds a record; offsets must grow.
    pub fn push(&mut self, offset: i64, record: &Record<'_>) {
        let fits = |(base, draft): &(i64, Draft)| {
            let is_near = offset - base < i64::from(u32::MAX);
            is_near && (draft.count == 0 || draft.len() + size(record) <= BATCH_BYTES_MAX)
        };
        if !self.0.last().is_some_and(fits) {
            self.cover(offset);
            self.0.push((offset, Draft::default()));
        }
        if let Some((base, draft)) = self.0.last_mut() {
            draft.push_at((offset - *base) as u32, record);
        }
    }

    /// Covers the offsets below this one, so that no gap is left.
    pub fn cover(&mut self, end: i64) {
        while let Some((base, draft)) = self.0.last_mut() {
            let covers = (end - *base).min(i64::from(u32::MAX));
            draft.covers = draft.covers.max(covers as u32);
            let behind = *base + covers;
            if behind >= end {
                break;
            }
            self.0.push((behind, Draft::default()));
        }
    }

    /// The batches by their bases.
    pub fn into_batches(self) -> Vec<(i64, Draft)> {
        self.0
    }
}

/// A stored batch whose checksum and lengths are right.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    base: i64,
    pub last: i64,
    /// [`NO_TIMESTAMP`] without records.
    pub max_timestamp: i64,
    body: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Checks a value against its key; the error says what is wrong with it.
    pub fn open(key: &[u8], base: i64, value: &'a [u8]) -> Result<Batch<'a>, &'static str> {
        let Some((header, body)) = value.split_first_chunk::<HEADER_BYTES>() else {
            return Err("it is shorter than its header");
        };
        let mut checksum = Hasher::new();
        checksum.update(key);
        checksum.update(&value[4..]);
        let [c0, c1, c2, c3, version, _, _, _, n0, n1, n2, n3, last @ .., t0, t1, t2, t3, t4, t5, t6, t7] = *header;
        if checksum.finalize() != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err("its checksum does not match");
        }
        if version != VERSION {
            return Err("it is of another version");
        }
        let max_timestamp = i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        let batch = Batch { base, last: i64::from_le_bytes(last), max_timestamp, body };
        batch.check(u32::from_le_bytes([n0, n1, n2, n3]))?;
        Ok(batch)
    }

    /// Appends the records from an offset on.
    pub fn read(&self, from: i64, records: &mut Records) {
        for (offset, record) in self.iter().filter(|(offset, _)| *offset >= from) {
            records.push(offset, record);
        }
    }

    /// Its records by their offsets.
    pub fn iter(&self) -> Rows<'a> {
        Rows { base: self.base, rest: self.body }
    }

    /// A checksum says that the bytes are as they were written, not that they were written right.
    fn check(&self, count: u32) -> Result<(), &'static str> {
        let mut rows = self.iter();
        let (mut found, mut previous) = (0, self.base - 1);
        for (offset, _) in rows.by_ref() {
            if offset <= previous {
                return Err("its offsets do not grow");
            }
            (found, previous) = (found + 1, offset);
        }
        match () {
            () if !rows.rest.is_empty() => Err("a length in it is wrong"),
            () if found != count || previous > self.last || self.base > self.last => {
                Err("its records are not those of its header")
            }
            () => Ok(()),
        }
    }
}

/// The records of a body. Stops where a length is wrong and leaves the rest.
pub struct Rows<'a> {
    base: i64,
    rest: &'a [u8],
}

impl<'a> Iterator for Rows<'a> {
    type Item = (i64, Record<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (delta, rest) = self.rest.split_first_chunk()?;
        let (timestamp, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_first_chunk()?;
        let (headers, rest) = rest.split_first_chunk()?;
        let (key, rest) = part(i32::from_le_bytes(*key), rest)?;
        let (value, rest) = part(i32::from_le_bytes(*value), rest)?;
        let (headers, rest) = rest.split_at_checked(u32::from_le_bytes(*headers) as usize)?;
        self.rest = rest;
        let timestamp = i64::from_le_bytes(*timestamp);
        let offset = self.base.checked_add(i64::from(u32::from_le_bytes(*delta)))?;
        Some((offset, Record { key, value, headers: Headers(headers), timestamp }))
    }
}

fn part(len: i32, bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    match usize::try_from(len) {
        Ok(len) => bytes.split_at_checked(len).map(|(part, rest)| (Some(part), rest)),
        Err(_) => (len == -1).then_some((None, bytes)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &[u8] = b"a key";

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, timestamp: i64) -> Record<'a> {
        Record { key, value, headers: Headers(b"\x01\0\0\0\xff\xff\xff\xffh"), timestamp }
    }

    fn stored(drafts: &Drafts, base: i64) -> Vec<u8> {
        let (header, body) = drafts.0[0].seal(KEY, base);
        [&header[..], body].concat()
    }

    fn three() -> Drafts {
        let mut drafts = Drafts::default();
        drafts.push(&record(Some(b"k"), None, 5));
        drafts.push(&record(None, Some(b""), -1));
        drafts.push(&record(Some(b""), Some(b"value"), 4));
        drafts
    }

    #[test]
    fn a_batch_gives_back_its_records_from_an_offset_on() {
        let value = stored(&three(), 100);
        let batch = Batch::open(KEY, 100, &value).unwrap();
        let mut records = Records::default();
        batch.read(101, &mut records);
        assert_eq!((batch.last, records.len()), (102, 2));
        assert_eq!(records.get(0), (101, record(None, Some(b""), -1)));
        assert_eq!(records.get(1), (102, record(Some(b""), Some(b"value"), 4)));
    }

    #[test]
    fn any_changed_bit_is_noticed() {
        let value = stored(&three(), 100);
        for bit in 0..value.len() * 8 {
            let mut bad = value.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Batch::open(KEY, 100, &bad).is_err(), "bit {bit}");
        }
        for len in 0..value.len() {
            assert!(Batch::open(KEY, 100, &value[..len]).is_err(), "cut at {len}");
        }
        assert!(Batch::open(b"another key", 100, &value).is_err());
    }

    /// With a right checksum, lengths are still not trusted.
    #[test]
    fn a_length_that_lies_is_refused() {
        for (place, lie) in
            [(HEADER_BYTES + 12, 1_000_i32), (HEADER_BYTES + 12, -2), (HEADER_BYTES + 20, i32::MAX), (8, 7)]
        {
            let mut value = stored(&three(), 0);
            value[place..place + 4].copy_from_slice(&lie.to_le_bytes());
            let checksum = crc32fast::hash(&[KEY, &value[4..]].concat());
            value[..4].copy_from_slice(&checksum.to_le_bytes());
            assert!(Batch::open(KEY, 0, &value).is_err(), "{lie} at {place}");
        }
    }

    /// Ten thousand bodies that nobody wrote, each under its right checksum: refused, or read to their end.
    #[test]
    fn any_bytes_under_a_right_checksum_are_refused_or_read() {
        let seed = std::process::id() as u64 ^ 0x9e37_79b9_7f4a_7c15;
        println!("seed {seed}");
        let mut state = seed;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % end
        };
        for _ in 0..10_000 {
            let mut value = stored(&three(), 100);
            for _ in 0..=below(4) {
                let at = 4 + below(value.len() - 4);
                value[at] = [0, 1, 0x7f, 0x80, 0xff, below(256) as u8][below(6)];
            }
            value.truncate(value.len() - below(3) * below(8));
            let checksum = crc32fast::hash(&[KEY, &value[4..]].concat());
            value[..4].copy_from_slice(&checksum.to_le_bytes());
            if let Ok(batch) = Batch::open(KEY, 100, &value) {
                let mut records = Records::default();
                batch.read(100, &mut records);
                assert!(records.len() <= value.len());
            }
        }
    }

    /// What compaction leaves covers all offsets that were there.
    #[test]
    fn a_rest_keeps_offsets_and_leaves_no_gap() {
        let large = vec![7; 40_000];
        let mut rest = Rest::from(100);
        rest.push(103, &record(Some(b"a"), Some(&large), 1));
        rest.push(110, &record(Some(b"b"), Some(&large), -2));
        rest.push(120, &record(Some(b"c"), None, 3));
        rest.cover(200);
        let batches = rest.into_batches();
        let (mut next, mut offsets) = (100, Vec::new());
        for (base, draft) in &batches {
            let (header, body) = draft.seal(KEY, *base);
            let value = [&header[..], body].concat();
            let batch = Batch::open(KEY, *base, &value).unwrap();
            assert_eq!((*base, batch.max_timestamp), (next, draft.max_timestamp()));
            offsets.extend(batch.iter().map(|(offset, record)| (offset, record.timestamp)));
            next = batch.last + 1;
        }
        assert_eq!((batches.len(), next), (2, 200));
        assert_eq!(offsets, [(103, 1), (110, -2), (120, 3)]);
        let mut nothing = Rest::from(5);
        nothing.cover(5 + i64::from(u32::MAX) + 10);
        let covered: Vec<(i64, u32)> =
            nothing.into_batches().iter().map(|(base, draft)| (*base, draft.covers)).collect();
        assert_eq!(covered, [(5, u32::MAX), (5 + i64::from(u32::MAX), 10)]);
    }

    #[test]
    fn batches_are_cut_at_their_size_unless_one_record_is_larger() {
        let mut drafts = Drafts::default();
        let (small, large) = (vec![1; 1_000], vec![2; 100_000]);
        (0..100).for_each(|_| drafts.push(&record(None, Some(&small), 0)));
        drafts.push(&record(None, Some(&large), 0));
        drafts.push(&record(None, Some(&small), 0));
        let counts: Vec<u32> = drafts.iter().map(Draft::covers).collect();
        assert_eq!(counts, [63, 37, 1, 1]);
        assert!(drafts.iter().all(|draft| draft.len() <= BATCH_BYTES_MAX || draft.covers == 1));
    }
}
