//! Rows of a join of streams that have not met a partner yet, byte by byte Kafka Streams' (semantics.md B24).
//!
//! Key: timestamp i64, side (left 1, right 0), the record's key. Value: 1, how many i32, and for each its length with its
//! side i32, its side, the value. All big-endian.

const KEY_LEN_MIN: usize = 9;
/// Kafka's ListSerializer writes lengths where the elements have no common one.
const LIST_OF_LENGTHS: u8 = 1;
const COUNT_END: usize = 5;

/// Whose record it is, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmatched<'a> {
    pub timestamp: i64,
    pub is_left: bool,
    pub key: &'a [u8],
}

impl<'a> Unmatched<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.push(u8::from(self.is_left));
        out.extend_from_slice(self.key);
    }

    /// `None`: these bytes are no such key.
    pub fn decode(bytes: &'a [u8]) -> Option<Unmatched<'a>> {
        let (head, key) = bytes.split_at_checked(KEY_LEN_MIN)?;
        let (timestamp, side) = head.split_first_chunk::<8>()?;
        let is_left = match side {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Unmatched { timestamp: i64::from_be_bytes(*timestamp), is_left, key })
    }
}

/// Puts a value behind those of the same key; `list` is empty where there are none. `None`: `list` is none.
pub fn push_unmatched(list: &mut Vec<u8>, is_left: bool, value: &[u8]) -> Option<()> {
    if list.is_empty() {
        list.extend_from_slice(&[LIST_OF_LENGTHS, 0, 0, 0, 0]);
    }
    let count = list.get_mut(1..COUNT_END)?;
    let more = i32::from_be_bytes(<[u8; 4]>::try_from(&*count).ok()?).checked_add(1)?;
    count.copy_from_slice(&more.to_be_bytes());
    list.extend_from_slice(&i32::try_from(value.len() + 1).ok()?.to_be_bytes());
    list.push(u8::from(is_left));
    list.extend_from_slice(value);
    Some(())
}

/// How many values a list says that it has; `None`: these bytes are no list.
pub fn unmatched_count(list: &[u8]) -> Option<usize> {
    let (head, _) = list.split_first_chunk::<COUNT_END>()?;
    let [LIST_OF_LENGTHS, count @ ..] = head else { return None };
    usize::try_from(i32::from_be_bytes(*count)).ok()
}

/// The values of one key, in the order they came; `None`: these bytes are no list.
pub fn unmatched_values(list: &[u8]) -> Option<Vec<&[u8]>> {
    let (head, mut rest) = list.split_at_checked(COUNT_END)?;
    let ([LIST_OF_LENGTHS], count) = head.split_first_chunk::<1>()? else { return None };
    let count = i32::from_be_bytes(count.try_into().ok()?);
    let mut values = Vec::new();
    for _ in 0..count {
        let (len, behind) = rest.split_first_chunk::<4>()?;
        let (value, behind) = behind.split_at_checked(usize::try_from(i32::from_be_bytes(*len)).ok()?)?;
        values.push(value.split_first()?.1);
        rest = behind;
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are Kafka Streams' own, from the case `ssj-left-duplicates`.
    #[test]
    fn rows_are_those_of_kafka_streams() {
        let (mut key, mut list) = (Vec::new(), Vec::new());
        let row = Unmatched { timestamp: 1000, is_left: true, key: b"2" };
        row.encode(&mut key);
        assert_eq!(key, b"\x00\x00\x00\x00\x00\x00\x03\xe8\x012");
        assert_eq!(Unmatched::decode(&key), Some(row));
        for value in [&b"A2"[..], b"A2-0"] {
            assert_eq!(push_unmatched(&mut list, true, value), Some(()));
        }
        assert_eq!(list, b"\x01\x00\x00\x00\x02\x00\x00\x00\x03\x01A2\x00\x00\x00\x05\x01A2-0");
        assert_eq!(unmatched_values(&list), Some(vec![&b"A2"[..], b"A2-0"]));
        assert_eq!(unmatched_count(&list), Some(2));
    }

    #[test]
    fn other_bytes_are_no_rows() {
        for bytes in [&b""[..], b"\x01\x00\x00\x00", b"\x00\x00\x00\x00\x00", b"\x01\x00\x00\x00\x01", b"\x01\0\0\0\0x"]
        {
            assert_eq!(unmatched_values(bytes), None, "{bytes:?}");
        }
        assert_eq!((Unmatched::decode(&[0; 8]), Unmatched::decode(&[2; 9])), (None, None));
        assert_eq!(push_unmatched(&mut vec![1, 0], true, b""), None);
        assert_eq!((unmatched_count(b"\x01\0\0"), unmatched_count(b"\0\0\0\0\x01")), (None, None));
    }
}
