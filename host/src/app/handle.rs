//! An application from outside: what it tells, what it can be asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use super::peers::Peers;
use super::query::{self, Part, QueryError};
use super::status::{AppState, AppStatus, ComponentStatus, StoreInfo, StorePart};
use super::swap::Swapper;
use crate::desk::query::{Keys, Page};
use crate::desk::{Counters, Full, GlobalLink, Link, Report, TaskState, TaskStatus, Waiting};

/// How often [`Handle::refresh`] looks: threads report ten times a second.
const REFRESH_POLL: Duration = Duration::from_millis(10);

/// A cheap handle, the same over swaps of the component. It never waits for a thread except in [`Handle::query`].
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    id: String,
    deployment: RwLock<Arc<Deployment>>,
    /// Set from outside of the threads: stopped, failed, degraded.
    halted: RwLock<Option<(AppState, Option<String>)>>,
    /// Of the application that runs.
    swapper: RwLock<Weak<Swapper>>,
    /// Of the application that runs.
    peers: RwLock<Option<Arc<Peers>>>,
    /// Holds over restarts and swaps.
    paused: AtomicBool,
}

/// One component and the threads that run it.
#[derive(Default)]
pub struct Deployment {
    /// `sha256:…`
    pub digest: String,
    pub stores: Vec<StorePlan>,
    pub threads: Vec<Link>,
    /// The same over swaps.
    pub globals: GlobalLink,
}

/// A store as the plan has it.
#[derive(Clone, Debug)]
pub struct StorePlan {
    /// Its `entries` are filled in when somebody asks.
    pub info: StoreInfo,
    /// Whose tasks hold it.
    pub subtopology: u32,
    /// How many tasks hold a part of it, in all processes.
    pub tasks: usize,
}

impl Handle {
    pub fn new(id: impl Into<String>, deployment: Deployment) -> Handle {
        let deployment = RwLock::new(Arc::new(deployment));
        let (halted, swapper, paused) = (RwLock::new(None), RwLock::default(), AtomicBool::new(false));
        let peers = RwLock::default();
        Handle(Arc::new(Shared { id: id.into(), deployment, halted, swapper, peers, paused }))
    }

    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// A new component, or new threads for the same one.
    pub fn deploy(&self, deployment: Deployment) {
        self.halt(None);
        let mut current = self.0.deployment.write().unwrap_or_else(PoisonError::into_inner);
        deployment.threads.iter().for_each(|thread| thread.pause(self.0.paused.load(Ordering::Relaxed)));
        *current = Arc::new(deployment);
    }

    /// `true`: no more records are taken until it is told `false`. What was done is committed, tasks and their state stay
    /// where they are, stores answer and go on restoring, and no punctuation fires by the clock on the wall.
    pub fn pause(&self, paused: bool) {
        // The lock keeps new threads from missing it.
        let deployment = self.0.deployment.read().unwrap_or_else(PoisonError::into_inner);
        self.0.paused.store(paused, Ordering::Relaxed);
        deployment.threads.iter().for_each(|thread| thread.pause(paused));
    }

    /// By whom the application that runs now can be swapped.
    pub(super) fn attach(&self, swapper: &Arc<Swapper>) {
        *self.0.swapper.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(swapper);
    }

