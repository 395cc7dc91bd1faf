//! What a stream thread tells about its tasks and what it can be asked, as plain values.
//!
//! A thread publishes a [`Report`] now and then and looks for [`Request`]s between two batches. Nothing here refers
//! to a thread's own data, so whoever reads it never waits for one.

mod link;
pub mod query;
mod report;
mod waiting;

pub use link::{Desk, Link, Refusal, link};
pub use query::{Page, Query, Reply, Request, Row, TaskReply};
pub use report::{CacheStatus, Counters, InputStatus, Report, StoreStatus, TaskState, TaskStatus};
pub use waiting::{Full, GlobalLink, Waiting};
