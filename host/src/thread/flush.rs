//! What caches hold back goes downstream before an interval is cut: it is part of it.

use millstream_engine::task::{Failure, TaskId};

use super::{Error, STEPS_PER_TURN, StreamThread, wall_clock_ms};

impl StreamThread {
    /// Goes on with it for a while, so that the log is looked after in between; `false`: there is more, or what there is
    /// must not be cut. A task whose stores do not answer is left out, and out of the cut.
    pub(super) fn flush_caches(&mut self) -> Result<bool, Error> {
        let now = wall_clock_ms();
        let holds = self.tasks.iter().filter(|(_, active)| active.is_running() && !active.is_resting());
        let holds = holds.filter(|(_, active)| active.task.is_touched() && !active.task.is_flushed());
        let ids: Vec<TaskId> = holds.map(|(id, _)| *id).collect();
        let mut is_all = true;
        for id in ids {
            let Some(active) = self.tasks.get_mut(&id) else { continue };
            match active.flush(now, STEPS_PER_TURN) {
                Ok(done) => is_all &= done,
                Err(failure @ Failure::Store(_)) => self.on_failure(id, failure)?,
                Err(failure) => {
                    self.on_failure(id, failure)?;
                    if self.has_failed_trial() {
                        return Ok(false);
                    }
                    if self.stopping.is_none() {
                        // Its trial was over a moment ago: what it holds back meets its policy at the next turn.
                        is_all = false;
                        continue;
                    }
                    // It stops. The records that it came of are behind the task, and must be before it again.
                    if let Some(active) = self.tasks.get_mut(&id) {
                        active.task.abort();
                    }
                }
            }
        }
        Ok(is_all)
    }
}
