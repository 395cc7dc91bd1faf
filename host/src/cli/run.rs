//! `run APP…`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use millstream_engine::config::ByteSize;
use millstream_engine::error::Problem;

use super::http::{self, Address, HttpFlags};
use super::interrupt::Interrupt;
use super::output::{say, usage};
use super::progress::Progress;
use super::{Global, Result};
use crate::api::Server;
use crate::app::{self, App, Application, Loaded, Options};
use crate::log::Log;
use crate::wasm::Engine;

#[derive(Debug, Args)]
pub struct Run {
    /// Manifests, directories that hold app.toml, or components; they share this process
    #[arg(value_name = "APP", required = true)]
    apps: Vec<PathBuf>,
    /// Where the applications keep their state; default: each manifest's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Stream threads of each application; default: the manifest's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// End when every input is processed to the end it has now and everything is committed
    #[arg(long)]
    until_end: bool,
    /// Keep the group's static membership at the end, for a rolling restart
    #[arg(long)]
    stay: bool,
    /// Start although renamed or removed stores leave state behind
    #[arg(long)]
    allow_orphaned_state: bool,
    #[command(flatten)]
    http: HttpFlags,
}

impl Run {
    pub fn run(self, global: &Global) -> Result {
        let interrupt = Interrupt::watch_all()?;
        let address = self.http.bind()?;
        let engine = engine(&self.applications()?)?;
        let load = |app: &PathBuf| Loaded::load_kept(&engine, app, self.state_dir.as_deref());
        let loaded = self.apps.iter().map(load).collect::<std::result::Result<Vec<_>, _>>()?;
        let logs = loaded.iter().map(|app| global.open_log_of(&app.application)).collect::<Result<Vec<_>>>()?;
        let apps = self.start(&loaded, logs)?;
        let server = match self.serve(&loaded, &apps, address) {
            Ok(server) => server,
            Err(problem) => {
                stop(apps);
                return Err(problem.into());
            }
        };
        let mut progress = Progress::new(apps.iter().map(|app| app.handle().clone()).collect());
        let mut stop = || {
            progress.show();
            interrupt.came()
        };
        let ended = app::supervise(apps, self.until_end, self.stay, &mut stop);
        drop(server);
        Ok(ended?)
    }

    /// The manifests, before anything is built or compiled.
    fn applications(&self) -> Result<Vec<Application>> {
        let apps = self.apps.iter().map(|app| Application::open(app)).collect::<std::result::Result<Vec<_>, _>>()?;
        for (place, app) in apps.iter().enumerate() {
            if apps[..place].iter().any(|earlier| earlier.manifest.id == app.manifest.id) {
                return Err(usage(format!("application {} is named twice", app.manifest.id)).into());
            }
        }
        Ok(apps)
    }

    /// All of them or none.
    fn start(&self, loaded: &[Loaded], logs: Vec<Arc<dyn Log>>) -> Result<Vec<App>> {
        let options = Options {
            state_dir: self.state_dir.clone(),
            threads: self.threads.map(usize::from),
            allow_orphaned_state: self.allow_orphaned_state,
            ..Options::default()
        };
        let mut apps = Vec::new();
        for (loaded, log) in loaded.iter().zip(logs) {
            let url = log.url().to_owned();
            match App::start(loaded, log, &options) {
                Ok(app) => apps.push(app),
                Err(problem) => {
                    stop(apps);
                    return Err(problem.into());
                }
            }
            say(format_args!("running {} on {url}", loaded.application.manifest.id));
        }
        Ok(apps)
    }

    fn serve(&self, loaded: &[Loaded], apps: &[App], address: Option<Address>) -> std::result::Result<Server, Problem> {
        let handles: Vec<_> = apps.iter().map(|app| app.handle().clone()).collect();
        let state_dir = |loaded: &Loaded| loaded.application.state_dir(self.state_dir.as_deref());
        let state_dirs: Vec<_> = loaded.iter().map(state_dir).collect();
        http::serve(&handles, &state_dirs, address)
    }
}

/// The process's only engine: a guest's stack is the same for all, so it is the largest that a manifest asks for.
pub fn engine(apps: &[Application]) -> std::result::Result<Engine, Problem> {
    let stack = apps.iter().map(|app| app.manifest.limits.stack).max().unwrap_or(ByteSize::kib(512));
    Engine::new(stack).map_err(|error| error.problem("wasmtime"))
}

/// Ends what was started before something else could not; the error that is told is the other one.
fn stop(apps: Vec<App>) {
    for app in apps {
        if let Err(problem) = app.stop(false) {
            tracing::warn!(%problem, "did not stop cleanly");
        }
    }
}
