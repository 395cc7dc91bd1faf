//! `verify`: whether a count's updates are right, read committed: for each key 1, 2, 3 … in order, and the last ones
//! sum to the number of input records.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use millstream::log::{self, Fetched, Isolation, Log};
use millstream_engine::record::Record;
use serde_json::json;

use crate::app::ends;

const POLL: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct Verify {
    #[arg(long)]
    log: String,
    /// The topic that was counted
    #[arg(long)]
    topic: String,
    /// The topic of updates; default `TOPIC-out`
    #[arg(long)]
    out: Option<String>,
    /// Let an update come again, as at-least-once may after a crash
    #[arg(long)]
    repeats: bool,
}

#[derive(Default)]
struct Seen {
    updates: u64,
    last: HashMap<Vec<u8>, i64>,
    repeats: u64,
}

impl Verify {
    pub fn run(self) -> Result<()> {
        let log = log::open(&self.log, &log::Options::default())?;
        let out = self.out.clone().unwrap_or_else(|| format!("{}-out", self.topic));
        let records: i64 = ends(&*log, &self.topic)?.values().sum();
        let mut seen = Seen::default();
        each_record(&*log, &out, |record| seen.note(record.key.unwrap_or_default(), record.value.unwrap_or_default()))?;
        let sum: i64 = seen.last.values().sum();
        println!("{}", json!({"updates": seen.updates, "keys": seen.last.len(), "sum": sum, "repeats": seen.repeats}));
        ensure!(sum == records, "the last counts sum to {sum}, the topic has {records} records");
        ensure!(self.repeats || seen.repeats == 0, "{} updates came again", seen.repeats);
        Ok(())
    }
}

/// Reads a topic to its end, read committed.
pub fn each_record(log: &dyn Log, topic: &str, mut then: impl FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
    let mut left = ends(log, topic)?;
    let mut reader = log.reader(Isolation::Committed)?;
    let all: Vec<_> = left.keys().map(|partition| (topic.to_owned(), *partition, 0)).collect();
    reader.assign(&all)?;
    let mut fetched = Vec::new();
    while !left.is_empty() {
        reader.poll(POLL, &mut fetched)?;
        for one in fetched.drain(..) {
            match one {
                Fetched::Records { records, .. } => records.iter().try_for_each(|(_, record)| then(&record))?,
                Fetched::End { partition, offset, .. } => {
                    left.retain(|other, end| *other != partition || offset < *end);
                }
                Fetched::Truncated { offset, .. } => bail!("{topic} does not have offset {offset}"),
            }
        }
    }
    Ok(())
}

impl Seen {
    fn note(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let count = i64::from_be_bytes(value.try_into()?);
        self.updates += 1;
        let last = match self.last.get_mut(key) {
            Some(last) => last,
            None => self.last.entry(key.to_vec()).or_default(),
        };
        ensure!(count <= *last + 1, "key {}: {count} after {last}", String::from_utf8_lossy(key));
        self.repeats += u64::from(count <= *last);
        *last = count.max(*last);
        Ok(())
    }
}
