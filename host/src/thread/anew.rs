//! Inputs that are begun anew whatever is committed for them: their topics were deleted and created again, and an offset
//! of the old one says nothing of the new one.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millstream_engine::record::{TopicId, TopicPartition};
use millstream_engine::topology::Plan;

/// Shared by the threads of a process: a task that has begun anew in one of them and moves to another one goes on there.
#[derive(Debug, Default)]
pub struct Anew(Mutex<BTreeSet<TopicPartition>>);

impl Anew {
    /// All partitions of these topics.
    pub fn of(plan: &Plan, topics: &BTreeSet<String>) -> Anew {
        let inputs = plan.subtopologies.iter().flat_map(|subtopology| plan.inputs(subtopology));
        let inputs = inputs.filter(|(_, topic, _)| topics.contains(&plan.topics[topic.0 as usize].name));
        let each = |(_, topic, partitions): (usize, TopicId, i32)| {
            (0..partitions).map(move |partition| TopicPartition { topic, partition })
        };
        Anew(Mutex::new(inputs.flat_map(each).collect()))
    }

    pub(super) fn contains(&self, input: TopicPartition) -> bool {
        self.inputs().contains(&input)
    }

    /// Its task was taken: where it begins is committed.
    pub(super) fn begun(&self, input: TopicPartition) {
        self.inputs().remove(&input);
    }

    fn inputs(&self) -> MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
