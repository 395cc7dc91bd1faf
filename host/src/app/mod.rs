//! app

mod application;
pub mod build;
mod handle;
pub mod query;
pub mod status;

pub use application::{Application, DEFAULT_LOG, MANIFEST};
pub use handle::{Deployment, Handle, StorePlan};
