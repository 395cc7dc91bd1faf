//! What a task says when its interval is cut.

use super::TaskId;
use crate::record::{Outgoing, TopicPartition};

/// The next record to process of one input, and what travels beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputOffset {
    pub input: TopicPartition,
    pub offset: i64,
    /// [`crate::metadata`]
    pub metadata: String,
}

/// The values a task's first input carries once its interval is committed. An unknown outcome is settled by reading
/// them back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub task: TaskId,
    pub input: TopicPartition,
    pub incarnation: i64,
    pub sequence: i64,
}

/// The intervals of a thread's tasks, cut together and committed together.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Sinks, repartitions, dead letters.
    pub outgoing: Outgoing,
    /// Behind `outgoing`.
    pub changelog: Outgoing,
    pub offsets: Vec<InputOffset>,
    /// One for each touched task.
    pub proofs: Vec<Proof>,
}

impl Cut {
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}
