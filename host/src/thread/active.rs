//! A task this thread owns, and how far it is.

use std::time::{Duration, Instant};

use millstream_engine::record::TopicPartition;
use millstream_engine::task::{Failure, Step, Task};

use crate::desk::TaskState;

/// The wait after a store did not answer.
const STORE_BACKOFF: Duration = Duration::from_millis(200);

pub(super) struct Active {
    pub task: Task,
    pub state: State,
    /// Whether the last turn did anything: then the loop does not sleep.
    pub ran: bool,
    /// Nothing is tried before: a store did not answer.
    pub resting: Option<(Instant, String)>,
    /// When all inputs were committed, moved or not.
    pub committed_all: Instant,
    /// Highest end offset heard of each input, for lag.
    pub ends: Vec<(TopicPartition, i64)>,
}

/// ```text
/// Created ─taking committed▸ Opening ─stores open▸ Restoring ─changelogs read to their ends▸ Running
/// ```
/// An abort under at-least-once and damaged state lead back to Opening or Restoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Accepted; taking it is not committed yet.
    Created,
    /// Taken; its stores are to be opened.
    Opening,
    Restoring,
    Running,
}

impl Active {
    pub fn new(task: Task, ends: Vec<(TopicPartition, i64)>) -> Active {
        Active { task, state: State::Created, ran: false, resting: None, committed_all: Instant::now(), ends }
    }

    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether there is anything the log does not have yet, or that it has and the base has not.
    pub fn has_uncommitted(&self) -> bool {
        self.task.is_sealed() || (self.is_running() && self.task.is_touched())
    }

    pub fn is_resting(&self) -> bool {
        self.resting.as_ref().is_some_and(|(since, _)| since.elapsed() < STORE_BACKOFF)
    }

    pub fn rest(&mut self, why: String) {
        self.resting = Some((Instant::now(), why));
    }

    /// At most `steps` batches, then the punctuations that are due by the wall clock.
    pub fn step(&mut self, now: i64, steps: usize) -> Result<(), Failure> {
        self.ran = false;
        if self.is_resting() {
            return Ok(());
        }
        for _ in 0..steps {
            match self.task.step(now, usize::MAX)? {
                Step::Ran => self.ran = true,
                Step::Idle | Step::Wait(_) | Step::Full => break,
            }
        }
        while self.task.punctuate_wall_clock(now)? == Step::Ran {
            self.ran = true;
        }
        self.resting = None;
        Ok(())
    }

    pub fn hear_end(&mut self, input: TopicPartition, end: i64) {
        if let Some((_, known)) = self.ends.iter_mut().find(|(known, _)| *known == input) {
            *known = end.max(*known);
        }
    }

    pub fn shown_state(&self) -> TaskState {
        match self.state {
            State::Created => TaskState::Created,
            State::Opening | State::Restoring => TaskState::Restoring,
            State::Running => TaskState::Running,
        }
    }
}
