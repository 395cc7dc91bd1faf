//! Putting another build of the user code in the place of what runs, at a cut, and back where it fails its trial.
//!
//! ```text
//! Command::Swap ▸ no more steps ▸ cut ▸ committed and applied ▸ every task's code replaced ▸ trial ▸ Kept
//!                                                                                             └ a fault ▸ PutBack
//! ```
//! All threads try it out together, and come to one end ([`Probation`]). What caches hold back goes downstream as a part of
//! the trial. Of a trial nothing is committed before it has passed, unless too few records come ([`HOLD`]), the thread
//! stops, or a task has to go or is full. Putting back drops what the trial has done since and goes back to the committed
//! offsets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use millstream_engine::task::{Failure, TaskId};
use millstream_engine::topology::Plan;

use super::active::Active;
use super::probation::{Outcome, Probation};
use super::{Error, StartFunctions, StreamThread};
use crate::fail_point::{self, Point};
use crate::log::Guarantee;

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
    /// `None`: it has run before, and no fault of it is held against it.
    pub probation: Option<Probation>,
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

    fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Acquire) == WITHDRAWN
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
        /// The last one is the one to be made. Where it is withdrawn, the one before it counts again.
        orders: Vec<Swap>,
        since: Instant,
        /// The trial of what runs: it goes on when all swaps are withdrawn, and ends undecided when one happens.
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
    probation: Probation,
    /// Records each task had processed when they were counted last. What is dropped and processed again counts once.
    counted: BTreeMap<TaskId, u64>,
    /// This thread has said that it holds nothing of the trial back.
    is_clear: bool,
    since: Instant,
    verdict: SyncSender<Verdict>,
}

impl Trial {
    fn count(&mut self, tasks: &BTreeMap<TaskId, Active>) {
        let mut records = 0;
        for (id, active) in tasks {
            let counted = self.counted.entry(*id).or_default();
            let processed = active.task.processed();
            records += processed.saturating_sub(*counted);
            *counted = processed.max(*counted);
        }
        self.probation.count(records);
    }
}

impl StreamThread {
    /// A trial that has not failed so far waits for it: a failure of the next one goes back behind both.
    pub(super) fn begin_swap(&mut self, swap: Swap) {
        let (mut orders, since, interrupted) = match std::mem::take(&mut self.swapping) {
            Swapping::No => (Vec::new(), Instant::now(), None),
            Swapping::Settling { orders, since, interrupted } => (orders, since, interrupted),
            Swapping::Trial(trial) => (Vec::new(), Instant::now(), Some(trial)),
            failed @ Swapping::Failed { .. } => {
                self.swapping = failed;
                self.next_swaps.push(swap);
                return;
            }
        };
        orders.push(swap);
        self.swapping = Swapping::Settling { orders, since, interrupted };
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
        matches!(&self.swapping, Swapping::Trial(trial) if trial.since.elapsed() < HOLD)
    }

    /// Under at-least-once outputs go ahead of their interval; those of a trial wait for it, however long it takes: what
    /// is put back has said nothing.
    pub(super) fn publishes(&self) -> bool {
        let is_on_trial = matches!(self.swapping, Swapping::Trial(_));
        self.plan.guarantee == Guarantee::AtLeastOnce && !is_on_trial && !self.has_failed_trial()
    }

    /// How many batches of how many records a task may run in one turn: a trial ends between two batches. While other
    /// threads have still to agree to its end, records go on one by one.
    pub(super) fn allowance(&self) -> (usize, usize) {
        match &self.swapping {
            Swapping::Trial(trial) => (1, usize::try_from(trial.probation.left()).unwrap_or(usize::MAX).max(1)),
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
            trial.counted.remove(&id);
            active.task.try_out();
        }
    }

    /// Tells the other threads what this one has processed on trial since the last call.
    pub(super) fn count_trial(&mut self) {
        if let Swapping::Trial(trial) = &mut self.swapping {
            trial.count(&self.tasks);
        }
    }

    /// Goes one step on with a swap, if there is one.
    pub(super) fn go_on_swapping(&mut self) -> Result<(), Error> {
        self.forget_withdrawn();
        self.hear_outcome();
        match &self.swapping {
            Swapping::Settling { .. } if self.has_settled() => self.replace_all(),
            Swapping::Trial(trial) if !trial.is_clear && trial.probation.left() == 0 => {
                // What is behind a cache has seen nothing of the trial yet.
                if self.flush_caches()? {
                    self.clear();
                }
                Ok(())
            }
            Swapping::Failed { .. } if self.in_flight.is_none() => self.put_back(),
            Swapping::No | Swapping::Settling { .. } | Swapping::Trial(_) | Swapping::Failed { .. } => Ok(()),
        }
    }

    /// Whoever waited for a swap in vain has taken it back: an order that it came over counts again, or nothing is to be
    /// swapped and what ran goes on. Not only once it could happen: that may take as long as a disk is full.
    fn forget_withdrawn(&mut self) {
        let Swapping::Settling { orders, .. } = &mut self.swapping else { return };
        orders.retain(|swap| !swap.permit.is_withdrawn());
        if !orders.is_empty() {
            return;
        }
        if let Swapping::Settling { interrupted, .. } = std::mem::take(&mut self.swapping) {
            self.swapping = interrupted.map_or(Swapping::No, Swapping::Trial);
        }
    }

    /// Comes to the end that the threads have found together.
    fn hear_outcome(&mut self) {
        let Some(trial) = self.trial() else { return };
        match trial.probation.outcome() {
            Some(Outcome::Passed) => self.acquit(),
            Some(Outcome::Failed(why)) => {
                let why = why.clone();
                self.give_up_trial(why);
            }
            // It is decided by whoever swaps next.
            Some(Outcome::Ended) | None => {}
        }
    }

