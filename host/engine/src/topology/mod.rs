//! From a guest's description to a checked plan.
//!
//! `description` (JSON) → `graph` (names resolved, repartitions inserted, `chain`s found) → `subtopology` (what is
//! connected without a topic between) → `blueprint` (with the manifest) → `plan` (topics, `partitions`, policies).

mod blueprint;
mod cached;
mod chain;
mod collisions;
mod cycle;
pub mod description;
mod graph;
mod operator;
mod order;
mod partitions;
mod pattern;
mod plan;
mod replace;
mod source_changelog;
mod subtopology;
mod times;
mod topics;

pub use blueprint::{Blueprint, manifest_errors};
pub use description::{Description, Emit, Join, JoinWindows, PunctuationTime, Suppress, WhenFull, Window};
pub use graph::{Child, Edge, Graph, Matched, Node, Suppression, WindowEnd, build};
pub use operator::{Flow, Operator};
pub use pattern::Pattern;
pub use plan::{CachePlan, InternalTopic, Plan, Policy, StorePlan, SubtopologyPlan, TopicPlan};
pub use subtopology::Subtopology;
pub use times::{Extractor, InvalidTimestamp, SourceTimes};
pub use topics::TopicFacts;
