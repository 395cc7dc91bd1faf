//! What runs, what ran before it, and what is being built.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::Plan;

use super::feed;
use crate::app::status::AppState;
use crate::app::swap::{NEEDS_RESTART, SwapState};
use crate::app::{App, Deployment, Handle, Loaded, Options, Swapped, Trial};
use crate::log::Log;
use crate::wasm::Engine;

/// Who edits a project means what it does; what its state cannot bear is refused all the same.
const ALLOWED: [&str; 4] = ["sources", "sinks", "codecs", "stores"];

/// One application through all its builds. A build that follows a good one is on trial until it has committed records;
/// if it fails before, the good one runs again.
pub struct Session {
    engine: Engine,
    dir: PathBuf,
    log: Arc<dyn Log>,
    options: Options,
    handle: Handle,
    /// Of what runs, or ran last; `None` until something has run.
    plan: Option<Arc<Plan>>,
    running: Option<Running>,
    building: Option<Receiver<Result<Loaded, Problem>>>,
    swapping: Option<Swapping>,
    /// Something changed while a build ran.
    stale: bool,
}

/// A build on its way into what runs.
struct Swapping {
    loaded: Arc<Loaded>,
    outcome: Receiver<Result<Swapped, Problem>>,
}

struct Running {
    app: App,
    /// While it is on trial after a restart.
    trial: Option<OnTrial>,
    /// A swap in place whose trial goes on: what came of it is to be told.
    is_watched: bool,
}

struct OnTrial {
    trial: Trial,
    /// What runs again when this one fails.
    before: Arc<Loaded>,
}

/// What there is to tell.
pub enum Turn {
    Quiet,
    Said(String),
    Failed(Problem),
}

impl Session {
    /// An application that nothing was built of yet.
    pub fn new(engine: Engine, dir: PathBuf, id: &str, log: Arc<dyn Log>, options: Options) -> Session {
        let handle = Handle::new(id, Deployment::default());
        Session {
            engine,
            dir,
            log,
            options,
            handle,
            plan: None,
            running: None,
            building: None,
            swapping: None,
            stale: false,
        }
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Of what runs, or ran last.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_deref()
    }

    /// Whether nothing runs, so that there is nothing new to hear.
    pub fn has_ended(&self) -> bool {
        self.running.is_none()
    }

    pub fn is_building(&self) -> bool {
        self.building.is_some()
    }

    /// Whether everything is restored, processed and committed.
    pub fn is_at_end(&self) -> Result<bool, Problem> {
        let Some(running) = &self.running else { return Ok(false) };
        Ok(self.handle.status().state == AppState::Running && running.app.is_at_end()?)
    }

    /// Builds what lies in the directory now, beside what runs.
    pub fn rebuild(&mut self) {
        if self.building.is_some() {
            self.stale = true;
            return;
        }
        let (sender, built) = channel();
        let (engine, dir) = (self.engine.clone(), self.dir.clone());
        // Nobody may be waiting any more when it is done.
        std::thread::spawn(move || sender.send(Loaded::load(&engine, &dir)));
        self.building = Some(built);
    }

    /// Looks after what was built and what runs.
    pub fn turn(&mut self) -> Turn {
        if let Some(built) = self.take_built() {
            if std::mem::take(&mut self.stale) {
                self.rebuild();
            }
            return match built {
                Ok(loaded) => self.swap(Arc::new(loaded)),
                Err(problem) => Turn::Failed(problem),
            };
        }
        match self.take_swapped() {
            Some(turn) => turn,
            None => self.judge(),
        }
    }

    pub fn stop(self) -> Result<(), Problem> {
        self.running.map_or(Ok(()), |running| running.app.stop(false))
    }

    fn take_built(&mut self) -> Option<Result<Loaded, Problem>> {
        match self.building.as_ref()?.try_recv() {
            Ok(built) => {
                self.building = None;
                Some(built)
            }
            Err(TryRecvError::Empty) => None,
            // The build's thread panicked and said so on stderr.
            Err(TryRecvError::Disconnected) => {
                self.building = None;
                Some(Err(build_panicked(&self.dir)))
            }
        }
    }

    /// Puts the new build in the place of what runs: in place where the running tasks can go on with it.
    fn swap(&mut self, loaded: Arc<Loaded>) -> Turn {
        let Some(running) = &self.running else { return self.start_again(loaded, None) };
        let before = running.app.swapper().loaded();
        if is_same(&before, &loaded) {
            return Turn::Said("nothing has changed in the component".to_owned());
        }
        if let Some(on_trial) = &running.trial {
            let proven = on_trial.before.clone();
            return self.start_again(loaded, Some(proven));
        }
        if before.application.manifest != loaded.application.manifest {
            let proven = running.app.swapper().proven();
            return self.start_again(loaded, Some(proven));
        }
        if let Err(problem) = feed::create_missing(&*self.log, &loaded) {
            return Turn::Failed(problem.into());
        }
        let (sender, outcome) = channel();
        let (swapper, new) = (running.app.swapper().clone(), Loaded::clone(&loaded));
        let allow = ALLOWED.map(str::to_owned);
        // Nobody may be waiting any more when it is done.
        std::thread::spawn(move || sender.send(swapper.swap(new, None, &allow)));
        self.swapping = Some(Swapping { loaded, outcome });
        Turn::Quiet
    }

