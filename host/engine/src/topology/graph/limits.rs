//! How much of a description there may be.

use super::Matched;
use crate::topology::Description;

/// How many nodes and stores one topology may have: far beyond what a person writes, small enough that a hostile
/// description cannot make the plan slow.
pub const NODES_MAX: usize = 1_000;
/// The same of all that they come to, with a node for each topic of a source or a sink.
const TOPIC_NODES_MAX: usize = 4_000;
/// A result frame names a branch in two bytes, whose largest value stands for "no branch".
pub const BRANCH_MAX: u16 = u16::MAX - 1;
/// Guest-written names end up in topics, files and log lines.
pub const NAME_BYTES_MAX: usize = 200;

pub(super) fn check(description: &Description, matched: &Matched) -> Result<(), String> {
    if description.nodes.len() > NODES_MAX || description.stores.len() > NODES_MAX {
        return Err(format!("more than {NODES_MAX} nodes or stores"));
    }
    let matches = |name: &str| matched.get(name).map_or(0, Vec::len);
    let each = description.nodes.iter().map(|node| node.topics.len().max(matches(&node.name)).max(1));
    if each.sum::<usize>() > TOPIC_NODES_MAX {
        return Err(format!("more than {TOPIC_NODES_MAX} topics of sources and sinks, and nodes beside them"));
    }
    Ok(())
}
