//! Suppressions of the interpreter, after Kafka Streams' KTableSuppressProcessorSupplier and
//! InMemoryTimeOrderedKeyValueChangeBuffer.

use std::collections::BTreeMap;

use millstream_engine::changelog::{SUPPRESSED_HEADER, Suppressed};
use millstream_engine::record::{Headers, NO_TIMESTAMP, push_header};
use millstream_engine::topology::description::Suppress;

use super::joins::Row;
use super::{Flow, Rec, Stop, World};

/// What is held back.
#[derive(Clone)]
pub(super) struct Held {
    rows: BTreeMap<Vec<u8>, Buffered>,
    stream_time: i64,
    /// Keys that changed since the last cut, in the order of their last changes, with the times of these.
    dirty: Vec<(Vec<u8>, i64)>,
}

#[derive(Clone)]
struct Buffered {
    rec: Rec,
    topic: String,
    offset: i64,
    prior: Option<Vec<u8>>,
    old: Option<Vec<u8>>,
    due: i64,
}

impl Buffered {
    fn as_entry(&self) -> Suppressed<'_> {
        Suppressed {
            timestamp: self.rec.timestamp,
            offset: self.offset,
            topic: self.topic.as_bytes(),
            partition: 0,
            headers: Headers(&self.rec.headers),
            prior: self.prior.as_deref(),
            old: self.old.as_deref(),
            new: self.rec.value.as_deref(),
            due: self.due,
        }
    }
}

impl Default for Held {
    fn default() -> Held {
        Held { rows: BTreeMap::new(), stream_time: -1, dirty: Vec::new() }
    }
}

impl Held {
    fn change(&mut self, key: &[u8], timestamp: i64, row: Option<Buffered>) {
        match row {
            Some(row) => drop(self.rows.insert(key.to_vec(), row)),
            None => drop(self.rows.remove(key)),
        }
        self.dirty.retain(|(dirty, _)| dirty != key);
        self.dirty.push((key.to_vec(), timestamp));
    }

    fn is_over(&self, max_records: Option<u64>, max_bytes: Option<u64>) -> bool {
        let bytes: usize = self.rows.iter().map(|(key, row)| row.as_entry().size(key.len())).sum();
        max_records.is_some_and(|max| self.rows.len() as u64 > max) || max_bytes.is_some_and(|max| bytes as u64 > max)
    }
}

impl World<'_> {
    pub(super) fn suppress(&mut self, at: usize, flow: Flow) -> Result<(), Stop> {
        let Some(Suppress::TimeLimit { ms, max_records, max_bytes, .. }) = self.description.nodes[at].suppress else {
            panic!("no windows here");
        };
        let mut held = self.effects.held.remove(&at).unwrap_or_default();
        held.stream_time = held.stream_time.max(flow.rec.timestamp);
        let (key, now) = (flow.rec.key.clone().unwrap(), flow.rec.timestamp);
        let before = held.rows.get(&key);
        let prior = before.map_or_else(|| flow.old.clone(), |before| before.prior.clone());
        let due = before.map_or(now, |before| before.due);
        let (topic, offset) = (self.topic.clone(), self.from.offset);
        held.change(&key, now, Some(Buffered { rec: flow.rec, topic, offset, prior, old: flow.old, due }));
        let mut gone = Vec::new();
        while let Some((due, key)) = held.rows.iter().map(|(key, row)| (row.due, key.clone())).min() {
            if due > held.stream_time - ms && !held.is_over(max_records, max_bytes) {
                break;
            }
            gone.push(held.rows[&key].clone());
            held.change(&key, now, None);
        }
        self.effects.held.insert(at, held);
        for row in gone {
            let flow = Flow { rec: row.rec, old: row.old, input: 0 };
            self.let_go(flow.rec.clone(), |world| world.forward(at, flow, None))?;
        }
        Ok(())
    }

    /// The row that a suppression shows in the place of its parent's: what was there before it began to hold updates back.
    pub(super) fn shown(&self, at: usize, key: &[u8]) -> Option<Row> {
        let row = self.effects.held.get(&at)?.rows.get(key)?;
        Some(row.prior.clone().map(|prior| (NO_TIMESTAMP, prior)))
    }

    /// What the changelogs are told at a cut: what is left of what has changed.
    pub(super) fn take_dirty(&mut self) -> BTreeMap<usize, Vec<(String, Rec)>> {
        let mut told = BTreeMap::new();
        for (at, held) in &mut self.effects.held {
            let topic = format!("app-{}-changelog", self.description.nodes[*at].store.as_deref().unwrap());
            let told: &mut Vec<_> = told.entry(*at).or_default();
            for (key, timestamp) in std::mem::take(&mut held.dirty) {
                let (mut value, mut headers) = (None, Vec::new());
                if let Some(row) = held.rows.get(&key) {
                    row.as_entry().encode(value.insert(Vec::new()));
                    push_header(&mut headers, SUPPRESSED_HEADER.0, Some(SUPPRESSED_HEADER.1));
                }
                told.push((topic.clone(), Rec { key: Some(key), value, headers, timestamp }));
            }
        }
        told
    }
}
