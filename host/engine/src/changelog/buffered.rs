//! Records of a stream that wait for the table they are joined with, byte by byte Kafka Streams' (the
//! `RocksDBTimeOrderedKeyValueBuffer` of KIP-923).
//!
//! Key: 0, timestamp i64, the record's key, its number i32. Value: timestamp i64, offset i64, topic, partition i32, how
//! many headers i32 and of each its name and its value; then two i32 of -1 where a table's changes would have older values,
//! the value, 0 i64. Topic, names and values stand behind their lengths i32, -1 for null. All big-endian.

use crate::record::{Headers, push_header};

/// In front of keys that begin with a time.
const TIME_FIRST: u8 = 0;
/// Of a key, beside the record's: the mark, a time, a number.
const KEY_LEN_MIN: usize = 13;
const NULL: i32 = -1;

/// Where a record waits: by time, then by key, then in the order they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferedKey<'a> {
    pub timestamp: i64,
    pub key: &'a [u8],
    pub number: u32,
}

impl<'a> BufferedKey<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        push_buffered_time(self.timestamp, out);
        out.extend_from_slice(self.key);
        out.extend_from_slice(&self.number.to_be_bytes());
    }

    /// `None`: these bytes are no such key.
    pub fn decode(bytes: &'a [u8]) -> Option<BufferedKey<'a>> {
        if bytes.len() < KEY_LEN_MIN {
            return None;
        }
        let (timestamp, rest) = bytes.strip_prefix(&[TIME_FIRST])?.split_first_chunk::<8>()?;
        let (key, number) = rest.split_last_chunk::<4>()?;
        Some(BufferedKey { timestamp: i64::from_be_bytes(*timestamp), key, number: u32::from_be_bytes(*number) })
    }
}

/// What all keys of a time begin with, and none of another one.
pub fn push_buffered_time(timestamp: i64, out: &mut Vec<u8>) {
    out.push(TIME_FIRST);
    out.extend_from_slice(&timestamp.to_be_bytes());
}

/// A record that waits, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffered<'a> {
    pub timestamp: i64,
    /// -1: of no record of a topic.
    pub offset: i64,
    pub topic: &'a str,
    pub partition: i32,
    pub headers: Headers<'a>,
    pub value: &'a [u8],
}

impl<'a> Buffered<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        push_bytes(out, Some(self.topic.as_bytes()));
        push_int(out, self.partition);
        push_int(out, self.headers.iter().count() as i32);
        for (name, value) in self.headers.iter() {
            push_bytes(out, Some(name.as_bytes()));
            push_bytes(out, value);
        }
        push_int(out, NULL);
        push_int(out, NULL);
        push_bytes(out, Some(self.value));
        out.extend_from_slice(&0i64.to_be_bytes());
    }

    /// Appends the headers to `headers`, which `Headers` of the answer are. `None`: these bytes are no such record.
    pub fn decode(bytes: &'a [u8], headers: &'a mut Vec<u8>) -> Option<Buffered<'a>> {
        let mut rest = bytes;
        let (timestamp, offset) = (take_long(&mut rest)?, take_long(&mut rest)?);
        let topic = std::str::from_utf8(take_bytes(&mut rest)??).ok()?;
        let (partition, count) = (take_int(&mut rest)?, take_int(&mut rest)?);
        // -1: written before headers were.
        for _ in 0..count.max(0) {
            let (name, value) = (take_bytes(&mut rest)??, take_bytes(&mut rest)?);
            push_header(headers, std::str::from_utf8(name).ok()?, value);
        }
        // What a table had before: none of a stream's.
        (take_int(&mut rest)?, take_int(&mut rest)?).eq(&(NULL, NULL)).then_some(())?;
        let value = take_bytes(&mut rest)??;
        take_long(&mut rest)?;
        rest.is_empty().then_some(Buffered { timestamp, offset, topic, partition, headers: Headers(headers), value })
    }
}

fn push_int(out: &mut Vec<u8>, number: i32) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn push_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    push_int(out, bytes.map_or(NULL, |bytes| bytes.len() as i32));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn take_int(rest: &mut &[u8]) -> Option<i32> {
    let (number, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    Some(i32::from_be_bytes(*number))
}

fn take_long(rest: &mut &[u8]) -> Option<i64> {
    let (number, behind) = rest.split_first_chunk::<8>()?;
    *rest = behind;
    Some(i64::from_be_bytes(*number))
}

/// `Some(None)`: null.
fn take_bytes<'b>(rest: &mut &'b [u8]) -> Option<Option<&'b [u8]>> {
    let len = take_int(rest)?;
    if len == NULL {
        return Some(None);
    }
    let (bytes, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = behind;
    Some(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka Streams' own bytes: the record `k` → `s15` at 15, the first of topic `left`, put into a buffer.
    #[test]
    fn rows_are_those_of_kafka_streams() {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let row = BufferedKey { timestamp: 15, key: b"k", number: 1 };
        row.encode(&mut key);
        assert_eq!(key, b"\0\0\0\0\0\0\0\0\x0fk\0\0\0\x01");
        assert_eq!(BufferedKey::decode(&key), Some(row));
        let record =
            Buffered { timestamp: 15, offset: 0, topic: "left", partition: 0, headers: Headers(b""), value: b"s15" };
        record.encode(&mut value);
        let bytes = b"\0\0\0\0\0\0\0\x0f\0\0\0\0\0\0\0\0\0\0\0\x04left\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
            \0\0\0\x03s15\0\0\0\0\0\0\0\0";
        assert_eq!(value, bytes);
        assert_eq!(Buffered::decode(&value, &mut Vec::new()), Some(record));
    }

    #[test]
    fn headers_come_back_and_torn_bytes_do_not() {
        let (mut headers, mut value) = (Vec::new(), Vec::new());
        push_header(&mut headers, "one", Some(b"1"));
        push_header(&mut headers, "none", None);
        let headers = Headers(&headers);
        let record = Buffered { timestamp: 1, offset: 7, topic: "t", partition: 2, headers, value: b"" };
        record.encode(&mut value);
        assert_eq!(Buffered::decode(&value, &mut Vec::new()), Some(record));
        for len in 0..value.len() {
            assert_eq!(Buffered::decode(&value[..len], &mut Vec::new()), None, "cut at {len}");
        }
        value.push(0);
        assert_eq!(Buffered::decode(&value, &mut Vec::new()), None, "bytes behind the end");
        assert_eq!(BufferedKey::decode(&[0; 12]), None);
        assert_eq!(BufferedKey::decode(&[1; 13]), None);
    }
}
