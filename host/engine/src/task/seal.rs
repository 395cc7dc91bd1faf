//! Cutting a task's interval: the open layer goes under seal, its effects go out.

use std::collections::BTreeMap;

use super::clocks::{Timer, timer_values};
use super::{Cut, InputOffset, Metadata, Proof, Sealed, Task};
use crate::metadata::{self, ADVANCED, INCARNATION, SEQUENCE};
use crate::record::{NO_TIMESTAMP, Outgoing, TopicPartition};
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

pub(super) fn reached_name(plan: &Plan, (store, input): (usize, u16)) -> String {
    metadata::reached_name(&plan.stores[store].description.name, input)
}

impl Task {
    /// Whether there is anything to commit.
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// Whether what is open is to be committed before it is time: its user code wants it, or it takes no more until then.
    pub fn wants_commit(&self) -> bool {
        (self.wants_commit || self.flushing) && self.touched
    }

    /// Takes the task: commits its incarnation and where each input begins, before anything else of it happens.
    pub fn seal_taking(&mut self, cut: &mut Cut) {
        self.sealed = Some(Sealed { progress: self.open.clone(), committed: false });
        self.say_offsets(0, Inputs::All, cut);
    }

    /// Cuts the open interval as number `sequence` and puts its effects into `cut`. The first input is always committed:
    /// it carries the task's values. While an interval is in flight or not applied yet nothing is cut: there is room for
    /// one sealed layer. Neither is it while caches hold something back ([`Task::flush`]).
    pub fn seal(&mut self, sequence: i64, inputs: Inputs, cut: &mut Cut) {
        if self.sealed.is_some() || !self.is_flushed() {
            return;
        }
        let (plan, partition) = (&self.plan, self.id.partition);
        self.stores.seal(&mut |store, record| {
            let own = plan.stores.get(store as usize).filter(|store| !store.reuses_source);
            if let Some(topic) = own.and_then(|store| store.changelog) {
                cut.changelog.push(TopicPartition { topic, partition }, record);
            }
        });
        cut.outgoing.append(std::mem::take(&mut self.outgoing));
        self.say_offsets(sequence, inputs, cut);
        self.sealed = Some(Sealed { progress: self.open.clone(), committed: false });
        self.touched = false;
        self.wants_commit = false;
        (self.flushing, self.flushes_alone) = (false, false);
    }

    /// Hands over what was put out since the last call: under at-least-once it is sent ahead of the cut.
    pub fn take_outgoing(&mut self) -> Outgoing {
        std::mem::take(&mut self.outgoing)
    }

    /// Gives back what was handed over and could not be sent: it goes with the next call, or with the cut. Nothing must
    /// have run since.
    pub fn keep_outgoing(&mut self, outgoing: Outgoing) {
        self.outgoing = outgoing;
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
        let reached = self.open.clocks.reached.iter();
        values.extend(reached.map(|(of, time)| (reached_name(&self.plan, of), time)));
        values.extend(self.open.clocks.schedule_values(&self.plan));
        values.extend(self.open.clocks.under_way_value(&self.plan));
        if self.open.clocks.advanced != NO_TIMESTAMP {
            values.insert(ADVANCED.to_owned(), self.open.clocks.advanced);
        }
        values.insert(INCARNATION.to_owned(), self.incarnation);
        values.insert(SEQUENCE.to_owned(), sequence);
        values
    }
}
