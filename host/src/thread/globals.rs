//! The thread that keeps an application's global tables: it reads their topics whole, from where the tables stand, and
//! goes on reading for as long as the application runs.
//!
//! ```text
//! log ──reader──▶ GlobalThread ──▶ Globals ◀──look up── tasks
//! ```
//! There is one copy for the process, so that it takes up disk and memory once, whatever the number of tasks. Nothing
//! goes back up: tasks hold views that can only be read and ask nothing of this thread. A view says itself that its table
//! is not whole, and then a task waits as it does for any store that does not answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use millstream_engine::error::{Problem, exit};
use millstream_engine::record::{Records, TopicId};
use millstream_engine::store;
use millstream_engine::task::Globals;
use millstream_engine::topology::Plan;

use super::restore::is_outdated;
use super::{Error, wall_clock_ms};
use crate::desk::Waiting;
use crate::log::{self, Fetched, Isolation, Log, Reader};

/// How long one poll may take: by then the thread looks whether it is to end.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// The wait before a log or a store that did not answer is asked again.
const BACKOFF: Duration = Duration::from_millis(500);
/// How often the tables are marked; see [`StreamThread::mark_whole`](super::StreamThread).
const MARK_EVERY: Duration = Duration::from_secs(60);

/// What the thread is made of.
pub struct GlobalParts {
    pub plan: Arc<Plan>,
    pub log: Arc<dyn Log>,
    pub globals: Globals,
    /// Where it says what it waits for.
    pub waiting: Waiting,
    /// How long each topic keeps its deletes, ms; one that is not named keeps them for ever.
    pub delete_retention_ms: Arc<BTreeMap<TopicId, i64>>,
    /// It ends when nobody holds the other end any more.
    pub stop: Receiver<Infallible>,
}

pub struct GlobalThread {
    parts: GlobalParts,
    reader: Option<Box<dyn Reader>>,
    /// By topic and partition, where it ended when the tables began to catch up; those that are there are gone.
    ahead: BTreeMap<(String, i32), i64>,
    /// The topic and partition whose records the tables did not take last.
    stuck: Option<(String, i32)>,
    /// When each table was begun anew here, ms, by its place.
    begun: BTreeMap<usize, i64>,
    is_whole: bool,
    marked: Instant,
}

impl GlobalThread {
    pub fn new(parts: GlobalParts) -> GlobalThread {
        let (ahead, begun, marked) = (BTreeMap::new(), BTreeMap::new(), Instant::now());
        GlobalThread { parts, reader: None, ahead, stuck: None, begun, is_whole: false, marked }
    }

    /// Runs until it is told to stop or cannot go on.
    pub fn run(mut self) -> Result<(), Error> {
        let ended = self.read();
        let globals = &mut self.parts.globals;
        let marked = if self.is_whole { globals.mark_whole(wall_clock_ms()) } else { Ok(()) };
        if let Err(error) = globals.close().and(marked) {
            tracing::warn!(%error, "the global tables were not closed well; they may have to be read again");
        }
        ended
    }

    fn read(&mut self) -> Result<(), Error> {
        let waiting = self.parts.waiting.clone();
        while let Err(TryRecvError::Empty) = self.parts.stop.try_recv() {
            match self.turn() {
                Ok(()) => {
                    // That it reads says nothing of the room for what it did not take.
                    if self.stuck.is_none() {
                        waiting.end();
                    }
                    continue;
                }
                Err(Unready::Log(error)) if error.may_pass() => waiting.begin(error.to_string()),
                Err(Unready::Log(error)) => return Err(error.into()),
                Err(Unready::Store(store::Error::Retry(why))) => waiting.begin(why),
                Err(Unready::Store(store::Error::Full(problem))) => waiting.begin_full(*problem),
                Err(Unready::Store(store::Error::Refused(problem))) => return Err((*problem).into()),
                Err(Unready::Store(store::Error::Corrupted(why))) => {
                    if self.begin_anew(&why)? {
                        continue;
                    }
                }
            }
            let why = waiting.why().unwrap_or_default();
            tracing::warn!(why, "the global tables wait");
            self.reader = None;
            if let Err(RecvTimeoutError::Disconnected) = self.parts.stop.recv_timeout(BACKOFF) {
                break;
            }
        }
        // Whoever stopped it is told what the next start would meet again.
        waiting.full().map_or(Ok(()), |full| Err(full.problem.into()))
    }

    /// What is damaged is of no use to anybody; the topics have all of it. `false`: that is to be tried again.
    fn begin_anew(&mut self, why: &str) -> Result<bool, Error> {
        tracing::error!(why, "the global tables are damaged: they are emptied and read again");
        self.set_whole(false);
        self.reader = None;
        match self.parts.globals.wipe() {
            Ok(()) => {
                self.stuck = None;
                return Ok(true);
            }
            Err(store::Error::Retry(why)) => self.parts.waiting.begin(why),
            Err(store::Error::Full(problem)) => self.parts.waiting.begin_full(*problem),
            Err(error) => return Err(unusable(&self.parts.plan.application, &error).into()),
        }
        Ok(false)
    }