    fn take_swapped(&mut self) -> Option<Turn> {
        let outcome = match self.swapping.as_ref()?.outcome.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return Some(Turn::Quiet),
            // Its thread panicked and said so on stderr.
            Err(TryRecvError::Disconnected) => Err(build_panicked(&self.dir)),
        };
        let Swapping { loaded, .. } = self.swapping.take()?;
        let running = self.running.as_mut()?;
        Some(match outcome {
            Ok(swapped) => match swapped.put_back(self.handle.id()) {
                Some(problem) => Turn::Failed(problem),
                None => {
                    self.plan = Some(running.app.swapper().plan());
                    running.is_watched = swapped.state == SwapState::OnTrial;
                    Turn::Said("the new build runs".to_owned())
                }
            },
            Err(problem) if problem.name == NEEDS_RESTART => {
                let proven = running.app.swapper().proven();
                self.start_again(loaded, Some(proven))
            }
            Err(problem) => Turn::Failed(problem),
        })
    }

    /// Stops what runs at a cut and starts the new build on the same state.
    fn start_again(&mut self, loaded: Arc<Loaded>, before: Option<Arc<Loaded>>) -> Turn {
        self.stop_running();
        match self.begin(loaded, before.clone()) {
            Ok(()) if before.is_none() => Turn::Said("it runs".to_owned()),
            Ok(()) => Turn::Said("the new build runs".to_owned()),
            Err(problem) => self.fall_back(problem, before),
        }
    }

    fn stop_running(&mut self) {
        if let Some(running) = self.running.take()
            && let Err(problem) = running.app.stop(true)
        {
            tracing::warn!(%problem, "the last build did not stop cleanly");
        }
    }

    fn begin(&mut self, loaded: Arc<Loaded>, before: Option<Arc<Loaded>>) -> Result<(), Problem> {
        feed::create_missing(&*self.log, &loaded)?;
        let trial = before.map(|before| OnTrial { trial: Trial::default(), before });
        let options = Options { trial: trial.as_ref().map(|trial| trial.trial.clone()), ..self.options.clone() };
        let app = App::restart(self.handle.clone(), &loaded, self.log.clone(), &options)?;
        self.plan = Some(app.plan().clone());
        self.running = Some(Running { app, trial, is_watched: false });
        Ok(())
    }

    /// Runs the last good build again and tells why.
    fn fall_back(&mut self, problem: Problem, before: Option<Arc<Loaded>>) -> Turn {
        let Some(before) = before else { return Turn::Failed(problem) };
        // What a failed build has made may stay behind.
        let allow_orphaned_state = std::mem::replace(&mut self.options.allow_orphaned_state, true);
        let begun = self.begin(before, None);
        self.options.allow_orphaned_state = allow_orphaned_state;
        match begun {
            Ok(()) => Turn::Failed(problem.fix("mend it and save; the build before it runs again")),
            Err(worse) => Turn::Failed(worse),
        }
    }

    /// Looks after a trial, and after what has ended by itself.
    fn judge(&mut self) -> Turn {
        let Some(running) = &mut self.running else { return Turn::Quiet };
        if let Some(on_trial) = &running.trial {
            if let Some(problem) = on_trial.trial.failure() {
                let before = on_trial.before.clone();
                self.stop_running();
                return self.fall_back(problem, Some(before));
            }
            if on_trial.trial.has_run() && running.app.has_progressed() {
                on_trial.trial.end();
                running.trial = None;
            }
        }
        if !running.app.has_ended() {
            return running.watched(self.handle.id());
        }
        let Some(Running { app, trial, .. }) = self.running.take() else { return Turn::Quiet };
        match app.stop(true) {
            Ok(()) => Turn::Said("the application has ended".to_owned()),
            Err(problem) => self.fall_back(problem, trial.map(|trial| trial.before)),
        }
    }
}

impl Running {
    /// What came of a swap whose trial went on.
    fn watched(&mut self, application: &str) -> Turn {
        let last = self.app.swapper().last().filter(|last| self.is_watched && last.state != SwapState::OnTrial);
        let Some(last) = last else { return Turn::Quiet };
        self.is_watched = false;
        last.put_back(application).map_or(Turn::Quiet, Turn::Failed)
    }
}

fn build_panicked(dir: &Path) -> Problem {
    Problem::new("BuildFailed", "E0321", exit::FAILED, "the build panicked")
        .field("dir", dir.display().to_string())
        .why("this is a fault of the host; nothing of the project was changed")
        .fix("save once more, and report it with the lines above")
}

fn is_same(a: &Loaded, b: &Loaded) -> bool {
    a.component.digest() == b.component.digest() && a.application.manifest == b.application.manifest
}
