//! Where the order between nodes shows, worked out once.

use std::collections::{BTreeMap, BTreeSet};

use super::Graph;
use super::subtopology::{Subtopology, meet_in_store, reach};
use crate::record::TopicId;

/// Where order between nodes shows in a subtopology.
pub struct Order {
    pub entangled: BTreeSet<usize>,
    pub entangled_nodes: BTreeSet<usize>,
    pub conflicts: BTreeSet<(usize, usize)>,
    pub ordered: bool,
    pub contested: BTreeSet<TopicId>,
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
        }
    }
}
