//! Questions to a store while the stream runs: so many a second, one key each, in this process or by HTTP.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use millstream::app::Handle;
use millstream::desk::query::{Keys, Range};
use serde::{Deserialize, Serialize};

use crate::asker::Asker;
use crate::usage::rounded;

/// How long an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(2);
/// Keys that are asked for, in turns.
pub const KEYS: usize = 1_000;
/// The wait until the store has that many.
pub const LOOK: Duration = Duration::from_millis(20);

#[derive(Args)]
pub struct Questions {
    /// Ask the store for a key so many times a second meanwhile
    #[arg(long)]
    queries: Option<NonZeroU32>,
    /// Who asks: a thread of this process, or another process by HTTP
    #[arg(long, value_enum, default_value = "process")]
    by: By,
    /// Connections of the other process, which stay open; the questions are divided among them
    #[arg(long, default_value = "16")]
    pub connections: NonZeroUsize,
    /// The core that the other process is pinned to; default: those of this one
    #[arg(long, value_name = "CORE")]
    pub asker_core: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    Process,
    Http,
}

impl Questions {
    /// `None`: nothing is asked.
    pub fn start(&self, handle: &Handle, store: &str) -> Result<Option<Asking>> {
        let Some(per_second) = self.queries else { return Ok(None) };
        Ok(Some(match self.by {
            By::Process => Asking::Process(Thread::start(handle.clone(), store, per_second)),
            By::Http => Asking::Http(Asker::start(handle, store, per_second, self)?),
        }))
    }
}

/// Asks until it is ended.
pub enum Asking {
    Process(Thread),
    Http(Asker),
}

impl Asking {
    pub fn end(self) -> Result<Answered> {
        match self {
            Asking::Process(thread) => thread.end(),
            Asking::Http(asker) => asker.end(),
        }
    }
}

/// How they fared. Times run from the question to the answer, in microseconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answered {
    queries: usize,
    /// From the first question to the last answer: less than was wanted where answers took too long.
    asked_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    /// Since the question was due: behind one that is answered late the next ones wait.
    p99_due_us: f64,
    /// Without an answer: a task moved, or the thread was busy for two seconds.
    failed: usize,
}

impl Answered {
    /// `time`: how long it was asked.
    pub fn of(waits: &[Wait], time: Duration) -> Answered {
        let answered = waits.iter().filter(|wait| wait.is_answered);
        let (mut since_asked, mut since_due): (Vec<_>, Vec<_>) =
            answered.map(|wait| (wait.since_asked, wait.since_due)).unzip();
        since_asked.sort_unstable();
        since_due.sort_unstable();
        Answered {
            queries: waits.len(),
            asked_per_s: rounded(waits.len() as f64 / time.as_secs_f64().max(1e-9), 0),
            p50_us: at(&since_asked, 0.5),
            p99_us: at(&since_asked, 0.99),
            p99_due_us: at(&since_due, 0.99),
            failed: waits.len() - since_asked.len(),
        }
    }
}

fn at(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(0.0, |wait| rounded(wait.as_secs_f64() * 1e6, 0))
}

/// One question's way.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    since_asked: Duration,
    since_due: Duration,
    is_answered: bool,
}

/// Asks for keys in turns, each at its time or as soon after it as the one before is answered.
pub fn paced<K>(keys: &[K], per_second: f64, ended: &AtomicBool, mut ask: impl FnMut(&K) -> bool) -> Vec<Wait> {
    let (begun, mut waits) = (Instant::now(), Vec::new());
    for key in keys.iter().cycle() {
        let due = begun + Duration::from_secs_f64(waits.len() as f64 / per_second);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let asked = Instant::now();
        let is_answered = ask(key);
        waits.push(Wait { since_asked: asked.elapsed(), since_due: due.elapsed(), is_answered });
    }
    waits
}

/// Asks in this process, by what an embedding program asks with.
pub struct Thread {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Answered>,
}

impl Thread {
    fn start(handle: Handle, store: &str, per_second: NonZeroU32) -> Thread {
        let (ends, store) = (Arc::new(AtomicBool::new(false)), store.to_owned());
        let ended = ends.clone();
        let thread = std::thread::spawn(move || {
            let keys = keys(&handle, &store, &ended);
            let begun = Instant::now();
            let ask = |key: &Vec<u8>| handle.query(&store, Keys::One(key.clone()), DEADLINE).is_ok();
            let waits = paced(&keys, per_second.get().into(), &ended, ask);
            Answered::of(&waits, begun.elapsed())
        });
        Thread { ends, thread }
    }

    fn end(self) -> Result<Answered> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("who asks has panicked"))
    }
}

/// Keys that the store has, as soon as it has enough of them.
fn keys(handle: &Handle, store: &str, ended: &AtomicBool) -> Vec<Vec<u8>> {
    loop {
        let all = Keys::Range(Range { limit: KEYS, ..Range::default() });
        let rows = handle.query(store, all, DEADLINE).map(|page| page.rows).unwrap_or_default();
        if rows.len() == KEYS || ended.load(Ordering::Relaxed) {
            return rows.into_iter().map(|row| row.key).collect();
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_behind_a_late_answer_is_late_itself() {
        let (ended, mut asked) = (AtomicBool::new(false), 0);
        let waits = paced(&["a", "b"], 1_000.0, &ended, |_| {
            asked += 1;
            if asked == 1 {
                std::thread::sleep(Duration::from_millis(50));
            }
            ended.store(asked == 3, Ordering::Relaxed);
            asked != 2
        });
        assert_eq!(waits.iter().map(|wait| wait.is_answered).collect::<Vec<_>>(), [true, false, true]);
        assert!(waits[1].since_due >= Duration::from_millis(49), "{waits:?}");
        let told = Answered::of(&waits, Duration::from_secs(1));
        assert_eq!((told.queries, told.failed), (3, 1));
        assert!(told.p99_us >= 50_000.0, "{told:?}");
    }
}
