//! Which windows the keys of a table, or of a stream made of one, are of.

use std::fmt;

use super::Node;
use crate::topology::Operator;
use crate::topology::description::Window;

/// Windows that stand behind the keys of rows or records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// How long all of them are; sessions are not equally long.
    pub size_ms: Option<i64>,
    /// How long behind its end a window may still change.
    pub open_ms: i64,
}

impl Windows {
    fn of(window: Window) -> Windows {
        let open_ms = match window {
            Window::Time { grace_ms, .. } | Window::Sliding { grace_ms, .. } => grace_ms,
            Window::Session { gap_ms, grace_ms } => gap_ms.saturating_add(grace_ms),
        };
        Windows { size_ms: window.size_ms(), open_ms }
    }

    /// Those of both, where a key of one may be a key of the other.
    fn and(self, other: Windows) -> Option<Windows> {
        let open_ms = self.open_ms.max(other.open_ms);
        self.fits(other).then_some(Windows { open_ms, ..self })
    }

    /// Whether a key of one may be a key of the other.
    pub fn fits(self, other: Windows) -> bool {
        self.size_ms == other.size_ms
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size_ms {
            Some(ms) => write!(f, "windows of {ms} ms"),
            None => f.write_str("sessions"),
        }
    }
}

/// Of each node the windows whose aggregates it has as a table. Of a join those of both sides, open for as long as either's
/// (GraphGraceSearchUtil).
pub(super) fn of_tables(nodes: &[Node]) -> Vec<Option<Windows>> {
    use Operator::*;
    behind(nodes, |operator| {
        matches!(
            operator,
            TableFilter | TableFilterNot | TableMapValues | Suppress | TableJoin | TableJoinThis | TableJoinOther
        )
    })
}

/// Of each node the windows of its keys, where these are still in the partitions that the aggregation gave them: those of
/// the keys without their windows. Under a new key, or behind a repartition topic, they are anywhere.
pub(super) fn of_keys(nodes: &[Node]) -> Vec<Option<Windows>> {
    behind(nodes, |operator| !operator.is_source() && !operator.aggregates())
}

/// The windows of aggregations, and of what comes of them through nodes that keep the key.
fn behind(nodes: &[Node], keeps: fn(Operator) -> bool) -> Vec<Option<Windows>> {
    let mut all: Vec<Option<Windows>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut of_inputs = node.inputs.iter().map(|edge| all[edge.node]);
        let windows = match (node.window, of_inputs.next().flatten()) {
            (Some(window), _) => Some(Windows::of(window)),
            (None, Some(first)) if keeps(node.operator) && !node.rekeys() => {
                of_inputs.try_fold(first, |all, other| all.and(other?))
            }
            (None, _) => None,
        };
        all.push(windows);
    }
    all
}
