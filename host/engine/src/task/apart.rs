//! Running what a node lets go apart from what has let it go, where the guest has refused one of them: only what is refused
//! meets the policy, and time goes on.

use std::collections::VecDeque;

use super::{Failure, Task};
use crate::config::OnError;
use crate::functions::Fault;
use crate::operator::{Element, Run, Stop};

impl Task {
    /// Whether it would be of use.
    pub(super) fn can_run_apart(&mut self) -> bool {
        let mut can = false;
        let _ = self.run(|run| {
            can = run.can_let_go();
            Ok(())
        });
        can
    }

    /// Runs something, then each of what it lets go; `judge` decides on those that fail. Answers why it failed by itself.
    /// Then, and after an error, all is as before.
    pub(super) fn run_apart(
        &mut self,
        start: impl FnOnce(&mut Run<'_>) -> Result<(), Stop>,
        judge: impl FnMut(&mut Task, Stop, &Element) -> Result<(), Failure>,
    ) -> Result<Option<Stop>, Failure> {
        let before = self.before();
        self.scratch.apart = Some(Vec::new());
        let ran = match self.run(start).and_then(|()| self.keep_schedules()) {
            Ok(()) => self.run_let_go(judge).map(|()| None),
            Err(stop) => guilty(stop).map(Some),
        };
        self.scratch.apart = None;
        if let Ok(None) = ran {
            self.open.dropped.late += self.stores.take_late();
            self.stores.keep_batch();
            self.touched = true;
        } else {
            self.undo(before);
        }
        ran
    }

    /// Depth first, as they would have gone.
    fn run_let_go(
        &mut self,
        mut judge: impl FnMut(&mut Task, Stop, &Element) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.wants_commit |= self.scratch.commit;
        let mut waiting = VecDeque::from(self.take_apart());
        while let Some(next) = waiting.pop_front() {
            let (before, mark) = (self.before(), self.batch.mark());
            self.stores.save();
            if let Err(stop) = self.run(|run| run.let_go(next)).and_then(|()| self.keep_schedules()) {
                let stop = guilty(stop)?;
                self.stores.back_to_saved();
                self.undo_but_stores(before);
                self.take_apart();
                judge(self, stop, &next.element)?;
                self.batch.truncate(mark);
                continue;
            }
            self.wants_commit |= self.scratch.commit;
            let more = self.take_apart();
            if more.is_empty() {
                self.batch.truncate(mark);
            }
            more.into_iter().rev().for_each(|next| waiting.push_front(next));
        }
        Ok(())
    }

    fn take_apart(&mut self) -> Vec<crate::operator::LetGo> {
        self.scratch.apart.replace(Vec::new()).unwrap_or_default()
    }

    /// Drops what was let go without a record.
    pub(super) fn skip_let_go(&mut self, stop: Stop, _: &Element) -> Result<(), Failure> {
        self.count_fault(&stop);
        self.open.dropped.skipped += 1;
        Ok(())
    }

    /// Whether what the user code refuses without a record is dropped.
    pub(super) fn skips_without_record(&self) -> bool {
        self.plan.punctuation_policy == OnError::Skip && self.on_trial.is_none()
    }

    /// Whether what failed without a record is to be run apart.
    pub(super) fn helps_without_record(&mut self, stop: &Stop) -> bool {
        is_guilty(stop) && self.skips_without_record() && self.can_run_apart()
    }
}

fn is_guilty(stop: &Stop) -> bool {
    matches!(stop, Stop::Rejected(_) | Stop::Fault { fault: Fault::Guest(_), .. })
}

/// What is no fault of the user code ends the step.
pub(super) fn guilty(stop: Stop) -> Result<Stop, Failure> {
    match stop {
        Stop::Store(error) | Stop::Fault { fault: Fault::Host(error), .. } => Err(error.into()),
        Stop::Unreadable(unreadable) => Err(Failure::Unreadable(unreadable)),
        stop => Ok(stop),
    }
}
