//! One partition's buffered records, and choosing among several by time.

use std::collections::VecDeque;

use crate::record::{Record, Records, TopicPartition};

/// Records of one partition, in the chunks in which the log gave them.
pub struct RecordQueue {
    pub input: TopicPartition,
    /// The source node that reads it.
    pub source: usize,
    chunks: VecDeque<Records>,
    /// Next record of the first chunk.
    at: usize,
    len: usize,
    /// Everything below this offset was delivered, and nothing more was there then.
    end: Option<i64>,
    /// Records below this offset are not wanted (a log may deliver a whole batch of them).
    from: i64,
}

impl RecordQueue {
    pub fn new(input: TopicPartition, source: usize) -> RecordQueue {
        RecordQueue { input, source, chunks: VecDeque::new(), at: 0, len: 0, end: None, from: 0 }
    }

    pub fn push(&mut self, records: Records) {
        if records.is_empty() {
            return;
        }
        self.end = None;
        self.len += records.len();
        self.chunks.push_back(records);
    }

    pub fn set_end(&mut self, offset: i64) {
        self.end = Some(offset);
    }

    /// How many records wait.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The position behind everything that was delivered, when nothing waits and nothing more is there.
    pub fn end(&self) -> Option<i64> {
        self.end.filter(|_| self.len == 0)
    }

    /// Whether choosing by time may go on without it: it has a record, or the log has none for it now
    /// (max.task.idle.ms = 0, semantics.md B19).
    pub fn is_ready(&self) -> bool {
        self.len > 0 || self.end.is_some()
    }

    pub fn head(&self) -> Option<(i64, Record<'_>)> {
        self.chunks.front().map(|chunk| chunk.get(self.at))
    }

    /// Moves behind the head.
    pub fn pop(&mut self) {
        let Some(chunk) = self.chunks.front() else { return };
        self.at += 1;
        self.len -= 1;
        if self.at == chunk.len() {
            self.chunks.pop_front();
            self.at = 0;
        }
    }

    /// Forgets everything; what is below `from` when it is delivered again is skipped.
    pub fn rewind(&mut self, from: i64) {
        self.chunks.clear();
        self.at = 0;
        self.len = 0;
        self.end = None;
        self.from = from;
    }

    /// Drops leading records below the position asked for.
    pub fn skip_below_start(&mut self) {
        while self.head().is_some_and(|(offset, _)| offset < self.from) {
            self.pop();
        }
    }
}
