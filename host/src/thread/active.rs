//! A task this thread owns, and how far it is.

use std::time::{Duration, Instant};

use millstream_engine::config::Provider;
use millstream_engine::error::Problem;
use millstream_engine::record::TopicPartition;
use millstream_engine::task::{Cut, Failure, Inputs, Step, Task};

use crate::desk::{Full, TaskState};

/// How often providers are asked for the sizes of their stores, and how long not when one did not answer.
const SIZES_EVERY: Duration = Duration::from_secs(2);
const SIZES_AFTER_SILENCE: Duration = Duration::from_secs(30);
/// The wait after a store did not answer.
const STORE_BACKOFF: Duration = Duration::from_millis(200);

pub(super) struct Active {
    pub task: Task,
    pub state: State,
    /// Whether the last turn did anything: then the loop does not sleep.
    pub ran: bool,
    /// Nothing is tried before: a store did not answer.
    pub resting: Option<Resting>,
    /// When all inputs were committed last, moved or not.
    committed_all: Instant,
    /// Which of them the interval commits that was cut last.
    cut: Inputs,
    /// When its bases were last told that they hold all of their changelogs.
    pub marked_whole: Instant,
    /// Entries and bytes of its stores, by place, as they were told last.
    pub sizes: Vec<(u64, u64)>,
    /// When providers are asked for theirs again; `None`: at once.
    sizes_due: Option<Instant>,
    /// Highest end offset heard of each input, for lag.
    pub ends: Vec<(TopicPartition, i64)>,
}

/// Why a task waits for its stores.
pub(super) struct Resting {
    since: Instant,
    /// They hold as much as they may.
    full: Option<Full>,
    /// Why one does not answer, be it full or not.
    pub silent: Option<String>,
}

impl Resting {
    /// `before`: the rest that goes on. That a store does not answer says nothing of its room.
    fn silent(before: Option<Resting>, why: String) -> Resting {
        let full = before.and_then(|before| before.full);
        Resting { since: Instant::now(), full, silent: Some(why) }
    }

    fn full(before: Option<Resting>, problem: Problem) -> Resting {
        let full = Full::again(before.and_then(|before| before.full), problem);
        Resting { since: Instant::now(), full: Some(full), silent: None }
    }

    /// What is left of it when they have answered. That they can be read says nothing of their room.
    fn answered(self) -> Option<Resting> {
        self.full.is_some().then_some(Resting { silent: None, ..self })
    }

    pub fn why(&self) -> String {
        self.silent.clone().or_else(|| self.full.as_ref().map(Full::why)).unwrap_or_default()
    }
}

/// ```text
/// Created ─taking committed▸ Opening ─stores open▸ Locating ─ends known▸ Restoring ─read to the ends▸ Running
///                                                     ▲                       │                        │
///                                                     └────wiped── Damaged ◀──┴────────────────────────┤
///                                                     └──────────────── aborted under at-least-once ───┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Accepted; taking it is not committed yet.
    Created,
    /// Taken; its stores are to be opened.
    Opening,
    /// Its stores are open; where their changelogs end is to be asked.
    Locating,
    Restoring,
    Running,
    /// Its state cannot be trusted. It is wiped when no interval of the task is in flight any more: only then is it
    /// known up to where its changelogs are this task's.
    Damaged,
}

impl Active {
    pub fn new(task: Task, ends: Vec<(TopicPartition, i64)>) -> Active {
        let now = Instant::now();
        let (committed_all, marked_whole) = (now, now);
        let (state, cut, sizes, sizes_due) = (State::Created, Inputs::Moved, Vec::new(), None);
        Active { task, state, ran: false, resting: None, committed_all, cut, marked_whole, sizes, sizes_due, ends }
    }

    /// Puts taking it into an interval: where each input begins.
    pub fn cut_taking(&mut self, cut: &mut Cut) {
        self.cut = Inputs::All;
        self.task.seal_taking(cut);
    }

    /// Puts what it has to commit into an interval, and all its inputs where the last that had them was committed so long
    /// ago. Answers whether there was anything. One that holds something back could not give it downstream: it waits for
    /// its stores.
    pub fn cut_open(&mut self, sequence: i64, recommit_interval: Duration, cut: &mut Cut) -> bool {
        let again = self.committed_all.elapsed() >= recommit_interval;
        let is_ready = self.is_running() && self.task.is_flushed();
        if !is_ready || !(again || self.task.is_touched()) {
            return false;
        }
        self.cut = if again { Inputs::All } else { Inputs::Moved };
        self.task.seal(sequence, self.cut, cut);
        true
    }

    /// The log has the interval that was cut last. Only now is what it says of the inputs there.
    pub fn on_committed(&mut self) {
        if self.cut == Inputs::All {
            self.committed_all = Instant::now();
        }
        self.task.on_committed();
    }

    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether there is anything that a last commit would bring into the log. What the log has and the base has not is
    /// in the changelog; and what is open over a base that takes nothing is done again by the next owner.
    pub fn has_uncommitted(&self) -> bool {
        self.task.is_in_flight() || (self.is_running() && self.resting.is_none() && self.task.is_touched())
    }

