//! An application: built, planned, run in threads, looked at from outside.
//!
//! [`application`](Application) (manifest) → [`load`] (component, blueprint) → [`plan`] (held against the log) →
//! [`running`] (threads) → [`Handle`] (status and queries).

mod application;
pub mod build;
pub mod compare;
mod digest;
mod handle;
mod kept;
pub mod load;
mod parts;
pub mod plan;
pub mod query;
pub mod running;
pub mod status;
pub mod swap;
mod until_end;

pub use application::{Application, DEFAULT_LOG, MANIFEST};
pub use handle::{Deployment, Handle, StorePlan};
pub use load::Loaded;
pub use running::{App, Options, supervise};
pub use swap::{Swapped, Swapper};
