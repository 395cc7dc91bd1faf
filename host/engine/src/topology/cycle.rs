//! Cycles: an application that, through its topics, reads what it writes. One record may then become two, the two
//! four, and nothing ends it; so a manifest has to say that it is meant (`[sinks.NAME] cycle = true`).

use std::collections::BTreeMap;

use super::{Blueprint, Node, Operator};
use crate::config::OnError;
use crate::error::{Problem, exit};

impl Blueprint {
    /// Refuses the first sink whose records come back to it without the manifest's leave.
    pub(super) fn check_cycles(&self) -> Result<(), Problem> {
        let readers = self.readers();
        for (at, node) in self.graph.nodes.iter().enumerate() {
            let declared = self.manifest.sinks.get(&node.name).is_some_and(|sink| sink.cycle);
            if node.operator == Operator::Sink
                && !declared
                && let Some(topics) = self.way_back(at, &readers)
            {
                return Err(undeclared(&node.name, topics));
            }
        }
        Ok(())
    }

    /// By topic: the node that reads it.
    fn readers(&self) -> BTreeMap<String, usize> {
        let sources = self.graph.nodes.iter().enumerate().filter(|(_, node)| node.operator.is_source());
        sources.filter_map(|(at, node)| Some((self.topic_name(node)?, at))).collect()
    }

    /// The topic that a node writes: a source's is that of its dead letters.
    fn written_by(&self, node: &Node) -> Option<String> {
        match (node.operator, self.on_error(node)) {
            (operator, _) if operator.is_sink() => self.topic_name(node),
            (operator, OnError::DeadLetter(topic)) if operator.is_source() => Some(topic.clone()),
            _ => None,
        }
    }

    /// The topics that a sink's records go through until they come back to it, its own first.
    fn way_back(&self, sink: usize, readers: &BTreeMap<String, usize>) -> Option<Vec<String>> {
        // By node: the one that led to it. Each is gone through once, however many ways lead there.
        let mut before = vec![None; self.graph.nodes.len()];
        let mut open = vec![sink];
        while let Some(at) = open.pop() {
            let node = &self.graph.nodes[at];
            let reader = self.written_by(node).and_then(|topic| readers.get(&topic).copied());
            for next in node.children.iter().map(|child| child.node).chain(reader) {
                if before[next].is_none() {
                    before[next] = Some(at);
                    open.push(next);
                }
            }
        }
        before[sink]?;
        let way = std::iter::successors(before[sink], |&at| before[at].filter(|_| at != sink));
        let sources = way.map(|at| &self.graph.nodes[at]).filter(|node| node.operator.is_source());
        let mut topics: Vec<String> = sources.filter_map(|node| self.topic_name(node)).collect();
        topics.reverse();
        Some(topics)
    }
}

fn undeclared(sink: &str, topics: Vec<String>) -> Problem {
    let line = format!("[sinks.{sink}]\ncycle = true");
    let way = topics.join(" → ");
    Problem::new(
        "UndeclaredCycle",
        "E0213",
        exit::BAD_PLAN,
        format!("what sink {sink} writes comes back to it through the application's own topics: {way}"),
    )
    .field("sink", sink)
    .field("topics", topics)
    .why("each round may write more than it read, without an end")
    .fix(format!("write to a topic that the application does not read, or, where it is meant, say so:\n{line}"))
}
