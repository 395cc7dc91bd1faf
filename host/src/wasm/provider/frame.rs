//! The bytes of `get-many`, `scan` and `apply` (`wit/README.md`, "Store providers"). What comes back is checked before it
//! is used: its length, its count, its order.

use millstream_engine::frame::Cursor;
use millstream_engine::store::KeyRange;

/// Bytes of one call's keys or writes, before the one that goes beyond it: little beside a guest's memory, and enough that
/// a crossing does not count.
pub(super) const CALL_BYTES: usize = 4 << 20;

/// Keys of one call: a batch's.
pub(super) const KEYS_MAX: usize = 1_000;

/// What a provider answered and cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Lie(pub String);

/// `count u32`, then as `push` makes them. The count is kept right while it grows.
pub(super) struct Frame {
    bytes: Vec<u8>,
    count: u32,
}

impl Frame {
    /// An empty frame in the room of another one.
    pub fn in_place_of(mut bytes: Vec<u8>) -> Frame {
        bytes.clear();
        bytes.extend_from_slice(&0u32.to_le_bytes());
        Frame { bytes, count: 0 }
    }

    pub fn push_key(&mut self, key: &[u8]) {
        self.count += 1;
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(key);
    }

    pub fn push_write(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.count += 1;
        let len = value.map_or(-1, |value| value.len() as i32);
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() >= CALL_BYTES
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        self.bytes
    }
}

/// Reads `count u32`, then per key `len i32` (-1 = absent) and the value; answers how many there were of those asked for.
pub(super) fn read_values(
    bytes: &[u8],
    asked: usize,
    visit: &mut dyn FnMut(usize, Option<&[u8]>),
) -> Result<usize, Lie> {
    let mut cursor = Cursor(bytes);
    let count = cursor.u32().map_err(malformed)? as usize;
    if count > asked || (count == 0 && asked > 0) {
        return Err(Lie(format!("answered {count} values for {asked} keys")));
    }
    for at in 0..count {
        let len = cursor.i32().map_err(malformed)?;
        visit(at, cursor.nullable(len).map_err(malformed)?);
    }
    ended(&cursor)?;
    Ok(count)
}

/// What a page may hold.
pub(super) struct Wanted<'a> {
    pub range: KeyRange<'a>,
    pub reverse: bool,
    pub limit: u32,
}

/// The rows of a page, `count u32`, then per row `key_len u32, value_len u32`, key, value; each checked as it comes.
pub(super) struct Rows<'a> {
    cursor: Cursor<'a>,
    left: u32,
    wanted: &'a Wanted<'a>,
    last: Option<&'a [u8]>,
}

impl<'a> Rows<'a> {
    /// `after`: the last row in front of this page.
    pub fn read(bytes: &'a [u8], wanted: &'a Wanted<'a>, after: Option<&'a [u8]>, more: bool) -> Result<Rows<'a>, Lie> {
        let mut cursor = Cursor(bytes);
        let left = cursor.u32().map_err(malformed)?;
        if left > wanted.limit {
            return Err(Lie(format!("answered {left} rows where {} were asked for", wanted.limit)));
        }
        if left == 0 && more {
            return Err(Lie("answered a page without rows and said that there are more".to_owned()));
        }
        Ok(Rows { cursor, left, wanted, last: after })
    }

    pub fn next(&mut self) -> Result<Option<(&'a [u8], &'a [u8])>, Lie> {
        if self.left == 0 {
            ended(&self.cursor)?;
            return Ok(None);
        }
        self.left -= 1;
        let cursor = &mut self.cursor;
        let (key_len, value_len) = (cursor.u32().map_err(malformed)?, cursor.u32().map_err(malformed)?);
        let key = cursor.take(key_len as usize).map_err(malformed)?;
        let value = cursor.take(value_len as usize).map_err(malformed)?;
        let in_order = self.last.is_none_or(|last| if self.wanted.reverse { key < last } else { last < key });
        if !in_order || !self.wanted.range.contains(key) {
            let what = if in_order { "out of the range" } else { "out of order" };
            return Err(Lie(format!("answered a row that is {what}: {}", key.escape_ascii())));
        }
        self.last = Some(key);
        Ok(Some((key, value)))
    }
}

fn ended(cursor: &Cursor<'_>) -> Result<(), Lie> {
    match cursor.0.len() {
        0 => Ok(()),
        left => Err(Lie(format!("answered {left} bytes behind the last row"))),
    }
}

fn malformed(error: impl std::fmt::Display) -> Lie {
    Lie(format!("answered what is no frame: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn page(rows: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = (rows.len() as u32).to_le_bytes().to_vec();
        for (key, value) in rows {
            bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(key.as_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes
    }

    fn check(rows: &[(&str, &str)], reverse: bool, limit: u32, after: Option<&[u8]>) -> Result<usize, String> {
        let wanted = Wanted { range: KeyRange { lower: Some(b"b"), upper: Some(b"d") }, reverse, limit };
        let bytes = page(rows);
        let mut rows = Rows::read(&bytes, &wanted, after, false).map_err(|lie| lie.0)?;
        let mut count = 0;
        while rows.next().map_err(|lie| lie.0)?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_page_is_what_was_asked_for_or_a_lie() {
        assert_eq!(check(&[("b", ""), ("c", "1"), ("d", "")], false, 3, None), Ok(3));
        assert_eq!(check(&[("d", ""), ("c", "1"), ("b", "")], true, 3, None), Ok(3));
        let lies = [
            check(&[("b", ""), ("c", "")], false, 1, None),
            check(&[("c", ""), ("b", "")], false, 9, None),
            check(&[("b", ""), ("b", "")], false, 9, None),
            check(&[("b", ""), ("c", "")], true, 9, None),
            check(&[("a", "")], false, 9, None),
            check(&[("e", "")], false, 9, None),
            check(&[("c", "")], false, 9, Some(b"c")),
        ];
        for (lie, words) in lies.iter().zip(["rows where", "order", "order", "order", "range", "range", "order"]) {
            assert!(lie.as_ref().unwrap_err().contains(words), "{lie:?}");
        }
        let wanted = Wanted { range: KeyRange::default(), reverse: false, limit: 9 };
        assert!(Rows::read(&page(&[]), &wanted, None, true).is_err(), "an endless walk");
        let torn = page(&[("b", "value")]);
        assert!(Rows::read(&torn[..torn.len() - 1], &wanted, None, false).unwrap().next().is_err());
    }

    #[test]
    fn values_are_as_many_as_keys_or_fewer_and_never_none() {
        let values = |count: u32, rest: &[u8]| [&count.to_le_bytes()[..], rest].concat();
        let absent = (-1i32).to_le_bytes();
        let read = |bytes: &[u8], asked| read_values(bytes, asked, &mut |_, _| {}).map_err(|lie| lie.0);
        assert_eq!(read(&values(1, &absent), 2), Ok(1));
        assert_eq!(read(&values(0, &[]), 0), Ok(0));
        assert!(read(&values(0, &[]), 2).is_err() && read(&values(2, &[absent, absent].concat()), 1).is_err());
        assert!(read(&values(1, &[absent, absent].concat()), 2).is_err(), "bytes behind the last value");
        assert!(read(&values(1, &(-2i32).to_le_bytes()), 1).is_err() && read(b"", 1).is_err());
        assert!(read(&values(1, &i32::MAX.to_le_bytes()), 1).is_err());
    }
}
