//! The stream thread: the one loop that owns a log client and its tasks.
//!
//! ```text
//! poll ▸ events ▸ tasks step ▸ cut ▸ submit ▸ … ▸ Committed ▸ each task's sealed layer into its base
//! ```
//! One OS thread, synchronous inside. Everything that takes time — a commit, a rebalance, a restore — goes on beside
//! the loop and comes back as an event, so the loop always polls.

mod active;
mod anew;
mod commit;
mod emptied;
mod events;
mod flush;
mod globals;
mod opener;
mod probation;
mod report;
mod restore;
mod stop;
mod swap;
mod too_old;
mod truncated;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_engine::error::Problem;
use millstream_engine::functions::Functions;
use millstream_engine::record::{TopicId, TopicPartition};
use millstream_engine::store::{self, TaskStores};
use millstream_engine::task::{GlobalViews, Settings, TaskId};
use millstream_engine::topology::Plan;

use crate::desk::{Counters, Desk};
use crate::log::{self, Client, Event, Log};
use active::Active;
pub use anew::Anew;
use commit::InFlight;
pub use events::RECORD_FAILED;
pub use globals::{GlobalParts, GlobalThread};
use opener::Opener;
pub use probation::{Outcome, Probation, TRIAL_RECORDS};
use restore::Restorer;
use stop::Stopping;
use swap::Swapping;
pub use swap::{Permit, Swap, Verdict};
use too_old::TooOld;
use truncated::Truncated;

/// How long the loop sleeps in `poll` when nothing is to do: the delay of what does not come from the log, such as a
/// query or a command.
const IDLE_WAIT: Duration = Duration::from_millis(10);
/// Batches one task runs before the loop polls again: bounds how long the log is not looked after.
const STEPS_PER_TURN: usize = 4;
/// Queries answered in one turn, and for how long: the records wait meanwhile. The last of them may take longer: a page is
/// a megabyte at most, but one by time walks over what its keys have at other times.
const QUERIES_PER_TURN: usize = 32;
const QUERIES_TIME: Duration = Duration::from_millis(10);
/// How often the report is made anew.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Offsets of topics outside the subscription expire in a live group after `offsets.retention.minutes`, a day at the
/// least: every input is committed again long before.
pub const RECOMMIT_INTERVAL: Duration = Duration::from_secs(3600);
/// How long a revoked task may take to commit: far below max.poll.interval.ms (5 min), beyond any commit that works.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens the stores of a task for its incarnation.
pub type OpenStores = dyn Fn(TaskId, i64) -> Result<TaskStores, store::Error> + Send + Sync;
/// Starts the user code of a task.
pub type StartFunctions = dyn Fn(TaskId) -> Box<dyn Functions> + Send + Sync;

/// What a thread is made of.
pub struct Parts {
    pub plan: Arc<Plan>,
    pub log: Arc<dyn Log>,
    pub client: Box<dyn Client>,
    pub stores: Arc<OpenStores>,
    pub functions: Arc<StartFunctions>,
    /// Written by another thread; no task begins before they are whole.
    pub globals: GlobalViews,
    pub settings: Settings,
    pub commit_interval: Duration,
    /// How long inputs that do not move stay uncommitted: [`RECOMMIT_INTERVAL`] but for tests.
    pub recommit_interval: Duration,
    /// How long each changelog keeps its deletes, ms; one that is not named keeps them for ever.
    pub delete_retention_ms: Arc<BTreeMap<TopicId, i64>>,
    /// How old by the clock what windows and sessions write may be before their changelog deletes it, ms; one that is not
    /// named deletes nothing by the clock.
    pub deletes_after_ms: BTreeMap<TopicId, i64>,
    pub anew: Arc<Anew>,
    pub desk: Desk,
    pub commands: Receiver<Command>,
}

/// What a thread can be told.
pub enum Command {
    /// Commit, leave the group, end. `stay` keeps the static membership.
    Stop { stay: bool },
    /// End at once, with nothing more committed.
    Abandon,
    /// Put another build of the user code in the place of what runs.
    Swap(Swap),
}

/// Why a thread ended without having been told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        Error::Problem(Box::new(problem))
    }
}

