//! Stateless nodes in a row, which a guest can run in one call.

use super::{Node, Operator};

/// Gives the first node of each row the places of all of it: every node of a row but the last has one child, every one
/// but the first has one input, and nothing between them is the host's.
pub fn link(nodes: &mut [Node]) {
    for at in 0..nodes.len() {
        if nodes[at].operator.chains() && !continues(nodes, at) {
            let chain: Vec<usize> = std::iter::successors(Some(at), |at| next(nodes, *at)).collect();
            if chain.len() > 1 {
                nodes[at].chain = chain;
            }
        }
    }
}

/// The node behind `at` in its row.
fn next(nodes: &[Node], at: usize) -> Option<usize> {
    let [child] = nodes[at].children[..] else { return None };
    (nodes[child.node].operator.chains() && nodes[child.node].inputs.len() == 1).then_some(child.node)
}

fn continues(nodes: &[Node], at: usize) -> bool {
    let [edge] = nodes[at].inputs[..] else { return false };
    nodes[edge.node].operator.chains() && next(nodes, edge.node) == Some(at)
}

impl Operator {
    /// Whether it may be one of several that a guest runs in one call: it looks at one record at a time, remembers
    /// nothing, and all it gives goes one way.
    pub fn chains(self) -> bool {
        use Operator::*;
        matches!(self, Filter | FilterNot | Map | MapValues | FlatMap | FlatMapValues | SelectKey | Peek)
    }
}
