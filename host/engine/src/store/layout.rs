//! Keys of rows in stores that go by time, over a base's ordered bytes.
//!
//! ```text
//! 0                                            what the store has observed: its time, its last number
//! 1  segment  key  time  rest                  a window (rest: number) or a session (rest: start)
//! 1  key  time                                 a version, from this time on
//! 2  time  key  from                           a version that something newer took the place of at this time
//! 3  time  rest  key                           the same window or session, where they are found by their time as well
//! ```
//! Numbers are in byte order, and so are keys, though they end somewhere: eight bytes at a time, each eight followed by how
//! many of them count. So the rows of one key stand together, in the order of their times, whatever bytes other keys have.

use crate::changelog::ROW_GROUP;

/// Where what the store has observed stands.
pub(super) const OBSERVED: &[u8] = &[0];

/// In front of windows, sessions and versions.
pub(super) const ROW: u8 = 1;

/// In front of windows and sessions in the order of time.
pub(super) const BY_TIME: u8 = 3;

/// In front of what is to go.
pub(super) const PASSED: u8 = 2;

const GROUP: usize = ROW_GROUP;
/// Behind a group that another one follows.
const FULL: u8 = 0xFF;

/// Above every byte that a row may have behind a key and a time.
pub(super) const BEHIND_ALL: [u8; 17] = [0xFF; 17];

/// A number whose bytes are in its order, below zero too.
pub(super) fn ordered(number: i64) -> [u8; 8] {
    (number ^ i64::MIN).to_be_bytes()
}

fn from_ordered(bytes: [u8; 8]) -> i64 {
    i64::from_be_bytes(bytes) ^ i64::MIN
}

pub(super) fn push_time(time: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&ordered(time));
}

/// Takes a number from the front.
pub(super) fn take_time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((from_ordered(*number), rest))
}

pub(super) fn push_key(key: &[u8], out: &mut Vec<u8>) {
    let mut groups = key.chunks_exact(GROUP);
    for group in &mut groups {
        out.extend_from_slice(group);
        out.push(FULL);
    }
    let last = groups.remainder();
    out.extend_from_slice(last);
    out.extend_from_slice(&[0; GROUP][last.len()..]);
    out.push(last.len() as u8);
}

/// Takes a key from the front, into `key`.
pub(super) fn take_key<'b>(mut bytes: &'b [u8], key: &mut Vec<u8>) -> Option<&'b [u8]> {
    key.clear();
    loop {
        let (group, rest) = bytes.split_first_chunk::<{ GROUP + 1 }>()?;
        bytes = rest;
        match group[GROUP] {
            FULL => key.extend_from_slice(&group[..GROUP]),
            len => {
                key.extend_from_slice(group[..GROUP].get(..usize::from(len))?);
                return Some(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;
    use crate::changelog::row_len_max;

    fn pushed(key: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_key(key, &mut out);
        out
    }

    proptest! {
        #![proptest_config(Config { failure_persistence: None, ..Config::default() })]
        #[test]
        fn keys_keep_their_order_and_none_begins_another(
            a in prop::collection::vec(prop::sample::select(vec![0u8, 1, 8, 254, 255]), 0..20),
            b in prop::collection::vec(prop::sample::select(vec![0u8, 1, 8, 254, 255]), 0..20),
            x: i64, y: i64,
        ) {
            prop_assert_eq!(pushed(&a).cmp(&pushed(&b)), a.cmp(&b));
            prop_assert!(a == b || !pushed(&b).starts_with(&pushed(&a)));
            let mut key = Vec::new();
            let both = [&pushed(&a)[..], &b].concat();
            prop_assert_eq!(take_key(&both, &mut key), Some(&b[..]));
            prop_assert_eq!(&key, &a);
            prop_assert!(1 + 8 + pushed(&a).len() + 16 <= row_len_max(a.len()));
            prop_assert_eq!(ordered(x).cmp(&ordered(y)), x.cmp(&y));
            let bytes = ordered(x);
            prop_assert_eq!(take_time(&bytes), Some((x, &[][..])));
        }
    }
}
