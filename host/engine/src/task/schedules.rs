//! Schedules made while the task runs: what the guest asked for with what it did, kept beside the declared ones.

use std::collections::BTreeMap;

use super::Task;
use super::clocks::{Clocks, Timer};
use crate::metadata;
use crate::operator::Stop;
use crate::topology::{Plan, PunctuationTime};

/// The number of the first of them: in front of it are those that nodes have declared.
pub(super) const SCHEDULED: u16 = 1 << 15;

impl Clocks {
    /// Starts a schedule of a node, in place of one of that name. `false`: the task has as many as it may have.
    pub fn schedule(&mut self, node: usize, name: &str, time: PunctuationTime, every_ms: i64) -> bool {
        self.cancel(node, name);
        let free = |number: &u16| !self.scheduled.contains_key(number);
        let most = SCHEDULED + metadata::SCHEDULES_MAX as u16;
        let Some(number) = (SCHEDULED..most).find(free) else { return false };
        self.scheduled.insert(number, name.to_owned());
        // The base of a stream-time grid is stream time 0; that of the wall clock is now.
        let next = (time == PunctuationTime::Stream).then_some(0);
        self.timers.push(Timer { node, punctuation: number, time, every_ms, next });
        true
    }

    /// Ends a schedule of a node; one that is not there is ended already.
    pub fn cancel(&mut self, node: usize, name: &str) {
        let scheduled = &mut self.scheduled;
        let under_way = &mut self.under_way;
        self.timers.retain(|timer| {
            let is_it = timer.node == node && scheduled.get(&timer.punctuation).is_some_and(|known| known == name);
            if is_it {
                scheduled.remove(&timer.punctuation);
                // What it has yet to do ends with it.
                under_way.take_if(|under_way| under_way.punctuation == timer.punctuation);
            }
            !is_it
        });
    }

    /// The node and the name of each.
    pub(super) fn schedules(&self) -> Vec<(usize, String)> {
        let named = |timer: &Timer| Some((timer.node, self.scheduled.get(&timer.punctuation)?.clone()));
        self.timers.iter().filter_map(named).collect()
    }

    /// Takes up what was committed beside the offsets.
    pub(super) fn find_schedules(&mut self, plan: &Plan, nodes: &[usize], values: &BTreeMap<String, i64>) {
        for (text, next) in values {
            let Some(found) = metadata::Schedule::parse(text) else { continue };
            let named = |node: &&usize| plan.nodes[**node].name == found.node && plan.nodes[**node].schedules;
            let Some(node) = nodes.iter().find(named) else { continue };
            let time = if found.by_stream_time { PunctuationTime::Stream } else { PunctuationTime::WallClock };
            if self.schedule(*node, found.name, time, found.every_ms)
                && let Some(timer) = self.timers.last_mut().filter(|_| found.by_stream_time)
            {
                timer.next = Some(*next);
            }
        }
    }

    /// What is committed of them beside the offsets.
    pub(super) fn schedule_values(&self, plan: &Plan) -> impl Iterator<Item = (String, i64)> {
        self.timers.iter().filter_map(|timer| {
            let name = self.scheduled.get(&timer.punctuation)?;
            let by_stream_time = timer.time == PunctuationTime::Stream;
            let node = &plan.nodes[timer.node].name;
            let text = metadata::Schedule { by_stream_time, every_ms: timer.every_ms, node, name }.text();
            // A wall-clock grid begins anew with every start.
            Some((text, if by_stream_time { timer.next.unwrap_or_default() } else { 0 }))
        })
    }
}

impl Task {
    /// Does what the batch's guest has asked for; with nothing done when the task may have no more of them.
    pub(super) fn keep_schedules(&mut self) -> Result<(), Stop> {
        if let Some(under_way) = self.scratch.under_way.take() {
            self.open.clocks.under_way = Some(under_way);
        }
        if self.scratch.schedules.is_empty() {
            return Ok(());
        }
        let before = self.open.clocks.clone();
        for request in std::mem::take(&mut self.scratch.schedules) {
            let kept = match request.every {
                Some((time, every_ms)) => self.open.clocks.schedule(request.node, &request.name, time, every_ms),
                None => {
                    self.open.clocks.cancel(request.node, &request.name);
                    true
                }
            };
            if !kept {
                self.open.clocks = before;
                return Err(request.refused(&self.plan.nodes[request.node]));
            }
        }
        self.touched = true;
        Ok(())
    }
}
