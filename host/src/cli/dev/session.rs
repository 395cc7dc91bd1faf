//! What runs, what ran before it, and what is being built.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use millstream_engine::error::Problem;
use millstream_engine::topology::Plan;

use super::feed;
use crate::app::status::AppState;
use crate::app::{App, Handle, Loaded, Options};
use crate::log::Log;
use crate::wasm::Engine;

/// One application through all its builds. A build is on trial until it has committed records; if it ends before,
/// the one before it runs again.
pub struct Session {
    engine: Engine,
    dir: PathBuf,
    log: Arc<dyn Log>,
    options: Options,
    handle: Handle,
    plan: Arc<Plan>,
    running: Option<Running>,
    building: Option<Receiver<Result<Loaded, Problem>>>,
    /// Something changed while a build ran.
    stale: bool,
}

struct Running {
    app: App,
    loaded: Arc<Loaded>,
    /// What runs again when this one fails on trial.
    before: Option<Arc<Loaded>>,
    /// The sum of its inputs' committed offsets when it began to run.
    begun_at: Option<i64>,
}

/// What there is to tell.
pub enum Turn {
    Quiet,
    Said(String),
    Failed(Problem),
}

impl Session {
    pub fn start(
        engine: Engine,
        dir: PathBuf,
        loaded: Loaded,
        log: Arc<dyn Log>,
        options: Options,
    ) -> Result<Session, Problem> {
        feed::create_missing(&*log, &loaded)?;
        let app = App::start(&loaded, log.clone(), &options)?;
        let (handle, plan) = (app.handle().clone(), app.plan().clone());
        let running = Some(Running { app, loaded: Arc::new(loaded), before: None, begun_at: None });
        Ok(Session { engine, dir, log, options, handle, plan, running, building: None, stale: false })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Of what runs, or ran last.
    pub fn plan(&self) -> &Plan {
        &self.plan
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
        self.judge()
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
                None
            }
        }
    }

    /// Stops what runs at a cut and starts the new build on the same state.
    fn swap(&mut self, loaded: Arc<Loaded>) -> Turn {
        let before = self.running.as_ref().map(|running| running.loaded.clone());
        if before.as_ref().is_some_and(|before| is_same(before, &loaded)) {
            return Turn::Said("nothing has changed in the component".to_owned());
        }
        if let Some(running) = self.running.take()
            && let Err(problem) = running.app.stop(true)
        {
            tracing::warn!(%problem, "the last build did not stop cleanly");
        }
        match self.begin(loaded, before.clone()) {
            Ok(()) => Turn::Said("the new build runs".to_owned()),
            Err(problem) => self.fall_back(problem, before),
        }
    }

    fn begin(&mut self, loaded: Arc<Loaded>, before: Option<Arc<Loaded>>) -> Result<(), Problem> {
        feed::create_missing(&*self.log, &loaded)?;
        let app = App::restart(self.handle.clone(), &loaded, self.log.clone(), &self.options)?;
        self.plan = app.plan().clone();
        self.running = Some(Running { app, loaded, before, begun_at: None });
        Ok(())
    }

    /// Runs the last good build again and tells why.
    fn fall_back(&mut self, problem: Problem, before: Option<Arc<Loaded>>) -> Turn {
        let Some(before) = before else { return Turn::Failed(problem) };
        match self.begin(before, None) {
            Ok(()) => Turn::Failed(problem.fix("mend it and save; the build before it runs again")),
            Err(worse) => Turn::Failed(worse),
        }
    }

    /// Ends the trial of what has committed records, and what has ended by itself.
    fn judge(&mut self) -> Turn {
        let Some(running) = &mut self.running else { return Turn::Quiet };
        if !running.app.has_ended() {
            if running.has_proven_itself() {
                running.before = None;
            }
            return Turn::Quiet;
        }
        let Some(Running { app, before, .. }) = self.running.take() else { return Turn::Quiet };
        match app.stop(true) {
            Ok(()) => Turn::Said("the application has ended".to_owned()),
            Err(problem) => self.fall_back(problem, before),
        }
    }
}

impl Running {
    /// Whether records were committed since it began to run.
    fn has_proven_itself(&mut self) -> bool {
        let status = self.app.handle().status();
        if status.state != AppState::Running {
            return false;
        }
        let inputs = status.tasks.iter().flat_map(|task| &task.inputs);
        let committed = inputs.map(|input| input.committed.unwrap_or(0)).sum();
        committed > *self.begun_at.get_or_insert(committed)
    }
}

fn is_same(a: &Loaded, b: &Loaded) -> bool {
    a.component.digest() == b.component.digest() && a.application.manifest == b.application.manifest
}