    /// The trial that goes on, or will if the swap that interrupts it is withdrawn.
    fn trial(&self) -> Option<&Trial> {
        match &self.swapping {
            Swapping::Trial(trial) | Swapping::Settling { interrupted: Some(trial), .. } => Some(trial),
            Swapping::No | Swapping::Settling { interrupted: None, .. } | Swapping::Failed { .. } => None,
        }
    }

    /// This thread has nothing left to run of the trial's records.
    fn clear(&mut self) {
        let Swapping::Trial(trial) = &mut self.swapping else { return };
        trial.is_clear = true;
        if trial.probation.clear() {
            // Once for all threads.
            self.counters.swaps_kept += 1;
        }
        self.hear_outcome();
    }

    /// Nothing is in flight or on its way into a base, and nothing is open but over a base that takes nothing.
    fn has_settled(&self) -> bool {
        self.in_flight.is_none() && !self.tasks.values().any(Active::has_uncommitted)
    }

    fn replace_all(&mut self) -> Result<(), Error> {
        let Swapping::Settling { orders, .. } = &mut self.swapping else { return Ok(()) };
        // Withdrawn this very moment: the next turn looks at those before it.
        let Some(swap) = orders.pop_if(|swap| swap.permit.take()) else { return Ok(()) };
        let Swapping::Settling { since, interrupted, .. } = std::mem::take(&mut self.swapping) else { return Ok(()) };
        let Swap { plan, functions, component, probation, verdict, .. } = swap;
        let on_trial = probation.is_some();
        let running = self.run_build(Proven { plan, functions, component });
        let proven = match interrupted {
            Some(trial) => self.end_trial(trial, running),
            None => running,
        };
        let counted = self.tasks.iter().map(|(id, active)| (*id, active.task.processed())).collect();
        self.replace_functions(on_trial)?;
        fail_point::pass(Point::Swap);
        // Nobody may be waiting for the answer any more.
        let _ = verdict.try_send(Verdict::Swapped { gap: since.elapsed() });
        tracing::info!(gap_ms = since.elapsed().as_millis(), on_trial, "the component was replaced");
        match probation {
            Some(probation) => {
                let since = Instant::now();
                self.swapping = Swapping::Trial(Trial { proven, probation, counted, is_clear: false, since, verdict });
                // Another thread may have met a fault of it already.
                self.hear_outcome();
            }
            None => {
                let _ = verdict.try_send(Verdict::Kept);
            }
        }
        Ok(())
    }

    /// Another build has taken the place of one on trial: from here on nobody decides about that one any more. Answers
    /// what a failure of the new one goes back to.
    fn end_trial(&mut self, trial: Trial, running: Proven) -> Proven {
        match trial.probation.end() {
            // In other threads, this very moment.
            Outcome::Passed => {
                self.acquit_tasks(&trial);
                running
            }
            Outcome::Failed(why) => {
                let _ = trial.verdict.try_send(Verdict::PutBack { why: why.clone() });
                trial.proven
            }
            Outcome::Ended => trial.proven,
        }
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
        let trial = match std::mem::take(&mut self.swapping) {
            Swapping::Trial(trial) => trial,
            Swapping::Settling { orders, since, interrupted: Some(trial) } => {
                self.swapping = Swapping::Settling { orders, since, interrupted: None };
                trial
            }
            other @ (Swapping::No | Swapping::Settling { interrupted: None, .. } | Swapping::Failed { .. }) => {
                self.swapping = other;
                return;
            }
        };
        self.acquit_tasks(&trial);
    }

    fn acquit_tasks(&mut self, trial: &Trial) {
        self.tasks.values_mut().for_each(|active| active.task.acquit());
        let _ = trial.verdict.try_send(Verdict::Kept);
    }

    /// A record failed. On trial that is the new build's end and not the application's: `None`. So it is where the other
    /// threads have kept the build a moment ago: the record runs again, and meets its policy. Else the failure comes back.
    pub(super) fn fail_trial(&mut self, failure: Failure) -> Option<Failure> {
        if let Failure::Store(_) = failure {
            return Some(failure);
        }
        // Another task of the same turn: the build has failed already.
        if self.has_failed_trial() {
            return None;
        }
        let Some(probation) = self.trial().map(|trial| trial.probation.clone()) else { return Some(failure) };
        let why = failure.to_string();
        if probation.fail(&why) {
            // Once for all threads.
            self.counters.swaps_put_back += 1;
        }
        match probation.has_passed() {
            true => self.acquit(),
            false => self.give_up_trial(why),
        }
        None
    }

    /// What is to be swapped next comes when this one is put back.
    fn give_up_trial(&mut self, why: String) {
        let (trial, orders) = match std::mem::take(&mut self.swapping) {
            Swapping::Trial(trial) => (trial, Vec::new()),
            Swapping::Settling { orders, interrupted: Some(trial), .. } => (trial, orders),
            other @ (Swapping::No | Swapping::Settling { interrupted: None, .. } | Swapping::Failed { .. }) => {
                self.swapping = other;
                return;
            }
        };
        tracing::error!(why, "the new build has failed on trial");
        self.next_swaps.extend(orders);
        self.swapping = Swapping::Failed { trial, why };
    }

    fn put_back(&mut self) -> Result<(), Error> {
        let Swapping::Failed { trial, why } = std::mem::take(&mut self.swapping) else { return Ok(()) };
        self.run_build(trial.proven);
        self.rewind_all()?;
        self.replace_functions(false)?;
        for swap in std::mem::take(&mut self.next_swaps) {
            self.begin_swap(swap);
        }
        tracing::warn!("the build before it runs again");
        let _ = trial.verdict.try_send(Verdict::PutBack { why });
        Ok(())
    }
}
