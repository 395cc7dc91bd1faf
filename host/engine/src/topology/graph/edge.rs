//! How nodes stand to each other, and which of them is found by its store.

use super::{Graph, Node, Operator};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub node: usize,
    /// Which branch of a `branch` node.
    pub branch: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    pub node: usize,
    /// Rank of this parent among the child's inputs.
    pub input: u16,
    pub branch: Option<u16>,
}

impl Graph {
    /// The node that reads a topic into this store, where it is a global table's.
    pub fn global_table(&self, store: &str) -> Option<usize> {
        let is_it = |node: &Node| node.store.is_some_and(|number| self.stores[number].name == store);
        self.nodes.iter().position(|node| node.operator == Operator::GlobalTableSource && is_it(node))
    }
}

/// Tells parents of their children.
pub(super) fn link_children(nodes: &mut [Node]) {
    for child in 0..nodes.len() {
        for (input, edge) in nodes[child].inputs.clone().into_iter().enumerate() {
            nodes[edge.node].children.push(Child { node: child, input: input as u16, branch: edge.branch });
        }
    }
}
