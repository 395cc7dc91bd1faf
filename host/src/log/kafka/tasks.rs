//! The tasks a member holds: from the group's partitions to tasks and their inputs, and how far each has come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_engine::record::TopicPartition;
use millstream_engine::task::TaskId;

use crate::log::{Error, Result, Subscription};

/// ```text
/// (group assigns) → Reading → Announced → Idle          released by the client
///                             Announced → Dropped       lost without the group saying so
///                             Dropped → Returned        released; taken again when the group still has it
///                             Returned → Reading
/// ```
/// The group's own revoke removes a task from any state, once the client has released it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its offsets are being read; the client has not heard of it.
    Reading,
    /// The client was told and may have accepted it.
    Announced,
    /// The client was told that it is lost and has not released it yet.
    Dropped,
    /// Lost and released: to be announced again.
    Returned,
    /// Released by the client on its own account.
    Idle,
}

/// A revoke of the group's that waits for the client's releases.
#[derive(Debug)]
struct Revoke {
    tasks: BTreeSet<TaskId>,
    waiting: BTreeSet<TaskId>,
}

pub struct Tasks {
    subscription: Arc<Subscription>,
    held: BTreeMap<TaskId, State>,
    revoke: Option<Revoke>,
}

impl Tasks {
    pub fn new(subscription: Arc<Subscription>) -> Tasks {
        Tasks { subscription, held: BTreeMap::new(), revoke: None }
    }

    /// The group's partitions as tasks.
    pub fn of(&self, partitions: &[(String, i32)]) -> Result<Vec<TaskId>> {
        partitions.iter().map(|(topic, partition)| self.task(topic, *partition)).collect()
    }

    fn task(&self, topic: &str, partition: i32) -> Result<TaskId> {
        let subscribed = |set: &&crate::log::TaskSet| self.subscription.topics[set.subscribe.0 as usize] == topic;
        let Some(set) = self.subscription.task_sets.iter().find(subscribed) else {
            let why = "the group assigned it, and this application does not subscribe to it";
            return Err(Error::refused(format!("topic {topic}"), why));
        };
        if partition >= set.partitions {
            let why = format!(
                "it has a partition {partition} now, and the application was planned with {}: partitions were added \
                 at run time; stop all instances and start them again",
                set.partitions
            );
            return Err(Error::refused(format!("topic {topic}"), why));
        }
        Ok(TaskId { subtopology: set.subtopology, partition })
    }

    /// Partition N of every input of the task's set that has one.
    pub fn inputs(&self, task: TaskId) -> Vec<TopicPartition> {
        let set = self.subscription.task_sets.iter().find(|set| set.subtopology == task.subtopology);
        let inputs = set.map_or(&[][..], |set| &set.inputs);
        let with_partition = inputs.iter().filter(|(_, partitions)| task.partition < *partitions);
        with_partition.map(|(topic, _)| TopicPartition { topic: *topic, partition: task.partition }).collect()
    }

    /// Whether the client may read this input.
    pub fn is_owned(&self, input: TopicPartition) -> bool {
        let announced = self.held.iter().filter(|(_, state)| **state == State::Announced);
        announced.map(|(task, _)| *task).any(|task| self.inputs(task).contains(&input))
    }

    pub fn state(&self, task: TaskId) -> Option<State> {
        self.held.get(&task).copied()
    }

    pub fn set(&mut self, task: TaskId, state: State) {
        self.held.insert(task, state);
    }

    pub fn in_state(&self, state: State) -> Vec<TaskId> {
        self.held.iter().filter(|(_, found)| **found == state).map(|(task, _)| *task).collect()
    }

    /// Moves all tasks of one state to another one.
    pub fn advance(&mut self, from: State, to: State) -> Vec<TaskId> {
        let moved = self.in_state(from);
        self.held.extend(moved.iter().map(|task| (*task, to)));
        moved
    }

    /// The group takes tasks back; those that the client has to be told of.
    pub fn revoke(&mut self, tasks: &[TaskId]) -> Vec<TaskId> {
        let held = |states: &[State]| -> BTreeSet<TaskId> {
            let of_state = |task: &TaskId| self.held.get(task).is_some_and(|state| states.contains(state));
            tasks.iter().copied().filter(of_state).collect()
        };
        let (told, waiting) = (held(&[State::Announced]), held(&[State::Announced, State::Dropped]));
        self.revoke = Some(Revoke { tasks: tasks.iter().copied().collect(), waiting });
        told.into_iter().collect()
    }

