//! A running application: its threads, and the end of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millstream_engine::error::{Problem, exit};
use millstream_engine::record::TopicId;
use millstream_engine::store;
use millstream_engine::task::{GlobalViews, Globals};
use millstream_engine::topology::Plan;

use super::changelogs;
use super::handle::{Deployment, Handle, StorePlan};
use super::load::Loaded;
use super::orphans;
use super::peers::Peers;
use super::plan;
use super::purge::Purge;
use super::status::{AppState, StoreInfo};
use super::store::{ReadError, Store};
use super::swap::Swapper;
use super::topics::{self, Topics};
use super::trial::Trial;
use super::watch::Watch;
use super::{parts, until_end};
use crate::desk::{GlobalLink, Link, TaskState, Waiting, link};
use crate::lmdb::StateDirectory;
use crate::log::{Log, Subscription, TaskSet, UNKNOWN_TOPIC};
use crate::text::Coded;
use crate::thread::{self, Anew, Command, GlobalParts, GlobalThread, RECOMMIT_INTERVAL, StreamThread};

/// What the command line says beside the manifest.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub state_dir: Option<PathBuf>,
    pub threads: Option<usize>,
    /// Start although the names leave existing state behind.
    pub allow_orphaned_state: bool,
    /// Start although inputs were deleted and created anew.
    pub allow_recreated_topics: bool,
    /// Where this process can be asked for its part of stores, as members of its group hear it.
    pub address: Option<String>,
    /// Set while a component has to prove itself.
    pub trial: Option<Trial>,
}

/// An application that runs. Dropping it stops it without waiting for the end; see [`App::stop`].
pub struct App {
    handle: Handle,
    swapper: Arc<Swapper>,
    plan: Arc<Plan>,
    log: Arc<dyn Log>,
    threads: Vec<Running>,
    /// `None`: it has no global tables.
    globals: Option<GlobalsRunning>,
    targets: until_end::Targets,
    watch: Watch,
    _purge: Purge,
    directory: Arc<StateDirectory>,
    started: Instant,
}

/// How long a member waits for its first task before it believes that there is none for it: beyond the rebalance of a
/// group that a member has just joined.
const ASSIGNMENT_WAIT: Duration = Duration::from_secs(10);

/// The thread of the global tables; it ends when the sender falls.
struct GlobalsRunning {
    stop: Sender<Infallible>,
    join: JoinHandle<Result<(), thread::Error>>,
}

struct Running {
    commands: Sender<Command>,
    join: Option<JoinHandle<Result<(), thread::Error>>>,
}

impl App {
    /// Plans, creates what is missing, starts the threads. Nothing is created when anything would be refused.
    pub fn start(loaded: &Loaded, log: Arc<dyn Log>, options: &Options) -> Result<App, Problem> {
        App::start_behind(None, loaded, log, options)
    }

    /// Starts another component, or the same one again, behind the handle of an application that was stopped.
    pub fn restart(handle: Handle, loaded: &Loaded, log: Arc<dyn Log>, options: &Options) -> Result<App, Problem> {
        App::start_behind(Some(handle), loaded, log, options)
    }