pub struct StreamThread {
    plan: Arc<Plan>,
    log: Arc<dyn Log>,
    client: Box<dyn Client>,
    opener: Opener,
    functions: Arc<StartFunctions>,
    globals: GlobalViews,
    settings: Settings,
    commit_interval: Duration,
    recommit_interval: Duration,
    delete_retention_ms: Arc<BTreeMap<TopicId, i64>>,
    anew: Arc<Anew>,
    desk: Desk,
    commands: Receiver<Command>,
    tasks: BTreeMap<TaskId, Active>,
    restorer: Restorer,
    in_flight: Option<InFlight>,
    sequence: u64,
    last_cut: Instant,
    revoking: BTreeMap<TaskId, Instant>,
    stopping: Option<Stopping>,
    swapping: Swapping,
    /// Come when a failed trial was put back, in their order.
    next_swaps: Vec<Swap>,
    counters: Counters,
    disconnected: Option<String>,
    denied: Option<String>,
    last_report: Option<Instant>,
    /// Inputs that were started anew in this turn: what was fetched for them before must not be taken.
    restarted: BTreeSet<TopicPartition>,
    truncated: Truncated,
    too_old: TooOld,
}

impl StreamThread {
    pub fn new(parts: Parts) -> StreamThread {
        StreamThread {
            restorer: Restorer::new(parts.log.clone()),
            plan: parts.plan,
            log: parts.log,
            client: parts.client,
            opener: Opener::new(parts.stores),
            functions: parts.functions,
            globals: parts.globals,
            settings: parts.settings,
            commit_interval: parts.commit_interval,
            recommit_interval: parts.recommit_interval,
            delete_retention_ms: parts.delete_retention_ms,
            anew: parts.anew,
            desk: parts.desk,
            commands: parts.commands,
            tasks: BTreeMap::new(),
            in_flight: None,
            sequence: 0,
            last_cut: Instant::now(),
            revoking: BTreeMap::new(),
            stopping: None,
            swapping: Swapping::default(),
            next_swaps: Vec::new(),
            counters: Counters::default(),
            disconnected: None,
            denied: None,
            last_report: None,
            restarted: BTreeSet::new(),
            truncated: Truncated::default(),
            too_old: TooOld::new(parts.deletes_after_ms),
        }
    }

    /// Runs until it is told to stop or cannot go on. Whatever ends it, the group is left.
    pub fn run(mut self) -> Result<(), Error> {
        let mut events = Vec::new();
        let ended = loop {
            match self.turn(&mut events) {
                Ok(None) => {}
                Ok(Some(ended)) => break ended,
                Err(error) => break Err(error),
            }
        };
        let stay = self.stopping.as_ref().is_some_and(Stopping::stays);
        let remaining: Vec<TaskId> = self.tasks.keys().copied().collect();
        self.opener.end();
        for id in &remaining {
            self.close_clean(*id);
        }
        let left = self.client.release(&remaining).and_then(|()| self.client.leave(stay));
        ended.and(left.map_err(Error::from))
    }

    /// One turn of the loop; `Some` = the end.
    fn turn(&mut self, events: &mut Vec<Event>) -> Result<Option<Result<(), Error>>, Error> {
        if self.obey() {
            return Ok(Some(Ok(())));
        }
        let wait = self.wait();
        self.restarted.clear();
        self.poll(wait, events)?;
        for event in events.drain(..) {
            self.on_event(event)?;
        }
        self.apply_committed()?;
        self.mend_damaged()?;
        self.skip_truncated()?;
        self.mark_whole()?;
        self.go_on_swapping()?;
        self.restore()?;
        self.step_tasks()?;
        self.release_revoked()?;
        self.maybe_cut()?;
        self.answer_queries()?;
        self.report();
        Ok(self.ended())
    }

    /// Polls, and counts as waiting for a commit what passes while one is in flight and a task has no room left.
    fn poll(&mut self, wait: Duration, events: &mut Vec<Event>) -> Result<(), Error> {
        let full = |active: &Active| active.is_running() && active.task.is_full();
        let waits = !wait.is_zero() && self.in_flight.is_some() && self.tasks.values().any(full);
        let since = Instant::now();
        self.client.poll(wait, events)?;
        if waits {
            self.counters.commit_waiting += since.elapsed();
        }
        Ok(())
    }

