//! Where a key belongs: the same partition as Java's default partitioner chooses, so that topics written by either
//! are co-partitioned.

/// The partition of a key among `partitions`, of which there is at least one.
pub fn partition(key: &[u8], partitions: i32) -> i32 {
    // Kafka's `toPositive` drops the sign bit; it does not negate.
    (murmur2::murmur2(key, murmur2::KAFKA_SEED) & 0x7fff_ffff) as i32 % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of kind `partition` of the vectors, made by Kafka's own Java code: key in hex, its murmur2, and its
    /// partition among 1, 2, 3, 4, 6, 8, 12, 16 and 50.
    const VECTORS: [(&str, i32, [i32; 9]); 10] = [
        ("61", -1563381124, [0, 0, 1, 0, 4, 4, 4, 12, 24]),
        ("62", -1853091852, [0, 0, 2, 0, 2, 4, 8, 4, 46]),
        ("6162", 316155434, [0, 0, 2, 2, 2, 2, 2, 10, 34]),
        ("616263", 479470107, [0, 1, 0, 3, 3, 3, 3, 11, 7]),
        ("6162636465", 461995741, [0, 1, 1, 1, 1, 5, 1, 13, 41]),
        ("6b65792d31", 193331640, [0, 0, 0, 0, 0, 0, 0, 8, 40]),
        ("6b65792d32", 852269702, [0, 0, 2, 2, 2, 6, 2, 6, 2]),
        ("c5bcc3b3c582c487", 475252577, [0, 1, 2, 1, 5, 1, 5, 1, 27]),
        ("00000000", 850957120, [0, 0, 1, 0, 4, 0, 4, 0, 20]),
        ("0000000000000001", 2100486060, [0, 0, 0, 0, 0, 4, 0, 12, 10]),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).filter_map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()).collect()
    }

    #[test]
    fn a_key_goes_where_java_sends_it() {
        for (hex, hash, expected) in VECTORS {
            let key = bytes(hex);
            assert_eq!(murmur2::murmur2(&key, murmur2::KAFKA_SEED) as i32, hash, "{hex}");
            let found = [1, 2, 3, 4, 6, 8, 12, 16, 50].map(|n| partition(&key, n));
            assert_eq!(found, expected, "{hex}");
        }
    }
}
