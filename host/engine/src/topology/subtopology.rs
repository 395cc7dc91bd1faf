//! Subtopologies: what is connected without a topic between, and where order shows inside them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Graph, Node, Operator};

/// Nodes connected by edges or by a shared store (semantics.md B21).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subtopology {
    /// In graph order.
    pub nodes: Vec<usize>,
    pub sources: Vec<usize>,
    /// Store numbers.
    pub stores: Vec<usize>,
    /// Numbers of the stores of the global tables that its nodes look up or read.
    pub globals: Vec<usize>,
}

/// In order of their first sources.
pub fn subtopologies(graph: &Graph) -> Vec<Subtopology> {
    let mut group: Vec<usize> = (0..graph.nodes.len()).collect();
    let mut by_store: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        for edge in &node.inputs {
            join(&mut group, at, edge.node);
        }
        for store in &node.stores {
            let first = *by_store.entry(*store).or_insert(at);
            join(&mut group, at, first);
        }
    }
    let mut found: BTreeMap<usize, Subtopology> = BTreeMap::new();
    for at in 0..graph.nodes.len() {
        if graph.nodes[at].operator == Operator::GlobalTableSource {
            continue;
        }
        let subtopology = found.entry(root(&group, at)).or_default();
        subtopology.nodes.push(at);
        if graph.nodes[at].operator.is_source() {
            subtopology.sources.push(at);
        }
        for store in &graph.nodes[at].stores {
            if !subtopology.stores.contains(store) {
                subtopology.stores.push(*store);
            }
        }
        let tables = graph.nodes[at].tables.iter().map(|table| &graph.nodes[*table]);
        let globals = tables.filter(|table| table.operator == Operator::GlobalTableSource);
        for store in globals.filter_map(|table| table.store).chain(graph.nodes[at].globals.iter().copied()) {
            if !subtopology.globals.contains(&store) {
                subtopology.globals.push(store);
            }
        }
    }
    let mut all: Vec<_> = found.into_values().collect();
    all.sort_by_key(|subtopology| subtopology.sources.first().copied());
    all
}

fn root(group: &[usize], mut at: usize) -> usize {
    while group[at] != at {
        at = group[at];
    }
    at
}

fn join(group: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(group, a), root(group, b));
    group[a.max(b)] = a.min(b);
}

/// All nodes a node's elements can reach, itself included.
pub fn reach(graph: &Graph, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for child in &graph.nodes[at].children {
            if reached.insert(child.node) {
                open.push(child.node);
            }
        }
    }
    reached
}

/// Two different nodes of these sets touch one store, and one of them may write it.
pub fn meet_in_store(graph: &Graph, a: &BTreeSet<usize>, b: &BTreeSet<usize>) -> bool {
    a.iter().any(|x| b.iter().any(|y| x != y && share_store(graph, *x, *y)))
}

fn share_store(graph: &Graph, a: usize, b: usize) -> bool {
    let (a, b) = (&graph.nodes[a], &graph.nodes[b]);
    a.stores.iter().any(|store| b.stores.contains(store) && !(only_reads(a, *store) && only_reads(b, *store)))
}

/// Of a join: the stores of the tables that it looks up.
fn only_reads(node: &Node, store: usize) -> bool {
    let looks_up =
        matches!(node.operator, Operator::StreamTableJoin | Operator::TableJoinThis | Operator::TableJoinOther);
    // What waits for a table's versions is kept in a store, too.
    looks_up && node.grace_ms.is_none() && node.store != Some(store)
}

/// Sources whose records must be in partitions of the same number, because a processor looks them up in a table
/// (or in what another source wrote): all sources that reach a node of `process` connected to a table's store, and
/// that table's source; all sources that reach a join or the tables it looks up (of a join of streams, both sides); and all that reach a cogroup.
pub fn copartition_groups(graph: &Graph, subtopology: &Subtopology) -> Vec<BTreeSet<usize>> {
    let mut groups = joined(graph, subtopology);
    for &table in &subtopology.sources {
        let Some(store) = graph.nodes[table].store.filter(|_| graph.nodes[table].operator == Operator::TableSource)
        else {
            continue;
        };
        let readers: Vec<usize> = subtopology
            .nodes
            .iter()
            .copied()
            .filter(|node| {
                graph.nodes[*node].operator == Operator::Process && graph.nodes[*node].stores.contains(&store)
            })
            .collect();
        let mut group: BTreeSet<usize> = subtopology
            .sources
            .iter()
            .copied()
            .filter(|source| reach(graph, *source).iter().any(|node| readers.contains(node)))
            .collect();
        group.insert(table);
        if group.len() > 1 {
            groups.push(group);
        }
    }
    groups
}

fn joined(graph: &Graph, subtopology: &Subtopology) -> Vec<BTreeSet<usize>> {
    let reached: Vec<(usize, BTreeSet<usize>)> =
        subtopology.sources.iter().map(|source| (*source, reach(graph, *source))).collect();
    let meets = |node: &Node| match node.operator {
        // The whole of the table is everywhere.
        Operator::StreamGlobalJoin => false,
        Operator::Cogroup | Operator::StreamJoin => true,
        _ => !node.tables.is_empty(),
    };
    let joins = subtopology.nodes.iter().filter(|at| meets(&graph.nodes[**at]));
    let groups = joins.map(|at| {
        let met =
            |nodes: &BTreeSet<usize>| nodes.contains(at) || graph.nodes[*at].tables.iter().any(|t| nodes.contains(t));
        reached.iter().filter(|(_, nodes)| met(nodes)).map(|(source, _)| *source).collect()
    });
    groups.filter(|group: &BTreeSet<usize>| group.len() > 1).collect()
}
