//! A change of a grouped table, as it travels through a repartition topic: Kafka Streams' ChangedSerializer.

const OLD: u8 = 0;
const NEW: u8 = 1;
const BOTH: u8 = 2;

/// What leaves a group and what comes into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change<'a> {
    pub old: Option<&'a [u8]>,
    pub new: Option<&'a [u8]>,
}

impl<'a> Change<'a> {
    /// `old, 00`, `new, 01`, or `zigzag varint of new's length, new, old, 02`; nothing where there is neither.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = match (self.old, self.new) {
            (None, None) => return,
            (Some(_), None) => OLD,
            (None, Some(_)) => NEW,
            (Some(_), Some(new)) => {
                push_varint(out, new.len() as u64);
                BOTH
            }
        };
        out.extend_from_slice(self.new.unwrap_or_default());
        out.extend_from_slice(self.old.unwrap_or_default());
        out.push(flag);
    }

    /// `None`: these bytes are no change.
    pub fn decode(bytes: &'a [u8]) -> Option<Change<'a>> {
        let (flag, bytes) = bytes.split_last()?;
        match *flag {
            OLD => Some(Change { old: Some(bytes), new: None }),
            NEW => Some(Change { old: None, new: Some(bytes) }),
            BOTH => {
                let (len, rest) = take_varint(bytes)?;
                let (new, old) = rest.split_at_checked(usize::try_from(len).ok()?)?;
                Some(Change { old: Some(old), new: Some(new) })
            }
            _ => None,
        }
    }
}

/// A number that is not negative, as Kafka's ByteUtils.writeVarint writes it.
fn push_varint(out: &mut Vec<u8>, number: u64) {
    let mut left = number << 1;
    while left > 0x7F {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    /// Of 32 bits, seven a byte.
    const BYTES_MAX: usize = 5;
    let end = bytes.iter().take(BYTES_MAX).position(|byte| byte & 0x80 == 0)?;
    let seven = |number: u64, (at, byte): (usize, &u8)| number | u64::from(byte & 0x7F) << (7 * at);
    let number = bytes[..=end].iter().enumerate().fold(0, seven);
    (number & 1 == 0).then_some((number >> 1, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(old: Option<&[u8]>, new: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        Change { old, new }.encode(&mut bytes);
        assert_eq!(Change::decode(&bytes), Some(Change { old, new }));
        bytes
    }

    #[test]
    fn changes_are_written_as_kafka_streams_writes_them() {
        assert_eq!(encoded(Some(b"old"), None), b"old\x00");
        assert_eq!(encoded(None, Some(b"")), b"\x01");
        assert_eq!(encoded(Some(b"old"), Some(b"new")), b"\x06newold\x02");
        assert_eq!(encoded(Some(b""), Some(&[7; 100]))[..3], [0xC8, 0x01, 7]);
    }

    #[test]
    fn other_bytes_are_no_change() {
        for bytes in [&b""[..], b"x\x03", b"\x02", b"\x80\x02", b"\x05ab\x02", b"\x08ab\x02", &[0xFF, 0xFF, 2]] {
            assert_eq!(Change::decode(bytes), None, "{bytes:?}");
        }
    }
}
