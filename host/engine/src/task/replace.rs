//! Another build of a task's user code under the same state.

use std::sync::Arc;

use super::choose::Chosen;
use super::schedules::SCHEDULED;
use super::seal::timer_name;
use super::{Task, Timer, timers};
use crate::config::Guarantee;
use crate::functions::Functions;
use crate::operator::Reached;
use crate::topology::{Extractor, Plan};

impl Task {
    /// Puts other user code and its plan ([`Plan::in_place_of`]) in the place of what runs, with nothing in flight.
    /// What is open stays, and is committed or dropped with what the new code does. Stores, timers and inputs are
    /// matched by name and keep what they have, the token of a punctuation that goes on too; records that a retry held
    /// back, and those whose times may be others now, are asked for again: `true` when the log must deliver from
    /// [`Task::offsets`] on.
    ///
    /// `on_trial`: a fault of the user code comes out as a failure, whatever the policy says, until [`Task::acquit`].
    pub fn replace(&mut self, plan: Arc<Plan>, functions: Box<dyn Functions>, on_trial: bool) -> bool {
        let before = self.on_trial.take();
        self.on_trial = on_trial.then(|| before.clone().unwrap_or_else(|| self.committed.clocks.clone()));
        // Of the build that is put away, if one is.
        let before = before.filter(|_| !on_trial);
        for progress in [&mut self.committed, &mut self.open] {
            let mut new = timers(&plan, self.id);
            if let Some(before) = &before {
                // What went with it stands again where it stood.
                new = carried_over(&plan, &apart(&before.timers).0, &plan, new);
            }
            let old = progress.clocks.clone();
            let (declared, scheduled) = apart(&progress.clocks.timers);
            progress.clocks.timers = carried_over(&self.plan, &declared, &plan, new);
            // What was made while it ran goes on where there is a node of that name that makes such.
            for timer in scheduled {
                let name = &self.plan.nodes[timer.node].name;
                match plan.nodes.iter().position(|node| node.schedules && node.name == *name) {
                    Some(node) => progress.clocks.timers.push(Timer { node, ..timer }),
                    None => drop(progress.clocks.scheduled.remove(&timer.punctuation)),
                }
            }
            match before.as_ref().filter(|before| before.loses_under_way(&plan, &old, &self.plan)) {
                Some(before) => progress.clocks.carry_under_way(&plan, before, &plan),
                None => progress.clocks.carry_under_way(&self.plan, &old, &plan),
            }
            // One that has ended so is not to be found any more.
            self.touched |= old.under_way.is_some() && progress.clocks.under_way.is_none();
            progress.clocks.reached = reached(&self.plan, &progress.clocks.reached, &plan);
        }
        let inputs = plan.inputs(&plan.subtopologies[self.id.subtopology as usize]);
        // What waits may have got its time from the code that goes, or have another one now.
        let mut stamped_anew = false;
        for queue in &mut self.queues {
            let before = self.plan.nodes[queue.source].times;
            if let Some((source, ..)) = inputs.iter().find(|(_, topic, _)| *topic == queue.input.topic) {
                queue.source = *source;
            }
            let same = before == plan.nodes[queue.source].times && before.extractor != Extractor::Function;
            stamped_anew |= !queue.is_empty() && !same;
        }
        self.plan = plan;
        self.number_stores();
        self.functions = functions;
        let held_back = !self.chosen.is_empty() || stamped_anew;
        self.chosen = Chosen::default();
        if held_back {
            self.rewind();
        }
        held_back
    }

    /// The component whose code it runs, for dead letters.
    pub fn set_component(&mut self, digest: Option<[u8; 32]>) {
        self.settings.component = digest;
    }

    /// Ends the trial: from here on the policies judge.
    pub fn acquit(&mut self) {
        self.on_trial = None;
    }

    /// Puts it on trial with the code it has.
    pub fn try_out(&mut self) {
        self.on_trial = Some(self.committed.clocks.clone());
    }

    /// Gives its stores the numbers and the bounds that the plan has for their names, and with them to user code the names
    /// of what is read.
    pub(super) fn number_stores(&mut self) {
        let plan = &self.plan;
        self.stores.renumber(|name| {
            let place = plan.stores.iter().position(|store| store.description.name == name);
            place.map(|place| place as u32)
        });
        self.stores.set_changelogs(self.settings.coalesce, |store| plan.entry_bytes_max(store as usize));
        let cache = |store: u32| plan.stores.get(store as usize).and_then(|store| store.cache);
        self.stores.set_caches(|store| cache(store).filter(|cache| cache.holds_back).map(|cache| cache.bytes));
        self.stores.coalesce(|store| cache(store).is_some_and(|cache| !cache.holds_back));
        self.stores.set_logs_ahead(plan.guarantee == Guarantee::AtLeastOnce);
        self.stores.set_topics(plan.topics_read());
        self.stores.set_of_sources(|store| plan.stores.get(store as usize).is_some_and(|store| store.reuses_source));
    }
}

/// How far operators have come, by the numbers that the new plan has for the names of their stores.
fn reached(old_plan: &Plan, old: &Reached, plan: &Plan) -> Reached {
    let mut reached = Reached::default();
    for ((store, input), time) in old.iter() {
        let name = &old_plan.stores[store].description.name;
        if let Some(store) = plan.stores.iter().position(|store| store.description.name == *name) {
            reached.set((store, input), time);
        }
    }
    reached
}

/// Timers that were declared, and those made while the task ran.
fn apart(timers: &[Timer]) -> (Vec<Timer>, Vec<Timer>) {
    timers.iter().copied().partition(|timer| timer.punctuation < SCHEDULED)
}

/// The new plan's timers, each where its namesake in the old one stands if it has the same grid.
fn carried_over(old_plan: &Plan, old: &[Timer], plan: &Plan, mut timers: Vec<Timer>) -> Vec<Timer> {
    for timer in &mut timers {
        let name = timer_name(plan, timer);
        let same = |old: &&Timer| {
            timer_name(old_plan, old) == name && (old.time, old.every_ms) == (timer.time, timer.every_ms)
        };
        if let Some(old) = old.iter().find(same) {
            timer.next = old.next;
        }
    }
    timers
}
