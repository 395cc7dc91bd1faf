//! The rest of what closes together: more windows than one record gives away go portion by portion behind it, before any
//! further record is taken.

use super::apart::guilty;
use super::judge::{Verdict, describe};
use super::step::Step;
use super::{FailedRecord, Failure, Task};
use crate::operator::{Element, Stop, has_more_closed};

/// How long a portion waits that cannot be given away.
const REST_MS: i64 = 1_000;

impl Task {
    /// Gives the next portion away; `None`: there is none.
    pub(super) fn go_on_closing(&mut self, now: i64) -> Result<Option<Step>, Failure> {
        if self.idle_rest.is_some_and(|until| now < until) {
            return Ok(None);
        }
        let Some((at, place)) = self.closing() else { return Ok(None) };
        let time = self.stores.observed(place)?.stream_time;
        let call = self.advance_call(at, time);
        let before = self.before();
        self.begin_without_records();
        let ran = self.run(|run| run.advance(at, call)).and_then(|()| self.keep_schedules());
        let Err(stop) = ran else {
            self.open.dropped.late += self.stores.take_late();
            self.stores.keep_batch();
            self.wants_commit |= self.scratch.commit;
            self.touched = true;
            return Ok(Some(Step::Ran));
        };
        self.undo(before);
        let stop = guilty(stop)?;
        let failed = match self.verdict_on_closed(&stop) {
            Verdict::Fail => Some(stop),
            _ => {
                self.begin_without_records();
                self.run_apart(|run| run.advance(at, call), Task::judge_closed)?
            }
        };
        if let Some(stop) = failed {
            self.count_fault(&stop);
            if self.verdict_on_closed(&stop) == Verdict::Fail {
                return Err(Failure::Record(Box::new(self.failed_closing(stop))));
            }
            self.open.dropped.skipped += 1;
            self.idle_rest = Some(now.saturating_add(REST_MS));
        }
        Ok(Some(Step::Ran))
    }

    /// The node of which more has closed than was given away, and its store.
    fn closing(&self) -> Option<(usize, usize)> {
        let reached = &self.open.clocks.reached;
        let nodes = self.subtopology().nodes.iter().map(|at| (*at, &self.plan.nodes[*at]));
        let mut closing = nodes.filter(|(_, node)| has_more_closed(node, reached));
        closing.find_map(|(at, node)| Some((at, self.stores.place(node.store? as u32)?)))
    }

    /// What closes has no record any more: the policy is that of the task's first source.
    fn verdict_on_closed(&self, stop: &Stop) -> Verdict {
        self.queues.first().map_or(Verdict::Fail, |queue| self.verdict(stop, &self.plan.policies[queue.source]))
    }

    fn judge_closed(&mut self, stop: Stop, element: &Element) -> Result<(), Failure> {
        self.count_fault(&stop);
        let verdict = self.verdict_on_closed(&stop);
        let failed = self.failed_closing(stop);
        self.settle(verdict, failed, element)
    }

    fn failed_closing(&self, stop: Stop) -> FailedRecord {
        let topic = self.queues.first().map(|queue| &self.plan.topics[queue.input.topic.0 as usize].name);
        let (node, exception, message, backtrace) = describe(stop);
        FailedRecord {
            topic: topic.cloned().unwrap_or_default(),
            partition: self.id.partition,
            offset: -1,
            node,
            exception,
            message: format!("of what it let go: {message}"),
            backtrace,
        }
    }
}
