//! Where Java's producer sends a key, written down once more: the host's own is what is checked.

const M: u32 = 0x5bd1_e995;
const SEED: u32 = 0x9747_b28c;

/// The partition of a key among so many.
pub fn partition(key: &str, partitions: i32) -> i32 {
    (hash(key.as_bytes()) & 0x7fff_ffff) as i32 % partitions
}

fn hash(bytes: &[u8]) -> u32 {
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        rest.iter().enumerate().for_each(|(at, byte)| hash ^= u32::from(*byte) << (8 * at));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[test]
fn known_keys_have_the_hashes_that_kafka_gives_them() {
    let known = [("a", -1_563_381_124), ("ab", 316_155_434), ("abc", 479_470_107), ("key-1", 193_331_640)];
    for (key, expected) in known {
        assert_eq!(hash(key.as_bytes()) as i32, expected, "{key}");
    }
}
