//! From a guest's description to a checked plan.
//!
//! `description` (JSON) → `graph` (names resolved, repartitions inserted) → `subtopology` (what is connected without
//! a topic between) → `plan` (topics, partitions, policies).

pub mod description;
mod graph;
mod operator;
mod partitions;
mod plan;
mod subtopology;

pub use description::{Description, PunctuationTime};
pub use graph::{Child, Edge, Graph, Node, build};
pub use operator::{Flow, Operator};
pub use plan::{Blueprint, InternalTopic, Plan, Policy, StorePlan, SubtopologyPlan, TopicPlan};
pub use subtopology::Subtopology;