    /// Sends ahead of the cut what a task has put out. What the log has no room for stays with the task, and goes with the
    /// interval at the latest: a task that has too much of it is full, and waits for that.
    fn publish(&mut self, id: TaskId) -> Result<(), Error> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(()) };
        let outgoing = active.task.take_outgoing();
        if outgoing.is_empty() {
            return Ok(());
        }
        match self.client.publish(&outgoing)? {
            true => report::count_produced(&mut self.counters, &self.plan, &outgoing),
            false => active.task.keep_outgoing(outgoing),
        }
        Ok(())
    }

    /// Whether it has to end at once.
    fn obey(&mut self) -> bool {
        match self.commands.try_recv() {
            Ok(Command::Stop { stay }) => self.stop(stay, Ok(())),
            Ok(Command::Abandon) => return true,
            Ok(Command::Swap(swap)) => self.begin_swap(swap),
            Err(TryRecvError::Empty) => {}
            // Nobody is left who could tell it to stop.
            Err(TryRecvError::Disconnected) => self.stop(false, Ok(())),
        }
        false
    }

    /// No waiting while there is work; else until the next thing is due.
    fn wait(&self) -> Duration {
        let goes_on = self.stopping.is_none() && !self.stands_still();
        let busy = |(id, active): (&TaskId, &Active)| {
            goes_on && active.is_running() && active.ran && !self.revoking.contains_key(id)
        };
        if (self.stopping.is_none() && self.restorer.is_busy()) || self.tasks.iter().any(busy) {
            return Duration::ZERO;
        }
        let until_cut = self.commit_interval.saturating_sub(self.last_cut.elapsed());
        let touched = self.tasks.values().any(|active| active.has_uncommitted());
        if touched { IDLE_WAIT.min(until_cut.max(Duration::from_millis(1))) } else { IDLE_WAIT }
    }

    /// Lets every running task go on for a while.
    fn step_tasks(&mut self) -> Result<(), Error> {
        let (now, stopped) = (wall_clock_ms(), self.stopping.is_some() || self.stands_still());
        let paused = self.desk.is_paused();
        let ((steps, records), publishes) = (self.allowance(), self.publishes());
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            let may_take = !stopped && !self.revoking.contains_key(&id);
            let Some(active) = self.tasks.get_mut(&id).filter(|active| active.is_running() && may_take) else {
                continue;
            };
            let stepped = if paused { active.pause() } else { active.step(now, steps, records) };
            for input in active.task.inputs() {
                self.client.want(input, active.task.wants(input));
            }
            if publishes {
                self.publish(id)?;
            }
            if let Err(failure) = stepped {
                self.on_failure(id, failure)?;
            }
        }
        self.count_trial();
        Ok(())
    }

    /// What fails for a query is mended as what fails for a record.
    fn answer_queries(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        for _ in 0..QUERIES_PER_TURN {
            if begun.elapsed() > QUERIES_TIME {
                break;
            }
            let Some(request) = self.desk.next() else { break };
            let (reply, failed) = report::answer(&self.plan, &self.tasks, &request.query);
            // Nobody may be waiting any more.
            let _ = request.reply.try_send(reply);
            failed.into_iter().try_for_each(|(id, error)| self.on_store_error(id, error))?;
        }
        Ok(())
    }

    fn report(&mut self) {
        if self.last_report.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        self.last_report = Some(Instant::now());
        let hindered = self.disconnected.clone().or_else(|| self.denied.clone());
        let warnings = self.truncated.warnings();
        self.tasks.values_mut().for_each(Active::measure);
        let made = report::make(&self.plan, &self.tasks, &self.restorer, &self.counters, hindered, warnings);
        self.desk.publish(made);
    }

    /// Tasks of the interval in flight, while nobody knows what becomes of it.
    fn tasks_undecided(&self) -> BTreeSet<TaskId> {
        let undecided = self.in_flight.iter().filter(|in_flight| in_flight.committed.is_none());
        undecided.flat_map(|in_flight| in_flight.tasks.iter().copied()).collect()
    }
}

/// Milliseconds since the epoch.
fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
