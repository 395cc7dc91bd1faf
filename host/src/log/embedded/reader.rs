//! The embedded log's [`Reader`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cursor::{Cursor, Stretch};
use super::environment::Environment;
use super::{Reader, Result};
use crate::log::{Failed, Fetched};

pub struct EmbeddedReader {
    environment: Arc<Environment>,
    cursors: Vec<Cursor>,
}

impl EmbeddedReader {
    pub fn new(environment: Arc<Environment>) -> EmbeddedReader {
        EmbeddedReader { environment, cursors: Vec::new() }
    }

    /// Reads every partition once; answers which commit it saw.
    fn read(&mut self, out: &mut Vec<Fetched>, failed: &mut Vec<Failed>) -> Result<usize> {
        let (snapshot, before) = (self.environment.snapshot()?, failed.len());
        for cursor in &mut self.cursors {
            let read = cursor.read(&snapshot);
            let (topic, partition) = (cursor.topic(), cursor.partition);
            let Stretch { records, end, truncated } = match read {
                Ok(stretch) => stretch,
                Err(error) => {
                    failed.push(Failed { topic: topic.to_owned(), partition, error });
                    continue;
                }
            };
            if !records.is_empty() {
                out.push(Fetched::Records { topic: topic.to_owned(), partition, records });
            }
            if let Some(offset) = end {
                out.push(Fetched::End { topic: topic.to_owned(), partition, offset });
            }
            if let Some(offset) = truncated {
                out.push(Fetched::Truncated { topic: topic.to_owned(), partition, offset });
            }
        }
        let over = |cursor: &Cursor| failed[before..].iter().any(|one| is(cursor, &one.topic, one.partition));
        self.cursors.retain(|cursor| !over(cursor));
        Ok(snapshot.commit())
    }
}

impl Reader for EmbeddedReader {
    fn assign(&mut self, partitions: &[(String, i32, i64)]) -> Result<()> {
        let snapshot = self.environment.snapshot()?;
        let open = |(topic, partition, offset): &(String, i32, i64)| {
            Cursor::open(snapshot.handle(topic)?, *partition, *offset)
        };
        let cursors: Vec<Cursor> = partitions.iter().map(open).collect::<Result<_>>()?;
        // Assigned again: from the new offset.
        self.cursors.retain(|old| cursors.iter().all(|new| !is(old, new.topic(), new.partition)));
        self.cursors.extend(cursors);
        Ok(())
    }

    fn unassign(&mut self, partitions: &[(String, i32)]) -> Result<()> {
        self.cursors.retain(|cursor| partitions.iter().all(|(topic, partition)| !is(cursor, topic, *partition)));
        Ok(())
    }

    fn poll_each(&mut self, wait: Duration, out: &mut Vec<Fetched>, failed: &mut Vec<Failed>) -> Result<()> {
        let (before, deadline) = (out.len() + failed.len(), Instant::now() + wait);
        loop {
            let wakes = self.environment.watch.wakes();
            let seen = self.read(out, failed)?;
            if out.len() + failed.len() > before || Instant::now() >= deadline {
                return Ok(());
            }
            self.environment.watch.wait(wakes, deadline, || self.environment.last_commit() != seen);
        }
    }
}

fn is(cursor: &Cursor, topic: &str, partition: i32) -> bool {
    cursor.partition == partition && cursor.topic() == topic
}
