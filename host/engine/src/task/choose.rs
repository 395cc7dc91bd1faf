//! Choosing the next batch: a time-ordered run of records over all of a task's partitions (semantics.md B19).

use super::Task;
use super::stamp::Exception;
use crate::frame::Context;
use crate::operator::{Element, mix};
use crate::record::{Span, TopicPartition, push};
use crate::topology::Plan;

/// Bytes of a batch, before the record that goes beyond it: what one frame carries into a guest, and a few of which
/// its answer.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The records of the batch that is being processed, and how far that is.
#[derive(Default)]
pub(super) struct Chosen {
    pub records: Vec<ChosenRecord>,
    /// Next record to run.
    pub cursor: usize,
    /// One at a time: something in the run was rejected or trapped.
    pub single: bool,
    /// Tries the record at the cursor has had, and not before when the next one is due.
    pub attempts: u32,
    pub not_before: i64,
    /// Bytes of the batch's arena that are these records.
    pub bytes: usize,
}

pub(super) struct ChosenRecord {
    /// Which queue.
    pub input: usize,
    pub offset: i64,
    pub source: usize,
    pub element: Element,
    pub context: Context,
    /// Why it must not be run. One that failed stands alone.
    pub exception: Option<Exception>,
}

impl Chosen {
    pub fn is_empty(&self) -> bool {
        self.cursor == self.records.len()
    }

    /// The records to run next.
    pub fn window(&self) -> std::ops::Range<usize> {
        self.cursor..if self.single { self.cursor + 1 } else { self.records.len() }
    }

    fn clear(&mut self) {
        self.records.clear();
        *self = Chosen { records: std::mem::take(&mut self.records), ..Chosen::default() };
    }
}

impl Task {
    /// Fills the batch, up to `limit` records. It ends where its order would show: at a stream-time punctuation, and
    /// between two sources whose nodes meet in a store. A record that has failed before it could be run is alone.
    pub(super) fn choose(&mut self, limit: usize, now: i64) {
        self.batch.clear();
        self.chosen.clear();
        // A schedule that a record makes may be due behind it.
        let limit = if self.subtopology().schedules { limit.min(1) } else { limit };
        let mut clocks = self.open.clocks.clone();
        let mut sources = Vec::new();
        while self.chosen.records.len() < limit && self.batch.arena.len() < BATCH_BYTES_MAX {
            let Some(input) = self.earliest(now) else { break };
            let source = self.queues[input].source;
            if !sources.contains(&source) {
                let conflicts = &self.subtopology().conflicts;
                if sources.iter().any(|other| conflicts.contains(&(*other, source))) {
                    break;
                }
                sources.push(source);
            }
            let Some((_, record)) = self.queues[input].head() else { break };
            let (failed, skipped) = match self.queues[input].exception() {
                None => (false, false),
                Some(Exception::Failed(_)) => (true, false),
                Some(_) => (false, true),
            };
            if failed && !self.chosen.records.is_empty() {
                break;
            }
            if !skipped {
                clocks.observe(input, record.timestamp);
            }
            self.take(input, source, clocks.stream_time());
            if failed {
                self.chosen.single = true;
                break;
            }
            if clocks.due_by_stream_time().is_some() {
                break;
            }
        }
        self.chosen.bytes = self.batch.arena.len();
    }

    /// The queue whose head has the lowest timestamp, ties in order of the inputs; `None` while any input may still
    /// have an earlier one on its way.
    fn earliest(&mut self, now: i64) -> Option<usize> {
        self.look_at_inputs(now);
        if !self.may_choose(now) {
            return None;
        }
        let heads = self.queues.iter().enumerate().filter_map(|(at, queue)| Some((queue.head()?.1.timestamp, at)));
        heads.min().map(|(_, at)| at)
    }

    fn take(&mut self, input: usize, source: usize, stream_time: i64) {
        let seed = self.seeds[input];
        let queue = &mut self.queues[input];
        let exception = queue.exception().cloned();
        let Some((offset, record)) = queue.head() else { return };
        let context = Context {
            source: self.plan.nodes[source].number,
            topic: self.plan.nodes[source].topic_rank,
            partition: queue.input.partition as u32,
            offset,
            timestamp: record.timestamp,
            stream_time,
            seed: mix(seed ^ offset as u64),
        };
        let arena = &mut self.batch.arena;
        let element = Element {
            key: push(arena, record.key),
            value: push(arena, record.value),
            old: Span::NULL,
            headers: push(arena, Some(record.headers.0)),
            timestamp: record.timestamp,
            context: 0,
            input: 0,
            is_past: false,
            path: Default::default(),
        };
        self.chosen.records.push(ChosenRecord { input, offset, source, element, context, exception });
        queue.pop();
    }

    pub(super) fn punctuation_seed(&self, node: usize, time: i64, portion: u32) -> u64 {
        let seed = mix(self.seeds[0] ^ mix(node as u64) ^ time as u64);
        if portion == 0 { seed } else { mix(seed ^ mix(u64::from(portion))) }
    }
}

/// An input's part of its records' seeds: the same for the same application, topic and partition, in a replay and
/// after a restart. `salt` makes others of them, see [`Settings::seed`](super::Settings::seed).
pub(super) fn seed(plan: &Plan, input: TopicPartition, salt: u64) -> u64 {
    let names = [plan.application.as_str(), &plan.topics[input.topic.0 as usize].name];
    let bytes = names.into_iter().flat_map(|name| name.bytes().chain([0]));
    mix(bytes.fold(input.partition as u64 ^ salt, |hash, byte| mix(hash ^ u64::from(byte))))
}
