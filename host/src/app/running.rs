//! A running application: its threads, and the end of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millstream_engine::error::{Problem, exit};
use millstream_engine::operator::Limits;
use millstream_engine::task::Settings;
use millstream_engine::topology::Plan;

use super::changelogs;
use super::handle::{Deployment, Handle, StorePlan};
use super::load::Loaded;
use super::orphans;
use super::plan;
use super::status::{AppState, StoreInfo};
use super::store::{ReadError, Store};
use super::swap::Swapper;
use super::trial::Trial;
use super::{parts, until_end};
use crate::desk::{Link, TaskState, link};
use crate::lmdb::StateDirectory;
use crate::log::{Log, Subscription, TaskSet};
use crate::text::Coded;
use crate::thread::{self, Command, StreamThread};

/// What the command line says beside the manifest.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub state_dir: Option<PathBuf>,
    pub threads: Option<usize>,
    /// Start although the names leave existing state behind.
    pub allow_orphaned_state: bool,
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
    targets: until_end::Targets,
    directory: Arc<StateDirectory>,
    started: Instant,
}

/// How long a member waits for its first task before it believes that there is none for it: beyond the rebalance of a
/// group that a member has just joined.
const ASSIGNMENT_WAIT: Duration = Duration::from_secs(10);

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
        let plan = Arc::new(plan::plan(&*log, &loaded.blueprint)?);
        let manifest = &loaded.application.manifest;
        let state_dir = options.state_dir.clone().unwrap_or_else(|| loaded.application.state_dir(None));
        let path = StateDirectory::path_of(&state_dir, &manifest.id);
        let mut kept = orphans::check(&*log, &loaded.blueprint, &path, options.allow_orphaned_state)?;
        let directory = StateDirectory::open(&state_dir, &manifest.id).map_err(|error| error.problem())?;
        let directory = Arc::new(directory);
        plan::create_internal_topics(&*log, &plan)?;
        changelogs::forget_replaced(&*log, &plan, &directory, &mut kept)?;
        directory.record(&kept).map_err(|error| error.problem())?;
        let targets = until_end::Targets::now(&*log, &plan)?;
        let count = options.threads.unwrap_or(manifest.threads.get() as usize).max(1);
        let mut threads = Vec::new();
        let mut links = Vec::new();
        for number in 0..count {
            let subscription = subscription(loaded, &plan, &directory, number, count);
            let (running, link) = start_thread(loaded, &plan, &log, &directory, subscription, options.trial.as_ref())?;
            threads.push(running);
            links.push(link);
        }
        let commands = threads.iter().map(|thread| thread.commands.clone());
        let swappable = commands.zip(links.iter().cloned()).collect();
        let deployment = deployment(loaded, &plan, links);
        let handle = match handle {
            Some(handle) => {
                handle.deploy(deployment);
                handle
            }
            None => Handle::new(manifest.id.clone(), deployment),
        };
        let running = Arc::new(loaded.clone());
        let swapper = Swapper::new(handle.clone(), log.clone(), &directory, running, plan.clone(), swappable);
        let swapper = Arc::new(swapper);
        handle.attach(&swapper);
        Ok(App { handle, swapper, plan, log, threads, targets, directory, started: Instant::now() })
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

    /// Whether a thread has ended by itself; then [`App::stop`] says why.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(|thread| thread.join.as_ref().is_none_or(JoinHandle::is_finished))
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

    /// Whether the tasks that run here have restored: what is left behind must be whole. A member that the group gives
    /// nothing to has nothing to wait for.
    fn has_settled(&self) -> bool {
        let tasks = self.handle.status().tasks;
        match tasks.is_empty() {
            true => self.started.elapsed() > ASSIGNMENT_WAIT,
            false => tasks.iter().all(|task| task.state == TaskState::Running),
        }
    }

    /// Commits, leaves the group and waits for the threads. The first error of any of them is the answer.
    pub fn stop(mut self, stay: bool) -> Result<(), Problem> {
        for thread in &self.threads {
            // A thread that ended by itself does not listen any more.
            let _ = thread.commands.send(Command::Stop { stay });
        }
        let mut first = Ok(());
        for thread in &mut self.threads {
            let Some(join) = thread.join.take() else { continue };
            let ended = join.join().map_err(|_| panicked()).and_then(|ended| ended.map_err(problem));
            first = first.and(ended);
        }
        let state = if first.is_ok() { AppState::Stopped } else { AppState::Failed };
        self.handle.halt(Some((state, first.as_ref().err().map(ToString::to_string))));
        first
    }
}

fn start_thread(
    loaded: &Loaded,
    plan: &Arc<Plan>,
    log: &Arc<dyn Log>,
    directory: &Arc<StateDirectory>,
    subscription: Subscription,
    trial: Option<&Trial>,
) -> Result<(Running, Link), Problem> {
    let number = subscription.thread;
    let client = log.client(subscription)?;
    let (link, desk) = link();
    let (commands, receiver) = channel();
    let manifest = &loaded.application.manifest;
    let thread = StreamThread::new(thread::Parts {
        plan: plan.clone(),
        log: log.clone(),
        client,
        stores: parts::stores(loaded, plan.clone(), directory.clone()),
        functions: parts::functions(loaded, trial),
        settings: settings(loaded),
        commit_interval: manifest.commit_interval,
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

fn settings(loaded: &Loaded) -> Settings {
    let manifest = &loaded.application.manifest;
    let limits = &manifest.limits;
    Settings {
        coalesce: manifest.changelog.coalesce,
        component: Some(loaded.component.digest_bytes()),
        limits: Limits {
            outputs: limits.outputs.get(),
            output_bytes: usize::try_from(limits.output_bytes.0).unwrap_or(usize::MAX),
        },
        ..Settings::default()
    }
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
    }
}

pub(super) fn deployment(loaded: &Loaded, plan: &Plan, threads: Vec<Link>) -> Deployment {
    let stores = plan.stores.iter().map(|store| StorePlan {
        info: StoreInfo::of(&loaded.blueprint, &store.description),
        tasks: plan.subtopologies[store.subtopology as usize].partitions as usize,
    });
    Deployment { digest: format!("sha256:{}", loaded.component.digest()), stores: stores.collect(), threads }
}

fn problem(error: thread::Error) -> Problem {
    match error {
        thread::Error::Problem(problem) => *problem,
        thread::Error::Log(error) => error.into(),
    }
}

fn thread_not_started(application: &str, error: &std::io::Error) -> Problem {
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
