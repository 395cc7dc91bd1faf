//! From a guest's description to a checked plan.
//!
//! `description` (JSON) → `graph` (names resolved, repartitions inserted) → `subtopology` (what is connected without
//! a topic between) → `blueprint` (with the manifest) → `plan` (topics, partitions, policies).

mod blueprint;
mod chain;
mod cycle;
pub mod description;
mod graph;
mod operator;
mod order;
mod partitions;
mod plan;
mod replace;
mod subtopology;
mod topics;

pub use blueprint::{Blueprint, manifest_errors};
pub use description::{Description, PunctuationTime};
pub use graph::{Child, Edge, Graph, Node, build};
pub use operator::{Flow, Operator};
pub use plan::{InternalTopic, Plan, Policy, StorePlan, SubtopologyPlan, TopicPlan};
pub use subtopology::Subtopology;
pub use topics::TopicFacts;
