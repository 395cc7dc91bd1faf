//! Every write of a store, for a changelog that is not coalesced: logical entries, not byte writes.

use crate::record::{Headers, Record, Span, push};

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

    pub fn bytes(&self) -> usize {
        self.arena.len() + self.rows.len() * size_of::<Row>()
    }

    /// Bytes behind a mark.
    pub fn bytes_since(&self, mark: EntriesMark) -> usize {
        self.arena.len() - mark.bytes + (self.rows.len() - mark.rows) * size_of::<Row>()
    }

    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows.iter().map(|row| Record {
            key: row.key.of(&self.arena),
            value: row.value.of(&self.arena),
            headers: Headers(&[]),
            timestamp: row.timestamp,
        })
    }
}
