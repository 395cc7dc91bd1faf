//! What operators do when time goes on without records (`[task] idle_advance`): what was held back and is due is given
//! away, as by a record that moves time and does nothing else.

use super::batch::{Element, Emitted};
use super::process::{PunctuationCall, of_clock};
use super::run::{Run, Stop};
use super::{join, stream_join, suppress, windowed};
use crate::operator::reached::Reached;
use crate::record::NO_TIMESTAMP;
use crate::topology::{Emit, Node, Operator};

impl Run<'_> {
    /// Whether a node has something to give away at this time.
    pub fn is_due(&mut self, at: usize, time: i64) -> Result<bool, Stop> {
        let node = &self.plan.nodes[at];
        match (node.operator, node.window) {
            (_, Some(window)) => windowed::is_due(self, node, window, time),
            (Operator::Suppress, None) => suppress::is_due(self, node, time),
            (Operator::StreamJoinThis | Operator::StreamJoinOther, None) => stream_join::is_due(self, node, time),
            (Operator::StreamTableJoin, None) => join::is_due(self, node, time),
            _ => Ok(false),
        }
    }

    /// Takes a node's time on to that of the call, and what it gives away through the nodes behind it.
    pub fn advance(&mut self, at: usize, call: PunctuationCall<'_>) -> Result<(), Stop> {
        self.open_inboxes();
        let element = of_clock(self, call);
        let mut emitted = Vec::new();
        let plan = self.plan;
        advance(self, &plan.nodes[at], &element, &mut emitted)?;
        self.give(at, emitted)
    }
}

/// Whether more of a node's windows has closed than was given away.
pub fn has_more_closed(node: &Node, reached: &Reached) -> bool {
    node.emit == Emit::OnWindowClose && node.store.is_some_and(|store| windowed::has_more(reached, store))
}

/// What tells the next portion of them from the one before it.
pub fn next_portion(node: &Node, reached: &Reached) -> (i64, i64) {
    node.store.map_or((NO_TIMESTAMP, 0), |store| windowed::portion(reached, store))
}

fn advance(run: &mut Run<'_>, node: &Node, element: &Element, out: &mut Vec<Emitted>) -> Result<(), Stop> {
    match (node.operator, node.window) {
        (_, Some(window)) => windowed::advance(run, node, window, element, out),
        (Operator::Suppress, None) => suppress::advance(run, node, element, out),
        (Operator::StreamJoinThis | Operator::StreamJoinOther, None) => stream_join::advance(run, node, element, out),
        (Operator::StreamTableJoin, None) => join::advance(run, node, element, out),
        _ => Ok(()),
    }
}
