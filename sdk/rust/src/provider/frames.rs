//! The bytes of `wit/README.md`, "Store providers".

/// Bytes of values or rows of one answer, before the one that goes beyond it: the host asks again for the rest.
const VALUES_BYTES: usize = 4 << 20;
const ROWS_BYTES: usize = 1 << 20;

/// Keys to look up.
#[derive(Clone)]
pub struct Keys<'a>(Parts<'a>);

/// Writes in their order; `None` deletes.
#[derive(Clone)]
pub struct Writes<'a>(Parts<'a>);

#[derive(Clone)]
struct Parts<'a> {
    left: u32,
    bytes: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(mut bytes: &'a [u8]) -> Option<Parts<'a>> {
        let left = u32::from_le_bytes(*take(&mut bytes)?);
        Some(Parts { left, bytes })
    }

    /// Whether there is one more.
    fn begin(&mut self) -> bool {
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        more
    }
}

impl<'a> Keys<'a> {
    /// `None`: these bytes are no keys.
    pub fn read(bytes: &'a [u8]) -> Option<Keys<'a>> {
        let keys = Keys(Parts::read(bytes)?);
        let count = keys.0.left as usize;
        (keys.clone().count() == count).then_some(keys)
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.begin().then_some(())?;
        let len = u32::from_le_bytes(*take(&mut self.0.bytes)?);
        split(&mut self.0.bytes, len as usize)
    }
}

impl<'a> Writes<'a> {
    /// `None`: these bytes are no writes.
    pub fn read(bytes: &'a [u8]) -> Option<Writes<'a>> {
        let writes = Writes(Parts::read(bytes)?);
        let count = writes.0.left as usize;
        (writes.clone().count() == count).then_some(writes)
    }
}

impl<'a> Iterator for Writes<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.begin().then_some(())?;
        let key_len = u32::from_le_bytes(*take(&mut self.0.bytes)?);
        let value_len = i32::from_le_bytes(*take(&mut self.0.bytes)?);
        let key = split(&mut self.0.bytes, key_len as usize)?;
        let value = match usize::try_from(value_len) {
            Ok(len) => Some(split(&mut self.0.bytes, len)?),
            Err(_) => None,
        };
        Some((key, value))
    }
}

/// The values found, in the order of the keys.
#[derive(Default)]
pub struct Values(Answer);

impl Values {
    pub fn new() -> Values {
        Values::default()
    }

    /// Answers `false` when the rest is to be left out.
    pub fn push(&mut self, value: Option<&[u8]>) -> bool {
        let Answer { bytes, count } = &mut self.0;
        *count += 1;
        bytes.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_le_bytes());
        bytes.extend_from_slice(value.unwrap_or_default());
        bytes.len() < VALUES_BYTES
    }

    /// The bytes that are answered.
    pub fn finish(self) -> Vec<u8> {
        self.0.finish()
    }
}

/// A page of rows.
pub struct Rows {
    answer: Answer,
    limit: u32,
    more: bool,
}

impl Rows {
    pub fn new(limit: u32) -> Rows {
        Rows { answer: Answer::default(), limit, more: false }
    }

    /// Answers `false` when the page is full: then this row is not in it, and the page says that there are more.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> bool {
        let Answer { bytes, count } = &mut self.answer;
        if *count == self.limit || bytes.len() >= ROWS_BYTES {
            self.more = true;
            return false;
        }
        *count += 1;
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        true
    }

    /// Pushes rows until there are none or the page is full.
    pub fn fill<'r>(&mut self, rows: impl IntoIterator<Item = (&'r Vec<u8>, &'r Vec<u8>)>) {
        let _ = rows.into_iter().all(|(key, value)| self.push(key, value));
    }

    /// Entries, and whether there are more.
    pub fn finish(self) -> (Vec<u8>, bool) {
        (self.answer.finish(), self.more)
    }
}

struct Answer {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer { bytes: vec![0; 4], count: 0 }
    }
}

impl Answer {
    fn finish(mut self) -> Vec<u8> {
        self.bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        self.bytes
    }
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8; 4]> {
    let (taken, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(taken)
}

fn split<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_and_writes_are_read_whole_or_not_at_all() {
        let keys = [&2u32.to_le_bytes()[..], &1u32.to_le_bytes(), b"k", &0u32.to_le_bytes()].concat();
        assert_eq!(Keys::read(&keys).unwrap().collect::<Vec<_>>(), [&b"k"[..], b""]);
        assert!(Keys::read(&keys[..keys.len() - 1]).is_none() && Keys::read(b"").is_none());
        let lens =
            [&1u32.to_le_bytes()[..], &(-1i32).to_le_bytes(), b"a", &1u32.to_le_bytes(), &1i32.to_le_bytes(), b"bc"];
        let writes = [&2u32.to_le_bytes()[..], &lens.concat()].concat();
        let read: Vec<_> = Writes::read(&writes).unwrap().collect();
        assert_eq!(read, [(&b"a"[..], None), (b"b", Some(&b"c"[..]))]);
        assert!(Writes::read(&writes[..writes.len() - 1]).is_none());
    }

    #[test]
    fn a_page_that_is_full_says_that_there_are_more() {
        let mut rows = Rows::new(2);
        assert!(rows.push(b"a", b"1") && rows.push(b"b", b"2") && !rows.push(b"c", b"3"));
        let (bytes, more) = rows.finish();
        assert!(more && bytes.starts_with(&2u32.to_le_bytes()));
        let mut rows = Rows::new(2);
        assert!(rows.push(b"a", &vec![0; ROWS_BYTES]) && !rows.push(b"b", b""), "one row at the least");
        let mut values = Values::new();
        assert!(values.push(None) && !values.push(Some(&vec![0; VALUES_BYTES])));
        assert!(values.finish().starts_with(&[2, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]));
    }
}
