//! What each event of the log does.

use std::time::Instant;

use millstream_engine::error::{Problem, exit};
use millstream_engine::record::TopicPartition;
use millstream_engine::store;
use millstream_engine::task::{Failure, Metadata, Start, Task, TaskId};

use super::active::{Active, State};
use super::emptied;
use super::truncated::by_policy;
use super::{Error, StreamThread, wall_clock_ms};
use crate::log::{AssignedTask, Event, Guarantee};

impl StreamThread {
    pub(super) fn on_event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Records { input, records } => {
                let Some(last) = records.len().checked_sub(1).map(|last| records.get(last).0) else { return Ok(()) };
                let taken = records.len() as u64;
                if let Some(task) = self.hears(input, last + 1) {
                    task.add(input, records);
                    let topic = &self.plan.topics[input.topic.0 as usize].name;
                    *self.counters.records_consumed.entry(topic.clone()).or_default() += taken;
                }
            }
            Event::End { input, offset } => {
                if let Some(task) = self.hears(input, offset) {
                    task.set_end(input, offset);
                }
            }
            Event::Truncated { input, offset } => self.on_truncated(input, offset),
            Event::Assigned { tasks } => self.on_assigned(tasks)?,
            Event::Revoked { tasks, lost } => self.on_revoked(tasks, lost)?,
            Event::Committed { sequence, positions } => self.on_committed(sequence, positions),
            Event::Aborted { sequence, why } => self.on_aborted(sequence, &why)?,
            Event::Disconnected { why } => {
                match &why {
                    Some(why) => tracing::warn!(why, "the log cannot be reached"),
                    None => tracing::info!("the log can be reached again"),
                }
                self.disconnected = why;
            }
            Event::Denied { why } => {
                match &why {
                    Some(why) => tracing::warn!(why, "rights are missing: the application waits for them"),
                    None => tracing::info!("all rights are there again"),
                }
                self.denied = why;
            }
        }
        Ok(())
    }

    /// The task that takes what came of an input. What comes for one that does not run was asked for before it had to
    /// stop: it is asked for again when it goes on ([`StreamThread::start_inputs`]).
    fn hears(&mut self, input: TopicPartition, end: i64) -> Option<&mut Task> {
        let active = self.tasks.values_mut().find(|active| active.task.inputs().any(|own| own == input))?;
        active.hear_end(input, end);
        if !active.is_running() || self.restarted.contains(&input) {
            return None;
        }
        active.ran = true;
        Some(&mut active.task)
    }

    fn on_assigned(&mut self, tasks: Vec<AssignedTask>) -> Result<(), Error> {
        let ids: Vec<TaskId> = tasks.iter().map(|assigned| assigned.task).collect();
        for assigned in &tasks {
            tracing::info!(task = %assigned.task, "assigned");
            let starts = self.starts(assigned);
            let task = Task::new(assigned.task, self.plan.clone(), self.settings, &starts, wall_clock_ms());
            let ends = assigned.inputs.iter().map(|input| (input.input, input.offsets.end)).collect();
            self.tasks.insert(assigned.task, Active::new(task, ends));
            self.join_trial(assigned.task);
        }
        Ok(self.client.accept(&ids)?)
    }

    /// Where each input of a task begins: at its committed offset, else where its policy says.
    fn starts(&mut self, assigned: &AssignedTask) -> Vec<Start> {
        let plan = self.plan.clone();
        let subtopology = &plan.subtopologies[assigned.task.subtopology as usize];
        let mut starts = Vec::new();
        for (source, topic, _) in plan.inputs(subtopology) {
            let Some(input) = assigned.inputs.iter().find(|input| input.input.topic == topic) else { continue };
            let metadata = input.committed.as_ref().and_then(|committed| Metadata::decode(&committed.metadata));
            let anew = self.anew.contains(input.input);
            let offset = match input.committed.as_ref().filter(|_| !anew) {
                Some(committed) => self.resume(source, input.input, committed.offset, input.offsets),
                None => by_policy(plan.policies[source].start, input.offsets),
            };
            starts.push(Start { input: input.input, source, offset, metadata });
        }
        starts
    }

    fn on_revoked(&mut self, tasks: Vec<TaskId>, lost: bool) -> Result<(), Error> {
        if !lost {
            self.revoking.extend(tasks.into_iter().map(|task| (task, Instant::now())));
            return Ok(());
        }
        tracing::warn!(?tasks, "tasks were lost to another owner: what was not committed is dropped");
        for task in &tasks {
            self.close_dirty(*task);
        }
        // The outcome of an interval on its way does not come any more: the client is another member from here on.
        // One that is committed already is only waited for by the bases of those who stay.
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.committed.is_none()) {
            self.in_flight = None;
        }
        self.rewind_all()?;
        Ok(self.client.release(&tasks)?)
    }

    /// Makes its state durable first: a base that is only dropped survives the process, but not the machine.
    pub(super) fn close_clean(&mut self, id: TaskId) {
        if let Some(active) = self.tasks.get_mut(&id) {
            let is_whole = active.is_whole();
            let stores = active.task.stores_mut();
            // One that does not take the mark only counts as older than it is.
            let marked = if is_whole { stores.mark_whole(wall_clock_ms()) } else { Ok(()) };
            if let Err(error) = stores.close().and(marked) {
                tracing::warn!(task = %id, %error, "the state was not closed well; it may have to be restored");
            }
        }
        self.close_dirty(id);
    }

    fn close_dirty(&mut self, id: TaskId) {
        self.revoking.remove(&id);
        self.restorer.forget(id);
        self.tasks.remove(&id);
        // Its place may be taken again before the outcome comes, by a task that has committed nothing yet.
        self.forget_in_flight(id);
    }

    /// What the interval in flight comes to does not concern this task any more.
    fn forget_in_flight(&mut self, id: TaskId) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.tasks.retain(|task| *task != id);
        }
    }

    /// Releases revoked tasks that have nothing left to commit. One that cannot commit in time is dropped: the next
    /// owner starts from what is committed.
    pub(super) fn release_revoked(&mut self) -> Result<(), Error> {
        let undecided = self.tasks_undecided();
        let done = |(id, since): (&TaskId, &Instant)| {
            // What is being opened must be let go before another opens it.
            let is_free = !undecided.contains(id) && !self.opener.is_opening(*id);
            let settled = is_free && self.tasks.get(id).is_none_or(|active| !active.has_uncommitted());
            (settled || since.elapsed() > super::REVOKE_TIMEOUT).then_some(*id)
        };
        let done: Vec<TaskId> = self.revoking.iter().filter_map(done).collect();
        if done.is_empty() {
            return Ok(());
        }
        for id in &done {
            tracing::info!(task = %id, "released");
            self.close_clean(*id);
        }
        Ok(self.client.release(&done)?)
    }

    fn on_aborted(&mut self, sequence: u64, why: &str) -> Result<(), Error> {
        tracing::warn!(sequence, why, "the interval was aborted: going back to the committed offsets");
        self.counters.commits_aborted += 1;
        self.in_flight = None;
        self.rewind_all()
    }

    /// Drops everything that is not committed, of all tasks.
    pub(super) fn rewind_all(&mut self) -> Result<(), Error> {
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            self.rewind(id)?;
        }
        Ok(())
    }

    fn rewind(&mut self, id: TaskId) -> Result<(), Error> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(()) };
        active.task.abort();
        if !active.is_running() {
            return Ok(());
        }
        if self.plan.guarantee == Guarantee::AtLeastOnce {
            // Some of the interval's changelog may be in the log: the store must not stay behind it.
            active.state = State::Locating;
            return Ok(());
        }
        self.start_inputs(id)
    }

    /// Asks the log for the records from the task's offsets on, and for nothing that was delivered before.
    pub(super) fn start_inputs(&mut self, id: TaskId) -> Result<(), Error> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(()) };
        active.task.rewind();
        for (input, offset) in active.task.offsets() {
            self.client.start(input, offset)?;
            self.client.want(input, true);
            self.restarted.insert(input);
            self.truncated.forget(input);
        }
        Ok(())
    }

    /// A task could not go on by itself.
    pub(super) fn on_failure(&mut self, id: TaskId, failure: Failure) -> Result<(), Error> {
        let Some(failure) = self.fail_trial(failure) else { return Ok(()) };
        match failure {
            Failure::Record(failed) => {
                self.stop(false, Err(record_failed(&self.plan.application, &failed).into()));
                Ok(())
            }
            Failure::Store(error) => self.on_store_error(id, error),
            Failure::Unreadable(unreadable) => {
                self.stop(false, Err(state_unreadable(&self.plan.application, id, &unreadable).into()));
                Ok(())
            }
        }
    }

    pub(super) fn on_store_error(&mut self, id: TaskId, error: store::Error) -> Result<(), Error> {
        let Some(active) = self.tasks.get_mut(&id) else { return Ok(()) };
        match error {
            store::Error::Retry(why) => {
                if active.resting.is_none() {
                    tracing::error!(task = %id, why, "a store does not answer: the task waits");
                }
                active.rest(why);
                Ok(())
            }
            store::Error::Full(problem) => {
                if active.is_full().is_none() {
                    let (code, error, fix) = (problem.code, problem.name, &problem.fix);
                    tracing::error!(task = %id, code, error, fix, "{problem}: the task waits");
                }
                active.rest_full(*problem);
                Ok(())
            }
            store::Error::Corrupted(why) => {
                tracing::error!(task = %id, why, "the local state is damaged: it is wiped and restored");
                active.state = State::Damaged;
                self.restorer.forget(id);
                Ok(())
            }
            store::Error::Refused(problem) => {
                active.rest(problem.to_string());
                self.stop(false, Err((*problem).into()));
                Ok(())
            }
        }
    }

    /// Wipes damaged state and restores it, once the outcome of the task's last interval is known.
    pub(super) fn mend_damaged(&mut self) -> Result<(), Error> {
        let undecided = self.tasks_undecided();
        let quiet = |(id, active): (&TaskId, &Active)| {
            (active.state == State::Damaged && !active.is_resting() && !undecided.contains(id)).then_some(*id)
        };
        let quiet: Vec<TaskId> = self.tasks.iter().filter_map(quiet).collect();
        for id in quiet {
            let Some(active) = self.tasks.get_mut(&id) else { continue };
            match active.task.wipe_damaged() {
                Ok(places) => {
                    active.state = State::Locating;
                    for (_, slot) in active.task.stores().slots().enumerate().filter(|(at, _)| places.contains(at)) {
                        if self.plan.stores[slot.number as usize].changelog.is_none() {
                            self.truncated.warn(&emptied::damaged(id, &slot.name));
                        }
                    }
                }
                Err(store::Error::Retry(why)) => active.rest(why),
                Err(full @ store::Error::Full(_)) => self.on_store_error(id, full)?,
                Err(error) => return Err(state_unusable(&self.plan.application, id, &error).into()),
            }
        }
        Ok(())
    }
}

