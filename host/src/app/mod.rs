//! An application: built, planned, run in threads, looked at from outside.

pub mod build;
mod handle;
pub mod query;
pub mod status;

pub use handle::{Deployment, Handle, StorePlan};
