//! Putting another build of the user code in the place of what runs, at a cut, and back where it fails its trial.
//!
//! ```text
//! Command::Swap ▸ no more steps ▸ cut ▸ committed and applied ▸ every task's code replaced ▸ trial ▸ Kept
//!                                                                                             └ a fault ▸ PutBack
//! ```
//! What caches hold back goes downstream as a part of the trial. Of a trial nothing is committed before it has passed,
//! unless too few records come ([`HOLD`]), the thread stops, or a task has to go or is full. Putting back drops what the
//! trial has done since and goes back to the committed offsets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use millstream_engine::task::{Failure, TaskId};
use millstream_engine::topology::Plan;

use super::active::Active;
use super::{Error, StartFunctions, StreamThread};
use crate::fail_point::{self, Point};
use crate::log::Guarantee;

/// Records a new build must process without a fault (design.md 8).
pub const TRIAL_RECORDS: u64 = 100;
/// How long a trial keeps the interval from being cut while fewer records than that have come: outputs must not wait
/// for input that may never come.
const HOLD: Duration = Duration::from_secs(1);

/// What takes the place of what runs.
pub struct Swap {
    /// Numbered like the running one ([`Plan::in_place_of`]).
    pub plan: Arc<Plan>,
    pub functions: Arc<StartFunctions>,
    /// SHA-256 of the component, for dead letters.
    pub component: Option<[u8; 32]>,
    /// `false`: it has run before, and no fault of it is held against it.
    pub on_trial: bool,
    pub verdict: SyncSender<Verdict>,
    pub permit: Permit,
}

/// Whether a swap may still happen: whoever waited for it in vain takes it back.
#[derive(Clone, Default)]
pub struct Permit(Arc<AtomicU8>);

