//! When records happened: worked out as they come in, because the choice among the inputs goes by it.
//!
//! This is the only user code that runs ahead of that choice (one call for each run of records that the log gave), so its
//! failures are kept with the records, and judged when they are chosen.

use super::{Failure, Task};
use crate::frame::{Context, OutcomeKind};
use crate::functions::{Fault, GuestFault};
use crate::operator::{Element, Rejection, Stop, mix};
use crate::record::{Span, push};
use crate::topology::{Extractor, InvalidTimestamp, Node};

/// Bytes of the records that one call is asked about, before the record that goes beyond it: as much as a batch.
const ASKED_BYTES_MAX: usize = 4 << 20;

/// Why a record must not be run.
#[derive(Clone, Debug)]
pub enum Exception {
    /// It has no time, and its source skips such records.
    Skipped,
    /// The guest has dropped it.
    Dropped,
    /// Its policy decides.
    Failed(Box<Why>),
}

/// How a record failed before it could be run.
#[derive(Clone, Debug)]
pub enum Why {
    Rejected { node: String, kind: OutcomeKind, message: String },
    Fault { node: String, fault: GuestFault },
}

impl Why {
    pub fn stop(&self) -> Stop {
        match self.clone() {
            Why::Rejected { node, kind, message } => Stop::Rejected(Rejection { context: 0, node, kind, message }),
            Why::Fault { node, fault } => Stop::Fault { node, fault: Fault::Guest(fault) },
        }
    }

    fn invalid(source: &Node, time: i64) -> Why {
        let node = source.name.clone();
        let message = match source.times.invalid {
            InvalidTimestamp::PartitionTime => {
                format!("its timestamp is {time}, and no record in front of it has one that it could take")
            }
            _ => format!("its timestamp is {time}, and must not be negative (invalid_timestamp)"),
        };
        Why::Rejected { node, kind: OutcomeKind::Fail, message }
    }

    /// `Err`: no fault of the record.
    fn of(stop: Stop) -> Result<Why, Failure> {
        match stop {
            // The answer would be the same again.
            Stop::Rejected(Rejection { node, kind: OutcomeKind::Retry, message, .. }) => {
                Ok(Why::Rejected { node, kind: OutcomeKind::Fail, message })
            }
            Stop::Rejected(Rejection { node, kind, message, .. }) => Ok(Why::Rejected { node, kind, message }),
            Stop::Fault { node, fault: Fault::Guest(fault) } => Ok(Why::Fault { node, fault }),
            Stop::Fault { fault: Fault::Host(error), .. } | Stop::Store(error) => Err(error.into()),
            Stop::Unreadable(unreadable) => Err(Failure::Unreadable(unreadable)),
        }
    }
}

/// What is known of a record's time.
enum Told {
    At(i64),
    Dropped,
    Failed(Why),
}

/// Buffers reused from call to call.
#[derive(Default)]
pub(super) struct Asked {
    elements: Vec<Element>,
    times: Vec<Option<i64>>,
}

impl Task {
    /// Gives the records that came in their times. `true`: it has done what one step may do, come again.
    pub(super) fn stamp(&mut self, now: i64) -> Result<bool, Failure> {
        for input in 0..self.queues.len() {
            while self.queues[input].unstamped().is_some() {
                let extractor = self.plan.nodes[self.queues[input].source].times.extractor;
                match extractor {
                    Extractor::Record | Extractor::LogAppend if self.stamp_valid(input) => {}
                    Extractor::Record | Extractor::LogAppend => self.stamp_each(input, |own| own),
                    Extractor::WallClock => self.stamp_each(input, |_| now),
                    Extractor::Function if self.ask_for_times(input)? => return Ok(true),
                    Extractor::Function => {}
                }
            }
        }
        Ok(false)
    }

    /// Leaves a run of records the times they have, where all of them are valid: one look at each, on everybody's way.
    fn stamp_valid(&mut self, input: usize) -> bool {
        let queue = &mut self.queues[input];
        let Some((records, from)) = queue.unstamped() else { return true };
        let own = (from..records.len()).map(|at| records.get(at).1.timestamp);
        let (lowest, highest) = own.fold((i64::MAX, i64::MIN), |(low, high), time| (low.min(time), high.max(time)));
        if lowest < 0 {
            return false;
        }
        let len = records.len() - from;
        queue.time = queue.time.max(highest);
        queue.stamp(len);
        true
    }

