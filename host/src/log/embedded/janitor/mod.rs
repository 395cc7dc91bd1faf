//! The janitor: compaction and retention of the embedded log.
//!
//! Whoever runs an application or writes starts one; of the processes of one log one has it to do, which a lock says that
//! dies with its process. `topics sweep` does the same at once. All of its changes go the way of others, through the
//! committer, and each is written only while what it replaces is still what was read: two janitors would lose their work
//! and nothing else.
//!
//! | file | holds |
//! |---|---|
//! | [`cleanup`] | what a topic's configurations ask for |
//! | [`retention`] | deleting the oldest batches |
//! | [`compaction`], [`survey`] | taking superseded records out of batches; which those are |
//! | [`work`] | what was found and done |

mod cleanup;
mod compaction;
mod retention;
mod survey;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heed::{Env, WithoutTls};

use super::batch::Batch;
use super::change::Change;
use super::commit::{Job, Reply};
use super::directory;
use super::environment::{Receipt, Snapshot};
use super::fault::{Named, damaged};
use super::lock::Lock;
use super::tables::{Tables, base_of, batch_key};
use super::tidy::Tidy;
use super::topic::Handle;
use super::{Error, Result};
use crate::fail_point::{self, Point};
use cleanup::Cleanup;
use work::{Found, Work};

/// The pause between two looks at all topics.
const LOOK: Duration = Duration::from_secs(1);

/// A log that nobody has written to is looked at after this: records grow old without anybody's doing.
const IDLE_LOOK: Duration = Duration::from_secs(30);

/// A look that took long is followed by a pause this many times as long, so that the work takes a tenth of the time.
const REST: u32 = 9;

/// The thread that looks after a log; ends when it is dropped, after at most one step.
pub struct Janitor {
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    pub fn start(house: House, dir: &Path) -> Result<Janitor> {
        let (lock, closing) = (directory::janitor_lock(dir)?, house.closing.clone());
        let thread = std::thread::Builder::new().name("log-janitor".into()).spawn(move || run(&house, &lock));
        Ok(Janitor { closing, thread: Some(thread.on("the log's janitor")?) })
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was reported by its own message; there is nobody to hand it to.
            drop(thread.join());
        }
    }
}

fn run(house: &House, lock: &Lock) {
    let (mut has_lock, mut pause) = (false, LOOK);
    let (mut seen, mut looked) = (None, Instant::now());
    let mut told = BTreeMap::new();
    while !house.pause(pause) {
        pause = LOOK;
        // One that another process has is asked for again.
        has_lock = has_lock || lock.try_keep().unwrap_or_default();
        let commit = house.env.info().last_txn_id;
        if !has_lock || seen == Some(commit) && looked.elapsed() < IDLE_LOOK {
            continue;
        }
        looked = Instant::now();
        house.look(&mut told);
        seen = Some(commit);
        pause = LOOK.max(looked.elapsed() * REST);
    }
}

/// What a janitor works on: the log's tables, and the way to its committer.
pub struct House {
    env: Env<WithoutTls>,
    tables: Tables,
    jobs: Option<Sender<Job>>,
    closing: Arc<AtomicBool>,
    /// Keys of one pass, other than the usual number.
    keys_max: Option<usize>,
}

impl House {
    pub fn new(env: Env<WithoutTls>, tables: Tables, jobs: Option<Sender<Job>>) -> House {
        House { env, tables, jobs, closing: Arc::default(), keys_max: None }
    }

    /// Looks at every topic and does what is worth it. `told`: the last problem of each partition, which is told once.
    fn look(&self, told: &mut BTreeMap<(String, i32), String>) {
        let topics = self.snapshot().and_then(|snapshot| snapshot.topic_names());
        let mut told_of = |topic: &str, partition: i32, error: Error| {
            let text = error.to_string();
            let gone = matches!(error, Error::UnknownTopic(_)) || self.closing.load(Ordering::Relaxed);
            if !gone && told.get(&(topic.to_owned(), partition)) != Some(&text) {
                tracing::warn!(topic, partition, error = text, "the log is not cleaned up there");
                told.insert((topic.to_owned(), partition), text);
            }
        };
        for topic in topics.unwrap_or_default() {
            if let Err(error) = self.tend(&topic, false, &mut |partition, result| match result {
                Ok(work) if work.is_nothing() => {}
                Ok(work) => tracing::debug!(topic, partition, ?work, "cleaned up"),
                Err(error) => told_of(&topic, partition, error),
            }) {
                told_of(&topic, -1, error);
            }
        }
    }

