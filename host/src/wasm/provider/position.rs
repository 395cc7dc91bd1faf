//! Where a store stands, as its provider keeps it: bytes that only the host reads.
//!
//! ```text
//! 1  offset i64  whole i64  epoch u64  number u64        big-endian; i64::MIN = none
//! ```
//! No two writes leave the same position, also where neither moves the offset: so an unknown outcome is settled by asking
//! for it, and a copy from another day is told from what it was copied from.

/// A position with all that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// Of the last changelog entry it holds.
    pub offset: Option<i64>,
    /// When all of the changelog was last known to be in it, ms.
    pub whole_at: Option<i64>,
    /// Who wrote it, and that owner's how many-eth write it was.
    pub epoch: u64,
    pub number: u64,
}

const VERSION: u8 = 1;
const BYTES: usize = 33;
const NONE: i64 = i64::MIN;

impl Stand {
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        for number in [self.offset, self.whole_at] {
            bytes.extend_from_slice(&number.unwrap_or(NONE).to_be_bytes());
        }
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// `None`: these bytes are not of this host's making.
    pub fn decode(bytes: &[u8]) -> Option<Stand> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let at = |from: usize| bytes[from..from + 8].try_into().map(u64::from_be_bytes).ok();
        let maybe = |number: u64| Some(number as i64).filter(|number| *number != NONE);
        (bytes[0] == VERSION).then_some(())?;
        let stand = Stand { offset: maybe(at(1)?), whole_at: maybe(at(9)?), epoch: at(17)?, number: at(25)? };
        // Behind each there is another one.
        let goes_on = stand.number < u64::MAX && stand.offset.is_none_or(|offset| (0..i64::MAX).contains(&offset));
        goes_on.then_some(stand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_was_written_and_nothing_else_does() {
        for offset in [None, Some(0), Some(i64::MAX - 1)] {
            let stand = Stand { offset, whole_at: Some(7), epoch: u64::MAX, number: 3 };
            assert_eq!(Stand::decode(&stand.encode()), Some(stand));
        }
        let mut other = Stand { offset: None, whole_at: None, epoch: 0, number: 0 }.encode();
        assert!(Stand::decode(&other[..BYTES - 1]).is_none() && Stand::decode(b"").is_none());
        for (offset, number) in [(Some(i64::MAX), 3), (Some(-1), 3), (None, u64::MAX)] {
            assert!(Stand::decode(&Stand { offset, whole_at: None, epoch: 0, number }.encode()).is_none());
        }
        other[0] = 2;
        assert!(Stand::decode(&other).is_none());
    }
}
