//! Several applications in one process: each lives and fails by itself.
//!
//! ```text
//! Running ──ends by itself──▶ Resting ──wait is over──▶ Running       what another try may mend, within the budget
//!    │                           │
//!    └──────────────────────────▶└──▶ Failed                          anything else, or no restart is left
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_engine::error::{Problem, exit};
use millstream_engine::functions::FaultKind;

use super::handle::Handle;
use super::load::Loaded;
use super::restarts::Restarts;
use super::running::{App, Options, PANICKED};
use super::status::AppState;
use crate::desk::Full;
use crate::log::Log;
use crate::thread::RECORD_FAILED;

const SUPERVISE_EVERY: Duration = Duration::from_millis(50);

/// An application and what it can be started again from.
pub struct Supervised {
    loaded: Loaded,
    log: Arc<dyn Log>,
    options: Options,
    handle: Handle,
    life: Life,
    restarts: Restarts,
    /// All that was there at the start is processed.
    at_end: bool,
}

enum Life {
    Running(Box<App>),
    Resting {
        until: Instant,
    },
    /// Stopped, or failed for good.
    Over(Result<(), Problem>),
}

impl Supervised {
    pub fn start(loaded: Loaded, log: Arc<dyn Log>, options: Options) -> Result<Supervised, Problem> {
        let app = App::start(&loaded, log.clone(), &options)?;
        let handle = app.handle().clone();
        let life = Life::Running(Box::new(app));
        Ok(Supervised { loaded, log, options, handle, life, restarts: Restarts::default(), at_end: false })
    }

    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Commits and leaves. One that has failed before answers why.
    pub fn stop(self, stay: bool) -> Result<(), Problem> {
        match self.life {
            Life::Running(app) => stop_app(*app, self.at_end, stay),
            Life::Resting { .. } => {
                self.handle.halt(Some((AppState::Stopped, None)));
                Ok(())
            }
            Life::Over(ended) => ended,
        }
    }

    fn tell_to_stop(&self, stay: bool) {
        if let Life::Running(app) = &self.life {
            app.tell_to_stop(stay);
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.life, Life::Over(_))
    }

    fn failure(&self) -> Option<&Problem> {
        match &self.life {
            Life::Over(Err(problem)) => Some(problem),
            _ => None,
        }
    }

    /// Looks after it once.
    fn turn(&mut self, look_for_end: bool, stay: bool) {
        match &self.life {
            Life::Over(_) => {}
            Life::Resting { until } if Instant::now() < *until => {}
            Life::Resting { .. } => match self.start_again() {
                Ok(app) => self.life = Life::Running(Box::new(app)),
                Err(problem) => self.on_failure(problem, look_for_end),
            },
            Life::Running(app) if app.has_ended() => self.on_ended(Ok(()), look_for_end, stay),
            Life::Running(app) if look_for_end && !self.at_end => match self.at_end(app) {
                Ok(at_end) => self.at_end = at_end,
                Err(problem) => self.on_ended(Err(problem), look_for_end, stay),
            },
            Life::Running(_) => {}
        }
    }

    /// Who waits for the end of a run would wait for ever where a state stays full.
    fn at_end(&self, app: &App) -> Result<bool, Problem> {
        match self.handle.full().as_ref().and_then(Full::lasting) {
            Some(problem) => Err(problem.clone()),
            None => app.is_at_end(),
        }
    }

    fn start_again(&self) -> Result<App, Problem> {
        App::restart(self.handle.clone(), &self.loaded, self.log.clone(), &self.options)
    }

    /// `why`: what it is stopped for, if it has not ended by itself. That is the answer even where it ends well, for what
    /// it was to read is not read.
    fn on_ended(&mut self, why: Result<(), Problem>, look_for_end: bool, stay: bool) {
        let Life::Running(app) = std::mem::replace(&mut self.life, Life::Over(Ok(()))) else { return };
        // What was swapped in is what runs again, once its trial has passed.
        self.loaded = Loaded::clone(&app.swapper().proven());
        let stopped = stop_app(*app, self.at_end, stay);
        if let Err(problem) = why.and(stopped) {
            self.on_failure(problem, look_for_end);
        }
    }

    fn on_failure(&mut self, problem: Problem, look_for_end: bool) {
        let application = self.handle.id();
        // Who waits for the end of a run hears of a record that traps at once.
        let is_tried = is_passing(&problem) || (!look_for_end && is_fault(&problem));
        let restart = if is_tried { self.restarts.take(Instant::now()) } else { None };
        let Some((wait, number)) = restart else {
            self.handle.halt(Some((AppState::Failed, Some(problem.to_string()))));
            self.life = Life::Over(Err(problem));
            return;
        };
        let wait_s = wait.as_secs();
        tracing::error!(application, reason = %problem, wait_s, number, "the application failed and is started again");
        let reason = format!("{problem}; started again in {wait_s} s (number {number} of {})", Restarts::budget());
        self.handle.halt(Some((AppState::Degraded, Some(reason))));
        self.life = Life::Resting { until: Instant::now() + wait };
    }
}

fn stop_app(app: App, at_end: bool, stay: bool) -> Result<(), Problem> {
    if at_end { app.stop_at_end(stay) } else { app.stop(stay) }
}

/// Whether another try may mend it: the log was away, or the host itself failed.
fn is_passing(problem: &Problem) -> bool {
    problem.exit == exit::LOG_UNREACHABLE || problem.name == PANICKED
}

/// The fault of a guest, which a machine under less load may not see again: its record may have taken too long, and its
/// memory depends on what it kept. What a guest or a codec has refused is refused again.
fn is_fault(problem: &Problem) -> bool {
    let exception = problem.fields.iter().find(|(name, _)| *name == "exception").and_then(|(_, value)| value.as_str());
    let faults = [FaultKind::Trap, FaultKind::Deadline, FaultKind::Memory].map(|kind| kind.to_string());
    problem.name == RECORD_FAILED && exception.is_some_and(|exception| faults.iter().any(|fault| fault == exception))
}

/// Runs applications until none is left, all that are left are at their ends (`at_end`), or `stop` says so; then stops
/// them. The first that failed is the answer.
pub fn supervise(
    mut apps: Vec<Supervised>,
    at_end: bool,
    stay: bool,
    stop: &mut dyn FnMut() -> bool,
) -> Result<(), Problem> {
    loop {
        std::thread::sleep(SUPERVISE_EVERY);
        let mut failed = Vec::new();
        for app in apps.iter_mut().filter(|app| !app.is_over()) {
            app.turn(at_end, stay);
            failed.extend(app.failure().map(|problem| (app.handle.id().to_owned(), problem.to_string())));
        }
        // The last one's failure is the process's own, and told as such.
        if !apps.iter().all(Supervised::is_over) {
            for (application, reason) in failed {
                tracing::error!(application, reason, "the application has failed; the others go on");
            }
        }
        let done = |app: &Supervised| app.is_over() || app.at_end;
        if stop() || apps.iter().all(done) {
            break;
        }
    }
    // All at once: the last one is not to wait for the others' logs.
    apps.iter().for_each(|app| app.tell_to_stop(stay));
    apps.into_iter().map(|app| app.stop(stay)).fold(Ok(()), Result::and)
}
