//! Repartition topics: in front of everything that goes by a key which was changed since the last topic
//! (semantics.md B21).

use super::{Check, Edge, Node};
use crate::changelog;
use crate::topology::description::{self, Join};
use crate::topology::{Flow, Operator};

impl Check {
    /// Both sides of a repartition topic; answers the side that reads.
    pub(super) fn repartition(&mut self, writes: Node) -> usize {
        let [writes, reads] = sides(writes);
        self.push(writes);
        self.push(reads)
    }
}

fn sides(writes: Node) -> [Node; 2] {
    let reads = Node {
        name: format!("{}-source", writes.name),
        operator: Operator::RepartitionSource,
        inputs: Vec::new(),
        punctuations: Vec::new(),
        ..writes.clone()
    };
    [writes, reads]
}

/// They are called after the store of the node that needs them, or after the node; behind the first input of several
/// stands its rank.
pub(super) fn insert(nodes: Vec<Node>, stores: &[description::Store]) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut place = Vec::with_capacity(nodes.len());
    let mut rekeyed: Vec<bool> = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        for edge in &mut node.inputs {
            edge.node = place[edge.node];
        }
        for table in &mut node.tables {
            *table = place[*table];
        }
        for rank in 0..node.inputs.len() {
            if node.operator.goes_by_key() && rekeyed[node.inputs[rank].node] {
                out.extend(in_front_of(&node, rank, stores));
                rekeyed.extend([false, false]);
                node.inputs[rank] = Edge { node: out.len() - 1, branch: None };
            }
        }
        let by_parents = node.inputs.iter().any(|edge| rekeyed[edge.node]);
        let fresh = node.operator.is_source() || node.operator.gives() == Flow::Table;
        rekeyed.push(node.rekeys() || (by_parents && !fresh));
        place.push(out.len());
        out.push(node);
    }
    keep_null_keys(&mut out);
    out
}

/// Records without a key go through where a join behind keeps them: the left one of a stream, or the outer one of two
/// (NodesWithRelaxedNullKeyJoinDownstream). The table that such a join looks up is not in front of it.
fn keep_null_keys(nodes: &mut [Node]) {
    let mut kept = vec![false; nodes.len()];
    for at in (0..nodes.len()).rev() {
        let (before, rest) = nodes.split_at_mut(at);
        let node = &mut rest[0];
        let is_join = matches!(
            node.operator,
            Operator::StreamJoinThis
                | Operator::StreamJoinOther
                | Operator::StreamTableJoin
                | Operator::StreamGlobalJoin
        );
        if kept[at] || is_join && matches!(node.join, Some(Join::Left | Join::Outer)) {
            kept[at] = true;
            node.inputs.iter().for_each(|edge| kept[edge.node] = true);
            // The side of the topic that writes stands in front of the one that reads.
            let writes = |other: &Node| other.operator.is_repartition() && other.topic == node.topic;
            if let (Operator::RepartitionSource, Some(writes)) = (node.operator, before.iter().rposition(writes)) {
                kept[writes] = true;
            }
        }
        node.keeps_null_keys = kept[at] && node.operator == Operator::Repartition;
    }
}

fn in_front_of(node: &Node, rank: usize, stores: &[description::Store]) -> [Node; 2] {
    let store = node.store.map(|number| &stores[number]);
    let base = match node.operator {
        Operator::StreamJoinThis | Operator::StreamJoinOther => &node.topic,
        _ => store.map_or(&node.name, |store| &store.name),
    };
    let name = if rank == 0 { base.clone() } else { format!("{base}-{rank}") };
    let topic = changelog::repartition_name(&name);
    let key = store.map(|store| store.key.clone()).or_else(|| node.key.clone());
    let (tables, inputs) = (Vec::new(), vec![node.inputs[rank]]);
    let added = Node::added(node, "repartition", Operator::Repartition);
    sides(Node { name: topic.clone(), topic, key, tables, inputs, join: None, ..added })
}
