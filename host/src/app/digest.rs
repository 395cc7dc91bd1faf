//! Names for contents.

use sha2::{Digest, Sha256};

/// SHA-256 in lower-case hex.
pub fn of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
