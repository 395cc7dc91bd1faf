//! HMAC-SHA-256 (RFC 2104), of parts one after the other.
//!
//! Not a library's: the one there is turns a feature of a crate below wasmtime's compiler on and builds all of that a
//! second time.

use sha2::{Digest, Sha256};

/// Also the length of the key.
pub const MAC_BYTES: usize = 32;
const BLOCK_BYTES: usize = 64;

pub type Key = [u8; MAC_BYTES];

pub fn mac(key: &Key, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
    let pad = |with: u8| {
        let mut block = [with; BLOCK_BYTES];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Sha256::new_with_prefix(pad(0x36));
    parts.iter().for_each(|part| inner.update(part));
    Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
}

/// Takes as long for a wrong first byte as for a wrong last one.
pub fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1 and 2, their keys filled up with zeros as the algorithm does itself.
    #[test]
    fn the_macs_are_those_of_the_standard() {
        let hex = |bytes: [u8; MAC_BYTES]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut key = Key::default();
        key[..20].fill(0x0b);
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex(mac(&key, &[b"Hi", b" There"])), expected);
        let mut key = Key::default();
        key[..4].copy_from_slice(b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(mac(&key, &[b"what do ya want for nothing?"])), expected);
    }

    #[test]
    fn macs_are_equal_only_when_all_their_bytes_are() {
        assert!(is_equal(b"abc", b"abc"));
        assert!(!is_equal(b"abc", b"abd") && !is_equal(b"abc", b"ab") && !is_equal(b"xbc", b"abc"));
    }
}