    fn start_behind(
        handle: Option<Handle>,
        loaded: &Loaded,
        log: Arc<dyn Log>,
        options: &Options,
    ) -> Result<App, Problem> {
        let mut plan = Arc::new(plan::plan(&*log, &loaded.blueprint)?);
        let manifest = &loaded.application.manifest;
        let state_dir = options.state_dir.clone().unwrap_or_else(|| loaded.application.state_dir(None));
        let path = StateDirectory::path_of(&state_dir, &manifest.id);
        let mut kept = orphans::check(&*log, &loaded.blueprint, &path, options.allow_orphaned_state)?;
        let directory = StateDirectory::open(&state_dir, &manifest.id).map_err(|error| error.problem())?;
        let directory = Arc::new(directory);
        let recreated = topics::check_recreated(&*log, &plan, &kept, options.allow_recreated_topics)?;
        if plan::create_internal_topics(&*log, &plan)? {
            plan = Arc::new(plan::plan(&*log, &loaded.blueprint)?);
        }
        let topics = Topics::look(&*log, &plan)?.and_patterns(&loaded.blueprint);
        let ids = topics.ids();
        changelogs::forget_replaced(&plan, manifest, &directory, &kept, &ids)?;
        kept.topic_ids = ids;
        kept.tell(&*log, &loaded.blueprint)?;
        directory.record(&kept).map_err(|error| error.problem())?;
        let delete_retention_ms = Arc::new(topics.delete_retention_ms(&plan));
        let deletes_after_ms = topics.deletes_after_ms(&*log, &plan);
        let anew = Arc::new(Anew::of(&plan, &recreated));
        let watch = Watch::start(log.clone(), topics, &manifest.id);
        let watch = watch.map_err(|error| thread_not_started(&manifest.id, &error))?;
        let purge = Purge::start(log.clone(), &plan, manifest.purge_interval);
        let purge = purge.map_err(|error| thread_not_started(&manifest.id, &error))?;
        let targets = until_end::Targets::now(&*log, &plan)?;
        let globals = parts::globals(loaded, &plan, &directory);
        let globals = globals.map_err(|error| globals_not_opened(&manifest.id, &error))?;
        let views = globals.views();
        let count = options.threads.unwrap_or(manifest.threads.get() as usize).max(1);
        let mut threads = Vec::new();
        let mut links = Vec::new();
        for number in 0..count {
            let mut subscription = subscription(loaded, &plan, &directory, number, count);
            subscription.address = options.address.clone();
            let started = Started {
                loaded,
                plan: &plan,
                log: &log,
                directory: &directory,
                views: &views,
                topic_ids: &kept.topic_ids,
                keeps: &delete_retention_ms,
                deletes: &deletes_after_ms,
                anew: &anew,
            };
            let (running, link) = started.thread(subscription, options.trial.as_ref())?;
            threads.push(running);
            links.push(link);
        }
        let commands = threads.iter().map(|thread| thread.commands.clone());
        let swappable = commands.zip(links.iter().cloned()).collect();
        let waiting = Waiting::default();
        let globals = start_globals((globals, waiting.clone()), &plan, &log, &delete_retention_ms)?;
        let deployment = deployment(loaded, &plan, links, GlobalLink { views, waiting });
        let handle = match handle {
            Some(handle) => {
                handle.deploy(deployment);
                handle
            }
            None => Handle::new(manifest.id.clone(), deployment),
        };
        handle.introduce(Peers::new(log.clone(), &manifest.id, options.address.clone()));
        let running = Arc::new(loaded.clone());
        let swapper = Swapper::new(handle.clone(), log.clone(), &directory, running, plan.clone(), swappable);
        let swapper = Arc::new(swapper);
        handle.attach(&swapper);
        let started = Instant::now();
        Ok(App { handle, swapper, plan, log, threads, globals, targets, watch, _purge: purge, directory, started })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// By which its component is replaced while it runs.
    pub fn swapper(&self) -> &Arc<Swapper> {
        &self.swapper
    }

    /// A store's committed state, by the types that its codecs write: `String` for utf8, `i64`, `i32`, `f64`,
    /// [`Json`](crate::text::Json) for json, `Vec<u8>` for any.
    pub fn store<K: Coded, V: Coded>(&self, name: &str) -> Result<Store<K, V>, ReadError> {
        Store::open(self.handle.clone(), name)
    }

    /// As it was at the start.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// `<state_dir>/<application>`
    pub fn directory(&self) -> &StateDirectory {
        &self.directory
    }

    /// Whether a thread has ended by itself, or its topics have changed so that it must end; then [`App::stop`] says
    /// why.
    pub fn has_ended(&self) -> bool {
        self.watch.found().is_some()
            || self.globals.as_ref().is_some_and(|globals| globals.join.is_finished())
            || self.threads.iter().any(|thread| thread.join.as_ref().is_none_or(JoinHandle::is_finished))
    }

    /// Whether everything that was in the inputs at the start, and everything the application fed itself, is
    /// processed and committed.
    pub fn is_at_end(&self) -> Result<bool, Problem> {
        if !self.has_settled() {
            return Ok(false);
        }
        match self.targets.are_reached(&*self.log, &self.plan) {
            // A log that does not answer now has said nothing about the end.
            Err(problem) if problem.exit == exit::LOG_UNREACHABLE => Ok(false),
            reached => reached,
        }
    }

    /// Whether inputs were committed further than they were at the start, as far as the threads have told.
    pub fn has_progressed(&self) -> bool {
        let status = self.handle.status();
        let inputs = status.tasks.iter().flat_map(|task| &task.inputs);
        inputs.map(|input| input.committed.unwrap_or(0)).sum::<i64>() > self.targets.committed
    }

    /// Whether the tasks that run here have restored and their states have room: what is left behind must be whole. A member
    /// that the group gives nothing to has nothing to wait for.
    fn has_settled(&self) -> bool {
        if self.handle.full().is_some() {
            return false;
        }
        let tasks = self.handle.status().tasks;
        match tasks.is_empty() {
            true => self.started.elapsed() > ASSIGNMENT_WAIT,
            false => tasks.iter().all(|task| task.state == TaskState::Running),
        }
    }

    /// What stands behind a thread's failure, where topics have changed: one that is gone may have a successor.
    fn explain(&self, problem: &Problem) -> Option<Problem> {
        if problem.name == UNKNOWN_TOPIC { self.watch.look() } else { None }
    }

    /// Tells the threads to commit and to leave the group; [`App::stop`] waits for it.
    pub(super) fn tell_to_stop(&self, stay: bool) {
        // Offsets of a topic that is gone must not be committed to its successor.
        let abandon = self.watch.found().is_some_and(|problem| problem.name == topics::RECREATED);
        for thread in &self.threads {
            // A thread that ended by itself does not listen any more.
            let _ = thread.commands.send(if abandon { Command::Abandon } else { Command::Stop { stay } });
        }
    }

    /// Commits, leaves the group and waits for the threads. The first error of any of them is the answer.
    pub fn stop(self, stay: bool) -> Result<(), Problem> {
        self.finish(stay, false)
    }

    /// The same where all that was to be read is read: what its global tables have no room for came later.
    pub(super) fn stop_at_end(self, stay: bool) -> Result<(), Problem> {
        self.finish(stay, true)
    }

    fn finish(mut self, stay: bool, at_end: bool) -> Result<(), Problem> {
        let found = self.watch.found().cloned();
        self.tell_to_stop(stay);
        let mut first = Ok(());
        for thread in &mut self.threads {
            let Some(join) = thread.join.take() else { continue };
            let ended = join.join().map_err(|_| panicked()).and_then(|ended| ended.map_err(problem));
            first = first.and(ended);
        }
        // Last, for what ends well reads its tables to its end.
        if let Some(GlobalsRunning { stop, join }) = self.globals.take() {
            drop(stop);
            let ended = join.join().map_err(|_| panicked()).and_then(|ended| ended.map_err(problem));
            let full = self.handle.globals().waiting.full().filter(|_| at_end);
            first = first.and(ended.or_else(|problem| match full {
                Some(full) if full.problem.name == problem.name => Ok(()),
                _ => Err(problem),
            }));
        }
        if let Some(found) = found.or_else(|| self.explain(first.as_ref().err()?)) {
            first = Err(found);
        }
        let state = if first.is_ok() { AppState::Stopped } else { AppState::Failed };
        self.handle.halt(Some((state, first.as_ref().err().map(ToString::to_string))));
        first
    }
}

/// What all threads of an application are started with.
struct Started<'a> {
    loaded: &'a Loaded,
    plan: &'a Arc<Plan>,
    log: &'a Arc<dyn Log>,
    directory: &'a Arc<StateDirectory>,
    views: &'a GlobalViews,
    topic_ids: &'a BTreeMap<String, String>,
    /// How long changelogs keep deletes, ms.
    keeps: &'a Arc<BTreeMap<TopicId, i64>>,
    /// How old what they are given may be, ms.
    deletes: &'a BTreeMap<TopicId, i64>,
    anew: &'a Arc<Anew>,
}

