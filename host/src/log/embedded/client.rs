//! The embedded log's [`Client`].
//!
//! Its group never moves: task i of an application belongs to thread i modulo the number of threads, for as long as
//! the process runs it. A commit that fails ends as [`Event::Aborted`], and if another try cannot mend it, the next
//! poll fails with its error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_engine::record::{Outgoing, TopicPartition};
use millstream_engine::task::TaskId;

use super::change::{Append, Change, Moved, Outcome};
use super::commit::Reply;
use super::cursor::{Cursor, Stretch};
use super::environment::{Environment, Snapshot};
use super::ownership::Membership;
use super::pinned::Pinned;
use super::publish::Published;
use super::{Client, Committed, Error, Result, Subscription};
use crate::log::{AssignedInput, AssignedTask, Event, Guarantee, Interval};

/// How long leaving waits for a commit on its way: longer than a commit waits for another process.
const LEAVE_WAIT: Duration = Duration::from_secs(40);

pub struct EmbeddedClient {
    environment: Arc<Environment>,
    subscription: Subscription,
    /// `None` once it has left.
    membership: Option<Membership>,
    topics: Pinned,
    assigned: bool,
    tasks: BTreeMap<TaskId, Task>,
    inputs: BTreeMap<TopicPartition, Input>,
    outcomes: Arc<Outcomes>,
    published: Arc<Published>,
    /// Sequence of the interval on its way.
    submitted: Option<u64>,
    /// Why it cannot go on.
    failure: Option<Error>,
}

/// A task of this thread.
struct Task {
    inputs: Vec<TopicPartition>,
    accepted: bool,
}

struct Input {
    task: TaskId,
    /// `None`: not started.
    cursor: Option<Cursor>,
    wanted: bool,
}

/// Of a committed interval: each changelog partition's last offset.
type Positions = Vec<(TopicPartition, i64)>;

/// Outcomes of submitted intervals.
#[derive(Default)]
struct Outcomes(Mutex<Vec<Result<Positions>>>);

impl Outcomes {
    fn push(&self, outcome: Result<Positions>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
    }

    fn take(&self) -> Vec<Result<Positions>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl EmbeddedClient {
    pub fn open(environment: Arc<Environment>, subscription: Subscription) -> Result<EmbeddedClient> {
        let membership = environment.ownerships.join(&environment, &subscription)?;
        let tasks = tasks_of(&subscription);
        let inputs = tasks.iter().flat_map(|(id, task)| task.inputs.iter().map(|input| (*input, *id)));
        let inputs = inputs.map(|(input, task)| (input, Input { task, cursor: None, wanted: true })).collect();
        Ok(EmbeddedClient {
            environment,
            topics: Pinned::new(subscription.topics.clone()),
            subscription,
            membership: Some(membership),
            assigned: false,
            tasks,
            inputs,
            outcomes: Arc::default(),
            published: Arc::default(),
            submitted: None,
            failure: None,
        })
    }

    fn application(&self) -> &str {
        &self.subscription.application
    }
}

/// Every task whose number in the list of all is this thread's.
fn tasks_of(subscription: &Subscription) -> BTreeMap<TaskId, Task> {
    let sets = subscription.task_sets.iter();
    let all = sets.flat_map(|set| (0..set.partitions).map(move |partition| (set, partition)));
    let own = all.enumerate().filter(|(i, _)| i % subscription.threads.max(1) == subscription.thread);
    own.map(|(_, (set, partition))| {
        let inputs = set.inputs.iter().filter(|(_, partitions)| partition < *partitions);
        let inputs = inputs.map(|(topic, _)| TopicPartition { topic: *topic, partition }).collect();
        (TaskId { subtopology: set.subtopology, partition }, Task { inputs, accepted: false })
    })
    .collect()
}

// === what happened ===

impl EmbeddedClient {
    /// Appends what there is now; answers which commit it saw.
    fn look(&mut self, events: &mut Vec<Event>) -> Result<usize> {
        for outcome in self.outcomes.take() {
            self.settle(outcome, events);
        }
        let snapshot = self.environment.snapshot()?;
        if !self.assigned {
            events.push(assign(&self.subscription.application, &self.tasks, &mut self.topics, &snapshot)?);
            self.assigned = true;
        }
        for (&input, state) in self.inputs.iter_mut().filter(|(_, state)| state.wanted) {
            let Some(cursor) = &mut state.cursor else { continue };
            let Stretch { records, end, truncated } = cursor.read(&snapshot)?;
            if !records.is_empty() {
                events.push(Event::Records { input, records });
            }
            events.extend(end.map(|offset| Event::End { input, offset }));
            events.extend(truncated.map(|offset| Event::Truncated { input, offset }));
        }
        Ok(snapshot.commit())
    }

