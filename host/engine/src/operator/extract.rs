//! When records happened, asked of the guest before any of them is chosen.

use super::batch::Element;
use super::call::call;
use super::run::{Run, Stop};
use super::stateless::{bad_count, one_each};
use crate::frame::Kind;

impl Run<'_> {
    /// Asks a source's function for the time of each record, in ms; `None`: the guest dropped it, which is not counted
    /// here. A negative time is the caller's to judge.
    pub fn extract(&mut self, source: usize, asked: &[Element], times: &mut Vec<Option<i64>>) -> Result<(), Stop> {
        let node = &self.plan.nodes[source];
        let dropped = *self.dropped;
        let mut answers = call(self, node, Kind::Records, asked)?;
        *self.dropped = dropped;
        times.clear();
        for (at, answer) in one_each(node, &mut answers)?.enumerate() {
            let bytes = answer.map(|answer| answer.element.value.bytes(&self.batch.arena).try_into());
            let time = bytes.transpose().map_err(|_| bad_count(node, "no time of eight bytes", at))?;
            times.push(time.map(i64::from_be_bytes));
        }
        self.scratch.answers = answers;
        Ok(())
    }
}
