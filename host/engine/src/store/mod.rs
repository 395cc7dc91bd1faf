//! Stores: a committed base under two layers of uncommitted changes.

mod base;
mod memory;

pub use base::{Base, Changes, Error, KeyRange, Position, StoreChanges};
pub use memory::MemoryBase;

/// The stores of one task.
#[derive(Default)]
pub struct TaskStores {}

/// Why a guest's store call was refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("no such store, or it is not connected to this node")]
    UnknownStore,
    #[error("a key or a value is larger than its limit")]
    TooLarge,
    #[error("the bytes do not follow the layout")]
    Malformed,
    #[error("a host limit was reached")]
    Denied,
    /// The host's own failure: unwinds the call as [`crate::functions::Fault::Host`].
    #[error(transparent)]
    Host(#[from] Error),
}

/// Where a scan begins and ends; `wit/millstream.wit`, `scan-request`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanRequest<'a> {
    pub lower: Option<&'a [u8]>,
    pub upper: Option<&'a [u8]>,
    pub prefix: Option<&'a [u8]>,
    pub after: Option<&'a [u8]>,
    pub reverse: bool,
    pub limit: u32,
}

/// What a guest reaches through its imports. Stores are numbered as in its description; the bytes are those of
/// `wit/README.md`, "Stores".
impl TaskStores {
    pub fn get_many(&mut self, store: u32, keys: &[u8], out: &mut Vec<u8>) -> Result<(), AccessError> {
        let _ = (store, keys, out);
        Err(AccessError::UnknownStore)
    }

    pub fn apply_writes(&mut self, store: u32, writes: &[u8]) -> Result<(), AccessError> {
        let _ = (store, writes);
        Err(AccessError::UnknownStore)
    }

    /// Appends one page; `true` when there are rows behind it.
    pub fn scan_page(
        &mut self,
        store: u32,
        request: ScanRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, AccessError> {
        let _ = (store, request, out);
        Err(AccessError::UnknownStore)
    }

    pub fn approximate_entries(&mut self, store: u32) -> Result<u64, AccessError> {
        let _ = store;
        Err(AccessError::UnknownStore)
    }
}
