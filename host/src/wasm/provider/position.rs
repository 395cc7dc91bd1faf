//! Where a store stands, as its provider keeps it: bytes that only the host reads.
//!
//! ```text
//! 2  offset i64  whole i64  epoch u64  number u64  changelog u64        big-endian; i64::MIN, in the changelog 0 = none
//! ```
//! Positions of version 1 end in front of the changelog.
//! No two writes leave the same position, also where neither moves the offset: so an unknown outcome is settled by asking
//! for it, and a copy from another day is told from what it was copied from.

use std::num::NonZeroU64;

use millstream_engine::store::StoreKind;
use sha2::{Digest, Sha256};

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
    /// What the offset is one of.
    pub changelog: Option<Changelog>,
}

/// A topic as it is told from all others, one of the same name that was there before included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changelog(NonZeroU64);

impl Changelog {
    /// Of a topic's name, the id that its log has given it, and the kind of the store that is restored from it: rows of one
    /// kind are none of another.
    pub fn of(name: &str, id: &str, kind: StoreKind) -> Changelog {
        let mut digest = Sha256::new();
        digest.update((name.len() as u64).to_be_bytes());
        digest.update(name);
        digest.update(id);
        if kind.name() != StoreKind::KeyValue.name() {
            digest.update([0]);
            digest.update(kind.name());
        }
        let first = digest.finalize().iter().take(size_of::<u64>()).fold(0, |all, byte| all << 8 | u64::from(*byte));
        Changelog(NonZeroU64::new(first).unwrap_or(NonZeroU64::MIN))
    }
}

const VERSION: u8 = 2;
const BYTES: usize = 41;
/// Of a version that did not know its changelog.
const FIRST_VERSION: u8 = 1;
const FIRST_BYTES: usize = 33;
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
        bytes.extend_from_slice(&self.changelog.map_or(0, |changelog| changelog.0.get()).to_be_bytes());
        bytes
    }

    /// `None`: these bytes are not of this host's making.
    pub fn decode(bytes: &[u8]) -> Option<Stand> {
        let at = |from: usize| bytes.get(from..from + 8)?.try_into().map(u64::from_be_bytes).ok();
        let maybe = |number: u64| Some(number as i64).filter(|number| *number != NONE);
        let changelog = match (bytes.first()?, bytes.len()) {
            (&VERSION, BYTES) => NonZeroU64::new(at(FIRST_BYTES)?).map(Changelog),
            (&FIRST_VERSION, FIRST_BYTES) => None,
            _ => return None,
        };
        let (offset, whole_at) = (maybe(at(1)?), maybe(at(9)?));
        let stand = Stand { offset, whole_at, epoch: at(17)?, number: at(25)?, changelog };
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
        let (whole_at, changelog) = (None, None);
        for (offset, changelog) in [
            (None, None),
            (Some(0), Some(Changelog::of("t", "1", StoreKind::KeyValue))),
            (Some(i64::MAX - 1), Some(Changelog::of("t", "2", StoreKind::KeyValue))),
        ] {
            let stand = Stand { offset, whole_at: Some(7), epoch: u64::MAX, number: 3, changelog };
            assert_eq!(Stand::decode(&stand.encode()), Some(stand));
        }
        let mut other = Stand { offset: None, whole_at, epoch: 0, number: 0, changelog }.encode();
        assert!(Stand::decode(&other[..BYTES - 1]).is_none() && Stand::decode(b"").is_none());
        for (offset, number) in [(Some(i64::MAX), 3), (Some(-1), 3), (None, u64::MAX)] {
            assert!(Stand::decode(&Stand { offset, whole_at, epoch: 0, number, changelog }.encode()).is_none());
        }
        other[0] = 3;
        assert!(Stand::decode(&other).is_none());
    }

    #[test]
    fn a_position_of_the_first_version_knows_no_changelog() {
        let stand = Stand { offset: Some(5), whole_at: None, epoch: 1, number: 2, changelog: None };
        let mut first = stand.encode();
        first[0] = FIRST_VERSION;
        first.truncate(FIRST_BYTES);
        assert_eq!(Stand::decode(&first), Some(stand));
    }

    #[test]
    fn a_topic_of_the_same_name_and_one_of_the_same_id_are_others() {
        let rows = StoreKind::KeyValue;
        let all = [("t", "1"), ("t", "2"), ("t1", ""), ("s", "1")].map(|(name, id)| Changelog::of(name, id, rows));
        assert!(all.iter().enumerate().all(|(at, one)| all[..at].iter().all(|other| other != one)));
        assert_eq!(Changelog::of("t", "1", rows), all[0]);
        assert!(!all.contains(&Changelog::of("t", "1", StoreKind::Versioned { history_ms: 1 })));
    }
}