impl Started<'_> {
    fn thread(&self, subscription: Subscription, trial: Option<&Trial>) -> Result<(Running, Link), Problem> {
        let Started { loaded, plan, log, directory, views, topic_ids, keeps, deletes, anew } = *self;
        let number = subscription.thread;
        let client = log.client(subscription)?;
        let (link, desk) = link();
        let (commands, receiver) = channel();
        let manifest = &loaded.application.manifest;
        let thread = StreamThread::new(thread::Parts {
            plan: plan.clone(),
            log: log.clone(),
            client,
            stores: parts::stores(loaded, plan.clone(), directory.clone(), views.clone(), topic_ids),
            functions: parts::functions(loaded, trial),
            globals: views.clone(),
            settings: parts::settings(loaded),
            commit_interval: manifest.commit_interval,
            recommit_interval: RECOMMIT_INTERVAL,
            delete_retention_ms: keeps.clone(),
            deletes_after_ms: deletes.clone(),
            anew: anew.clone(),
            desk,
            commands: receiver,
        });
        let join = std::thread::Builder::new()
            .name(format!("{}-{number}", manifest.id))
            .stack_size(loaded.component.thread_stack_bytes())
            .spawn(move || thread.run())
            .map_err(|error| thread_not_started(&manifest.id, &error))?;
        Ok((Running { commands, join: Some(join) }, link))
    }
}

