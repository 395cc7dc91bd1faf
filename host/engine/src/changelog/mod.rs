//! Internal topics: how they are called and how they are made, what the keys of their records are, and the bytes of what
//! nodes tell each other through them (semantics.md B24). What a store says to its changelog is the store's own business
//! ([`crate::store`]).

mod buffered;
mod change;
mod configs;
pub mod foreign_key;
mod keys;
mod kind;
mod murmur3;
mod names;
mod suppressed;
mod unmatched;

pub use buffered::{Buffered, BufferedKey, push_buffered_time};
pub use change::Change;
pub use configs::{changelog_configs, names_configs, repartition_configs};
pub use keys::{SESSION_SUFFIX_LEN, push_session_key, push_window_key, split_session_key, split_window_key};
pub use kind::{ROW_GROUP, StoreKind, row_len_max};
pub use murmur3::hash128;
pub use names::{changelog_topic, internal_topic, is_internal, names_topic, repartition_name, tasks_topic};
pub use suppressed::{SUPPRESSED_HEADER, Suppressed};
pub use unmatched::{Unmatched, push_unmatched, unmatched_count, unmatched_values};
