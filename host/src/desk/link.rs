//! The two ends between a stream thread and whoever looks at it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::query::{Query, Reply, Request};
use super::report::Report;

/// Queries that may wait for one thread; one more is told to come again.
const WAITING_QUERIES_MAX: usize = 64;

/// Connects a thread with its watchers.
pub fn link() -> (Link, Desk) {
    let (sender, requests) = sync_channel(WAITING_QUERIES_MAX);
    let last = Arc::new(Mutex::new(Last::default()));
    let paused = Arc::new(AtomicBool::new(false));
    (Link { requests: sender, last: last.clone(), paused: paused.clone() }, Desk { requests, last, paused })
}

/// The watchers' end; cheap to clone.
#[derive(Clone)]
pub struct Link {
    requests: SyncSender<Request>,
    last: Arc<Mutex<Last>>,
    paused: Arc<AtomicBool>,
}

/// The thread's end. When it falls, all who wait are told.
pub struct Desk {
    requests: Receiver<Request>,
    last: Arc<Mutex<Last>>,
    paused: Arc<AtomicBool>,
}

/// What a thread told last.
#[derive(Default)]
struct Last {
    report: Report,
    /// How many there were before it and with it.
    number: u64,
}

/// How long behind its end a query is still answered: who gives up in this moment is not to take it for a thread that
/// stopped.
const LATE: Duration = Duration::from_millis(100);

/// Why a thread takes no query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("too many queries are waiting")]
    Full,
    #[error("a stream thread has stopped")]
    Stopped,
}

impl Link {
    /// What the thread told last.
    pub fn report(&self) -> Report {
        // It is replaced as a whole, so a thread that died beside it has not damaged it.
        self.last.lock().unwrap_or_else(PoisonError::into_inner).report.clone()
    }

    /// How many reports the thread has published.
    pub fn reports(&self) -> u64 {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).number
    }

    /// `true`: the thread takes no more records from its next turn on, until it is told `false`.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Leaves a query with the thread; the answer comes when it looks for one, or never. Behind `until` it does not.
    pub fn ask(&self, query: Query, until: Instant) -> Result<Receiver<Reply>, Refusal> {
        let (reply, answer) = sync_channel(1);
        self.requests.try_send(Request { query, until, reply }).map_err(|error| match error {
            TrySendError::Full(_) => Refusal::Full,
            TrySendError::Disconnected(_) => Refusal::Stopped,
        })?;
        Ok(answer)
    }
}

impl Desk {
    /// The next query that somebody waits for, if any. Returns at once.
    pub fn next(&self) -> Option<Request> {
        let is_wanted = |request: &Request| request.until + LATE > Instant::now();
        std::iter::from_fn(|| self.requests.try_recv().ok()).find(is_wanted)
    }

    /// Whether the thread shall take no records.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    pub fn publish(&self, report: Report) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last { report, number: last.number + 1 };
    }
}