    /// Who else may run a part of the application.
    pub(super) fn introduce(&self, peers: Peers) {
        *self.0.peers.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(peers));
    }

    /// Where the other processes of the application can be asked. Asks the log, so not on an async thread.
    pub fn elsewhere(&self) -> Vec<String> {
        let peers = self.0.peers.read().unwrap_or_else(PoisonError::into_inner).clone();
        peers.map(|peers| peers.others()).unwrap_or_default()
    }

    /// Where this process can be asked, as its group hears it.
    pub fn address(&self) -> Option<String> {
        let peers = self.0.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.as_ref()?.own().map(str::to_owned)
    }

    /// `None`: nothing runs.
    pub fn swapper(&self) -> Option<Arc<Swapper>> {
        self.0.swapper.read().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// What the threads cannot tell themselves; `None`: look at the tasks.
    pub fn halt(&self, state: Option<(AppState, Option<String>)>) {
        *self.0.halted.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub fn status(&self) -> AppStatus {
        let deployment = self.deployment();
        let reports: Vec<_> = deployment.threads.iter().map(Link::report).collect();
        let halted = self.0.halted.read().unwrap_or_else(PoisonError::into_inner).clone();
        let globals = &deployment.globals.waiting;
        let (state, reason) = match halted.unwrap_or_else(|| state_of(&reports, globals)) {
            (AppState::Running, None) if self.0.paused.load(Ordering::Relaxed) => (AppState::Paused, None),
            state => state,
        };
        let warnings = reports.iter().flat_map(|report| report.warnings.iter().cloned()).collect();
        let mut tasks: Vec<_> = reports.into_iter().flat_map(|report| report.tasks).collect();
        tasks.sort_by_key(|task| task.id);
        let component = ComponentStatus { digest: deployment.digest.clone() };
        AppStatus { id: self.0.id.clone(), state, reason, component, warnings, tasks }
    }

    /// Waits until every thread has told how it is now and not a moment ago, or this long. Blocks, so not on an async
    /// thread.
    pub fn refresh(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let deployment = self.deployment();
        // The next report may have been made already; the one behind it was not.
        let fresh: Vec<u64> = deployment.threads.iter().map(|thread| thread.reports() + 2).collect();
        let is_fresh = || deployment.threads.iter().zip(&fresh).all(|(thread, fresh)| thread.reports() >= *fresh);
        while !is_fresh() && Instant::now() < until {
            std::thread::sleep(REFRESH_POLL);
        }
    }

    pub fn counters(&self) -> Counters {
        let mut all = Counters::default();
        let deployment = self.deployment();
        deployment.threads.iter().for_each(|thread| all.add(&thread.report().counters));
        let dropped = deployment.globals.views.dropped();
        if dropped > 0 {
            *all.dropped_records.entry("null".to_owned()).or_default() += dropped;
        }
        all
    }

    /// The state that has held as much as it may for the longest time.
    pub fn full(&self) -> Option<Full> {
        let deployment = self.deployment();
        let tasks = deployment.threads.iter().filter_map(|thread| thread.report().full);
        tasks.chain(deployment.globals.waiting.full()).min_by_key(|full| full.since)
    }

    pub fn stores(&self) -> Vec<StoreInfo> {
        let deployment = self.deployment();
        let reports: Vec<_> = deployment.threads.iter().map(Link::report).collect();
        let info = |store: &StorePlan| {
            if let Some(table) = deployment.globals.views.table(&store.info.name) {
                let (entries, bytes) = table.size().unwrap_or_default();
                return StoreInfo { entries, bytes, ..store.info.clone() };
            }
            let part = |task: &TaskStatus| {
                let part = task.stores.iter().find(|part| part.name == store.info.name)?;
                Some(StorePart { task: task.id.to_string(), entries: part.entries, bytes: part.bytes, at: None })
            };
            let parts = reports.iter().flat_map(|report| &report.tasks).filter_map(part).collect();
            store.info.clone().held_by(parts, store.tasks)
        };
        deployment.stores.iter().map(info).collect()
    }

    /// The store as the component declared it, without its entries.
    pub fn store(&self, name: &str) -> Result<StorePlan, QueryError> {
        let deployment = self.deployment();
        let found = deployment.stores.iter().find(|store| store.info.name == name);
        found.cloned().ok_or_else(|| QueryError::UnknownStore(name.to_owned()))
    }

    /// Reads committed state. Blocks up to the deadline, so not on an async thread.
    pub fn query(&self, store: &str, keys: Keys, deadline: Duration) -> Result<Page, QueryError> {
        let store = self.store(store)?;
        let deployment = self.deployment();
        match deployment.globals.views.table(&store.info.name) {
            Some(table) => query::ask_global(table, &store, &keys),
            None => query::ask(&deployment.threads, &store, keys, deadline),
        }
    }

    /// The same of the tasks that run here, whatever is elsewhere; beside it which of how many have answered.
    pub fn query_part(&self, store: &str, keys: Keys, deadline: Duration) -> Result<Part, QueryError> {
        let store = self.store(store)?;
        let deployment = self.deployment();
        match deployment.globals.views.table(&store.info.name) {
            Some(table) => query::ask_global(table, &store, &keys).map(Part::whole),
            None => query::ask_part(&deployment.threads, &store, keys, deadline),
        }
    }

    pub(super) fn globals(&self) -> GlobalLink {
        self.deployment().globals.clone()
    }

    fn deployment(&self) -> Arc<Deployment> {
        self.0.deployment.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An application's state as its threads show it. Where tasks wait for global tables that are full, that is the reason.
fn state_of(reports: &[Report], globals: &Waiting) -> (AppState, Option<String>) {
    let full = globals.full().map(|full| full.why());
    let hindered = || reports.iter().find_map(|report| report.hindered.clone());
    if let Some(why) = full.or_else(hindered).or_else(|| globals.why()) {
        return (AppState::Degraded, Some(why));
    }
    let tasks: Vec<&TaskStatus> = reports.iter().flat_map(|report| &report.tasks).collect();
    let restoring = |task: &&TaskStatus| matches!(task.state, TaskState::Created | TaskState::Restoring);
    let state = match &tasks[..] {
        [] => AppState::Created,
        tasks if tasks.iter().any(restoring) => AppState::Restoring,
        _ => AppState::Running,
    };
    (state, None)
}
