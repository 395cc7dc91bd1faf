//! What an entry of the cache is found by.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use super::super::version::ENGINE_VERSION;
use super::bounds::Bounds;

/// Digest of everything that the outcome depends on: the component, the engine's version, its flags, the features of
/// this CPU, the bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    pub fn of(engine: &wasmtime::Engine, component: &str, bounds: &Bounds) -> Name {
        let mut hash = Sha256Hasher(Sha256::new());
        (component, ENGINE_VERSION, bounds.cpu, bounds.address_space.as_u64()).hash(&mut hash);
        engine.precompile_compatibility_hash().hash(&mut hash);
        Name(hash.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// wasmtime offers its flags to a `Hasher` only, and 64 bits are no name.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks: the digest itself is taken.
    fn finish(&self) -> u64 {
        0
    }
}
