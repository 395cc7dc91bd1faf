//! Keys of the changelogs of window and session stores, byte by byte Kafka Streams' (semantics.md B24).

/// Start of the window i64, number among duplicates i32, both big-endian.
pub const WINDOW_SUFFIX_LEN: usize = 12;
/// End of the session i64, start i64, both big-endian.
pub const SESSION_SUFFIX_LEN: usize = 16;

/// Appends key, start and number. The number is 0 where a store keeps no duplicates.
pub fn push_window_key(key: &[u8], start: i64, number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(&start.to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
}

/// Takes it apart again; `None` when it is too short to be one.
pub fn split_window_key(bytes: &[u8]) -> Option<(&[u8], i64, u32)> {
    let (rest, number) = bytes.split_last_chunk::<4>()?;
    let (key, start) = rest.split_last_chunk::<8>()?;
    Some((key, i64::from_be_bytes(*start), u32::from_be_bytes(*number)))
}

/// Appends key, end and start: the end first, so that the sessions of a key stand in the order of their ends.
pub fn push_session_key(key: &[u8], start: i64, end: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(&end.to_be_bytes());
    out.extend_from_slice(&start.to_be_bytes());
}

/// Key, start and end; `None` when it is too short to be one.
pub fn split_session_key(bytes: &[u8]) -> Option<(&[u8], i64, i64)> {
    let (rest, start) = bytes.split_last_chunk::<8>()?;
    let (key, end) = rest.split_last_chunk::<8>()?;
    Some((key, i64::from_be_bytes(*start), i64::from_be_bytes(*end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes are Kafka Streams' own, from the format vectors.
    #[test]
    fn keys_are_those_of_kafka_streams() {
        let windows = [
            (&b"k"[..], 10, 0, "6b000000000000000a00000000"),
            (b"ab", 1_700_000_000_000, 2_147_483_647, "61620000018bcfe568007fffffff"),
            (b"", 5, 0, "000000000000000500000000"),
        ];
        for (key, start, number, text) in windows {
            let mut bytes = Vec::new();
            push_window_key(key, start, number, &mut bytes);
            assert_eq!(hex(&bytes), text);
            assert_eq!(split_window_key(&bytes), Some((key, start, number)));
        }
        let mut bytes = Vec::new();
        push_session_key(b"k", 1_500, 2_000, &mut bytes);
        assert_eq!(hex(&bytes), "6b00000000000007d000000000000005dc");
        assert_eq!(split_session_key(&bytes), Some((&b"k"[..], 1_500, 2_000)));
        assert_eq!((split_window_key(&[0; 11]), split_session_key(&[0; 15])), (None, None));
    }
}
