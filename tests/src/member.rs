//! One client of a group, as a stream thread would use it: answers what has to be answered, keeps what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use millstream::log::{
    AssignedInput, AssignedTask, Client, Event, Guarantee, InputOffset, Interval, Subscription, TaskSet,
};
use millstream_engine::record::{Outgoing, Record, TopicId, TopicPartition};
use millstream_engine::task::TaskId;

use crate::logs::{DEADLINE, Owned, STEP, TestLog, owned, unique};

/// A subscription of one thread to task sets, with an instance of its own.
pub fn subscription(application: &str, topics: &[&str], task_sets: Vec<TaskSet>) -> Subscription {
    Subscription {
        application: application.to_owned(),
        topics: topics.iter().map(|t| t.to_string()).collect(),
        task_sets,
        guarantee: Guarantee::ExactlyOnce,
        thread: 0,
        threads: 1,
        instance: unique("instance"),
        plan_hash: "plan".to_owned(),
        address: None,
    }
}

/// Subtopology 0 with topic 0 as its only input.
pub fn one_input(partitions: i32) -> Vec<TaskSet> {
    let topic = TopicId(0);
    vec![TaskSet { subtopology: 0, subscribe: topic, partitions, inputs: vec![(topic, partitions)] }]
}

pub fn at(topic: u32, partition: i32) -> TopicPartition {
    TopicPartition { topic: TopicId(topic), partition }
}

/// Records on their way out.
pub fn outgoing(records: &[(TopicPartition, Record<'_>)]) -> Outgoing {
    let mut out = Outgoing::default();
    for (to, record) in records {
        out.push(*to, *record);
    }
    out
}

pub fn offset(input: TopicPartition, offset: i64, metadata: &str) -> InputOffset {
    InputOffset { input, offset, metadata: metadata.to_owned() }
}

/// A client with what it has heard so far.
pub struct Member {
    pub client: Box<dyn Client>,
    pub owned: BTreeSet<TaskId>,
    /// As they were when the task was assigned last.
    pub assigned: BTreeMap<TaskId, AssignedTask>,
    pub records: BTreeMap<TopicPartition, Vec<Owned>>,
    /// The last `End` of each input.
    pub ends: BTreeMap<TopicPartition, i64>,
    /// Offsets that inputs were told the log does not have.
    pub truncated: BTreeMap<TopicPartition, i64>,
    pub outcomes: Vec<Outcome>,
    sequence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Committed { sequence: u64, positions: BTreeMap<TopicPartition, i64> },
    Aborted { sequence: u64, why: String },
}

impl Member {
    /// Joins the group; nothing has been polled yet.
    pub fn join(log: &TestLog, subscription: Subscription) -> Member {
        let client = log.log.client(subscription).expect("a client opens");
        Member {
            client,
            owned: BTreeSet::new(),
            assigned: BTreeMap::new(),
            records: BTreeMap::new(),
            ends: BTreeMap::new(),
            truncated: BTreeMap::new(),
            outcomes: Vec::new(),
            sequence: 0,
        }
    }

    /// Joins and waits until it owns this many tasks.
    pub fn owning(log: &TestLog, subscription: Subscription, tasks: usize) -> Member {
        let mut member = Member::join(log, subscription);
        member.until("tasks", |member| member.owned.len() == tasks);
        member
    }

    /// One poll. Accepts what is assigned, releases what is revoked, keeps the rest.
    pub fn poll(&mut self, wait: Duration) {
        let mut events = Vec::new();
        self.client.poll(wait, &mut events).expect("a client polls");
        for event in events {
            self.hear(event);
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Records { input, records } => self.records.entry(input).or_default().extend(owned(&records)),
            Event::End { input, offset } => {
                self.ends.insert(input, offset);
            }
            Event::Assigned { tasks } => {
                let ids: Vec<TaskId> = tasks.iter().map(|task| task.task).collect();
                self.client.accept(&ids).expect("an assigned task can be accepted");
                self.owned.extend(&ids);
                self.assigned.extend(tasks.into_iter().map(|task| (task.task, task)));
            }
            Event::Revoked { tasks, .. } => {
                self.client.release(&tasks).expect("a revoked task can be released");
                self.owned.retain(|task| !tasks.contains(task));
            }
            Event::Committed { sequence, positions } => {
                self.outcomes.push(Outcome::Committed { sequence, positions: positions.into_iter().collect() })
            }
            Event::Aborted { sequence, why } => self.outcomes.push(Outcome::Aborted { sequence, why }),
            Event::Truncated { input, offset } => {
                self.truncated.insert(input, offset);
            }
            Event::Disconnected { .. } | Event::Denied { .. } => {}
        }
    }

    /// Polls until something holds; fails the test after [`DEADLINE`].
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&Member) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}; outcomes {:?}", self.outcomes);
            self.poll(STEP);
        }
    }

    /// An input as it was assigned.
    pub fn input(&self, input: TopicPartition) -> &AssignedInput {
        let inputs = self.assigned.values().flat_map(|task| &task.inputs);
        inputs.rev().find(|found| found.input == input).expect("the input was assigned")
    }

    /// Starts an input and polls until this many records of it are there.
    pub fn fetch(&mut self, input: TopicPartition, from: i64, records: usize) -> Vec<Owned> {
        self.client.start(input, from).expect("an owned input can be started");
        self.until("records", |member| member.records.get(&input).map_or(0, Vec::len) >= records);
        self.records.remove(&input).unwrap_or_default()
    }

    /// Submits the next interval and waits for its outcome.
    pub fn submit(&mut self, interval: Interval) -> Outcome {
        self.sequence += 1;
        let heard = self.outcomes.len();
        self.client.submit(Interval { sequence: self.sequence, ..interval }).expect("an interval can be submitted");
        self.until("outcome", |member| member.outcomes.len() > heard);
        self.outcomes[heard].clone()
    }

    /// Submits the next interval, which must be committed; its positions.
    pub fn commit(&mut self, interval: Interval) -> BTreeMap<TopicPartition, i64> {
        match self.submit(interval) {
            Outcome::Committed { sequence, positions } => {
                assert_eq!(sequence, self.sequence, "the outcome is of another interval");
                positions
            }
            Outcome::Aborted { why, .. } => panic!("aborted: {why}"),
        }
    }

    /// Gives everything back and leaves for good.
    pub fn leave(mut self) {
        let tasks: Vec<TaskId> = std::mem::take(&mut self.owned).into_iter().collect();
        self.client.release(&tasks).expect("owned tasks can be released");
        self.client.leave(false).expect("a client can leave");
    }
}