const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Permit {
    /// `false`: it was withdrawn.
    fn take(&self) -> bool {
        self.0.compare_exchange(OPEN, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// `false`: the swap has happened.
    pub fn withdraw(&self) -> bool {
        self.0.compare_exchange(OPEN, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What became of a swap in one thread.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Every task runs the new build; the trial goes on. `gap`: how long no task of the thread ran.
    Swapped { gap: Duration },
    /// The trial has passed.
    Kept,
    /// A fault: the old build runs again, and nothing that the trial has done since the last commit is kept.
    PutBack { why: String },
}

/// Where a thread stands with a swap.
#[derive(Default)]
pub(super) enum Swapping {
    #[default]
    No,
    /// No task steps; the cut before the swap is to be committed and applied.
    Settling {
        swap: Swap,
        since: Instant,
        /// The trial of what runs: it goes on when the swap is withdrawn, and ends undecided when it happens.
        interrupted: Option<Trial>,
    },
    Trial(Trial),
    /// The trial has failed: no task steps and nothing is cut until the interval in flight has its outcome.
    Failed {
        trial: Trial,
        why: String,
    },
}

/// A build that has passed its trial, or never had one.
pub(super) struct Proven {
    plan: Arc<Plan>,
    functions: Arc<StartFunctions>,
    component: Option<[u8; 32]>,
}

pub(super) struct Trial {
    proven: Proven,
    /// Records each task had processed when the trial began.
    begun_at: BTreeMap<TaskId, u64>,
    since: Instant,
    verdict: SyncSender<Verdict>,
}

impl Trial {
    /// Records still to be processed.
    fn left(&self, tasks: &BTreeMap<TaskId, Active>) -> u64 {
        let since = |(id, active): (&TaskId, &Active)| {
            active.task.processed().saturating_sub(self.begun_at.get(id).copied().unwrap_or(0))
        };
        TRIAL_RECORDS.saturating_sub(tasks.iter().map(since).sum())
    }
}

impl StreamThread {
    /// A trial that has not failed so far waits for it: a failure of the next one goes back behind both.
    pub(super) fn begin_swap(&mut self, swap: Swap) {
        let interrupted = match std::mem::take(&mut self.swapping) {
            Swapping::No => None,
            Swapping::Settling { interrupted, .. } => interrupted,
            Swapping::Trial(trial) => Some(trial),
            failed @ Swapping::Failed { .. } => {
                self.swapping = failed;
                self.next_swap = Some(swap);
                return;
            }
        };
        self.swapping = Swapping::Settling { swap, since: Instant::now(), interrupted };
    }

    /// Whether the tasks wait for a cut before their code is replaced.
    pub(super) fn is_settling(&self) -> bool {
        matches!(self.swapping, Swapping::Settling { .. })
    }

    /// Whether what is open will be dropped, so that nothing of it may be cut.
    pub(super) fn has_failed_trial(&self) -> bool {
        matches!(self.swapping, Swapping::Failed { .. })
    }

    /// Whether no task may go on at the moment.
    pub(super) fn stands_still(&self) -> bool {
        self.is_settling() || self.has_failed_trial()
    }

    /// Whether a cut that is due has to wait: what the trial has done may have to be dropped.
    pub(super) fn is_held(&self) -> bool {
        matches!(&self.swapping, Swapping::Trial(trial) if trial.since.elapsed() < HOLD && trial.left(&self.tasks) > 0)
    }

    /// Under at-least-once outputs go ahead of their interval; those of a trial wait for it, however long it takes: what
    /// is put back has said nothing.
    pub(super) fn publishes(&self) -> bool {
        let is_on_trial = matches!(self.swapping, Swapping::Trial(_));
        self.plan.guarantee == Guarantee::AtLeastOnce && !is_on_trial && !self.has_failed_trial()
    }

    /// How many batches of how many records a task may run in one turn: a trial ends between two batches.
    pub(super) fn allowance(&self) -> (usize, usize) {
        match &self.swapping {
            Swapping::Trial(trial) => (1, usize::try_from(trial.left(&self.tasks)).unwrap_or(usize::MAX).max(1)),
            Swapping::No | Swapping::Settling { .. } | Swapping::Failed { .. } => (super::STEPS_PER_TURN, usize::MAX),
        }
    }

    /// A task that comes while a build is on trial is on trial with the others.
    pub(super) fn join_trial(&mut self, id: TaskId) {
        let trial = match &mut self.swapping {
            Swapping::Trial(trial) | Swapping::Failed { trial, .. } => trial,
            Swapping::Settling { interrupted: Some(trial), .. } => trial,
            Swapping::Settling { interrupted: None, .. } | Swapping::No => return,
        };
        if let Some(active) = self.tasks.get_mut(&id) {
            trial.begun_at.remove(&id);
            active.task.try_out();
        }
    }

    /// Goes one step on with a swap, if there is one.
    pub(super) fn go_on_swapping(&mut self) -> Result<(), Error> {
        match &self.swapping {
            Swapping::Settling { .. } if self.has_settled() => self.replace_all(),
            Swapping::Trial(trial) if trial.left(&self.tasks) == 0 => {
                // What is behind a cache has seen nothing of the trial yet.
                if self.flush_caches()? {
                    self.acquit();
                }
                Ok(())
            }
            Swapping::Failed { .. } if self.in_flight.is_none() => self.put_back(),
            Swapping::No | Swapping::Settling { .. } | Swapping::Trial(_) | Swapping::Failed { .. } => Ok(()),
        }
    }

    /// Nothing is in flight or on its way into a base, and nothing is open but over a base that takes nothing.
    fn has_settled(&self) -> bool {
        self.in_flight.is_none() && !self.tasks.values().any(Active::has_uncommitted)
    }

    fn replace_all(&mut self) -> Result<(), Error> {
        let Swapping::Settling { swap, since, interrupted } = std::mem::take(&mut self.swapping) else { return Ok(()) };
        let Swap { plan, functions, component, on_trial, verdict, permit } = swap;
        if !permit.take() {
            self.swapping = interrupted.map_or(Swapping::No, Swapping::Trial);
            return Ok(());
        }
        let running = self.run_build(Proven { plan, functions, component });
        let proven = interrupted.map_or(running, |trial| trial.proven);
        let begun_at = self.tasks.iter().map(|(id, active)| (*id, active.task.processed())).collect();
        self.replace_functions(on_trial)?;
        fail_point::pass(Point::Swap);
        // Nobody may be waiting for the answer any more.
        let _ = verdict.try_send(Verdict::Swapped { gap: since.elapsed() });
        tracing::info!(gap_ms = since.elapsed().as_millis(), on_trial, "the component was replaced");
        if on_trial {
            self.swapping = Swapping::Trial(Trial { proven, begun_at, since: Instant::now(), verdict });
        } else {
            let _ = verdict.try_send(Verdict::Kept);
        }
        Ok(())
    }

    /// Makes a build the thread's; answers the one before it.
    fn run_build(&mut self, build: Proven) -> Proven {
        Proven {
            plan: std::mem::replace(&mut self.plan, build.plan),
            functions: std::mem::replace(&mut self.functions, build.functions),
            component: std::mem::replace(&mut self.settings.component, build.component),
        }
    }

    /// Gives every task the thread's plan and an instance of its code.
    fn replace_functions(&mut self, on_trial: bool) -> Result<(), Error> {
        let mut held_back = Vec::new();
        for (id, active) in &mut self.tasks {
            active.task.set_component(self.settings.component);
            if active.task.replace(self.plan.clone(), (self.functions)(*id), on_trial) && active.is_running() {
                held_back.push(*id);
            }
        }
        held_back.into_iter().try_for_each(|id| self.start_inputs(id))
    }

    fn acquit(&mut self) {
        if !matches!(self.swapping, Swapping::Trial(_)) {
            return;
        }
        if let Swapping::Trial(trial) = std::mem::take(&mut self.swapping) {
            self.tasks.values_mut().for_each(|active| active.task.acquit());
            self.counters.swaps_kept += 1;
            let _ = trial.verdict.try_send(Verdict::Kept);
        }
    }

    /// A record failed. On trial that is the new build's end and not the application's: `None`. Else the failure comes
    /// back.
    pub(super) fn fail_trial(&mut self, failure: Failure) -> Option<Failure> {
        if let Failure::Store(_) = failure {
            return Some(failure);
        }
        match std::mem::take(&mut self.swapping) {
            Swapping::Trial(trial) => {
                let why = failure.to_string();
                tracing::error!(why, "the new build has failed on trial");
                self.swapping = Swapping::Failed { trial, why };
                None
            }
            // Another task of the same turn: the build has failed already.
            failed @ Swapping::Failed { .. } => {
                self.swapping = failed;
                None
            }
            other @ (Swapping::No | Swapping::Settling { .. }) => {
                self.swapping = other;
                Some(failure)
            }
        }
    }

    fn put_back(&mut self) -> Result<(), Error> {
        let Swapping::Failed { trial, why } = std::mem::take(&mut self.swapping) else { return Ok(()) };
        self.run_build(trial.proven);
        self.counters.swaps_put_back += 1;
        self.rewind_all()?;
        self.replace_functions(false)?;
        if let Some(swap) = self.next_swap.take() {
            self.begin_swap(swap);
        }
        tracing::warn!("the build before it runs again");
        let _ = trial.verdict.try_send(Verdict::PutBack { why });
        Ok(())
    }
}