    fn settle(&mut self, outcome: Result<Positions>, events: &mut Vec<Event>) {
        let sequence = self.submitted.take().unwrap_or_default();
        let error = match outcome {
            Ok(positions) => return events.push(Event::Committed { sequence, positions }),
            Err(error) => error,
        };
        // Until they are started again: nothing that was read before may follow.
        self.inputs.values_mut().for_each(|input| input.cursor = None);
        self.published.forgive();
        if let Error::AlreadyRunning { .. } = error {
            let tasks = self.tasks.iter().filter(|(_, task)| task.accepted).map(|(id, _)| *id).collect();
            events.push(Event::Revoked { tasks, lost: true });
        } else {
            events.push(Event::Aborted { sequence, why: error.to_string() });
        }
        if let Error::AlreadyRunning { .. } | Error::UnknownTopic(_) | Error::Corrupted(..) = error {
            self.failure = Some(error);
        }
    }
}

fn assign(
    application: &str,
    tasks: &BTreeMap<TaskId, Task>,
    topics: &mut Pinned,
    snapshot: &Snapshot<'_>,
) -> Result<Event> {
    let mut input = |input: TopicPartition| {
        let handle = topics.handle(snapshot, input.topic)?;
        handle.check(input.partition)?;
        let committed = snapshot.committed(&handle, input.partition, application)?;
        Ok(AssignedInput { input, committed, offsets: snapshot.offsets(&handle, input.partition)? })
    };
    let mut task = |(id, task): (&TaskId, &Task)| {
        let inputs = task.inputs.iter().map(|place| input(*place)).collect::<Result<_>>()?;
        Ok(AssignedTask { task: *id, inputs })
    };
    Ok(Event::Assigned { tasks: tasks.iter().map(&mut task).collect::<Result<_>>()? })
}

// === what is written ===

impl EmbeddedClient {
    /// The interval as one change, and the places of its changelog's runs, which are the last ones.
    fn change(&mut self, interval: &Interval) -> Result<(Append, Vec<TopicPartition>)> {
        let owned = self.owned()?;
        let snapshot = self.environment.snapshot()?;
        let (mut runs, _) = self.topics.runs(&snapshot, &interval.outgoing)?;
        let (changelog, places) = self.topics.runs(&snapshot, &interval.changelog)?;
        runs.extend(changelog);
        let offsets = interval.offsets.iter().map(|moved| {
            let committed = Committed { offset: moved.offset, metadata: moved.metadata.clone() };
            let handle = self.topics.handle(&snapshot, moved.input.topic)?;
            Ok(Moved { handle, partition: moved.input.partition, committed })
        });
        Ok((Append { runs, offsets: offsets.collect::<Result<_>>()?, ..owned }, places))
    }

    /// An empty change that only the owner may make, and only behind what it published.
    fn owned(&self) -> Result<Append> {
        let left = || Error::refused(format!("application {}", self.application()), "this client has left");
        let membership = self.membership.as_ref().ok_or_else(left)?;
        let (owner, behind) = (Some(membership.ownership.clone()), Some(self.published.clone()));
        Ok(Append { owner, behind, ..Append::default() })
    }

