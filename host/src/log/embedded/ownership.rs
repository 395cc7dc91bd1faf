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
            None => Arc::new(take(environment, &subscription.application, &subscription.instance)?),
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

    /// Who runs an application: this process, or another one; `None`: nobody.
    pub fn holder(&self, environment: &Environment, application: &str) -> Result<Option<String>> {
        let owned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if owned.get(application).and_then(Weak::upgrade).is_some() {
            return Ok(Some("this process".to_owned()));
        }
        check_id(application)?;
        let lock = directory::application_lock(&environment.dir, application)?;
        let is_free = lock.try_hold()?.is_some();
        Ok((!is_free).then(|| holder(&lock)))
    }

    /// Forgets what an application has committed, as its owner for that long: nobody runs it meanwhile.
    pub fn forget(&self, environment: &Environment, application: &str) -> Result<()> {
        let owned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if owned.get(application).and_then(Weak::upgrade).is_some() {
            let (application, holder) = (application.to_owned(), "this process".to_owned());
            return Err(Error::AlreadyRunning { application, holder });
        }
        let owner = Arc::new(take(environment, application, "")?);
        environment.commit(Change::Forget { owner }).map(drop)
    }
}

fn check_id(application: &str) -> Result<()> {
    topic::check_name(application).map_err(|why| Error::refused(format!("application `{application}`"), why))
}

fn holder(lock: &Lock) -> String {
    lock.holder().map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn take(environment: &Environment, application: &str, instance: &str) -> Result<Ownership> {
    check_id(application)?;
    let lock = directory::application_lock(&environment.dir, application)?;
    let start = Instant::now();
    while !lock.try_keep()? {
        if lock.holder() != Some(std::process::id()) || start.elapsed() > CLOSE_WAIT {
            return Err(Error::AlreadyRunning { application: application.to_owned(), holder: holder(&lock) });
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    match environment.commit(Change::Own { application: application.to_owned() })? {
        Outcome::Owned { epoch } => Ok(Ownership {
            application: application.to_owned(),
            epoch,
            instance: instance.to_owned(),
            threads: Mutex::default(),
            _lock: lock,
        }),
        Outcome::Done | Outcome::Appended { .. } => Err(Error::refused(application, "the log gave no epoch")),
    }
}
