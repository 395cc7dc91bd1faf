//! Questions to a store while the stream runs: so many a second, one key each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use millstream::app::Handle;
use millstream::desk::query::{Keys, Range};
use serde::Serialize;

use crate::usage::rounded;

/// How long an answer is waited for.
const DEADLINE: Duration = Duration::from_secs(2);
/// Keys that are asked for, in turns.
const KEYS: usize = 1_000;
/// The wait until the store has that many.
const LOOK: Duration = Duration::from_millis(20);

/// Asks until it is ended.
pub struct Asking {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Option<Duration>>>,
}

/// How they fared. Times run from the question to the answer, in microseconds.
#[derive(Debug, Serialize)]
pub struct Answered {
    queries: usize,
    asked_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    /// Without an answer: a task moved, or the thread was busy for two seconds.
    failed: usize,
}

impl Asking {
    pub fn start(handle: Handle, store: &str, per_second: u32) -> Asking {
        let (ends, store) = (Arc::new(AtomicBool::new(false)), store.to_owned());
        let ended = ends.clone();
        let thread = std::thread::spawn(move || {
            let keys = keys(&handle, &store, &ended);
            let (begun, mut waits) = (Instant::now(), Vec::new());
            for key in keys.iter().cycle() {
                let due = begun + Duration::from_secs(1) * waits.len() as u32 / per_second;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let asked = Instant::now();
                let answer = handle.query(&store, Keys::One(key.clone()), DEADLINE);
                waits.push(answer.is_ok().then(|| asked.elapsed()));
            }
            waits
        });
        Asking { ends, thread }
    }

    /// `time`: how long the stream ran.
    pub fn end(self, time: Duration) -> Result<Answered> {
        self.ends.store(true, Ordering::Relaxed);
        let waits = self.thread.join().map_err(|_| anyhow!("who asks has panicked"))?;
        let mut answered: Vec<Duration> = waits.iter().flatten().copied().collect();
        answered.sort_unstable();
        let at = |share: f64| {
            let place = ((answered.len() as f64 * share) as usize).min(answered.len().saturating_sub(1));
            answered.get(place).map_or(0.0, |wait| rounded(wait.as_secs_f64() * 1e6, 0))
        };
        Ok(Answered {
            queries: waits.len(),
            asked_per_s: rounded(waits.len() as f64 / time.as_secs_f64(), 0),
            p50_us: at(0.5),
            p99_us: at(0.99),
            failed: waits.len() - answered.len(),
        })
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
