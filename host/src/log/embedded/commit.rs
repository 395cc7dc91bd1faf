//! The committer: the one thread of a process that writes its log. Changes that wait while it syncs go together
//! into its next transaction, so that many writers cost one sync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use heed::{Env, WithoutTls};

use super::change::{Change, Outcome};
use super::fault::Named;
use super::lock::Lock;
use super::tables::Tables;
use super::watch::Watch;
use super::{Error, Result};
use crate::fail_point::{self, Point};

/// A transaction is closed to further changes at this size: other processes wait for it.
const TRANSACTION_BYTES: usize = 16 << 20;

/// How long to wait for another process's transaction. None takes a second; a process that is stopped in the middle
/// of one is named after this time.
const LOCK_WAIT: Duration = Duration::from_secs(30);

pub struct Job {
    pub change: Change,
    pub reply: Reply,
}

/// Where an outcome goes, on the committer's thread. Answers with an error when it is dropped unanswered.
pub struct Reply(Option<Box<dyn FnOnce(Result<Outcome>) + Send>>);

impl Reply {
    pub fn new(answer: impl FnOnce(Result<Outcome>) + Send + 'static) -> Reply {
        Reply(Some(Box::new(answer)))
    }

    fn answer(mut self, outcome: Result<Outcome>) {
        if let Some(answer) = self.0.take() {
            answer(outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(Error::unreachable("the log", "its committer has stopped")));
        }
    }
}

/// Dropped, it finishes what was handed over and stops.
pub struct Committer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub fn start(env: Env<WithoutTls>, tables: Tables, lock: Lock, watch: Arc<Watch>) -> Result<Committer> {
        let (jobs, receiver) = channel();
        let commits = Commits { env, tables, lock, watch };
        let thread = std::thread::Builder::new().name("embedded-log".into()).spawn(move || commits.run(&receiver));
        Ok(Committer { jobs: Some(jobs), thread: Some(thread.on("the log's committer")?) })
    }

    /// Where somebody hands over jobs who ends before this does.
    pub fn jobs(&self) -> Option<Sender<Job>> {
        self.jobs.clone()
    }

    /// Queues a job. The queue is bounded by its users: each waits for what it handed over.
    pub fn hand_over(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // A job that nobody takes answers by being dropped.
            drop(jobs.send(job));
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported by its own message; there is nobody to hand it to.
            drop(thread.join());
        }
    }
}

struct Commits {
    env: Env<WithoutTls>,
    tables: Tables,
    lock: Lock,
    watch: Arc<Watch>,
}

impl Commits {
    fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut bytes = first.change.bytes();
            let mut group = vec![first];
            while bytes < TRANSACTION_BYTES
                && let Ok(job) = jobs.try_recv()
            {
                bytes += job.change.bytes();
                group.push(job);
            }
            self.commit(group);
            self.watch.wake();
        }
    }

    fn commit(&self, group: Vec<Job>) {
        let (changes, replies): (Vec<_>, Vec<_>) = group.into_iter().map(|job| (job.change, job.reply)).unzip();
        match self.write(changes) {
            Ok(outcomes) => replies.into_iter().zip(outcomes).for_each(|(reply, outcome)| reply.answer(outcome)),
            Err(error) => replies.into_iter().for_each(|reply| reply.answer(Err(error.clone()))),
        }
    }

    /// One transaction. An error is of all changes; a refused change has its own.
    fn write(&self, changes: Vec<Change>) -> Result<Vec<Result<Outcome>>> {
        let _held = self.lock.hold(LOCK_WAIT)?;
        let mut txn = self.env.write_txn().on("a commit")?;
        let mut outcomes = Vec::with_capacity(changes.len());
        let tidies = changes.iter().any(|change| matches!(change, Change::Tidy(_)));
        for change in changes {
            outcomes.push(match change.check(&self.tables, &txn) {
                Ok(()) => Ok(change.write(&self.tables, &mut txn)?),
                Err(refused) => {
                    change.refuse(&refused);
                    Err(refused)
                }
            });
        }
        if tidies {
            fail_point::pass(Point::LogTidy);
        }
        match outcomes.iter().any(Result::is_ok) {
            true => txn.commit().on("a commit")?,
            false => txn.abort(),
        }
        Ok(outcomes)
    }
}