    /// Does what a topic's configurations ask for, partition by partition; `all`: also what is not worth it.
    pub fn tend(&self, topic: &str, all: bool, each: &mut dyn FnMut(i32, Result<Work>)) -> Result<()> {
        let row = self.snapshot()?.topic(topic)?.ok_or_else(|| Error::UnknownTopic(topic.to_owned()))?;
        let (cleanup, handle) = (Cleanup::of(&row), row.handle(topic));
        if cleanup != (Cleanup { retention: None, compaction: None }) {
            for partition in 0..row.partitions {
                each(partition, self.tend_partition((&handle, partition), cleanup, (wall_clock_ms(), all)));
            }
        }
        Ok(())
    }

    /// Deletes the batches of a partition that lie below an offset.
    pub fn delete_records(&self, topic: &str, partition: i32, below: i64) -> Result<()> {
        let row = self.snapshot()?.topic(topic)?.ok_or_else(|| Error::UnknownTopic(topic.to_owned()))?;
        let handle = row.handle(topic);
        handle.check(partition)?;
        retention::delete_below(self, (&handle, partition), below)
    }

    fn tend_partition(
        &self,
        place: (&Arc<Handle>, i32),
        Cleanup { retention, compaction }: Cleanup,
        (now, all): (i64, bool),
    ) -> Result<Work> {
        let mut work = Work::default();
        if let Some(retention) = retention {
            retention::apply(self, place, retention, now, &mut work)?;
        }
        if let Some(compaction) = compaction {
            compaction::apply(self, place, compaction, (now, all), &mut work)?;
        }
        Ok(work)
    }

    fn snapshot(&self) -> Result<Snapshot<'_>> {
        Snapshot::take(&self.env, &self.tables)
    }

    /// Hands the batches of a partition that begin in a range to `each`, until that answers `false`. The first one must
    /// begin at the range's beginning.
    fn each_batch(
        &self,
        snapshot: &Snapshot<'_>,
        (handle, partition, from, end): (&Arc<Handle>, i32, i64, i64),
        mut each: impl FnMut(Found<'_>) -> Result<bool>,
    ) -> Result<()> {
        let what = || handle.at(partition);
        snapshot.tables.check_handle(&snapshot.txn, handle)?;
        if from >= end {
            return Ok(());
        }
        let (first, behind) = (batch_key(handle.number, partition, from), batch_key(handle.number, partition, end));
        let range = (Bound::Included(&first[..]), Bound::Excluded(&behind[..]));
        let mut next = from;
        for row in snapshot.tables.batches.range(&snapshot.txn, &range).on(&what())? {
            let (key, value) = row.on(&what())?;
            if base_of(handle.number, partition, key) != Some(next) {
                break;
            }
            let batch = Batch::open(key, next, value);
            let batch = batch.map_err(|why| damaged(&what(), format!("the batch at offset {next}: {why}")))?;
            let mark = value.first_chunk().copied().unwrap_or_default();
            let found = Found { base: next, mark, bytes: value.len() as u64, batch };
            next = batch.last + 1;
            if !each(found)? {
                return Ok(());
            }
        }
        match next >= end {
            true => Ok(()),
            false => Err(damaged(&what(), format!("no batch begins at offset {next}, and the end is {end}"))),
        }
    }

    /// Waits until a step is synced.
    fn commit(&self, tidy: Tidy) -> Result<()> {
        let stopped = || Error::unreachable("the log", "it is being closed");
        if self.closing.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        let (sender, receiver) = mpsc::channel();
        let reply = Reply::new(move |outcome| drop(sender.send(outcome)));
        let job = Job { change: Change::Tidy(tidy), reply };
        self.jobs.as_ref().ok_or_else(stopped)?.send(job).map_err(|_| stopped())?;
        Receipt::new(receiver).wait()?;
        fail_point::pass(Point::LogTidied);
        Ok(())
    }

    /// Waits, and answers whether the log is being closed.
    fn pause(&self, pause: Duration) -> bool {
        let start = Instant::now();
        while !self.closing.load(Ordering::Relaxed) {
            let Some(left) = pause.checked_sub(start.elapsed()) else { return false };
            std::thread::park_timeout(left);
        }
        true
    }
}

fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
