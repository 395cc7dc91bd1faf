//! Where the order between nodes shows, worked out once.

use std::collections::{BTreeMap, BTreeSet};

use super::Graph;
use super::description::Emit;
use super::subtopology::{Subtopology, meet_in_store, reach};
use crate::record::TopicId;

/// Where order between nodes shows in a subtopology.
pub struct Order {
    pub entangled: BTreeSet<usize>,
    pub entangled_nodes: BTreeSet<usize>,
    pub conflicts: BTreeSet<(usize, usize)>,
    pub ordered: bool,
    pub contested: BTreeSet<TopicId>,
    pub closes_in_portions: BTreeSet<usize>,
}

impl Order {
    pub fn of(graph: &Graph, subtopology: &Subtopology, node_topics: &[Option<TopicId>]) -> Order {
        let reached: BTreeMap<usize, BTreeSet<usize>> =
            subtopology.nodes.iter().map(|node| (*node, reach(graph, *node))).collect();
        let is_entangled = |node: &usize| meet_in_store(graph, &reached[node], &reached[node]);
        let entangled_nodes: BTreeSet<usize> = subtopology.nodes.iter().copied().filter(is_entangled).collect();
        let mut conflicts = BTreeSet::new();
        for a in &subtopology.sources {
            for b in &subtopology.sources {
                if a != b && meet_in_store(graph, &reached[a], &reached[b]) {
                    conflicts.insert((*a, *b));
                }
            }
        }
        let mut writers: BTreeMap<TopicId, usize> = BTreeMap::new();
        for node in &subtopology.nodes {
            if graph.nodes[*node].operator.is_sink()
                && let Some(topic) = node_topics[*node]
            {
                *writers.entry(topic).or_default() += 1;
            }
        }
        let contested: BTreeSet<TopicId> =
            writers.into_iter().filter(|(_, writers)| *writers > 1).map(|(topic, _)| topic).collect();
        let ways_meet = subtopology.nodes.iter().any(|node| graph.nodes[*node].inputs.len() > 1);
        Order {
            entangled: subtopology.sources.iter().copied().filter(|s| entangled_nodes.contains(s)).collect(),
            entangled_nodes,
            conflicts,
            ordered: ways_meet || !contested.is_empty(),
            contested,
            closes_in_portions: closes_in_portions(graph, subtopology, &reached, node_topics),
        }
    }
}

/// Stores whose windows may go downstream behind the record that closes them: of nodes behind which nothing is that the
/// record reaches by another way, too, nor that shares a store or a topic with what it does.
fn closes_in_portions(
    graph: &Graph,
    subtopology: &Subtopology,
    reached: &BTreeMap<usize, BTreeSet<usize>>,
    node_topics: &[Option<TopicId>],
) -> BTreeSet<usize> {
    let written = |node: &usize| node_topics[*node].filter(|_| graph.nodes[*node].operator.is_sink());
    let goes_alone = |at: &usize| {
        let behind = &reached[at];
        let beside: BTreeSet<usize> = subtopology.nodes.iter().copied().filter(|node| !behind.contains(node)).collect();
        let comes_from_here = |node: &usize| graph.nodes[*node].inputs.iter().all(|edge| behind.contains(&edge.node));
        let topics: BTreeSet<TopicId> = behind.iter().filter_map(written).collect();
        behind.iter().filter(|node| *node != at).all(comes_from_here)
            && !meet_in_store(graph, behind, &beside)
            && !beside.iter().filter_map(written).any(|topic| topics.contains(&topic))
    };
    let closing = subtopology.nodes.iter().filter(|at| graph.nodes[**at].emit == Emit::OnWindowClose);
    // A processor that has the store may delete from it what was given away.
    let has_own = |at: &usize| {
        let store = graph.nodes[*at].store?;
        let owners = graph.nodes.iter().filter(|node| node.stores.contains(&store)).count();
        (owners == 1).then_some(store)
    };
    closing.copied().filter(goes_alone).filter_map(|at| has_own(&at)).collect()
}
