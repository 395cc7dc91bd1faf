//! Sinks whose records go where the component says: one node in a description, several in the graph.

use super::{Check, Edge, Node, description};
use crate::topology::Operator;

impl Check {
    /// Whether a node is a sink of which the component chooses topics or partitions.
    pub(super) fn is_routed(&mut self, node: &description::Node, operator: Operator) -> bool {
        if node.partitioner && operator != Operator::Sink {
            self.error(format!("node `{}` ({}): only sink takes `partitioner`", node.name, operator.name()));
        }
        operator == Operator::Sink && (node.partitioner || !node.topics.is_empty())
    }

    /// The node that asks, and a sink behind it for each topic, called like the topic. Where there is but one topic, that
    /// sink has the node's name.
    pub(super) fn route(&mut self, node: Node, topics: &[String]) -> usize {
        let suffix = if topics.is_empty() { "-route" } else { "" };
        let asks = Node { inputs: node.inputs.clone(), ..Node::added(&node, "route", Operator::Route) };
        let route = self.push(Node { name: format!("{}{suffix}", node.name), ..asks });
        let inputs = vec![Edge { node: route, branch: None }];
        for topic in topics {
            let (name, inputs) = (topic.clone(), inputs.clone());
            let sink = self.push(Node { name, topic: topic.clone(), inputs, ..node.clone() });
            if self.by_name.insert(topic.clone(), sink).is_some() {
                self.twice(topic, Operator::Sink);
            }
        }
        if topics.is_empty() { self.push(Node { inputs, ..node }) } else { route + 1 }
    }
}
