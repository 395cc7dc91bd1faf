//! Internal topics: how they are called and how they are made. What a store says to its changelog is the store's
//! own business ([`crate::store::LogEntries`]).

mod configs;
mod names;

pub use configs::{key_value_configs, repartition_configs};
pub use names::{changelog_topic, repartition_topic, tasks_topic};
