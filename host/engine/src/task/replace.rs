//! Another build of a task's user code under the same state.

use std::sync::Arc;

use super::choose::Chosen;
use super::seal::timer_name;
use super::{Task, Timer, timers};
use crate::functions::Functions;
use crate::topology::Plan;

impl Task {
    /// Puts other user code and its plan ([`Plan::in_place_of`]) in the place of what runs, with nothing in flight.
    /// What is open stays, and is committed or dropped with what the new code does. Stores, timers and inputs are
    /// matched by name and keep what they have; records that a retry held back are asked for again: `true` when the
    /// log must deliver from [`Task::offsets`] on.
    ///
    /// `on_trial`: a fault of the user code comes out as a failure, whatever the policy says, until [`Task::acquit`].
    pub fn replace(&mut self, plan: Arc<Plan>, functions: Box<dyn Functions>, on_trial: bool) -> bool {
        let before = self.on_trial.take();
        self.on_trial = on_trial.then(|| before.clone().unwrap_or_else(|| self.committed.clocks.timers.clone()));
        for progress in [&mut self.committed, &mut self.open] {
            let mut new = timers(&plan, self.id);
            if let (Some(before), false) = (&before, on_trial) {
                // What went with the build that is put away stands again where it stood.
                new = carried_over(&plan, before, &plan, new);
            }
            progress.clocks.timers = carried_over(&self.plan, &progress.clocks.timers, &plan, new);
        }
        let inputs = plan.inputs(&plan.subtopologies[self.id.subtopology as usize]);
        for queue in &mut self.queues {
            if let Some((source, ..)) = inputs.iter().find(|(_, topic, _)| *topic == queue.input.topic) {
                queue.source = *source;
            }
        }
        self.plan = plan;
        self.number_stores();
        self.functions = functions;
        let held_back = !self.chosen.is_empty();
        self.chosen = Chosen::default();
        if held_back {
            self.rewind();
        }
        held_back
    }

    /// Ends the trial: from here on the policies judge.
    pub fn acquit(&mut self) {
        self.on_trial = None;
    }

    /// Puts it on trial with the code it has.
    pub fn try_out(&mut self) {
        self.on_trial = Some(self.committed.clocks.timers.clone());
    }

    /// Gives its stores the numbers and the bounds that the plan has for their names.
    pub(super) fn number_stores(&mut self) {
        let plan = &self.plan;
        self.stores.renumber(|name| {
            let place = plan.stores.iter().position(|store| store.description.name == name);
            place.map(|place| place as u32)
        });
        self.stores.set_changelogs(self.settings.coalesce, |store| plan.entry_bytes_max(store as usize));
    }
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
