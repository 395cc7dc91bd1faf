//! What operators let go of what they had held back: a window that closes, a row of a suppression, a record that has waited
//! for its partner or for its table. It goes its way with the results of the record that let it go. Where that has failed,
//! the record is run again, and what it lets go is set apart: each is run by itself, where it would have gone, and what the
//! guest refuses of it is taken back alone. So it is not held against the record, nor against all that come behind it and
//! would let it go again.

use super::batch::{Element, Emitted};
use super::join::{self, Pair};
use super::run::{Run, Stop};
use super::stream_join;
use crate::functions::Fault;
use crate::record::Span;
use crate::topology::{Emit, Node, SubtopologyPlan};

/// What may be refused in one run: each may take a guest's time to its end, and all of them less than the group waits for a
/// member.
const REFUSED_MAX: usize = 20;

/// What one element lets go of one node where more than that is refused, or where all of it is more than a batch may be; the
/// rest goes later.
const FEW_ROWS: usize = 10;

/// What is set apart in a run.
#[derive(Default)]
pub struct Apart {
    /// Of the node that is running.
    let_go: Vec<LetGo>,
    /// What of it was refused, and why.
    pub refused: Vec<(Element, Stop)>,
    /// Whether one element is to let go no more than a few rows.
    few: bool,
    /// Whether the run has ended because that was more than it may be.
    is_spent: bool,
}

impl Apart {
    /// What to run again with, where this run was more than it may be; `None`: nothing else is to be tried.
    pub fn fewer(&self) -> Option<Apart> {
        (self.is_spent && !self.few).then(|| Apart { few: true, ..Apart::default() })
    }
}

#[derive(Clone, Copy, Debug)]
struct LetGo {
    element: Element,
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

    /// How many rows one element may let go.
    pub(super) fn let_go_max(&self, rows_max: usize) -> usize {
        let few = self.scratch.apart.as_ref().is_some_and(|apart| apart.few);
        let max = if few { Some(FEW_ROWS) } else { self.scratch.let_go_max };
        max.map_or(rows_max, |max| max.min(rows_max))
    }

    /// Sets apart what the running node lets go; `false`: it is to give it away itself.
    pub(super) fn set_apart(&mut self, element: Element, rest: Rest) -> bool {
        let Some(apart) = &mut self.scratch.apart else { return false };
        apart.let_go.push(LetGo { element, rest });
        true
    }

    /// Runs what a node has set apart, on from it.
    pub(super) fn forward_let_go(&mut self, at: usize) -> Result<(), Stop> {
        let Some(apart) = &mut self.scratch.apart else { return Ok(()) };
        for held in std::mem::take(&mut apart.let_go) {
            self.try_let_go(at, held)?;
        }
        Ok(())
    }

    fn try_let_go(&mut self, at: usize, held: LetGo) -> Result<(), Stop> {
        let (outgoing, dropped, reached) = (self.outgoing.mark(), *self.dropped, self.reached.clone());
        let (contested, schedules) = (self.scratch.contested.len(), self.scratch.schedules.len());
        let refused = self.scratch.apart.as_ref().map_or(0, |apart| apart.refused.len());
        let (commit, saved) = (self.scratch.commit, self.stores.save());
        let Err(stop) = self.let_go(at, held) else {
            self.stores.keep_saved(saved);
            return Ok(());
        };
        // What all of them are too much for is no failure of the last one.
        let is_spent = self.is_exhausted() || refused >= REFUSED_MAX;
        if let (Some(apart), true) = (&mut self.scratch.apart, is_spent) {
            apart.is_spent = true;
        }
        if is_spent || !stop.is_guilty() {
            return Err(stop);
        }
        self.stores.back_to_saved(saved);
        self.outgoing.truncate(outgoing);
        (*self.dropped, *self.reached) = (dropped, reached);
        self.scratch.contested.truncate(contested);
        self.scratch.schedules.truncate(schedules);
        self.scratch.commit = commit;
        self.functions.discard();
        if let Some(apart) = &mut self.scratch.apart {
            apart.let_go.clear();
            apart.refused.truncate(refused);
            apart.refused.push((held.element, stop));
        }
        Ok(())
    }

    fn let_go(&mut self, at: usize, LetGo { element, rest }: LetGo) -> Result<(), Stop> {
        let node = &self.plan.nodes[at];
        let mut emitted = Vec::new();
        match rest {
            Rest::Nothing => emitted.push(Emitted::to_all(element)),
            Rest::Join(left, right) => stream_join::join(self, node, &[Pair { element, left, right }], &mut emitted)?,
            Rest::LookUp => join::meet(self, node, &[element], &mut emitted)?,
        }
        self.forward_deep(at, emitted)
    }
}

impl Stop {
    /// Whether it is the guest's doing, or what a record came to.
    pub fn is_guilty(&self) -> bool {
        matches!(self, Stop::Rejected(_) | Stop::Fault { fault: Fault::Guest(_), .. })
    }
}
