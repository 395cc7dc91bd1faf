//! Cutting a task's interval: the open layer goes under seal, its effects go out.

use std::collections::BTreeMap;

use super::clocks::{Timer, timer_values};
use super::{Cut, InputOffset, Metadata, Proof, Sealed, Task};
use crate::metadata::{self, INCARNATION, SEQUENCE};
use crate::record::{Outgoing, TopicPartition};
use crate::topology::Plan;

/// Which inputs an interval commits beside the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    Moved,
    All,
}

/// By which of several entries the newest is known.
pub(super) fn age(metadata: &Metadata) -> (i64, i64) {
    let value = |name| metadata.values.get(name).copied().unwrap_or(-1);
    (value(INCARNATION), value(SEQUENCE))
}

pub(super) fn timer_name(plan: &Plan, timer: &Timer) -> String {
    let node = &plan.nodes[timer.node];
    metadata::timer_name(&node.name, &node.punctuations[usize::from(timer.punctuation)].name)
}

impl Task {
    /// Whether there is anything to commit.
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// Takes the task: commits its incarnation and where each input begins, before anything else of it happens.
    pub fn seal_taking(&mut self, cut: &mut Cut) {
        self.sealed = Some(Sealed { progress: self.open.clone(), committed: false });
        self.say_offsets(0, Inputs::All, cut);
    }

    /// Cuts the open interval as number `sequence` and puts its effects into `cut`. The first input is always committed:
    /// it carries the task's values. While an interval is in flight or not applied yet nothing is cut: there is room for
    /// one sealed layer.
    pub fn seal(&mut self, sequence: i64, inputs: Inputs, cut: &mut Cut) {
        if self.sealed.is_some() {
            return;
        }
        let (plan, partition) = (&self.plan, self.id.partition);
        self.stores.seal(&mut |store, record| {
            if let Some(topic) = plan.stores[store as usize].changelog {
                cut.changelog.push(TopicPartition { topic, partition }, record);
            }
        });
        cut.outgoing.append(std::mem::take(&mut self.outgoing));
        self.say_offsets(sequence, inputs, cut);
        self.sealed = Some(Sealed { progress: self.open.clone(), committed: false });
        self.touched = false;
    }

    /// Hands over what was put out since the last call: under at-least-once it is sent ahead of the cut.
    pub fn take_outgoing(&mut self) -> Outgoing {
        std::mem::take(&mut self.outgoing)
    }

    fn say_offsets(&self, sequence: i64, inputs: Inputs, cut: &mut Cut) {
        for (at, queue) in self.queues.iter().enumerate() {
            let moved = self.open.offsets[at] != self.committed.offsets[at];
            if at > 0 && !moved && inputs == Inputs::Moved {
                continue;
            }
            let values = if at == 0 { self.values(sequence) } else { BTreeMap::new() };
            let metadata = Metadata { partition_time: self.open.clocks.partition_times[at], values };
            let offset = self.open.offsets[at];
            cut.offsets.push(InputOffset { input: queue.input, offset, metadata: metadata.encode() });
        }
        if let Some(first) = self.queues.first() {
            let (input, incarnation) = (first.input, self.incarnation);
            cut.proofs.push(Proof { task: self.id, input, incarnation, sequence });
        }
    }

    fn values(&self, sequence: i64) -> BTreeMap<String, i64> {
        let mut values = timer_values(&self.open.clocks, |timer| timer_name(&self.plan, timer));
        values.insert(INCARNATION.to_owned(), self.incarnation);
        values.insert(SEQUENCE.to_owned(), sequence);
        values
    }
}