    /// The client gives tasks back.
    pub fn release(&mut self, tasks: &[TaskId]) {
        for task in tasks {
            match self.held.get_mut(task) {
                Some(state @ State::Announced) => *state = State::Idle,
                Some(state @ State::Dropped) => *state = State::Returned,
                _ => {}
            }
            if let Some(revoke) = &mut self.revoke {
                revoke.waiting.remove(task);
            }
        }
    }

    /// The tasks of a revoke that may be answered: nothing of them is with the client any more. They are gone then.
    pub fn take_released(&mut self) -> Option<Vec<TaskId>> {
        let revoke = self.revoke.take_if(|revoke| revoke.waiting.is_empty())?;
        self.held.retain(|task, _| !revoke.tasks.contains(task));
        Some(revoke.tasks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use millstream_engine::record::TopicId;

    use super::*;
    use crate::log::{Guarantee, TaskSet};

    fn tasks() -> Tasks {
        let input = |topic, partitions| (TopicId(topic), partitions);
        Tasks::new(Arc::new(Subscription {
            application: "app".into(),
            topics: Arc::new(["tasks".into(), "wide".into(), "narrow".into(), "alone".into()]),
            task_sets: vec![
                TaskSet {
                    subtopology: 0,
                    subscribe: TopicId(0),
                    partitions: 3,
                    inputs: vec![input(1, 3), input(2, 2)],
                },
                TaskSet { subtopology: 1, subscribe: TopicId(3), partitions: 1, inputs: vec![input(3, 1)] },
            ],
            guarantee: Guarantee::ExactlyOnce,
            thread: 0,
            threads: 1,
            instance: "i".into(),
            plan_hash: "p".into(),
            address: None,
        }))
    }

    fn id(partition: i32) -> TaskId {
        TaskId { subtopology: 0, partition }
    }

    fn at(topic: u32, partition: i32) -> TopicPartition {
        TopicPartition { topic: TopicId(topic), partition }
    }

    #[test]
    fn a_partition_of_the_subscribed_topic_is_that_partition_of_each_input_that_has_one() {
        let tasks = tasks();
        let found = tasks.of(&[("tasks".into(), 1), ("tasks".into(), 2), ("alone".into(), 0)]).unwrap();
        assert_eq!(found, [id(1), id(2), TaskId { subtopology: 1, partition: 0 }]);
        assert_eq!(tasks.inputs(id(1)), [at(1, 1), at(2, 1)]);
        assert_eq!(tasks.inputs(id(2)), [at(1, 2)]);
        assert_eq!(tasks.inputs(found[2]), [at(3, 0)]);
    }

    #[test]
    fn a_partition_added_at_run_time_stops_the_application() {
        let why = tasks().of(&[("tasks".into(), 3)]).unwrap_err().to_string();
        assert!(why.contains("tasks") && why.contains("added at run time"), "{why}");
    }

    #[test]
    fn a_revoke_is_answered_after_the_last_release() {
        let mut tasks = tasks();
        (0..3).for_each(|partition| tasks.set(id(partition), State::Announced));
        tasks.set(id(1), State::Reading);
        assert_eq!(tasks.revoke(&[id(0), id(1), id(2)]), [id(0), id(2)], "who was not told need not be told");
        tasks.release(&[id(0)]);
        assert_eq!(tasks.take_released(), None);
        tasks.release(&[id(2)]);
        assert_eq!(tasks.take_released(), Some(vec![id(0), id(1), id(2)]));
        assert_eq!((tasks.state(id(0)), tasks.take_released()), (None, None));
    }

    #[test]
    fn a_lost_task_is_told_of_once_and_returns_when_the_group_keeps_it() {
        let mut tasks = tasks();
        (0..2).for_each(|partition| tasks.set(id(partition), State::Announced));
        assert_eq!(tasks.advance(State::Announced, State::Dropped), [id(0), id(1)]);
        assert!(!tasks.is_owned(at(1, 0)));
        tasks.release(&[id(0)]);
        assert_eq!(tasks.state(id(0)), Some(State::Returned));
        assert_eq!(tasks.revoke(&[id(0), id(1)]), [], "both were told already");
        assert_eq!(tasks.take_released(), None, "one is still with the client");
        tasks.release(&[id(1)]);
        assert_eq!(tasks.take_released().map(|tasks| tasks.len()), Some(2));
    }
}
