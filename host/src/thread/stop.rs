//! The end of a thread: what was done is committed first, where the log is there to take it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::active::Active;
use super::{Error, REVOKE_TIMEOUT, StreamThread};
use crate::log::Log;

/// How long the last commit is waited for while the log does not answer. With what leaving such a log takes, the process is
/// gone within ten seconds; what was not committed is done again after the next start.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Between two questions to the log whether it is there. A commit on a log that works has its outcome before the first one.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long one answer may take: less than what is waited for.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) struct Stopping {
    stay: bool,
    since: Instant,
    /// What the thread ends with.
    why: Result<(), Error>,
    /// When the log has answered, or at first when it was asked for nothing yet.
    heard: Instant,
    asked: Instant,
    /// Gets a word when the log answers, and is hung up when it does not.
    answer: Option<Receiver<()>>,
}

impl Stopping {
    fn new(stay: bool, why: Result<(), Error>) -> Stopping {
        let now = Instant::now();
        Stopping { stay, since: now, why, heard: now, asked: now, answer: None }
    }

    /// Whether the static membership is kept.
    pub fn stays(&self) -> bool {
        self.stay
    }

    /// Whether what is not committed so far has had its time: less on a log that says nothing at all than on one that
    /// answers, where a large commit or a slow wire takes what it takes.
    fn is_over(&mut self, log: &Arc<dyn Log>) -> bool {
        self.listen(log);
        self.heard.elapsed() >= SILENCE_MAX || self.since.elapsed() >= REVOKE_TIMEOUT
    }

    fn listen(&mut self, log: &Arc<dyn Log>) {
        match self.answer.as_ref().map(Receiver::try_recv) {
            Some(Ok(())) => (self.heard, self.answer) = (Instant::now(), None),
            Some(Err(TryRecvError::Disconnected)) => self.answer = None,
            Some(Err(TryRecvError::Empty)) => {}
            None if self.asked.elapsed() >= ASK_EVERY => {
                (self.asked, self.answer) = (Instant::now(), ask(log));
            }
            None => {}
        }
    }
}

/// On a thread of its own, for the loop has to hear the commit's outcome meanwhile. Without one nothing is heard.
fn ask(log: &Arc<dyn Log>) -> Option<Receiver<()>> {
    let (answered, answer) = channel();
    let log = log.clone();
    let asking = move || {
        if log.ping(ASK_TIMEOUT).is_ok() {
            // Nobody may be waiting any more.
            let _ = answered.send(());
        }
    };
    std::thread::Builder::new().name("stop-ping".into()).spawn(asking).ok().map(|_| answer)
}

impl StreamThread {
    /// Takes no more records; what was done is committed first. The first reason stays.
    pub(super) fn stop(&mut self, stay: bool, why: Result<(), Error>) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping::new(stay, why));
        }
    }

    /// What the thread ends with, as soon as nothing is left to commit, or no use in waiting for it.
    pub(super) fn ended(&mut self) -> Option<Result<(), Error>> {
        self.stopping.as_ref()?;
        let settled = self.tasks_undecided().is_empty() && self.tasks.values().all(|active| !active.has_uncommitted());
        let full = self.tasks.values().find_map(Active::is_full).cloned();
        let stopping = self.stopping.as_mut()?;
        if !settled && !stopping.is_over(&self.log) {
            return None;
        }
        if !settled {
            tracing::warn!("the log does not take the last commit: its records are processed again by the next start");
        }
        // Whoever stopped it is told what the next start would meet again.
        let why = std::mem::replace(&mut stopping.why, Ok(()));
        Some(why.and(full.map_or(Ok(()), |problem| Err(problem.into()))))
    }
}
