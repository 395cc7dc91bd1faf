//! One step of a task: at most one batch, or one record of a replay, or one punctuation.

use super::apart::guilty;
use super::choose::ChosenRecord;
use super::stamp::Exception;
use super::{Clocks, Failure, Progress, Task};
use crate::operator::{Dropped, Element, PunctuationCall, Run, Stop};
use crate::record::OutgoingMark;
use crate::topology::PunctuationTime;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It went on; call again.
    Ran,
    /// Nothing to do until more records come.
    Idle,
    /// A retry waits until this wall-clock time in ms.
    Wait(i64),
    /// The open interval is full: nothing more is taken until it was cut.
    Full,
}

/// A task between two batches.
pub(super) struct Before {
    outgoing: OutgoingMark,
    dropped: Dropped,
    dead_letters: u64,
    clocks: Clocks,
}

impl Task {
    /// Runs at most `records` records. `now` is wall-clock time in ms.
    pub fn step(&mut self, now: i64, records: usize) -> Result<Step, Failure> {
        self.now = self.now.max(now);
        if self.is_full() {
            return Ok(Step::Full);
        }
        if self.flushing {
            let step = self.flush(now)?;
            return Ok(if step == Step::Idle { Step::Full } else { step });
        }
        if let Some(at) = self.cache_due() {
            return match self.go_on_closing_behind(at, now)? {
                Some(step) => Ok(step),
                None => self.flush_some(at),
            };
        }
        if let Some(step) = self.go_on_closing(now)? {
            return Ok(step);
        }
        if self.chosen.is_empty() {
            if let Some(step) = self.go_on_punctuating()? {
                return Ok(step);
            }
            if let Some(at) = self.open.clocks.due_by_stream_time() {
                let time = self.open.clocks.stream_time();
                return self.punctuate(at, time, 0, None);
            }
            if self.stamp(now)? {
                return Ok(Step::Ran);
            }
            self.choose(self.settings.batch_records.min(records), now);
        }
        if self.chosen.is_empty() {
            self.step_over_ends();
            return self.go_on_idle(now);
        }
        if now < self.chosen.not_before {
            // No further away than it was when the wait began: the clock may have gone back.
            let backoff_ms = self.plan.policies[self.chosen.records[self.chosen.cursor].source].retry_backoff_ms;
            self.chosen.not_before = self.chosen.not_before.min(now.saturating_add(backoff_ms));
            return Ok(Step::Wait(self.chosen.not_before));
        }
        self.run_chosen(now)
    }

    /// Fires one wall-clock punctuation that is due, between batches. Where it goes on, the next steps do.
    pub fn punctuate_wall_clock(&mut self, now: i64) -> Result<Step, Failure> {
        self.now = self.now.max(now);
        self.open.clocks.look_at_wall_clock(now);
        if self.flushing || self.cache_due().is_some() || self.closing().next().is_some() || self.is_punctuating() {
            return Ok(Step::Idle);
        }
        match self.open.clocks.due_by_wall_clock(now) {
            Some(at) if self.chosen.is_empty() && !self.is_full() => self.punctuate(at, now, 0, None),
            _ => Ok(Step::Idle),
        }
    }

    /// When the next wall-clock punctuation is due.
    pub fn next_wall_clock(&self) -> Option<i64> {
        self.open.clocks.next_wall_clock()
    }

    /// Whether the open interval must be cut before it goes on.
    pub fn is_full(&self) -> bool {
        self.stores.uncommitted_bytes() + self.outgoing.bytes() >= self.settings.open_bytes
    }

    fn run_chosen(&mut self, now: i64) -> Result<Step, Failure> {
        self.quiet = None;
        let window = self.chosen.window();
        let mark = self.outgoing.mark();
        let dropped = self.open.dropped;
        let reached = self.open.clocks.reached.clone();
        self.begin_without_records();
        if let Some(Exception::Failed(why)) = &self.chosen.records[self.chosen.cursor].exception {
            let stop = why.stop();
            return self.judge(stop, now);
        }
        let chosen = &self.chosen.records[window.clone()];
        self.batch.contexts.extend(chosen.iter().map(|record| record.context));
        let mut heads = std::mem::take(&mut self.heads);
        heads.clear();
        let head =
            |(at, record): (usize, &ChosenRecord)| (record.source, Element { context: at as u32, ..record.element });
        heads.extend(chosen.iter().enumerate().filter(|(_, record)| record.exception.is_none()).map(head));
        let is_replay = self.chosen.single;
        let ran = self.run(|run| run.records(&heads, is_replay)).and_then(|()| self.keep_schedules());
        self.heads = heads;
        // Batches must not be seen: which record fills a cache is found one by one.
        let fills_cache = ran.is_ok() && window.len() > 1 && self.stores.has_full_cache();
        match ran {
            Ok(()) if !fills_cache => {
                self.open.dropped.late += self.stores.take_late();
                self.stores.keep_batch();
                self.wants_commit |= self.scratch.commit;
                self.advance(window);
                Ok(Step::Ran)
            }
            ran => {
                self.stores.drop_batch();
                self.outgoing.truncate(mark);
                self.open.dropped = dropped;
                self.open.clocks.reached = reached;
                self.functions.discard();
                match ran {
                    Err(stop) => self.stopped(stop, now),
                    Ok(()) => {
                        self.chosen.single = true;
                        Ok(Step::Ran)
                    }
                }
            }
        }
    }

    fn stopped(&mut self, stop: Stop, now: i64) -> Result<Step, Failure> {
        let stop = guilty(stop)?;
        // Judged only once it has run alone and deep.
        if !self.chosen.single {
            self.chosen.single = true;
            return Ok(Step::Ran);
        }
        self.judge(stop, now)
    }

