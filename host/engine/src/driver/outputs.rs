//! What an application has written and nobody has looked at yet.

use std::collections::BTreeMap;

use crate::record::{TopicId, TopicPartition};

/// A record that the application wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Grows by one with every record, over all topics.
    pub order: u64,
    pub at: TopicPartition,
    pub offset: i64,
}

#[derive(Debug, Default)]
pub(super) struct Outputs {
    written: u64,
    waiting: BTreeMap<TopicId, Vec<Output>>,
}

impl Outputs {
    pub fn add(&mut self, at: TopicPartition, offset: i64) {
        let output = Output { order: self.written, at, offset };
        self.written += 1;
        self.waiting.entry(at.topic).or_default().push(output);
    }

    pub fn take(&mut self, topic: TopicId) -> Vec<Output> {
        self.waiting.remove(&topic).unwrap_or_default()
    }
}
