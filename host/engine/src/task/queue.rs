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
    /// Of the chunks, which leave whole.
    bytes: usize,
    /// Everything below this offset was delivered, and nothing more was there then.
    end: Option<i64>,
    /// What is below this offset was taken already, or is not wanted: a log may deliver more than it was asked for,
    /// and must not make anything happen twice by delivering it again.
    expected: i64,
}

impl RecordQueue {
    pub fn new(input: TopicPartition, source: usize) -> RecordQueue {
        RecordQueue { input, source, chunks: VecDeque::new(), at: 0, len: 0, bytes: 0, end: None, expected: 0 }
    }

    pub fn push(&mut self, records: Records) {
        let Some(last) = records.len().checked_sub(1).map(|last| records.get(last).0) else { return };
        if last < self.expected {
            return;
        }
        let records = if records.get(0).0 < self.expected { self.wanted(&records) } else { records };
        self.expected = last + 1;
        self.end = None;
        self.len += records.len();
        self.bytes += records.bytes();
        self.chunks.push_back(records);
    }

    fn wanted(&self, records: &Records) -> Records {
        let mut wanted = Records::default();
        let new = records.iter().filter(|(offset, _)| *offset >= self.expected);
        new.for_each(|(offset, record)| wanted.push(offset, record));
        wanted
    }

    pub fn set_end(&mut self, offset: i64) {
        self.end = Some(offset);
    }

    /// How many records wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
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
            self.bytes -= chunk.bytes();
            self.chunks.pop_front();
            self.at = 0;
        }
    }

    /// Forgets everything; what is below `from` when it is delivered again is skipped.
    pub fn rewind(&mut self, from: i64) {
        self.chunks.clear();
        self.at = 0;
        self.len = 0;
        self.bytes = 0;
        self.end = None;
        self.expected = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Headers, TopicId};

    fn records(offsets: &[i64]) -> Records {
        let mut records = Records::default();
        for offset in offsets {
            records.push(*offset, Record { key: None, value: None, headers: Headers(&[]), timestamp: 0 });
        }
        records
    }

    fn drain(queue: &mut RecordQueue) -> Vec<i64> {
        std::iter::from_fn(|| {
            let offset = queue.head().map(|(offset, _)| offset);
            queue.pop();
            offset
        })
        .collect()
    }

    #[test]
    fn bytes_are_held_until_their_chunk_is_through() {
        let mut queue = RecordQueue::new(TopicPartition { topic: TopicId(0), partition: 0 }, 0);
        let value = [0; 10];
        for offsets in [[0, 1], [2, 3]] {
            let mut records = Records::default();
            let record = Record { key: None, value: Some(&value), headers: Headers(&[]), timestamp: 0 };
            offsets.into_iter().for_each(|offset| records.push(offset, record));
            queue.push(records);
        }
        let bytes: Vec<usize> = (0..5).map(|_| (queue.bytes(), queue.pop()).0).collect();
        assert_eq!(bytes, [40, 40, 20, 20, 0]);
        queue.push(records(&[7]));
        queue.rewind(0);
        assert_eq!(queue.bytes(), 0);
    }

    /// A client of Kafka once fell back to the beginning of a partition in the middle of a rebalance, and half of a
    /// topic was counted twice.
    #[test]
    fn what_is_delivered_again_is_not_taken_again() {
        let mut queue = RecordQueue::new(TopicPartition { topic: TopicId(0), partition: 0 }, 0);
        queue.rewind(2);
        queue.push(records(&[0, 1, 2, 3]));
        assert_eq!(drain(&mut queue), [2, 3]);
        queue.push(records(&[0, 1]));
        queue.push(records(&[3, 5]));
        queue.push(records(&[5, 6]));
        assert_eq!(drain(&mut queue), [5, 6]);
        queue.rewind(5);
        queue.push(records(&[5]));
        assert_eq!(drain(&mut queue), [5]);
    }
}
