//! What operators let go of what they had held back: a window that closes, a row of a suppression, a record that has waited
//! for its partner or for its table. It goes its way with the results of the record that let it go. Where that has failed,
//! the record is run again, and what it lets go is set apart: each is run by itself, where it would have gone, and what the
//! guest refuses of it is taken back alone. So it is not held against the record, nor against all that come behind it and
//! would let it go again.

use super::batch::{Element, Emitted};
use super::join::{self, Pair};
use super::run::{Dropped, Run, Stop};
use super::{Reached, schedule, stream_join};
use crate::functions::Fault;
use crate::record::{OutgoingMark, Span};
use crate::store::SavedStores;
use crate::topology::{Emit, Node, SubtopologyPlan};

/// What is set apart in one run, as far as it can wait: each is a call of the guest by itself, at every node behind.
const APART_ROWS_MAX: usize = 2_000;

/// What may be refused in one run: each may take a guest's time to its end, and all of them less than the group waits for a
/// member.
const REFUSED_MAX: usize = 20;

/// What one element lets go of one node where more than that is refused, or where all of it is more than a batch may be; the
/// rest goes later.
const FEW_ROWS: usize = 10;

/// How much a run lets go of what can wait. Each is tried where the one in front of it was more than a run may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Share {
    #[default]
    Many,
    Few,
    /// One row. What is more than a run may be is that row's own failure.
    One,
}

/// What is set apart in a run.
#[derive(Default)]
pub struct Apart {
    /// Of the node that is running.
    let_go: Vec<LetGo>,
    /// How many it was of all nodes.
    rows: usize,
    /// What of it was refused, and why.
    pub refused: Vec<(Element, Stop)>,
    share: Share,
    /// Whether the run has ended because that was more than it may be.
    is_spent: bool,
    /// The schedules that the task has: the node and the name of each.
    pub scheduled: Vec<(usize, String)>,
}

impl Apart {
    /// What to run again with, where this run was more than it may be; `None`: nothing else is to be tried.
    pub fn fewer(&self) -> Option<Apart> {
        let share = match self.share {
            _ if !self.is_spent => return None,
            Share::Many => Share::Few,
            Share::Few => Share::One,
            Share::One => return None,
        };
        Some(Apart { share, ..Apart::default() })
    }

    /// Notes that this run was more than it may be.
    pub fn spend(&mut self) {
        self.is_spent = true;
    }

    /// How many rows more an element may let go of a node.
    fn room(&self) -> usize {
        match self.share {
            Share::Many => APART_ROWS_MAX.saturating_sub(self.rows),
            Share::Few if self.refused.len() >= REFUSED_MAX => 0,
            Share::Few => FEW_ROWS,
            Share::One => usize::from(self.rows == 0),
        }
    }

    /// Whether a refusal more is more than this run may have: what all of them are too much for is no failure of the last one.
    fn is_spent_by(&self, is_exhausted: bool) -> bool {
        match self.share {
            Share::Many => self.is_spent || is_exhausted || self.refused.len() >= REFUSED_MAX,
            Share::Few => self.is_spent || is_exhausted,
            Share::One => false,
        }
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

/// A place within a run.
struct Saved {
    outgoing: OutgoingMark,
    dropped: Dropped,
    reached: Reached,
    stores: SavedStores,
    contested: usize,
    schedules: usize,
    refused: usize,
    commit: bool,
    delivered: usize,
    sent_bytes: usize,
    arena_bytes: usize,
    steps: usize,
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

    /// How many rows one element may let go; 0: all of them wait for later ones.
    pub(super) fn let_go_max(&self, rows_max: usize) -> usize {
        self.scratch.apart.as_ref().map_or(rows_max, |apart| apart.room().min(rows_max))
    }

    /// Sets apart what the running node lets go; `false`: it is to give it away itself.
    pub(super) fn set_apart(&mut self, element: Element, rest: Rest) -> bool {
        let Some(apart) = &mut self.scratch.apart else { return false };
        apart.let_go.push(LetGo { element, rest });
        apart.rows += 1;
        true
    }

    /// Says that what is refused now is too much for what it came with: with fewer rows it may go.
    pub(super) fn spend_apart(&mut self) {
        if let Some(apart) = &mut self.scratch.apart {
            apart.spend();
        }
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
        let saved = self.save();
        let Err(stop) = self.let_go(at, held) else {
            self.stores.keep_saved(saved.stores);
            return Ok(());
        };
        let is_exhausted = self.is_exhausted();
        match &mut self.scratch.apart {
            Some(apart) if stop.is_guilty() && !apart.is_spent_by(is_exhausted) => {}
            Some(apart) if stop.is_guilty() => {
                apart.spend();
                return Err(stop);
            }
            _ => return Err(stop),
        }
        self.back_to_saved(saved);
        if let Some(apart) = &mut self.scratch.apart {
            apart.refused.push((held.element, stop));
        }
        Ok(())
    }

    fn let_go(&mut self, at: usize, LetGo { element, rest }: LetGo) -> Result<(), Stop> {
        let node = &self.plan.nodes[at];
        let (mut emitted, asked) = (Vec::new(), self.scratch.schedules.len());
        match rest {
            Rest::Nothing => emitted.push(Emitted::to_all(element)),
            Rest::Join(left, right) => stream_join::join(self, node, &[Pair { element, left, right }], &mut emitted)?,
            Rest::LookUp => join::meet(self, node, &[element], &mut emitted)?,
        }
        self.forward_deep(at, emitted)?;
        schedule::check_room(self, asked)
    }

    fn save(&mut self) -> Saved {
        Saved {
            outgoing: self.outgoing.mark(),
            dropped: *self.dropped,
            reached: self.reached.clone(),
            stores: self.stores.save(),
            contested: self.scratch.contested.len(),
            schedules: self.scratch.schedules.len(),
            refused: self.scratch.apart.as_ref().map_or(0, |apart| apart.refused.len()),
            commit: self.scratch.commit,
            delivered: self.scratch.delivered,
            sent_bytes: self.scratch.sent_bytes,
            arena_bytes: self.batch.arena.len(),
            steps: self.batch.steps(),
        }
    }

    /// Takes back what was done since, and what it has used up.
    fn back_to_saved(&mut self, saved: Saved) {
        self.stores.back_to_saved(saved.stores);
        self.outgoing.truncate(saved.outgoing);
        (*self.dropped, *self.reached) = (saved.dropped, saved.reached);
        self.scratch.contested.truncate(saved.contested);
        self.scratch.schedules.truncate(saved.schedules);
        self.scratch.commit = saved.commit;
        (self.scratch.delivered, self.scratch.sent_bytes) = (saved.delivered, saved.sent_bytes);
        self.batch.go_back(saved.arena_bytes, saved.steps);
        self.functions.discard();
        if let Some(apart) = &mut self.scratch.apart {
            apart.let_go.clear();
            apart.refused.truncate(saved.refused);
            apart.is_spent = false;
        }
    }
}

impl Stop {
    /// Whether it is the guest's doing, or what a record came to.
    pub fn is_guilty(&self) -> bool {
        matches!(self, Stop::Rejected(_) | Stop::Fault { fault: Fault::Guest(_), .. })
    }
}
