//! The manifest `app.toml`: a tree of small structs, units in the types, every error at once.
//!
//! | file | holds |
//! |---|---|
//! | `manifest` | the top of the tree |
//! | `source`, `store`, `provider`, `task`, `topics`, `policy`, `kafka`, `limits`, `dev` | one section each |
//! | `names` | what the manifest calls things against what the component calls them |
//! | `setting` | values that may be secrets |
//! | `section`, `value`, `topic_name`, `error` | how a table is read, and what is wrong with it |

mod dev;
mod error;
mod kafka;
pub mod limits;
mod manifest;
mod names;
mod policy;
mod provider;
mod section;
mod setting;
mod source;
mod store;
mod task;
mod topic_name;
mod topics;
mod value;

pub use bytesize::ByteSize;
pub use dev::{Dev, DevTopic};
pub use error::{ConfigError, bad_manifest, nearest};
pub use kafka::{Kafka, TRANSACTION_TIMEOUT_MS, refused_property};
pub use limits::{Limit, Limits};
pub use manifest::{Guarantee, Manifest};
pub use names::{Component, Named};
pub use policy::{OnError, Retry};
pub use provider::{StoreProvider, is_network_address};
pub use setting::{HIDDEN, Secret, Setting};
pub use source::{Sink, Source, Start};
pub use store::{CACHE_BYTES_MAX, Provider, STATE_BYTES_MAX, State, Store};
pub use task::{Idle, MaxIdle};
pub use topic_name::{APPLICATION_ID_BYTES_MAX, TOPIC_NAME_BYTES_MAX, check_application_id, check_topic_name};
pub use topics::{Changelog, ChangelogOverride, InternalTopics, StoreChangelog};

#[cfg(test)]
mod tests;
