//! What a task does about inputs that have nothing now: it waits for them, or it goes on without them, and time may.

use super::{Failure, Step, Task};
use crate::config::MaxIdle;
use crate::operator::{Element, PunctuationCall, Stop, has_more_closed};
use crate::record::NO_TIMESTAMP;

/// Since when a task has had nothing at all, and what its stream time was then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    since: i64,
    stream_time: i64,
}

impl Task {
    /// Whether choosing by time may go on (max.task.idle.ms, semantics.md B19): each input has a record, or may be done
    /// without.
    pub(super) fn may_choose(&self, now: i64) -> bool {
        match self.plan.idle.max_idle {
            MaxIdle::Off => true,
            MaxIdle::For(_) => {
                self.queues.iter().all(|queue| queue.is_ready() && queue.idle_until.is_none_or(|until| until <= now))
            }
        }
    }

    /// Looks which inputs are at their ends, and how long they are waited for from then on.
    pub(super) fn look_at_inputs(&mut self, now: i64) {
        let MaxIdle::For(max) = self.plan.idle.max_idle else { return };
        let until = now.saturating_add(i64::try_from(max.as_millis()).unwrap_or(i64::MAX));
        for queue in &mut self.queues {
            // No further away than it was when the wait began: the clock may have gone back.
            let known = queue.idle_until.map_or(until, |known| known.min(until));
            queue.idle_until = queue.end().map(|_| known);
        }
    }

    /// Whether nothing waits and no input has anything more now.
    fn is_drained(&self) -> bool {
        self.chosen.is_empty() && self.queues.iter().all(|queue| queue.end().is_some())
    }

    /// Lets time go on without records, where the manifest says so, and does what is due by it.
    pub(super) fn go_on_idle(&mut self, now: i64) -> Result<Step, Failure> {
        self.advance_idle(now);
        if self.open.clocks.due_by_stream_time().is_some() {
            return Ok(Step::Ran);
        }
        let time = self.open.clocks.advanced;
        // No further away than it was when the rest began: the clock may have gone back.
        self.idle_rest = self.idle_rest.map(|until| until.min(now.saturating_add(self.idle_after_ms())));
        let rests = self.idle_rest.is_some_and(|until| now < until);
        if self.quiet.is_none() || time == NO_TIMESTAMP || rests || !self.is_any_due(time)? {
            return Ok(Step::Idle);
        }
        self.idle_rest = None;
        self.give_away(time, now)
    }

    /// Moves stream time on with the clock on the wall, when nothing has come for as long as the manifest says.
    fn advance_idle(&mut self, now: i64) {
        if self.plan.idle.idle_advance.is_none() {
            return;
        }
        let stream_time = self.open.clocks.stream_time();
        if !self.is_drained() || stream_time == NO_TIMESTAMP {
            self.quiet = None;
            return;
        }
        let quiet = *self.quiet.get_or_insert(Quiet { since: now, stream_time });
        let quiet_ms = now - quiet.since;
        if quiet_ms < 0 {
            // The clock went back: time stands until it has caught up, counted from here.
            self.quiet = Some(Quiet { since: now, stream_time });
        } else if quiet_ms >= self.idle_after_ms() {
            let advanced = quiet.stream_time.saturating_add(quiet_ms);
            self.open.clocks.advanced = self.open.clocks.advanced.max(advanced);
        }
    }

    /// How long nothing has to have come for time to go on.
    fn idle_after_ms(&self) -> i64 {
        let after = self.plan.idle.idle_advance.unwrap_or_default();
        i64::try_from(after.as_millis()).unwrap_or(i64::MAX)
    }

    fn is_any_due(&mut self, time: i64) -> Result<bool, Failure> {
        let plan = self.plan.clone();
        for &at in &plan.subtopologies[self.id.subtopology as usize].nodes {
            match self.has_due(at, time) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(stop) => self.judge_time(stop, at, &going_on(time))?,
            }
        }
        Ok(false)
    }

    /// Takes every operator's time on, in the order of the nodes, so that none takes what is late for another; all of it
    /// or nothing.
    fn give_away(&mut self, time: i64, now: i64) -> Result<Step, Failure> {
        let before = self.before();
        let Err((at, stop)) = self.advance_nodes(time) else {
            self.keep_without_record();
            return Ok(Step::Ran);
        };
        self.undo(before);
        // Whatever the policy, as with what a record lets go.
        let failed = match stop.is_guilty() && self.can_run_apart() {
            false => Some((at, stop)),
            true => self.advance_apart(time)?,
        };
        if let Some((at, stop)) = failed {
            self.judge_time(stop, at, &going_on(time))?;
            // Not again before it was idle for as long again: what is due stays due.
            self.idle_rest = Some(now.saturating_add(self.idle_after_ms()));
        }
        self.stores.keep_batch();
        Ok(Step::Ran)
    }

    /// Answers the node that failed, and why. Those behind a node that has more to give away come once it has: for them
    /// it would be late.
    fn advance_nodes(&mut self, time: i64) -> Result<(), (usize, Stop)> {
        let plan = self.plan.clone();
        for &at in &plan.subtopologies[self.id.subtopology as usize].nodes {
            let call = self.advance_call(at, time);
            self.begin_without_records();
            let ran = self.run(|run| run.advance(at, call)).and_then(|()| self.keep_schedules());
            ran.map_err(|stop| (at, stop))?;
            self.wants_commit |= self.scratch.commit;
            if self.has_due(at, time).map_err(|stop| (at, stop))? {
                break;
            }
        }
        Ok(())
    }

    /// The same with what each node lets go run apart.
    fn advance_apart(&mut self, time: i64) -> Result<Option<(usize, Stop)>, Failure> {
        let (plan, what) = (self.plan.clone(), going_on(time));
        for &at in &plan.subtopologies[self.id.subtopology as usize].nodes {
            let call = self.advance_call(at, time);
            let judge = |task: &mut Task, stop, _: &Element| task.judge_let_go(stop, at, &what);
            if let Some(stop) = self.run_apart(None, |run| run.advance(at, call), judge)? {
                return Ok(Some((at, stop)));
            }
            match self.has_due(at, time) {
                Ok(false) => {}
                Ok(true) => break,
                Err(stop) => return Ok(Some((at, stop))),
            }
        }
        Ok(None)
    }

    /// Whether a node has something to give away at a time.
    fn has_due(&mut self, at: usize, time: i64) -> Result<bool, Stop> {
        if has_more_closed(&self.plan.nodes[at], &self.open.clocks.reached) {
            return Ok(true);
        }
        let mut is_due = false;
        self.run(|run| {
            is_due = run.is_due(at, time)?;
            Ok(())
        })?;
        Ok(is_due)
    }

    pub(super) fn advance_call(&self, at: usize, time: i64) -> PunctuationCall<'static> {
        let (partition, seed) = (self.id.partition, self.punctuation_seed(at, time, 0));
        PunctuationCall { name: None, portion: 0, token: None, number: 0, time, stream_time: time, partition, seed }
    }
}

/// What an error says of it.
fn going_on(time: i64) -> String {
    format!("time going on to {time}")
}