    fn turn(&mut self) -> Result<(), Unready> {
        if let Some(why) = self.parts.globals.damage() {
            return Err(store::Error::Corrupted(why).into());
        }
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open()?,
        };
        let mut fetched = Vec::new();
        reader.poll(POLL_WAIT, &mut fetched)?;
        for one in fetched {
            match one {
                Fetched::Records { topic, partition, records } => {
                    let taken = self.take(&topic, partition, &records);
                    self.settle((topic, partition), taken.is_ok());
                    taken?;
                }
                Fetched::End { topic, partition, offset } => self.on_end((topic, partition), offset),
                Fetched::Truncated { topic, partition, offset } => {
                    // The table is held against its topic anew, and begins with what that has.
                    tracing::warn!(topic, partition, offset, "the topic of a global table was truncated");
                    self.set_whole(false);
                    return Ok(());
                }
            }
        }
        self.reader = Some(reader);
        if self.ahead.is_empty() && !self.is_whole {
            tracing::info!("the global tables have caught up");
            self.set_whole(true);
            self.mark()?;
        }
        if self.is_whole && self.marked.elapsed() >= MARK_EVERY {
            self.mark()?;
        }
        Ok(())
    }

    fn set_whole(&mut self, is_whole: bool) {
        self.is_whole = is_whole;
        self.parts.globals.set_whole(is_whole);
    }

    fn mark(&mut self) -> Result<(), store::Error> {
        self.marked = Instant::now();
        self.parts.globals.mark_whole(wall_clock_ms())
    }

    /// Finds where each table stands and where its topic ends, and reads on from there. A table that its topic does not
    /// go on from is emptied first.
    fn open(&mut self) -> Result<Box<dyn Reader>, Unready> {
        let now = wall_clock_ms();
        let GlobalParts { plan, log, globals, delete_retention_ms, .. } = &mut self.parts;
        let mut places = Vec::new();
        self.ahead.clear();
        for (at, table) in globals.tables().to_vec().into_iter().enumerate() {
            let topic = &plan.topics[table.topic.0 as usize].name;
            let ends = (0..table.partitions).map(|partition| log.offsets(topic, partition));
            let ends = ends.collect::<log::Result<Vec<_>>>()?;
            // What was read from the beginning is no older than that.
            let begun = self.begun.get(&at).copied().unwrap_or(0);
            let whole_at = globals.whole_at(at)?.map(|whole_at| whole_at.max(begun));
            let is_old = delete_retention_ms.get(&table.topic).is_some_and(|keeps| is_outdated(now, whole_at, *keeps));
            let held = globals.offsets(at)?.filter(|held| {
                let goes_on = held.iter().zip(&ends).all(|(held, ends)| (ends.begin..=ends.end).contains(held));
                goes_on && !is_old
            });
            let held = match held {
                Some(held) => held,
                None => {
                    let begins: Vec<i64> = ends.iter().map(|ends| ends.begin).collect();
                    globals.begin(at, &begins)?;
                    self.begun.insert(at, now);
                    // An empty table has room.
                    self.stuck.take_if(|(stuck, _)| stuck == topic);
                    begins
                }
            };
            for ((partition, from), ends) in (0..).zip(held).zip(ends) {
                tracing::info!(table = table.name, topic, partition, from, end = ends.end, "reading a global table");
                if from < ends.end {
                    self.ahead.insert((topic.clone(), partition), ends.end);
                }
                places.push((topic.clone(), partition, from));
            }
        }
        let mut reader = log.reader(Isolation::Committed)?;
        reader.assign(&places)?;
        Ok(reader)
    }

    fn take(&mut self, topic: &str, partition: i32, records: &Records) -> Result<(), store::Error> {
        let Some(last) = records.len().checked_sub(1).map(|last| records.get(last).0) else { return Ok(()) };
        let GlobalParts { plan, globals, .. } = &mut self.parts;
        let is_it = |table: &millstream_engine::task::Global| plan.topics[table.topic.0 as usize].name == topic;
        let Some(at) = globals.tables().iter().position(is_it) else { return Ok(()) };
        let taken = globals.take(at, partition, records, last + 1)?;
        if taken.too_large > 0 {
            let count = taken.too_large;
            tracing::warn!(
                topic,
                partition,
                count,
                "records with a key or a value beyond [limits] are not in the table"
            );
        }
        Ok(())
    }

    fn on_end(&mut self, at: (String, i32), offset: i64) {
        if self.ahead.get(&at).is_some_and(|end| offset >= *end) {
            self.ahead.remove(&at);
        }
        // There is nothing here any more that was not taken, be it because the log has deleted it.
        self.settle(at, true);
    }

    fn settle(&mut self, at: (String, i32), is_taken: bool) {
        match is_taken {
            false => self.stuck = Some(at),
            true if self.stuck.as_ref() == Some(&at) => self.stuck = None,
            true => {}
        }
    }
}

fn unusable(application: &str, error: &store::Error) -> Problem {
    let message = format!("the global tables of {application}: {error}");
    Problem::new("StateUnusable", "E0802", exit::FAILED, message)
        .field("application", application)
        .why("their state is damaged and cannot be emptied either")
        .fix("look after the disk, or point state_dir at another one: everything is in the topics")
}

enum Unready {
    Log(log::Error),
    Store(store::Error),
}

impl From<log::Error> for Unready {
    fn from(error: log::Error) -> Unready {
        Unready::Log(error)
    }
}

impl From<store::Error> for Unready {
    fn from(error: store::Error) -> Unready {
        Unready::Store(error)
    }
}
