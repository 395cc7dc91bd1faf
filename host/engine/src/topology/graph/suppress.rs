//! Suppressions: how long they hold updates back, which for final results the windows in front of them say.

use super::{Check, Edge, Graph, Node, description, join, windows};
use crate::topology::Operator;
use crate::topology::description::Suppress;

/// What a suppression does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppression {
    pub buffer: Suppress,
    /// How long an update waits, from its time or its window's end on.
    pub wait_ms: i64,
    /// Until windows close: where in a key the end of its window stands.
    pub end: Option<WindowEnd>,
    /// How long the windows in front of it are, where all are equally long: their ends are not kept (semantics.md B24).
    pub window_ms: Option<i64>,
}

/// Which of the two times behind a key is the window's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowEnd {
    /// Of a session.
    First,
    Last,
}

/// What suppresses a table that keeps versions, which is refused as Kafka Streams refuses it: held back, a version of the past
/// would take the place of a later one (KIP-914).
pub(super) fn of_versions(graph: &Graph) -> Vec<String> {
    let suppressions = graph.nodes.iter().filter(|node| node.operator == Operator::Suppress);
    let keeps_versions = |node: &&Node| join::keeps_versions(&graph.nodes, &graph.stores, node.inputs[0].node);
    let refused = |node: &Node| {
        let table = &graph.nodes[node.inputs[0].node].name;
        format!(
            "node `{}` (suppress): `{table}` keeps versions, and only a table of the latest rows is suppressed",
            node.name
        )
    };
    suppressions.filter(keeps_versions).map(refused).collect()
}

impl Check {
    /// Says what a suppression does; where it cannot be, that it is refused.
    pub(super) fn suppression(
        &mut self,
        node: &description::Node,
        operator: Operator,
        inputs: &[Edge],
    ) -> Option<Suppression> {
        let what = format!("node `{}` ({})", node.name, operator.name());
        let buffer = match (node.suppress, operator == Operator::Suppress) {
            (Some(buffer), true) => buffer,
            (None, true) => {
                self.error(format!("{what}: say how long it suppresses: until a time limit, or a window's close"));
                return None;
            }
            (Some(_), false) => {
                self.error(format!("{what}: only suppress takes `suppress`"));
                return None;
            }
            (None, false) => return None,
        };
        if let Err(why) = buffer.check() {
            self.error(format!("{what}: {why}"));
        }
        let windows = inputs.first().and_then(|edge| windows::of_tables(&self.nodes)[edge.node]);
        let window_ms = windows.and_then(|windows| windows.size_ms);
        let (wait_ms, end) = match (buffer, windows) {
            (Suppress::TimeLimit { ms, .. }, _) => (ms, None),
            (Suppress::WindowClose { .. }, Some(windows)) => {
                let end = if window_ms.is_some() { WindowEnd::Last } else { WindowEnd::First };
                (windows.open_ms, Some(end))
            }
            (Suppress::WindowClose { .. }, None) => {
                self.error(format!("{what}: there are no windows in front of it that could close"));
                return None;
            }
        };
        Some(Suppression { buffer, wait_ms, end, window_ms })
    }
}
