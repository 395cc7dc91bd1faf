//! Stores: a committed base under layers of uncommitted changes.
//!
//! Every kind of store is a layout of keys over ordered bytes, the same for all providers. A kind says what its
//! writes look like in the changelog; the task decides when they become committed.

mod access;
mod base;
mod changes;
mod entries;
mod layers;
mod memory;
mod task_stores;

pub use access::{AccessError, ScanRequest};
pub use base::{Base, Error, KeyRange, Position, StoreChanges};
pub use changes::{Change, Changes};
pub use layers::{Timestamped, split_timestamp, with_timestamp};
pub use memory::MemoryBase;
pub use task_stores::{EntryError, SizeLimits, StoreSlot, TaskStores};
