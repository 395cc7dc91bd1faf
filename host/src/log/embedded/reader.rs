//! The embedded log's [`Reader`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cursor::{Cursor, Stretch};
use super::environment::Environment;
use super::{Reader, Result};
use crate::log::Fetched;

pub struct EmbeddedReader {
    environment: Arc<Environment>,
    cursors: Vec<Cursor>,
}

impl EmbeddedReader {
    pub fn new(environment: Arc<Environment>) -> EmbeddedReader {
        EmbeddedReader { environment, cursors: Vec::new() }
    }

    /// Reads every partition once; answers which commit it saw.
    fn read(&mut self, out: &mut Vec<Fetched>) -> Result<usize> {
        let snapshot = self.environment.snapshot()?;
        for cursor in &mut self.cursors {
            let Stretch { records, end } = cursor.read(&snapshot)?;
            let (topic, partition) = (cursor.topic(), cursor.partition);
            if !records.is_empty() {
                out.push(Fetched::Records { topic: topic.to_owned(), partition, records });
            }
            if let Some(offset) = end {
                out.push(Fetched::End { topic: topic.to_owned(), partition, offset });
            }
        }
        Ok(snapshot.commit())
    }
}

impl Reader for EmbeddedReader {
    fn assign(&mut self, partitions: &[(String, i32, i64)]) -> Result<()> {
        let snapshot = self.environment.snapshot()?;
        let open = |(topic, partition, offset): &(String, i32, i64)| {
            Cursor::open(&snapshot, snapshot.handle(topic)?, *partition, *offset)
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

    fn poll(&mut self, wait: Duration, out: &mut Vec<Fetched>) -> Result<()> {
        let (before, deadline) = (out.len(), Instant::now() + wait);
        loop {
            let wakes = self.environment.watch.wakes();
            let seen = self.read(out)?;
            if out.len() > before || Instant::now() >= deadline {
                return Ok(());
            }
            self.environment.watch.wait(wakes, deadline, || self.environment.last_commit() != seen);
        }
    }
}

fn is(cursor: &Cursor, topic: &str, partition: i32) -> bool {
    cursor.partition == partition && cursor.topic() == topic
}
