//! Sources of several topics: one node in a description, a source for each topic in the graph.

use std::collections::BTreeMap;

use super::{Check, Edge, NODES_MAX, Node, check_name, description};
use crate::topology::{Operator, Pattern};

impl Check {
    /// The topics of a source that has several; `None`: it has one. Of a pattern those that were found to match it.
    pub(super) fn family(&mut self, node: &description::Node, operator: Operator) -> Option<Vec<String>> {
        let what = format!("node `{}` ({})", node.name, operator.name());
        if let Some(pattern) = &node.pattern {
            if operator != Operator::Source {
                self.error(format!("{what}: only source takes `pattern`"));
            }
            if let Err(why) = Pattern::new(pattern) {
                self.error(format!("{what}: its pattern `{pattern}`: {why}"));
            }
        }
        if !node.topics.is_empty() && !matches!(operator, Operator::Source | Operator::Sink) {
            self.error(format!("{what}: only source and sink take `topics`"));
        }
        let ways = [node.topic.is_some(), !node.topics.is_empty(), node.pattern.is_some()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            self.error(format!("{what}: one of `topic`, `topics` and `pattern`"));
        }
        if node.topics.len() > NODES_MAX {
            self.error(format!("{what}: more than {NODES_MAX} topics"));
        }
        for topic in &node.topics {
            if let Err(why) = check_name(topic) {
                self.error(format!("{what}: its topic `{topic}`: {why}"));
            }
        }
        let matched = node.pattern.as_ref().and_then(|_| self.matched.get(&node.name).cloned());
        let topics = matched.unwrap_or_else(|| node.topics.clone());
        (operator == Operator::Source && !topics.is_empty()).then_some(topics)
    }

    /// A source for each topic, called like it, and one node where they meet, which has the name.
    pub(super) fn sources(&mut self, node: Node, topics: &[String]) -> usize {
        let mut inputs = Vec::with_capacity(topics.len());
        for topic in topics {
            let (name, family) = (topic.clone(), Some(node.name.clone()));
            let source = self.push(Node { name, topic: topic.clone(), family, ..node.clone() });
            if self.by_name.insert(topic.clone(), source).is_some() {
                self.twice(topic, Operator::Source);
            }
            inputs.push(Edge { node: source, branch: None });
        }
        let meets = Node::added(&node, "", Operator::Merge);
        self.push(Node { name: node.name, inputs, times: Default::default(), ..meets })
    }
}

/// Numbers the topics that are read under one number of the description: those of a source with several, those of the
/// repartitions that stand in front of one node.
pub(super) fn rank_topics(nodes: &mut [Node]) {
    let mut read = BTreeMap::new();
    for node in nodes.iter_mut().filter(|node| node.operator.is_source()) {
        let next: &mut u16 = read.entry(node.number).or_default();
        node.topic_rank = *next;
        *next = next.saturating_add(1);
    }
}
