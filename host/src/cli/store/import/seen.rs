//! What one partition of a store has seen before an import: what it would forget again for its age is not imported.

use std::collections::HashMap;

use millstream_engine::changelog::split_window_key;
use millstream_engine::record::{NO_TIMESTAMP, Records};
use millstream_engine::store::{Observed, StoreKind};

use super::super::timed;
use super::target::{Placed, Target};
use crate::cli::{Result, changelog};
use crate::log::Log;

/// Of one partition.
#[derive(Debug)]
pub struct Seen {
    /// The latest time.
    time: i64,
    /// The last number of a store's duplicates.
    number: u32,
    /// Of a versioned store since when each key's latest version holds.
    versions: HashMap<Vec<u8>, i64>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { time: NO_TIMESTAMP, number: 0, versions: HashMap::new() }
    }
}

impl Seen {
    /// By what is left on disk and by the changelog, which a start restores before what is imported.
    pub fn read(log: &dyn Log, target: &Target, partition: i32, on_disk: Option<Observed>) -> Result<Seen> {
        let mut seen = Seen::default();
        if let Some(observed) = on_disk {
            (seen.time, seen.number) = (observed.time, observed.number);
        }
        changelog::read(log, &target.topic, partition, (None, None), &mut |records| {
            seen.take(target, records);
            Ok(())
        })?;
        Ok(seen)
    }

    /// As a restore does.
    fn take(&mut self, target: &Target, records: &Records) {
        for (_, record) in records.iter() {
            let Some(key) = record.key else { continue };
            if let StoreKind::Versioned { .. } = target.kind {
                if record.timestamp >= self.first_kept(target) {
                    self.time = self.time.max(record.timestamp);
                    let latest = self.versions.entry(key.to_vec()).or_insert(record.timestamp);
                    *latest = record.timestamp.max(*latest);
                }
                continue;
            }
            let Some((_, time)) = timed::split(target.kind, key) else { continue };
            if let (true, Some((_, _, number))) = (target.retains_duplicates(), split_window_key(key)) {
                self.number = number;
                if record.value.is_none() {
                    continue;
                }
            }
            self.time = self.time.max(time);
        }
    }

    /// Takes note of an entry of the file. Versions come in the order of their times, and need no note.
    pub fn note(&mut self, target: &Target, placed: &Placed) {
        if let StoreKind::Window { .. } | StoreKind::Session { .. } = target.kind {
            self.time = self.time.max(placed.time);
        }
    }

    /// Whether the store keeps an entry, once all of the file are noted.
    pub fn keeps(&self, target: &Target, placed: &Placed) -> bool {
        if !target.kind.goes_by_time() {
            return true;
        }
        let latest = self.versions.get(&placed.entry.key);
        placed.time >= self.first_kept(target) && latest.is_none_or(|latest| placed.time >= *latest)
    }

    /// The earliest time that it keeps.
    pub fn first_kept(&self, target: &Target) -> i64 {
        match target.kind {
            StoreKind::Versioned { history_ms } => self.time.saturating_sub(history_ms),
            kind => kind.first_visible(self.time),
        }
    }

    /// The number of the next duplicate.
    pub fn next_number(&mut self, target: &Target) -> u32 {
        if target.retains_duplicates() {
            self.number = Observed { number: self.number, ..Observed::default() }.next_number();
        }
        self.number
    }
}
