//! Murmur3, x64, 128 bits: by which a foreign-key join knows whether an answer is of the row that asked.

/// Of Kafka Streams' Murmur3.
const SEED: u64 = 104_729;
const C1: u64 = 0x87C3_7B91_1142_53D5;
const C2: u64 = 0x4CF5_AD43_2745_937F;

/// Both halves big-endian, one behind the other.
pub fn hash128(bytes: &[u8]) -> [u8; 16] {
    let (mut h1, mut h2) = (SEED, SEED);
    let mut blocks = bytes.chunks_exact(16);
    for block in blocks.by_ref() {
        let (k1, k2) = words(block);
        h1 = (h1 ^ mix1(k1)).rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52DC_E729);
        h2 = (h2 ^ mix2(k2)).rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5AB5);
    }
    let (k1, k2) = words(blocks.remainder());
    h1 ^= mix1(k1) ^ bytes.len() as u64;
    h2 ^= mix2(k2) ^ bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2) = (finish(h1), finish(h2));
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (u128::from(h1) << 64 | u128::from(h2)).to_be_bytes()
}

/// Two words of up to sixteen bytes, zeros behind.
fn words(bytes: &[u8]) -> (u64, u64) {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let (first, second) = bytes.split_at(bytes.len().min(8));
    (word(first), word(second))
}

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(h: u64) -> u64 {
    let h = (h ^ h >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let h = (h ^ h >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ h >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Kafka Streams' own class (`tests/vectors/changelog_formats.jsonl`), with and without a whole block.
    #[test]
    fn hashes_are_kafka_streams() {
        assert_eq!(hash128(b""), 0x9d2764a018e329428c3cf3b035938518_u128.to_be_bytes());
        assert_eq!(hash128(b"hello world"), 0xbd699b58e46894087d50ce87a7f20429_u128.to_be_bytes());
    }
}