    /// Whether its bases hold all that its changelogs say: nothing of it is on its way there.
    pub fn is_whole(&self) -> bool {
        self.is_running() && self.resting.is_none() && !self.task.is_sealed()
    }

    /// Whether its base takes what the log has committed. Where the base is to be restored first, the changelog has it.
    pub fn takes_committed(&self) -> bool {
        matches!(self.state, State::Created | State::Running)
    }

    pub fn is_resting(&self) -> bool {
        self.resting.as_ref().is_some_and(|resting| resting.since.elapsed() < STORE_BACKOFF)
    }

    pub fn rest(&mut self, why: String) {
        self.resting = Some(Resting::silent(self.resting.take(), why));
    }

    /// Waits until its stores may hold more.
    pub fn rest_full(&mut self, problem: Problem) {
        self.resting = Some(Resting::full(self.resting.take(), problem));
    }

    /// Why its stores take nothing more now.
    pub fn is_full(&self) -> Option<&Problem> {
        self.full().map(|full| &full.problem)
    }

    pub fn full(&self) -> Option<&Full> {
        self.resting.as_ref()?.full.as_ref()
    }

    /// At most `steps` batches of at most `records`, then the punctuations that are due by the wall clock.
    pub fn step(&mut self, now: i64, steps: usize, records: usize) -> Result<(), Failure> {
        self.ran = false;
        if self.is_resting() {
            return Ok(());
        }
        for _ in 0..steps {
            match self.task.step(now, records)? {
                Step::Ran => self.ran = true,
                Step::Idle | Step::Wait(_) | Step::Full => break,
            }
        }
        while self.task.punctuate_wall_clock(now)? == Step::Ran {
            self.ran = true;
        }
        self.resting = self.resting.take().and_then(Resting::answered);
        Ok(())
    }

    /// Gives downstream what the task's caches hold back, at most `steps` portions of it. Answers whether that is all.
    pub fn flush(&mut self, now: i64, steps: usize) -> Result<bool, Failure> {
        for _ in 0..steps {
            if self.task.flush(now)? == Step::Idle {
                return Ok(true);
            }
            self.ran = true;
        }
        Ok(self.task.is_flushed())
    }

    /// Does nothing, in the place of [`Active::step`].
    pub fn pause(&mut self) -> Result<(), Failure> {
        self.ran = false;
        Ok(())
    }

    /// Asks its stores how large they are. A provider is called for that, over the network perhaps, while all other tasks
    /// wait: seldom, and not while one does not answer.
    pub fn measure(&mut self) {
        let (stores, plan) = (self.task.stores(), self.task.plan());
        let is_called = |number: u32| matches!(plan.stores[number as usize].provider, Provider::Component(_));
        let calls = stores.slots().any(|slot| is_called(slot.number));
        let is_due =
            self.is_running() && self.resting.is_none() && self.sizes_due.is_none_or(|at| at <= Instant::now());
        if calls && !is_due {
            return;
        }
        self.sizes.resize(stores.slots().count(), (0, 0));
        let mut silent = false;
        for (place, size) in self.sizes.iter_mut().enumerate() {
            let told = stores.entries(place).and_then(|entries| Ok((entries, stores.bytes(place)?)));
            silent |= told.is_err();
            *size = told.unwrap_or(*size);
        }
        self.sizes_due = Some(Instant::now() + if silent { SIZES_AFTER_SILENCE } else { SIZES_EVERY });
    }

    pub fn hear_end(&mut self, input: TopicPartition, end: i64) {
        if let Some((_, known)) = self.ends.iter_mut().find(|(known, _)| *known == input) {
            *known = end.max(*known);
        }
    }

    pub fn shown_state(&self) -> TaskState {
        match self.state {
            State::Created => TaskState::Created,
            State::Opening | State::Locating | State::Restoring | State::Damaged => TaskState::Restoring,
            State::Running => TaskState::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_engine::error::exit;

    use super::*;

    #[test]
    fn a_store_that_does_not_answer_in_between_does_not_make_it_full_anew() {
        let problem = || Problem::new("StateFull", "E0705", exit::FAILED, "it is full");
        let first = Resting::full(None, problem());
        let since = first.full.as_ref().map(|full| full.since);
        let silent = Resting::silent(Some(first), "away".to_owned());
        assert_eq!(silent.why(), "away");
        let again = Resting::full(silent.answered(), problem());
        assert_eq!(again.full.as_ref().map(|full| full.since), since);
        assert!(again.silent.is_none() && again.why().contains("E0705"), "{}", again.why());
        assert!(Resting::silent(None, "away".to_owned()).answered().is_none(), "it was not full");
    }
}
