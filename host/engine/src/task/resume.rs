//! Punctuations that go on: what one call of the user code does not come to, the next one does, from the token on that it
//! has left. Each call is a batch of its own, and nothing else of the task happens between two. The token is committed with
//! the task's offsets, so that a commit may come between them, and a restart.

use std::collections::BTreeMap;

use super::clocks::Clocks;
use super::schedules::SCHEDULED;
use super::step::Step;
use super::{Failure, Task};
use crate::metadata::Resumption;
use crate::operator::UnderWay;
use crate::topology::Plan;

impl Clocks {
    /// One portion of a punctuation is done, the only one as far as anybody knows. The first one has moved its schedule on.
    pub(super) fn has_fired(&mut self, timer: usize, time: i64, portion: u32) {
        self.under_way = None;
        if portion == 0 {
            self.timers[timer].fire(time);
        }
    }

    /// The timer of the punctuation that is to go on.
    fn timer_under_way(&self) -> Option<usize> {
        let UnderWay { node, punctuation, .. } = self.under_way.as_ref()?;
        self.timers.iter().position(|timer| (timer.node, timer.punctuation) == (*node, *punctuation))
    }

    /// Its name, and whether it was made while the task ran.
    fn name_under_way<'a>(&'a self, plan: &'a Plan) -> Option<(&'a str, bool)> {
        let UnderWay { node, punctuation, .. } = self.under_way.as_ref()?;
        match self.scheduled.get(punctuation) {
            Some(name) => Some((name, true)),
            None => plan.nodes[*node].punctuations.get(usize::from(*punctuation)).map(|known| (&*known.name, false)),
        }
    }

    /// What is committed of it beside the offsets.
    pub(super) fn under_way_value(&self, plan: &Plan) -> Option<(String, i64)> {
        let UnderWay { node, time, portion, token, .. } = self.under_way.as_ref()?;
        let (name, is_scheduled) = self.name_under_way(plan)?;
        let (node, token) = (&*plan.nodes[*node].name, token.into());
        Some((Resumption { is_scheduled, portion: *portion, node, name, token }.text(), *time))
    }

    /// Takes up what was committed beside the offsets, once the schedules are there. Where nothing of that name goes on by
    /// tokens any more, it has ended.
    pub(super) fn find_under_way(&mut self, plan: &Plan, nodes: &[usize], values: &BTreeMap<String, i64>) {
        let found = values.iter().find_map(|(text, time)| Some((Resumption::parse(text)?, *time)));
        let Some((found, time)) = found else { return };
        let Some(node) = nodes.iter().copied().find(|node| plan.nodes[*node].name == found.node) else { return };
        let punctuation = self.number(plan, node, found.name, found.is_scheduled);
        let Some(punctuation) = punctuation.filter(|_| plan.nodes[node].resumes) else { return };
        let (portion, token) = (found.portion, found.token.into_owned());
        self.under_way = Some(UnderWay { node, punctuation, time, portion, token });
    }

    /// The number of a node's punctuation.
    fn number(&self, plan: &Plan, node: usize, name: &str, is_scheduled: bool) -> Option<u16> {
        if !is_scheduled {
            let place = plan.nodes[node].punctuations.iter().position(|known| known.name == name);
            return place.and_then(|place| u16::try_from(place).ok());
        }
        let is_it = |number: &u16| self.scheduled.get(number).is_some_and(|known| known == name);
        let numbers = self.timers.iter().filter(|timer| timer.node == node).map(|timer| timer.punctuation);
        numbers.filter(|number| *number >= SCHEDULED).find(is_it)
    }

    /// The same of another plan, once its timers are there: `before` in the words of the old one, by name.
    pub(super) fn carry_under_way(&mut self, old_plan: &Plan, before: &Clocks, plan: &Plan) {
        let nodes: Vec<usize> = (0..plan.nodes.len()).collect();
        self.under_way = None;
        self.find_under_way(plan, &nodes, &before.under_way_value(old_plan).into_iter().collect());
    }

    /// Whether what is to go on here has nobody to go on with under another plan: `there` are the clocks that it has.
    pub(super) fn loses_under_way(&self, plan: &Plan, there: &Clocks, other: &Plan) -> bool {
        let mut there = there.clone();
        there.carry_under_way(plan, self, other);
        self.under_way.is_some() && there.under_way.is_none()
    }
}

impl Task {
    /// Whether a punctuation of it is to go on before anything else.
    pub fn is_punctuating(&self) -> bool {
        self.open.clocks.under_way.is_some()
    }

    /// Fires the next portion of the punctuation that is to go on; `None`: there is none.
    pub(super) fn go_on_punctuating(&mut self) -> Result<Option<Step>, Failure> {
        let Some(under_way) = self.open.clocks.under_way.clone() else { return Ok(None) };
        let Some(timer) = self.open.clocks.timer_under_way() else {
            self.open.clocks.under_way = None;
            self.touched = true;
            return Ok(None);
        };
        let UnderWay { time, portion, token, .. } = under_way;
        self.punctuate(timer, time, portion, Some(&token)).map(Some)
    }
}