    /// Waits until nothing is on its way, so that the next owner reads final offsets.
    fn finish(&mut self) {
        let deadline = Instant::now() + LEAVE_WAIT;
        let done =
            |client: &Self| client.published.is_idle() && (client.submitted.is_none() || !client.outcomes.is_empty());
        while !done(self) && Instant::now() < deadline {
            let wakes = self.environment.watch.wakes();
            self.environment.watch.wait(wakes, deadline, || done(self));
        }
        self.membership = None;
    }
}

impl Client for EmbeddedClient {
    fn poll(&mut self, wait: Duration, events: &mut Vec<Event>) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (before, deadline) = (events.len(), Instant::now() + wait);
        loop {
            let wakes = self.environment.watch.wakes();
            let seen = self.look(events)?;
            if events.len() > before || Instant::now() >= deadline {
                return Ok(());
            }
            self.environment.watch.wait(wakes, deadline, || self.environment.last_commit() != seen);
        }
    }

    fn accept(&mut self, tasks: &[TaskId]) -> Result<()> {
        for id in tasks {
            let not_ours = || Error::refused(format!("task {id}"), "it was not assigned to this client");
            self.tasks.get_mut(id).ok_or_else(not_ours)?.accepted = true;
        }
        Ok(())
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<()> {
        self.tasks.retain(|id, _| !tasks.contains(id));
        self.inputs.retain(|_, input| !tasks.contains(&input.task));
        Ok(())
    }

    fn start(&mut self, input: TopicPartition, offset: i64) -> Result<()> {
        let snapshot = self.environment.snapshot()?;
        let handle = self.topics.handle(&snapshot, input.topic)?;
        let cursor = Cursor::open(handle.clone(), input.partition, offset)?;
        let accepted = |state: &Input| self.tasks.get(&state.task).is_some_and(|task| task.accepted);
        match self.inputs.get_mut(&input) {
            Some(state) if accepted(state) => state.cursor = Some(cursor),
            _ => return Err(Error::refused(handle.at(input.partition), "it belongs to no task of this client")),
        }
        Ok(())
    }

    fn want(&mut self, input: TopicPartition, wanted: bool) {
        if let Some(state) = self.inputs.get_mut(&input) {
            state.wanted = wanted;
        }
    }

    fn publish(&mut self, outgoing: &Outgoing) -> Result<bool> {
        if self.subscription.guarantee == Guarantee::ExactlyOnce {
            let what = format!("application {}", self.application());
            return Err(Error::refused(what, "exactly-once sends nothing ahead of its interval"));
        }
        let owned = self.owned()?;
        let (runs, _) = self.topics.runs(&self.environment.snapshot()?, outgoing)?;
        let change = Change::Append(Append { runs, ..owned });
        let (published, bytes) = (self.published.clone(), change.bytes());
        if !published.begin(bytes) {
            return Ok(false);
        }
        let reply = Reply::new(move |outcome| published.settle(bytes, outcome.map(drop)));
        self.environment.submit(change, reply);
        Ok(true)
    }

    fn submit(&mut self, interval: Interval) -> Result<()> {
        if let Some(sequence) = self.submitted {
            let what = format!("interval {}", interval.sequence);
            return Err(Error::refused(what, format!("interval {sequence} is still on its way")));
        }
        self.owned()?;
        self.submitted = Some(interval.sequence);
        let outcomes = self.outcomes.clone();
        let (append, places) = match self.change(&interval) {
            Ok(change) => change,
            Err(error) => {
                outcomes.push(Err(error));
                return Ok(());
            }
        };
        let reply = Reply::new(move |outcome| outcomes.push(outcome.map(|outcome| positions(&outcome, &places))));
        self.environment.submit(Change::Append(append), reply);
        Ok(())
    }

    fn leave(&mut self, _stay: bool) -> Result<()> {
        self.finish();
        self.tasks.clear();
        self.inputs.clear();
        self.assigned = true;
        Ok(())
    }
}

/// The last offsets of the last runs, which are the changelog's.
fn positions(outcome: &Outcome, places: &[TopicPartition]) -> Positions {
    let Outcome::Appended { last } = outcome else { return Vec::new() };
    let changelog = &last[last.len().saturating_sub(places.len())..];
    places.iter().copied().zip(changelog.iter().copied()).collect()
}

impl Drop for EmbeddedClient {
    fn drop(&mut self) {
        self.finish();
    }
}
