//! Which partition a key belongs to: murmur2, as the Java client's default partitioner.

/// The seed of Kafka's `Utils.murmur2`.
const SEED: u32 = 0x9747_b28c;

/// `(murmur2(key) & 0x7fffffff) % partitions`. At least one partition is assumed.
pub fn partition(key: &[u8], partitions: i32) -> i32 {
    let hash = (murmur2::murmur2(key, SEED) & 0x7fff_ffff) as i32;
    hash % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases `partition-*` of Kafka's own hash.
    #[test]
    fn keys_land_where_java_puts_them() {
        let cases: [(&[u8], [(i32, i32); 3]); 2] =
            [(b"abc", [(2, 1), (16, 11), (50, 7)]), ("żółć".as_bytes(), [(3, 2), (12, 5), (50, 27)])];
        for (key, partitions) in cases {
            for (n, expected) in partitions {
                assert_eq!(partition(key, n), expected, "{key:?} of {n}");
            }
        }
    }
}
