//! What a store says to its changelog: logical entries, not byte writes.

use std::collections::HashSet;

use crate::record::{Headers, Outgoing, Record, Span, TopicPartition, push};

/// Changelog entries of one store in write order, in one arena.
#[derive(Clone, Debug, Default)]
pub struct LogEntries {
    arena: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    key: Span,
    value: Span,
    timestamp: i64,
}

/// A place to which entries can be cut back.
#[derive(Clone, Copy, Debug, Default)]
pub struct EntriesMark {
    rows: usize,
    bytes: usize,
}

impl LogEntries {
    /// `None` is a tombstone.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        let row = Row { key: push(&mut self.arena, Some(key)), value: push(&mut self.arena, value), timestamp };
        self.rows.push(row);
    }

    pub fn mark(&self) -> EntriesMark {
        EntriesMark { rows: self.rows.len(), bytes: self.arena.len() }
    }

    pub fn truncate(&mut self, mark: EntriesMark) {
        self.rows.truncate(mark.rows);
        self.arena.truncate(mark.bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Hands the entries over as changelog records. Coalesced: of each key only the last one, in the order of last
    /// writes; every update still went downstream, only the changelog is spared (design.md 5).
    pub fn send(&self, to: TopicPartition, coalesce: bool, out: &mut Outgoing) {
        let keep = coalesce.then(|| self.last_of_each_key());
        for (at, row) in self.rows.iter().enumerate() {
            if keep.as_ref().is_some_and(|keep| !keep[at]) {
                continue;
            }
            let record = Record {
                key: row.key.of(&self.arena),
                value: row.value.of(&self.arena),
                headers: Headers(&[]),
                timestamp: row.timestamp,
            };
            out.push(to, record);
        }
    }

    fn last_of_each_key(&self) -> Vec<bool> {
        let mut seen = HashSet::with_capacity(self.rows.len());
        let mut keep = vec![false; self.rows.len()];
        for (at, row) in self.rows.iter().enumerate().rev() {
            keep[at] = seen.insert(row.key.bytes(&self.arena));
        }
        keep
    }
}
