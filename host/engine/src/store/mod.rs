//! Stores: a committed base under layers of uncommitted changes.
//!
//! Every kind of store is a layout of keys over ordered bytes, the same for all providers. A kind says what its
//! writes look like in the changelog; the task decides when they become committed.

mod access;
mod access_timed;
mod base;
mod batch;
mod buffer;
mod cache;
mod changes;
mod clock;
mod closing;
mod committed;
mod entries;
mod global;
mod join_time;
mod layers;
mod layout;
mod memory;
mod restored;
mod session;
mod sweep;
mod task_stores;
mod timed;
mod versioned;
mod window;
mod wipe;

pub use crate::changelog::StoreKind;
pub use access::{AccessError, Latest, ScanRequest};
pub use access_timed::TimedRequest;
pub use base::{Base, Error, KeyRange, Position, StoreChanges};
pub use batch::SavedStores;
pub use buffer::{BufferError, BufferSize};
pub use cache::{CacheSize, FlushedRow};
pub use changes::{Change, Changes};
pub use clock::{Observed, observed};
pub use closing::{ClosedRow, Gone, HandedOver};
pub use committed::{CommittedRow, CommittedRows, CommittedScan, committed_rows, place_key};
pub use global::{GlobalTable, GlobalTables, OFFSETS, Taken};
pub use join_time::JoinTime;
pub use layers::{Timestamped, split_timestamp, with_timestamp};
pub use memory::MemoryBase;
pub use restored::run_bytes;
pub use session::{SessionRow, Sessions, SessionsMut, scan_sessions};
pub use task_stores::{EntryError, SizeLimits, StoreSlot, TaskStores, entries};
pub use timed::{KeySpan, TimeSpan};
pub use versioned::{PutVersion, Version, Versions, VersionsMut, committed_version, scan_versions};
pub use window::{WindowRow, Windows, WindowsMut, scan_windows};