/// The name of the problem that a record is which its policy stops the application for.
pub const RECORD_FAILED: &str = "RecordFailed";

fn record_failed(application: &str, failed: &millstream_engine::task::FailedRecord) -> Problem {
    let problem = Problem::new(RECORD_FAILED, "E0801", exit::FAILED, format!("application {application}: {failed}"))
        .field("application", application)
        .field("topic", failed.topic.as_str())
        .field("partition", failed.partition)
        .field("offset", failed.offset)
        .field("node", failed.node.as_str())
        .field("exception", failed.exception.as_str())
        .why("the record's effects were undone; everything before it is committed, nothing after it was begun")
        .fix("mend the plugin and start again, or set on_error = \"skip\" or \"dead-letter:TOPIC\" in the manifest");
    match failed.backtrace.is_empty() {
        true => problem,
        false => problem.field("backtrace", failed.backtrace.lines().collect::<Vec<_>>()),
    }
}

fn state_unreadable(application: &str, task: TaskId, unreadable: &millstream_engine::operator::Unreadable) -> Problem {
    Problem::new("StateUnreadable", "E0806", exit::FAILED, format!("task {task} of {application}: {unreadable}"))
        .field("application", application)
        .field("task", task.to_string())
        .field("store", unreadable.store.as_str())
        .field("key", unreadable.key.as_str())
        .field("node", unreadable.node.as_str())
        .why("the changelog holds it, written by another program or by another operator, so that restoring changes nothing")
        .fix("give the store another name, or delete its changelog topic and the local state and start from the beginning")
}

fn state_unusable(application: &str, task: TaskId, error: &store::Error) -> Problem {
    Problem::new("StateUnusable", "E0802", exit::FAILED, format!("task {task} of {application}: {error}"))
        .field("application", application)
        .field("task", task.to_string())
        .why("its state is damaged and cannot be emptied either")
        .fix("look after the disk, or point state_dir at another one: everything is in the changelogs")
}
