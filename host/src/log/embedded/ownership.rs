//! One running instance per application: a file lock that dies with its process, and behind it an epoch that every
//! commit compares, should the lock ever have failed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::change::{Change, Outcome};
use super::environment::Environment;
use super::lock::Lock;
use super::{Error, Result, Subscription, directory, topic};

/// How long a lock of this very process may take to come free: its last user is just closing it.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// An application that this process runs.
#[derive(Debug)]
pub struct Ownership {
    pub application: String,
    epoch: u64,
    instance: String,
    threads: Mutex<BTreeSet<usize>>,
    _lock: Lock,
}

impl Ownership {
    /// Compares with the epoch in the log.
    pub fn check(&self, epoch: u64) -> Result<()> {
        if epoch == self.epoch {
            return Ok(());
        }
        let holder = format!("its owner's epoch is {epoch}, this one's is {}", self.epoch);
        Err(Error::AlreadyRunning { application: self.application.clone(), holder })
    }
}

/// One thread of an owned application; dropped, it leaves.
pub struct Membership {
    pub ownership: Arc<Ownership>,
    thread: usize,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.ownership.threads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.thread);
    }
}

/// The applications this process runs on one log.
#[derive(Default)]
pub struct Ownerships(Mutex<HashMap<String, Weak<Ownership>>>);

impl Ownerships {
    /// Takes a thread's place in an application; the first thread takes the application.
    pub fn join(&self, environment: &Environment, subscription: &Subscription) -> Result<Membership> {
        let mut owned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ownership = match owned.get(&subscription.application).and_then(Weak::upgrade) {
            Some(ownership) => ownership,
            None => Arc::new(take(environment, subscription)?),
        };
        owned.insert(subscription.application.clone(), Arc::downgrade(&ownership));
        let already =
            |holder: String| Err(Error::AlreadyRunning { application: ownership.application.clone(), holder });
        if ownership.instance != subscription.instance {
            return already(format!("this process, instance {}", ownership.instance));
        }
        if !ownership.threads.lock().unwrap_or_else(PoisonError::into_inner).insert(subscription.thread) {
            return already(format!("this process, thread {}", subscription.thread));
        }
        Ok(Membership { ownership, thread: subscription.thread })
    }
}

fn take(environment: &Environment, subscription: &Subscription) -> Result<Ownership> {
    let application = &subscription.application;
    topic::check_name(application).map_err(|why| Error::refused(format!("application `{application}`"), why))?;
    let lock = directory::application_lock(&environment.dir, application)?;
    let start = Instant::now();
    while !lock.try_keep()? {
        let holder = lock.holder();
        if holder != Some(std::process::id()) || start.elapsed() > CLOSE_WAIT {
            let holder = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            return Err(Error::AlreadyRunning { application: application.clone(), holder });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    match environment.commit(Change::Own { application: application.clone() })? {
        Outcome::Owned { epoch } => Ok(Ownership {
            application: application.clone(),
            epoch,
            instance: subscription.instance.clone(),
            threads: Mutex::default(),
            _lock: lock,
        }),
        Outcome::Done | Outcome::Appended { .. } => Err(Error::refused(application, "the log gave no epoch")),
    }
}
