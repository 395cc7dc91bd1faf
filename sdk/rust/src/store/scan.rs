//! Walking a store, page by page.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Bound;
use std::rc::Rc;
use std::vec;

use super::TimestampedScan;
use super::buffer::Buffer;
use crate::codec::{self, Data};
use crate::failure::Failure;
use crate::frame::{Error, Reader};
use crate::host;

/// Rows asked for at once: enough that a call to the host costs little beside them.
const PAGE_ROWS: u32 = 256;
/// The least a row takes in a page: two lengths and a timestamp.
const ROW_LEN_MIN: usize = 16;

/// Which keys a scan walks.
pub(super) struct Keys {
    pub lower: Bound<Vec<u8>>,
    pub upper: Bound<Vec<u8>>,
    pub prefix: Option<Vec<u8>>,
    pub reverse: bool,
}

/// The entries of a store in byte order of their keys, with what was written before the scan began. It is read page by
/// page and is no snapshot: what is written meanwhile, at keys it has yet to come to, is seen or is not. Ends after the
/// first error.
pub struct Scan<K, V> {
    buffer: Rc<RefCell<Buffer>>,
    keys: Keys,
    page: vec::IntoIter<Row>,
    /// The key of the page's last row.
    after: Option<Vec<u8>>,
    /// That of the last entry that was given.
    given: Option<Vec<u8>>,
    more: bool,
    types: PhantomData<(K, V)>,
}

struct Row {
    key: Vec<u8>,
    value: Vec<u8>,
    timestamp: i64,
}

impl<K: Data, V: Data> Scan<K, V> {
    /// Writes that wait are applied first, so that the host walks over them too.
    pub(super) fn new(buffer: Rc<RefCell<Buffer>>, keys: Keys) -> Result<Scan<K, V>, Failure> {
        buffer.borrow_mut().flush()?;
        Ok(Scan {
            buffer,
            keys,
            page: Vec::new().into_iter(),
            after: None,
            given: None,
            more: true,
            types: PhantomData,
        })
    }

    /// The bytes of the last entry's key.
    pub(crate) fn last_key(&self) -> Option<Vec<u8>> {
        self.given.clone()
    }

    /// The same entries, each with its timestamp.
    pub fn with_timestamps(self) -> TimestampedScan<K, V> {
        TimestampedScan(self)
    }

    /// The next entry with its timestamp. Ends after the first error.
    pub(super) fn next_timestamped(&mut self) -> Option<Result<(K, V, i64), Failure>> {
        let next = self.step().transpose();
        if matches!(next, Some(Err(_))) {
            self.more = false;
            self.page = Vec::new().into_iter();
        }
        next
    }

    fn step(&mut self) -> Result<Option<(K, V, i64)>, Failure> {
        while let Some(Row { key, value, timestamp }) = self.next_row()? {
            if self.keys.excludes(&key) {
                continue;
            }
            let buffer = self.buffer.borrow();
            let decoded = codec::decode("key", Some(&key)).map_err(|error| buffer.refused("scan", error))?;
            let value = codec::decode("value", Some(&value)).map_err(|error| buffer.refused("scan", error))?;
            self.given = Some(key);
            return Ok(Some((decoded, value, timestamp)));
        }
        Ok(None)
    }

    fn next_row(&mut self) -> Result<Option<Row>, Failure> {
        loop {
            if let Some(row) = self.page.next() {
                return Ok(Some(row));
            }
            if !self.more {
                return Ok(None);
            }
            self.fetch()?;
        }
    }

    fn fetch(&mut self) -> Result<(), Failure> {
        let buffer = self.buffer.borrow();
        let page = host::Page {
            lower: bytes(&self.keys.lower),
            upper: bytes(&self.keys.upper),
            prefix: self.keys.prefix.as_deref(),
            after: self.after.as_deref(),
            reverse: self.keys.reverse,
            limit: PAGE_ROWS,
        };
        let (entries, more) = host::scan(buffer.store(), &page).map_err(|refusal| buffer.refused("scan", refusal))?;
        let rows = decode_rows(&entries).map_err(|error| buffer.refused("scan", error))?;
        // A page that says "more" and holds nothing would be asked for again for ever.
        self.more = more && !rows.is_empty();
        self.after = rows.last().map(|row| row.key.clone());
        self.page = rows.into_iter();
        Ok(())
    }
}

impl<K: Data, V: Data> Iterator for Scan<K, V> {
    type Item = Result<(K, V), Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_timestamped()?.map(|(key, value, _)| (key, value)))
    }
}

impl Keys {
    pub(super) fn all(reverse: bool) -> Keys {
        Keys { lower: Bound::Unbounded, upper: Bound::Unbounded, prefix: None, reverse }
    }

    /// Whether `key` is a bound that the scan shall not include; the host's bounds all are inclusive.
    fn excludes(&self, key: &[u8]) -> bool {
        [&self.lower, &self.upper].into_iter().any(|bound| matches!(bound, Bound::Excluded(bound) if bound == key))
    }
}

fn bytes(bound: &Bound<Vec<u8>>) -> Option<&[u8]> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

/// `count u32`, then per row `key_len u32, value_len u32, timestamp i64`, key, value.
fn decode_rows(bytes: &[u8]) -> Result<Vec<Row>, Error> {
    let mut reader = Reader(bytes);
    let count = reader.u32()?;
    let rows = reader.many(count, ROW_LEN_MIN, |reader| {
        let (key_len, value_len) = (reader.u32()?, reader.u32()?);
        let timestamp = reader.i64()?;
        let key = reader.take(key_len as usize)?.to_vec();
        Ok(Row { key, value: reader.take(value_len as usize)?.to_vec(), timestamp })
    })?;
    if reader.0.is_empty() { Ok(rows) } else { Err(Error::Long) }
}