    /// Stamps a run of records by what the host knows.
    fn stamp_each(&mut self, input: usize, time: impl Fn(i64) -> i64) {
        let Some((records, from)) = self.queues[input].unstamped() else { return };
        let own: Vec<i64> = (from..records.len()).map(|at| records.get(at).1.timestamp).collect();
        for (at, own) in own.iter().enumerate() {
            self.set_time(input, from + at, Told::At(time(*own)));
        }
        self.queues[input].stamp(own.len());
    }

    /// Stamps a run of records, or one alone, by what the guest says. `true`: it has taken a step.
    fn ask_for_times(&mut self, input: usize) -> Result<bool, Failure> {
        let alone = self.queues[input].alone > 0;
        let mut asked = std::mem::take(&mut self.asked);
        let from = self.ask_about(input, if alone { 1 } else { usize::MAX }, &mut asked.elements);
        let source = self.queues[input].source;
        let ran = self.run(|run| run.extract(source, &asked.elements, &mut asked.times));
        let taken = self.take_times(ran, input, from, &asked);
        self.asked = asked;
        taken.map(|again| alone || again)
    }

    /// Puts the next records without a time, up to `limit`, into the batch, which has none of its own now; answers where
    /// in their chunk they begin.
    fn ask_about(&mut self, input: usize, limit: usize, elements: &mut Vec<Element>) -> usize {
        self.batch.clear();
        elements.clear();
        let (seed, queue) = (self.seeds[input], &mut self.queues[input]);
        let (node, partition) = (&self.plan.nodes[queue.source], queue.input.partition as u32);
        let (source, topic) = (node.number, node.topic_rank);
        let stream_time = queue.time;
        let Some((records, from)) = queue.unstamped() else { return 0 };
        for at in from..records.len().min(from.saturating_add(limit)) {
            let (offset, record) = records.get(at);
            let (timestamp, seed) = (record.timestamp, mix(seed ^ offset as u64));
            self.batch.contexts.push(Context { source, topic, partition, offset, timestamp, stream_time, seed });
            let arena = &mut self.batch.arena;
            elements.push(Element {
                key: push(arena, record.key),
                value: push(arena, record.value),
                old: Span::NULL,
                headers: push(arena, Some(record.headers.0)),
                timestamp,
                context: elements.len() as u32,
                input: 0,
                is_past: false,
                path: Default::default(),
            });
            if arena.len() >= ASKED_BYTES_MAX {
                break;
            }
        }
        from
    }

    /// `true`: the records are asked about one by one from here on.
    fn take_times(&mut self, ran: Result<(), Stop>, input: usize, from: usize, asked: &Asked) -> Result<bool, Failure> {
        let Err(stop) = ran else {
            for (at, time) in asked.times.iter().enumerate() {
                self.set_time(input, from + at, time.map_or(Told::Dropped, Told::At));
            }
            self.queues[input].stamp(asked.times.len());
            return Ok(false);
        };
        self.functions.discard();
        let why = Why::of(stop)?;
        // Only one that was asked about alone is to blame.
        if asked.elements.len() > 1 {
            self.queues[input].alone = asked.elements.len();
        } else {
            self.set_time(input, from, Told::Failed(why));
            self.queues[input].stamp(1);
        }
        Ok(true)
    }

    /// Gives the record at a place of the chunk its time. One that is not run takes its turn behind those in front of it.
    fn set_time(&mut self, input: usize, at: usize, told: Told) {
        let queue = &mut self.queues[input];
        let (highest, node) = (queue.time, &self.plan.nodes[queue.source]);
        let (time, exception) = match told {
            Told::At(time) if time >= 0 => (time, None),
            Told::At(_) if node.times.invalid == InvalidTimestamp::PartitionTime && highest >= 0 => (highest, None),
            Told::At(_) if node.times.invalid == InvalidTimestamp::Skip => (highest, Some(Exception::Skipped)),
            Told::At(time) => (highest, Some(Exception::Failed(Box::new(Why::invalid(node, time))))),
            Told::Dropped => (highest, Some(Exception::Dropped)),
            Told::Failed(why) => (highest, Some(Exception::Failed(Box::new(why)))),
        };
        queue.time = highest.max(time);
        let Some((records, _)) = queue.unstamped() else { return };
        let offset = records.get(at).0;
        records.set_timestamp(at, time);
        if let Some(exception) = exception {
            queue.except(offset, exception);
        }
    }
}
