//! What an entry has to be for a store to take it, and the changelog record that it becomes.

use millstream_engine::changelog::{push_session_key, push_window_key};
use millstream_engine::partitioner;
use millstream_engine::record::{Headers, Record};
use millstream_engine::store::StoreKind;

use crate::log::{self, Writer};
use crate::text::entry::Imported;

/// Where the entries of a store go.
pub struct Target {
    pub topic: String,
    pub partitions: i32,
    pub subtopology: u32,
    pub kind: StoreKind,
    pub key_bytes: usize,
    pub value_bytes: usize,
    pub entry_bytes: usize,
    /// How far ahead of `now` the log takes timestamps, ms.
    pub ahead_ms: i64,
    /// The time of what says none, the same in each pass.
    pub now: i64,
}

/// An entry that a store of its kind can take.
pub struct Placed {
    pub entry: Imported,
    pub partition: i32,
    /// What the store goes by: a window's start, a session's end, since when a version holds. Others go by none.
    pub time: i64,
    pub timestamp: i64,
}

impl Target {
    pub fn retains_duplicates(&self) -> bool {
        matches!(self.kind, StoreKind::Window { duplicates: true, .. })
    }

    /// The error says why no store of this kind takes it.
    pub fn place(&self, entry: Imported) -> Result<Placed, String> {
        self.check_size(&entry)?;
        let partition = self.partition(&entry)?;
        let time = self.time(&entry)?;
        let timestamp = entry.timestamp.unwrap_or(match self.kind {
            StoreKind::Window { .. } | StoreKind::Session { .. } => time.max(0),
            StoreKind::KeyValue | StoreKind::Buffer | StoreKind::Versioned { .. } => self.now,
        });
        if timestamp.saturating_sub(self.now) > self.ahead_ms {
            return Err(format!("its time {timestamp} is further ahead of the clock than the changelog takes"));
        }
        Ok(Placed { entry, partition, time, timestamp })
    }

    fn check_size(&self, entry: &Imported) -> Result<(), String> {
        let within = |what: &str, bytes: usize, max: usize| match bytes {
            bytes if bytes > max => Err(format!("the {what} has {bytes} bytes, and may have {max}")),
            _ => Ok(()),
        };
        let (key, value) = (entry.key.len(), entry.value.as_deref().unwrap_or_default().len());
        within("key", key, self.key_bytes)?;
        within("value", value, self.value_bytes)?;
        within("entry", key + self.kind.changelog_key_overhead() + value, self.entry_bytes)
    }

    fn partition(&self, entry: &Imported) -> Result<i32, String> {
        let Some((subtopology, partition)) = entry.task else {
            return Ok(partitioner::partition(&entry.key, self.partitions));
        };
        let exists = subtopology == self.subtopology && (0..self.partitions).contains(&partition);
        let (of, last) = (self.subtopology, self.partitions - 1);
        exists
            .then_some(partition)
            .ok_or_else(|| format!("there is no task {subtopology}_{partition}; the store is in {of}_0 to {of}_{last}"))
    }

    fn time(&self, entry: &Imported) -> Result<i64, String> {
        match (self.kind, entry.start, entry.end) {
            (StoreKind::Window { duplicates: true, .. }, ..) if entry.value.is_none() => {
                Err("`value` is null, and a store that retains duplicates deletes nothing".to_owned())
            }
            (StoreKind::Window { size_ms, .. }, Some(start), end) => {
                let expected = start.saturating_add(size_ms);
                match end {
                    Some(end) if end != expected => {
                        Err(format!("`end` is {end}, and a window of {size_ms} ms ends at {expected}"))
                    }
                    _ => Ok(start),
                }
            }
            (StoreKind::Window { .. }, None, _) => Err("`start` is missing, which a window has".to_owned()),
            (StoreKind::Session { .. }, Some(start), Some(end)) if start <= end => Ok(end),
            (StoreKind::Session { .. }, Some(start), Some(end)) => {
                Err(format!("`start` {start} is behind `end` {end}"))
            }
            (StoreKind::Session { .. }, ..) => Err("`start` or `end` is missing, which a session has".to_owned()),
            (kind, None, None) => Ok(match kind {
                StoreKind::Versioned { .. } => entry.timestamp.unwrap_or(self.now),
                _ => 0,
            }),
            (kind, ..) => {
                Err(format!("`start` and `end` are of windows and sessions, and the store is {}", kind.name()))
            }
        }
    }

    /// `number`: which of its duplicates, 0 where the store keeps none.
    pub fn send(&self, writer: &mut dyn Writer, placed: &Placed, number: u32) -> log::Result<()> {
        let Placed { entry, partition, time, timestamp } = placed;
        let mut key = Vec::with_capacity(entry.key.len() + self.kind.changelog_key_overhead());
        match self.kind {
            StoreKind::Window { .. } => push_window_key(&entry.key, *time, number, &mut key),
            StoreKind::Session { .. } => {
                push_session_key(&entry.key, entry.start.unwrap_or(*time), *time, &mut key);
            }
            StoreKind::KeyValue | StoreKind::Buffer | StoreKind::Versioned { .. } => key.extend_from_slice(&entry.key),
        }
        let timestamp = if let StoreKind::Versioned { .. } = self.kind { *time } else { *timestamp };
        let record = Record { key: Some(&key), value: entry.value.as_deref(), headers: Headers(&[]), timestamp };
        writer.send(&self.topic, Some(*partition), record)
    }
}