    /// Moves behind the records of the window: they are done, with or without effects.
    pub(super) fn advance(&mut self, window: std::ops::Range<usize>) {
        self.open.processed += window.len() as u64;
        for at in window {
            let record = &self.chosen.records[at];
            self.open.offsets[record.input] = record.offset + 1;
            match record.exception {
                Some(Exception::Skipped) => self.open.dropped.timestamp += 1,
                Some(Exception::Dropped) => self.open.dropped.by_guest += 1,
                Some(Exception::Failed(_)) => {}
                None => self.open.clocks.observe(record.input, record.context.timestamp),
            }
        }
        self.chosen.cursor = self.chosen.window().end;
        self.chosen.attempts = 0;
        self.chosen.not_before = 0;
        self.touched = true;
        self.step_over_ends();
    }

    /// Where an input is empty, its position is the log's: it steps over transaction markers (semantics.md B14).
    pub(super) fn step_over_ends(&mut self) {
        for at in 0..self.queues.len() {
            let waiting = self.chosen.records[self.chosen.cursor..].iter().any(|chosen| chosen.input == at);
            if let (false, Some(end)) = (waiting, self.queues[at].end())
                && end > self.open.offsets[at]
            {
                self.open.offsets[at] = end;
                self.touched = true;
            }
        }
    }

    /// Fires a punctuation, or the portion of it that goes on from this token.
    pub(super) fn punctuate(
        &mut self,
        timer: usize,
        time: i64,
        portion: u32,
        token: Option<&[u8]>,
    ) -> Result<Step, Failure> {
        let due = self.open.clocks.timers[timer];
        let name = self.open.clocks.scheduled.get(&due.punctuation).cloned();
        let call = PunctuationCall {
            name: name.as_deref(),
            portion,
            token,
            number: due.punctuation,
            time,
            stream_time: self.open.clocks.stream_time(),
            partition: self.id.partition,
            seed: self.punctuation_seed(due.node, time, portion),
        };
        let (mark, before) = (self.outgoing.mark(), self.before());
        self.begin_without_records();
        let ran = self.run(|run| run.punctuation(due.node, call));
        // It has fired before it goes on, is cancelled, or made anew.
        self.open.clocks.has_fired(timer, time, portion);
        let ran = ran.and_then(|()| self.keep_schedules());
        if let Err(stop) = ran {
            self.undo(before);
            let what = self.named(due, time);
            // Whatever the policy, as with what a record lets go.
            let stop = match stop.is_guilty() && self.can_run_apart() {
                false => Some(stop),
                true => self.punctuate_apart(timer, call, &what)?,
            };
            if let Some(stop) = stop {
                self.judge_time(stop, due.node, &what)?;
                self.open.clocks.has_fired(timer, time, portion);
            }
        } else {
            self.wants_commit |= self.scratch.commit;
        }
        self.open.dropped.late += self.stores.take_late();
        self.stores.keep_batch();
        // A wall-clock punctuation that did nothing leaves nothing to commit: its grid is not kept.
        self.touched |= due.time == PunctuationTime::Stream || self.outgoing.mark() != mark || self.has_changes();
        // One that goes on, or has gone on, has moved by that.
        self.touched |= self.is_punctuating() || token.is_some();
        Ok(Step::Ran)
    }

    /// The same with what it lets go run apart; answers why it failed by itself. Then it has not fired.
    fn punctuate_apart(
        &mut self,
        timer: usize,
        call: PunctuationCall<'_>,
        what: &str,
    ) -> Result<Option<Stop>, Failure> {
        let (due, under_way) = (self.open.clocks.timers[timer], self.open.clocks.under_way.clone());
        self.open.clocks.has_fired(timer, call.time, call.portion);
        let judge = |task: &mut Task, stop, _: &Element| task.judge_let_go(stop, due.node, what);
        let ran = self.run_apart(None, |run| run.punctuation(due.node, call), judge);
        if !matches!(ran, Ok(None)) {
            self.open.clocks.timers[timer] = due;
            self.open.clocks.under_way = under_way;
        }
        ran
    }

    /// Begins a batch of its own. Records that are chosen already wait in the same arena.
    pub(super) fn begin_without_records(&mut self) {
        self.batch.rewind(self.chosen.bytes);
        self.batch.contexts.clear();
    }

    /// What `undo` goes back to.
    pub(super) fn before(&self) -> Before {
        let Progress { dropped, dead_letters, clocks, .. } = &self.open;
        let (dropped, dead_letters, clocks) = (*dropped, *dead_letters, clocks.clone());
        Before { outgoing: self.outgoing.mark(), dropped, dead_letters, clocks }
    }

    /// Takes back what a batch without records of its own has done.
    pub(super) fn undo(&mut self, before: Before) {
        self.stores.drop_batch();
        self.outgoing.truncate(before.outgoing);
        self.open.dropped = before.dropped;
        self.open.dead_letters = before.dead_letters;
        self.open.clocks = before.clocks;
        self.functions.discard();
    }

    fn has_changes(&self) -> bool {
        self.stores.uncommitted_bytes() > 0
    }

    pub(super) fn run(&mut self, start: impl FnOnce(&mut Run<'_>) -> Result<(), Stop>) -> Result<(), Stop> {
        let mut run = Run {
            plan: &self.plan,
            subtopology: &self.plan.subtopologies[self.id.subtopology as usize],
            batch: &mut self.batch,
            stores: &mut self.stores,
            functions: &mut *self.functions,
            outgoing: &mut self.outgoing,
            dropped: &mut self.open.dropped,
            reached: &mut self.open.clocks.reached,
            scratch: &mut self.scratch,
            limits: self.settings.limits,
            now: self.now,
        };
        start(&mut run)
    }
}