/// Starts the thread that reads the global tables, where there are any.
fn start_globals(
    (globals, waiting): (Globals, Waiting),
    plan: &Arc<Plan>,
    log: &Arc<dyn Log>,
    keeps: &Arc<BTreeMap<TopicId, i64>>,
) -> Result<Option<GlobalsRunning>, Problem> {
    if globals.tables().is_empty() {
        return Ok(None);
    }
    let (stop, stopped) = channel();
    let thread = GlobalThread::new(GlobalParts {
        plan: plan.clone(),
        log: log.clone(),
        globals,
        waiting,
        delete_retention_ms: keeps.clone(),
        stop: stopped,
    });
    let started = std::thread::Builder::new().name(format!("{}-globals", plan.application)).spawn(|| thread.run());
    let join = started.map_err(|error| thread_not_started(&plan.application, &error))?;
    Ok(Some(GlobalsRunning { stop, join }))
}

fn subscription(
    loaded: &Loaded,
    plan: &Plan,
    directory: &StateDirectory,
    thread: usize,
    threads: usize,
) -> Subscription {
    let task_sets = plan.subtopologies.iter().map(|subtopology| TaskSet {
        subtopology: subtopology.id,
        subscribe: subtopology.subscribe,
        partitions: subtopology.partitions,
        inputs: plan.inputs(subtopology).into_iter().map(|(_, topic, partitions)| (topic, partitions)).collect(),
    });
    Subscription {
        application: loaded.application.manifest.id.clone(),
        topics: plan.topics.iter().map(|topic| topic.name.clone()).collect(),
        task_sets: task_sets.collect(),
        guarantee: plan.guarantee,
        thread,
        threads,
        instance: directory.instance().to_owned(),
        plan_hash: super::digest::of(plan.fingerprint().as_bytes()),
        address: None,
    }
}

pub(super) fn deployment(loaded: &Loaded, plan: &Plan, threads: Vec<Link>, globals: GlobalLink) -> Deployment {
    let stores = plan.stores.iter().map(|store| StorePlan {
        info: StoreInfo::of(&loaded.blueprint, &store.description),
        subtopology: store.subtopology,
        tasks: plan.subtopologies[store.subtopology as usize].partitions as usize,
    });
    Deployment { digest: format!("sha256:{}", loaded.component.digest()), stores: stores.collect(), threads, globals }
}

fn globals_not_opened(application: &str, error: &store::Error) -> Problem {
    if let store::Error::Refused(problem) = error {
        return (**problem).clone();
    }
    let message = format!("the global tables of {application}: {error}");
    Problem::new("StateUnusable", "E0802", exit::FAILED, message)
        .field("application", application)
        .why("what is on disk of them cannot be opened")
        .fix("look after the disk, or point state_dir at another one: everything is in the topics")
}

fn problem(error: thread::Error) -> Problem {
    match error {
        thread::Error::Problem(problem) => *problem,
        thread::Error::Log(error) => error.into(),
    }
}

/// A thread for tasks that there is none for.
pub fn thread_not_started(application: &str, error: &std::io::Error) -> Problem {
    let message = format!("the system gives no stream thread to {application}: {error}");
    Problem::new("ThreadNotStarted", "E0803", exit::FAILED, message)
        .field("application", application)
        .why("tasks run in stream threads")
        .fix("raise the limits of processes and memory, or ask for fewer --threads")
}

/// The name of the problem that a thread's panic is.
pub(super) const PANICKED: &str = "ThreadPanicked";

fn panicked() -> Problem {
    Problem::new(PANICKED, "E0804", exit::FAILED, "a stream thread panicked")
        .why("this is a fault of the host; what was not committed is not lost, the log has its input")
        .fix("start again, and report it with the log lines above")
}
