//! One partition's buffered records, and choosing among several by time.

use std::collections::VecDeque;

use super::stamp::Exception;
use crate::record::{NO_TIMESTAMP, Record, Records, TopicPartition};

/// Records of one partition, in the chunks in which the log gave them.
pub struct RecordQueue {
    pub input: TopicPartition,
    /// The source node that reads it.
    pub source: usize,
    chunks: VecDeque<Records>,
    /// Next record of the first chunk.
    at: usize,
    len: usize,
    /// How many of the records have got their time, and where the first one without stands: in which chunk, and where
    /// there.
    stamped: usize,
    unstamped_at: (usize, usize),
    /// Those of the records with a time that must not be run, by offset.
    exceptions: VecDeque<(i64, Exception)>,
    /// At its end and empty: until when it is waited for.
    pub idle_until: Option<i64>,
    /// The highest time of the partition's records so far, those that wait included.
    pub time: i64,
    /// How many of the next records are asked about one by one, because asking about them together has failed.
    pub alone: usize,
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
        RecordQueue {
            input,
            source,
            chunks: VecDeque::new(),
            at: 0,
            len: 0,
            stamped: 0,
            unstamped_at: (0, 0),
            exceptions: VecDeque::new(),
            idle_until: None,
            time: NO_TIMESTAMP,
            alone: 0,
            bytes: 0,
            end: None,
            expected: 0,
        }
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
        self.stamped > 0 || self.end().is_some()
    }

    /// The next record that has a time.
    pub fn head(&self) -> Option<(i64, Record<'_>)> {
        self.chunks.front().filter(|_| self.stamped > 0).map(|chunk| chunk.get(self.at))
    }

    /// Why the head must not be run.
    pub fn exception(&self) -> Option<&Exception> {
        let (offset, _) = self.head()?;
        self.exceptions.front().filter(|(of, _)| *of == offset).map(|(_, exception)| exception)
    }

    /// The next records without a time: a chunk, and where in it they begin.
    pub fn unstamped(&mut self) -> Option<(&mut Records, usize)> {
        let (chunk, at) = self.unstamped_at;
        self.chunks.get_mut(chunk).map(|records| (records, at))
    }

    /// The next `records` without a time have got theirs; they are in one chunk.
    pub fn stamp(&mut self, records: usize) {
        let (chunk, at) = self.unstamped_at;
        let through = self.chunks.get(chunk).is_none_or(|records_of| at + records >= records_of.len());
        self.unstamped_at = if through { (chunk + 1, 0) } else { (chunk, at + records) };
        self.stamped += records;
        self.alone = self.alone.saturating_sub(records);
    }

    /// One of the records that get their time now must not be run.
    pub fn except(&mut self, offset: i64, exception: Exception) {
        self.exceptions.push_back((offset, exception));
    }

    /// Moves behind the head.
    pub fn pop(&mut self) {
        if self.exception().is_some() {
            self.exceptions.pop_front();
        }
        let Some(chunk) = self.chunks.front().filter(|_| self.stamped > 0) else { return };
        self.at += 1;
        self.len -= 1;
        self.stamped -= 1;
        if self.at == chunk.len() {
            self.bytes -= chunk.bytes();
            self.chunks.pop_front();
            self.at = 0;
            self.unstamped_at.0 -= 1; // it is all stamped
        }
    }

    /// Forgets everything; what is below `from` when it is delivered again is skipped. `time`: the highest of the records
    /// below.
    pub fn rewind(&mut self, from: i64, time: i64) {
        *self = RecordQueue { expected: from, time, ..RecordQueue::new(self.input, self.source) };
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

    /// With the times they have.
    fn stamp(queue: &mut RecordQueue) {
        while let Some((records, at)) = queue.unstamped() {
            let rest = records.len() - at;
            queue.stamp(rest);
        }
    }

    fn drain(queue: &mut RecordQueue) -> Vec<i64> {
        stamp(queue);
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
        stamp(&mut queue);
        let bytes: Vec<usize> = (0..5).map(|_| (queue.bytes(), queue.pop()).0).collect();
        assert_eq!(bytes, [40, 40, 20, 20, 0]);
        queue.push(records(&[7]));
        queue.rewind(0, -1);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn a_record_waits_for_its_time_and_one_that_must_not_run_is_known_by_its_offset() {
        let mut queue = RecordQueue::new(TopicPartition { topic: TopicId(0), partition: 0 }, 0);
        queue.push(records(&[3, 4, 5]));
        queue.set_end(6);
        assert!(queue.head().is_none() && !queue.is_ready());
        queue.except(4, Exception::Skipped);
        queue.stamp(2);
        let mut seen = Vec::new();
        while let Some((offset, _)) = queue.head() {
            seen.push((offset, queue.exception().is_some()));
            queue.pop();
        }
        assert_eq!((seen, queue.len()), (vec![(3, false), (4, true)], 1));
        assert!(!queue.is_ready(), "a record that has no time yet may be the earliest");
        queue.stamp(1);
        assert_eq!(queue.head().map(|(offset, _)| offset), Some(5));
        queue.pop();
        queue.push(records(&[6]));
        assert_eq!(queue.unstamped().map(|(records, at)| (records.get(0).0, at)), Some((6, 0)));
    }

    /// A client of Kafka once fell back to the beginning of a partition in the middle of a rebalance, and half of a
    /// topic was counted twice.
    #[test]
    fn what_is_delivered_again_is_not_taken_again() {
        let mut queue = RecordQueue::new(TopicPartition { topic: TopicId(0), partition: 0 }, 0);
        queue.rewind(2, -1);
        queue.push(records(&[0, 1, 2, 3]));
        assert_eq!(drain(&mut queue), [2, 3]);
        queue.push(records(&[0, 1]));
        queue.push(records(&[3, 5]));
        queue.push(records(&[5, 6]));
        assert_eq!(drain(&mut queue), [5, 6]);
        queue.rewind(5, -1);
        queue.push(records(&[5]));
        assert_eq!(drain(&mut queue), [5]);
    }
}
