//! Running what nodes let go apart from what has let it go, where the guest has refused one of them: only what is refused
//! meets the policy, and time goes on.

use super::{Failure, Task};
use crate::frame::Context;
use crate::functions::Fault;
use crate::operator::{Apart, Element, Run, Stop};

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

    /// Runs something and what it lets go, as that of a record or of none; `judge` decides on what is refused. Answers why it
    /// failed by itself. Then, and after an error, all is as before.
    pub(super) fn run_apart(
        &mut self,
        of: Option<Context>,
        mut start: impl FnMut(&mut Run<'_>) -> Result<(), Stop>,
        mut judge: impl FnMut(&mut Task, Stop, &Element) -> Result<(), Failure>,
    ) -> Result<Option<Stop>, Failure> {
        let mut apart = Apart::default();
        loop {
            let before = self.before();
            self.begin_without_records();
            self.batch.contexts.extend(of);
            apart.scheduled = self.open.clocks.schedules();
            self.scratch.apart = Some(apart);
            let ran = self.run(&mut start).and_then(|()| self.keep_schedules());
            let mut ended = self.scratch.apart.take().unwrap_or_default();
            if let Err(stop) = &ran
                && stop.is_guilty()
                && self.is_exhausted()
            {
                ended.spend();
            }
            if let Some(fewer) = ended.fewer() {
                self.undo(before);
                apart = fewer;
                continue;
            }
            let judged = match ran {
                Ok(()) => ended.refused.into_iter().try_for_each(|(element, stop)| judge(self, stop, &element)),
                Err(stop) => {
                    self.undo(before);
                    return guilty(stop).map(Some);
                }
            };
            match judged {
                Ok(()) => self.keep_without_record(),
                Err(_) => self.undo(before),
            }
            return judged.map(|()| None);
        }
    }

    /// Whether what has just run was more than a batch may be.
    fn is_exhausted(&mut self) -> bool {
        let mut is_exhausted = false;
        let _ = self.run(|run| {
            is_exhausted = run.is_exhausted();
            Ok(())
        });
        is_exhausted
    }

    /// Keeps what a batch without records of its own has done.
    pub(super) fn keep_without_record(&mut self) {
        self.open.dropped.late += self.stores.take_late();
        self.stores.keep_batch();
        self.wants_commit |= self.scratch.commit;
        self.touched = true;
    }
}

/// What is no fault of the user code ends the step.
pub(super) fn guilty(stop: Stop) -> Result<Stop, Failure> {
    match stop {
        Stop::Store(error) | Stop::Fault { fault: Fault::Host(error), .. } => Err(error.into()),
        Stop::Unreadable(unreadable) => Err(Failure::Unreadable(unreadable)),
        stop => Ok(stop),
    }
}
