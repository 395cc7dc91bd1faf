//! The rest of what closes together: more windows than one record gives away go portion by portion behind it, before any
//! further record is taken.

use std::collections::BTreeSet;

use super::apart::guilty;
use super::judge::describe;
use super::step::Step;
use super::{FailedRecord, Failure, Task};
use crate::frame::OutcomeKind;
use crate::operator::{Element, PunctuationCall, Rejection, Stop, has_more_closed, mix, next_portion};
use crate::topology::Policy;

/// Rows of a portion that is run apart, and of the one behind it. The next ones are larger again: nobody sees how large they
/// are.
const CAREFUL_ROWS: usize = 100;

/// How the rest of a node's windows is given away; gone with the task.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Closing {
    node: Option<usize>,
    /// Rows of the next portion; `None`: as many as a portion has.
    rows: Option<usize>,
    /// Tries it has had, and not before when the next one is due.
    attempts: u32,
    not_before: i64,
}

impl Task {
    /// Gives the next portion away; `None`: there is none.
    pub(super) fn go_on_closing(&mut self, now: i64) -> Result<Option<Step>, Failure> {
        let next = self.closing().next();
        if next.is_none() {
            self.closing = Closing::default();
        }
        next.map(|next| self.close_more(next, now)).transpose()
    }

    /// The same of what is behind a node whose cache is to be flushed: what comes of that meets no rest then. None of it goes
    /// into that cache, which is emptied when its flush has ended.
    pub(super) fn go_on_closing_behind(&mut self, cached: usize, now: i64) -> Result<Option<Step>, Failure> {
        let next = self.closing().find(|(at, _)| self.plan.leads_to(cached, *at));
        next.map(|next| self.close_more(next, now)).transpose()
    }

    fn close_more(&mut self, (at, place): (usize, usize), now: i64) -> Result<Step, Failure> {
        if self.closing.node != Some(at) {
            self.closing = Closing { node: Some(at), ..Closing::default() };
        }
        // What is flushed for a cut waits for nothing.
        if now < self.closing.not_before && !self.flushing {
            // No further away than it was when the wait began: the clock may have gone back.
            let backoff_ms = self.policy_above(at).retry_backoff_ms;
            self.closing.not_before = self.closing.not_before.min(now.saturating_add(backoff_ms));
            return Ok(Step::Wait(self.closing.not_before));
        }
        let call = self.portion_call(at, place)?;
        let before = self.before();
        self.begin_without_records();
        self.scratch.portion_rows = self.portion_of(at, self.closing.rows);
        let ran = self.run(|run| run.advance(at, call)).and_then(|()| self.keep_schedules());
        self.scratch.portion_rows = None;
        let Err(stop) = ran else {
            self.keep_without_record();
            self.closing = Closing { rows: self.closing.rows.and_then(larger), node: Some(at), ..Closing::default() };
            return Ok(Step::Ran);
        };
        self.undo(before);
        let stop = guilty(stop)?;
        if let Some(step) = self.try_closing_later(&stop, at, now) {
            return Ok(step);
        }
        // Judged only once each of them has run alone.
        let judge = |task: &mut Task, stop, element: &Element| task.judge_closed(stop, element, at);
        self.scratch.portion_rows = self.portion_of(at, Some(CAREFUL_ROWS));
        let ran = self.run_apart(None, |run| run.advance(at, call), judge);
        self.scratch.portion_rows = None;
        if let Some(stop) = ran? {
            self.count_fault(&stop);
            return Err(Failure::Record(Box::new(self.failed_closing(stop, at))));
        }
        self.closing = Closing { rows: Some(CAREFUL_ROWS), node: Some(at), ..Closing::default() };
        Ok(Step::Ran)
    }

    /// The nodes of which more has closed than was given away, and their stores: those behind others first, for what these give
    /// away comes to them.
    pub(super) fn closing(&self) -> impl Iterator<Item = (usize, usize)> {
        let reached = &self.open.clocks.reached;
        let nodes = self.subtopology().nodes.iter().rev().map(move |at| (*at, &self.plan.nodes[*at]));
        let closing = nodes.filter(move |(_, node)| has_more_closed(node, reached));
        closing.filter_map(move |(at, node)| Some((at, self.stores.place(node.store? as u32)?)))
    }

    /// So many rows of this node's store, where it is fewer than usual.
    fn portion_of(&self, at: usize, rows: Option<usize>) -> Option<(usize, usize)> {
        Some((self.plan.nodes[at].store?, rows?))
    }

    /// By the node's own time, and with other random numbers for each portion.
    fn portion_call(&self, at: usize, place: usize) -> Result<PunctuationCall<'static>, Failure> {
        let call = self.advance_call(at, self.stores.observed(place)?.stream_time);
        let (time, rows) = next_portion(&self.plan.nodes[at], &self.open.clocks.reached);
        Ok(PunctuationCall { seed: mix(call.seed ^ mix(time as u64) ^ rows as u64), ..call })
    }

    /// What asks for a retry has those of its source.
    fn try_closing_later(&mut self, stop: &Stop, at: usize, now: i64) -> Option<Step> {
        let Stop::Rejected(Rejection { kind: OutcomeKind::Retry, .. }) = stop else { return None };
        let policy = self.policy_above(at);
        let (attempts, backoff_ms) = (policy.retry_attempts, policy.retry_backoff_ms);
        self.closing.attempts += 1;
        if self.closing.attempts > attempts {
            return None;
        }
        self.closing.not_before = now.saturating_add(backoff_ms);
        Some(Step::Wait(self.closing.not_before))
    }

    /// The first source of this task from which records come to a node: what closes has no record any more. `None`: of all
    /// sources in front of it this task has no partition.
    fn source_above(&self, at: usize) -> Option<usize> {
        let (mut open, mut seen) = (vec![at], BTreeSet::new());
        while let Some(at) = open.pop() {
            if self.queues.iter().any(|queue| queue.source == at) {
                return Some(at);
            }
            if seen.insert(at) {
                open.extend(self.plan.nodes[at].inputs.iter().rev().map(|edge| edge.node));
            }
        }
        None
    }

    /// Its policy, or the application's.
    fn policy_above(&self, at: usize) -> &Policy {
        &self.plan.policies[self.source_above(at).unwrap_or(at)]
    }

    fn judge_closed(&mut self, stop: Stop, element: &Element, at: usize) -> Result<(), Failure> {
        self.count_fault(&stop);
        let verdict = self.verdict(&stop, self.policy_above(at));
        let failed = self.failed_closing(stop, at);
        self.settle(verdict, failed, element)
    }

    fn failed_closing(&self, stop: Stop, at: usize) -> FailedRecord {
        let source = self.source_above(at);
        let input = self.queues.iter().find(|queue| Some(queue.source) == source).map(|queue| queue.input);
        let topic = input.map(|input| self.plan.topics[input.topic.0 as usize].name.clone());
        let (node, exception, message, backtrace) = describe(stop);
        FailedRecord {
            topic: topic.unwrap_or_default(),
            partition: self.id.partition,
            offset: -1,
            node,
            exception,
            message,
            backtrace,
        }
        .of_let_go()
    }
}

/// `None`: as large as a portion is.
fn larger(rows: usize) -> Option<usize> {
    (rows < 1 << 20).then(|| rows * 2)
}
