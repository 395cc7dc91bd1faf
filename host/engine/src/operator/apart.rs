//! What operators let go of what they had held back: a window that closes, a row of a suppression, a record that has waited
//! for its partner or for its table. It goes its way with the results of the record that let it go. Where that has failed,
//! the record is run again and what it lets go is set apart, to be run alone: so that what the guest refuses of it is not
//! held against the record, nor against all that come behind it and would let it go again.

use super::batch::{Element, Emitted};
use super::join::{self, Pair};
use super::run::{Run, Stop};
use super::stream_join;
use crate::record::Span;
use crate::topology::{Emit, Node, SubtopologyPlan};

/// Something that a node has let go.
#[derive(Clone, Copy, Debug)]
pub struct LetGo {
    /// The node, by its place in the plan.
    at: usize,
    pub element: Element,
    rest: Rest,
}

/// What its node has yet to do with it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    Nothing,
    /// To ask the joiner about both sides.
    Join(Span, Span),
    /// To look up the row of its table, and to join them.
    LookUp,
}

impl Run<'_> {
    /// Whether anything of a subtopology is held back for later records to let go.
    pub fn can_let_go(&self) -> bool {
        let lets_go = |node: &Node| {
            node.suppression.is_some()
                || node.emit == Emit::OnWindowClose
                || node.grace_ms.is_some()
                || node.join_windows.is_some()
        };
        let SubtopologyPlan { nodes, .. } = self.subtopology;
        nodes.iter().any(|at| lets_go(&self.plan.nodes[*at]))
    }

    /// Sets apart what a node lets go; `false`: it is to give it away itself.
    pub(super) fn set_apart(&mut self, node: &Node, element: Element, rest: Rest) -> bool {
        let Some(apart) = &mut self.scratch.apart else { return false };
        let Some(at) = self.plan.nodes.iter().position(|other| std::ptr::eq(other, node)) else { return false };
        apart.push(LetGo { at, element, rest });
        true
    }

    /// Runs what was set apart, on from its node.
    pub fn let_go(&mut self, LetGo { at, element, rest }: LetGo) -> Result<(), Stop> {
        self.empty_inboxes();
        let node = &self.plan.nodes[at];
        let mut emitted = Vec::new();
        match rest {
            Rest::Nothing => emitted.push(Emitted::to_all(element)),
            Rest::Join(left, right) => stream_join::join(self, node, &[Pair { element, left, right }], &mut emitted)?,
            Rest::LookUp => join::meet(self, node, &[element], &mut emitted)?,
        }
        self.give_deep(at, emitted)
    }
}
