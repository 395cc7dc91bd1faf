//! `compare`: whether two topics hold the same records, in whatever order, read committed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Result, ensure};
use clap::Args;
use millstream::log;
use millstream_engine::record::Record;
use serde_json::json;

use crate::verify::each_record;

#[derive(Args)]
pub struct Compare {
    #[arg(long)]
    log: String,
    #[arg(long)]
    topic: String,
    /// The topic to compare it with
    #[arg(long)]
    with: String,
    /// Leave timestamps out, where they follow from what came first of several partitions
    #[arg(long)]
    without_times: bool,
    /// Only what is left of each key, where what was sent in between follows from that too
    #[arg(long)]
    last: bool,
}

/// Enough to see two topics differ: how many records, and the sum of their hashes.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    records: u64,
    hashes: u64,
}

impl Compare {
    pub fn run(self) -> Result<()> {
        let log = log::open(&self.log, &log::Options::default())?;
        let (one, all) = self.sum(&*log, &self.topic)?;
        let (other, others) = self.sum(&*log, &self.with)?;
        println!("{}", json!({"compared": one.records, "of": all, "and": others, "sum": one.hashes}));
        ensure!(one == other, "{} and {} differ: {one:?}, {other:?}", self.topic, self.with);
        Ok(())
    }

    /// What is compared of a topic, and how many records it has.
    fn sum(&self, log: &dyn log::Log, topic: &str) -> Result<(Sum, u64)> {
        let (mut hashes, mut last, mut all) = (0u64, HashMap::<Vec<u8>, Option<u64>>::new(), 0);
        each_record(log, topic, |record| {
            all += 1;
            let hash = self.hash(record);
            match self.last {
                true => {
                    last.insert(record.key.unwrap_or_default().to_vec(), record.value.map(|_| hash));
                }
                false => hashes = hashes.wrapping_add(hash),
            }
            Ok(())
        })?;
        let left: Vec<u64> = last.into_values().flatten().collect();
        match self.last {
            true => {
                Ok((Sum { records: left.len() as u64, hashes: left.iter().copied().fold(0, u64::wrapping_add) }, all))
            }
            false => Ok((Sum { records: all, hashes }, all)),
        }
    }

    fn hash(&self, record: &Record<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        (record.key, record.value).hash(&mut hasher);
        if !self.without_times {
            record.timestamp.hash(&mut hasher);
        }
        hasher.finish()
    }
}
