//! What a suppression holds back, byte by byte Kafka Streams' (semantics.md B24), version 3 of it.
//!
//! Key: the row's. Value: the context of the update that is held back (timestamp i64, offset i64, length of the topic i32, topic,
//! partition i32, how many headers i32, and for each the lengths and bytes of its name and value); the value before the first
//! update that was held back, the one before the last, and the new one, each with its length i32 in front, where -1 is null
//! and in the second -2 the same as the first; when it is due i64. All big-endian.

use crate::record::{Headers, push_header};

/// The header of each entry with a value: name and value.
pub const SUPPRESSED_HEADER: (&str, &[u8]) = ("v", &[3]);

const NULL: i32 = -1;
const SAME_AS_PRIOR: i32 = -2;
/// What Kafka Streams counts for an entry beside its bytes: due, timestamp, offset, partition.
const SIZE_OVERHEAD: usize = 8 + 8 + 8 + 4;

/// An update of a row that is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed<'a> {
    pub timestamp: i64,
    pub offset: i64,
    /// In UTF-8.
    pub topic: &'a [u8],
    pub partition: i32,
    /// As a frame has them.
    pub headers: Headers<'a>,
    /// Before the first update that was held back.
    pub prior: Option<&'a [u8]>,
    /// Before the last one.
    pub old: Option<&'a [u8]>,
    pub new: Option<&'a [u8]>,
    pub due: i64,
}

impl<'a> Suppressed<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        push(out, Some(self.topic));
        out.extend_from_slice(&self.partition.to_be_bytes());
        out.extend_from_slice(&(self.headers.iter().count() as i32).to_be_bytes());
        for (name, value) in self.headers.iter() {
            push(out, Some(name.as_bytes()));
            push(out, value);
        }
        push(out, self.prior);
        match self.old {
            Some(_) if self.old == self.prior => out.extend_from_slice(&SAME_AS_PRIOR.to_be_bytes()),
            old => push(out, old),
        }
        push(out, self.new);
        out.extend_from_slice(&self.due.to_be_bytes());
    }

    /// Takes it apart; its headers go into `headers`. `None`: these bytes are none of its kind.
    pub fn decode(bytes: &'a [u8], headers: &'a mut Vec<u8>) -> Option<Suppressed<'a>> {
        headers.clear();
        let mut cursor = Cursor(bytes);
        let (timestamp, offset) = (cursor.i64()?, cursor.i64()?);
        let topic = cursor.nullable()??;
        let (partition, count) = (cursor.i32()?, cursor.i32()?);
        for _ in 0..count {
            let name = std::str::from_utf8(cursor.nullable()??).ok()?;
            push_header(headers, name, cursor.nullable()?);
        }
        let prior = cursor.nullable()?;
        let old = match cursor.i32()? {
            SAME_AS_PRIOR => prior,
            len => cursor.of_len(len)?,
        };
        let (new, due) = (cursor.nullable()?, cursor.i64()?);
        let headers = Headers(headers);
        let buffered = Suppressed { timestamp, offset, topic, partition, headers, prior, old, new, due };
        cursor.0.is_empty().then_some(buffered)
    }

    /// Bytes that it counts for in a buffer that has a bound, as in Kafka Streams; `key`: the length of its key.
    pub fn size(&self, key: usize) -> usize {
        let len = |value: Option<&[u8]>| value.map_or(0, <[u8]>::len);
        let old = if self.old == self.prior { 0 } else { len(self.old) };
        let units = |text: &[u8]| String::from_utf8_lossy(text).encode_utf16().count();
        let headers = self.headers.iter().map(|(name, value)| units(name.as_bytes()) + len(value)).sum::<usize>();
        SIZE_OVERHEAD + key + len(self.prior) + old + len(self.new) + units(self.topic) + headers
    }
}

fn push(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.extend_from_slice(&bytes.map_or(NULL, |bytes| bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn i64(&mut self) -> Option<i64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(i64::from_be_bytes(*number))
    }

    fn i32(&mut self) -> Option<i32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*number))
    }

    fn of_len(&mut self, len: i32) -> Option<Option<&'a [u8]>> {
        if len == NULL {
            return Some(None);
        }
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(Some(bytes))
    }

    fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        let len = self.i32()?;
        self.of_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex digits")).collect()
    }

    /// The bytes are Kafka Streams' own, from the case `tw-suppress-final`.
    #[test]
    fn what_is_held_back_is_in_the_bytes_of_kafka_streams() {
        let first = "0000000000000000000000000000000000000002696e0000000000000000000000080000000000000000fffffffe\
                     0000000800000000000000010000000000000002";
        let later = "0000000000000001000000000000000300000002696e00000000000000000000000800000000000000000000000800\
                     000000000000020000000800000000000000030000000000000002";
        let count = |n: i64| n.to_be_bytes();
        let (zero, one, two, three) = (count(0), count(1), count(2), count(3));
        let of = Suppressed {
            timestamp: 0,
            offset: 0,
            topic: b"in",
            partition: 0,
            headers: Headers(&[]),
            prior: Some(&zero),
            old: Some(&zero),
            new: Some(&one),
            due: 2,
        };
        let after = Suppressed { timestamp: 1, offset: 3, old: Some(&two), new: Some(&three), ..of };
        for (hex, buffered) in [(first, of), (later, after)] {
            let (mut encoded, mut headers) = (Vec::new(), Vec::new());
            buffered.encode(&mut encoded);
            assert_eq!(encoded, bytes(&hex.replace(char::is_whitespace, "")));
            assert_eq!(Suppressed::decode(&encoded, &mut headers), Some(buffered));
        }
    }

    #[test]
    fn headers_and_nulls_come_back_and_other_bytes_do_not() {
        let mut headers = Vec::new();
        push_header(&mut headers, "é", Some(b"v"));
        push_header(&mut headers, "none", None);
        let buffered = Suppressed {
            timestamp: 1,
            offset: 2,
            topic: "日".as_bytes(),
            partition: 3,
            headers: Headers(&headers),
            prior: None,
            old: None,
            new: Some(b""),
            due: i64::MAX,
        };
        let (mut encoded, mut found) = (Vec::new(), Vec::new());
        buffered.encode(&mut encoded);
        assert_eq!(Suppressed::decode(&encoded, &mut found), Some(buffered));
        // 28, a key of 5, a topic of one character, names of 1 and 4, a value of 1.
        assert_eq!(buffered.size(5), 28 + 5 + 1 + 5 + 1);
        for end in 0..encoded.len() {
            assert_eq!(Suppressed::decode(&encoded[..end], &mut found), None, "{end}");
        }
        encoded.push(0);
        assert_eq!(Suppressed::decode(&encoded, &mut found), None);
    }
}
