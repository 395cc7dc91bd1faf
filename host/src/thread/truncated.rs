//! Topics that were truncated under their readers: by retention, by hand, or by a broker that lost their end. What is gone
//! cannot be had; it is told, with its code, in the log and in the status, and the work goes on at what there is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millstream_engine::config::Start as StartPolicy;
use millstream_engine::error::Problem;
use millstream_engine::record::TopicPartition;

use super::StreamThread;
use crate::log::{self, Offsets};

/// Warnings that are shown; of more, the newest.
const WARNINGS_MAX: usize = 16;

/// The wait before a log that did not answer is asked again.
const BACKOFF: Duration = Duration::from_millis(500);

/// Inputs that stand at an offset which the log does not have, and what was told of them.
#[derive(Default)]
pub(super) struct Truncated {
    waiting: BTreeMap<TopicPartition, i64>,
    not_before: Option<Instant>,
    warnings: Vec<String>,
}

impl Truncated {
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// The input was started at another offset than the one that was missing.
    pub fn forget(&mut self, input: TopicPartition) {
        self.waiting.remove(&input);
    }

    /// Tells what is lost. Once: a rewind comes to the same place again.
    pub fn warn(&mut self, problem: &Problem) {
        let text = format!("{} {}: {problem}", problem.code, problem.name);
        if self.warnings.contains(&text) {
            return;
        }
        tracing::warn!(code = problem.code, error = problem.name, why = problem.why, fix = problem.fix, "{problem}");
        if self.warnings.len() == WARNINGS_MAX {
            self.warnings.remove(0);
        }
        self.warnings.push(text);
    }
}

/// Where an input begins of which nothing is committed.
pub(super) fn by_policy(start: StartPolicy, offsets: Offsets) -> i64 {
    match start {
        StartPolicy::Earliest => offsets.begin,
        StartPolicy::Latest => offsets.end,
    }
}

impl StreamThread {
    /// Where an input goes on that stands at `offset`. Below the first record: there, whatever the policy, for what the
    /// log still has was not read. Behind the end: the log is another one, or has lost its end, and the policy says.
    pub(super) fn resume(&mut self, source: usize, input: TopicPartition, offset: i64, offsets: Offsets) -> i64 {
        if (offsets.begin..=offsets.end).contains(&offset) {
            return offset;
        }
        let start = self.plan.policies[source].start;
        let goes_on = if offset < offsets.begin { offsets.begin } else { by_policy(start, offsets) };
        let topic = self.plan.topics[input.topic.0 as usize].name.clone();
        self.truncated.warn(&lost(topic, input.partition, offset, offsets).field("goes_on_at", goes_on));
        goes_on
    }

    pub(super) fn on_truncated(&mut self, input: TopicPartition, offset: i64) {
        if !self.restarted.contains(&input) {
            self.truncated.waiting.insert(input, offset);
        }
    }

    /// Starts inputs again that were found truncated, at what there is. A log that does not answer is asked again later.
    pub(super) fn skip_truncated(&mut self) -> Result<(), super::Error> {
        if self.truncated.waiting.is_empty() || self.truncated.not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let mut waiting = std::mem::take(&mut self.truncated.waiting).into_iter();
        while let Some((input, offset)) = waiting.next() {
            // Its task has gone back since, and is read from there.
            if self.restarted.contains(&input) {
                continue;
            }
            let owner = self.tasks.iter().find(|(_, active)| active.task.inputs().any(|own| own == input));
            // One that does not run starts its inputs when it does.
            let Some((id, _)) = owner.filter(|(_, active)| active.is_running()) else { continue };
            let id = *id;
            let topic = self.plan.topics[input.topic.0 as usize].name.clone();
            let offsets = match self.log.offsets(&topic, input.partition) {
                Ok(offsets) => offsets,
                // One unanswered question is enough for this turn: each takes its time, and the log must be polled.
                Err(error) if error.may_pass() => {
                    self.truncated.waiting.insert(input, offset);
                    self.truncated.waiting.extend(waiting);
                    self.truncated.not_before = Some(Instant::now() + BACKOFF);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            let subtopology = &self.plan.subtopologies[id.subtopology as usize];
            let inputs = self.plan.inputs(subtopology);
            let Some((source, ..)) = inputs.into_iter().find(|(_, topic, _)| *topic == input.topic) else { continue };
            let goes_on = self.resume(source, input, offset, offsets);
            if goes_on < offset
                && let Some(active) = self.tasks.get_mut(&id)
            {
                active.task.go_back(input, goes_on);
                self.start_inputs(id)?;
                continue;
            }
            self.client.start(input, goes_on)?;
            self.client.want(input, true);
            self.restarted.insert(input);
        }
        Ok(())
    }
}

/// What a partition does not have any more, with what it has.
pub(super) fn lost(topic: String, partition: i32, offset: i64, offsets: Offsets) -> Problem {
    let Offsets { begin, end } = offsets;
    let mut problem = Problem::from(log::Error::Truncated { topic, partition, offset });
    problem.message += &format!(": it has {begin} to {end}");
    problem.field("begin", begin).field("end", end)
}
