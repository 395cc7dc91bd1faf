//! An application: built, planned, run in threads, looked at from outside.
//!
//! [`application`](Application) (manifest) → [`load`] (component, blueprint) → [`plan`] (held against the log) →
//! [`running`] (threads) → [`Handle`] (status and queries). [`supervise`] keeps several of them apart.

mod application;
pub mod build;
mod changelogs;
pub mod compare;
mod digest;
mod handle;
mod kept;
mod left_topics;
pub mod effective;
pub mod load;
mod names;
pub mod orphans;
pub mod parts;
mod peers;
pub mod plan;
pub mod practices;
mod provided;
mod providers;
mod purge;
pub mod query;
mod refusal;
pub mod reset;
mod restarts;
pub mod running;
pub mod status;
mod store;
mod supervise;
pub mod swap;
pub mod topics;
mod trial;
mod until_end;
mod watch;

pub use application::{Application, DEFAULT_LOG, MANIFEST};
pub use handle::{Deployment, Handle, StorePlan};
pub use load::Loaded;
pub use running::{App, Options};
pub use store::{Entry, ReadError, Store, WindowEntry};
pub use supervise::{Supervised, supervise};
pub use swap::{Swapped, Swapper};
pub use trial::Trial;
