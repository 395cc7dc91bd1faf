//! `run APP…`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use millstream_engine::error::Problem;

use super::http::{self, Address, HttpFlags};
use super::interrupt::Interrupt;
use super::output::{say, usage};
use super::progress::Progress;
use super::{Global, Result};
use crate::api::{Server, socket_path};
use crate::app::{self, Application, Loaded, Options, Supervised};
use crate::log::Log;

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
    /// Start although what is renamed or removed leaves state, or records that were not read, behind
    #[arg(long)]
    allow_orphaned_state: bool,
    /// Start although topics that are read were deleted and created anew: they are read as their `start` says
    #[arg(long)]
    allow_recreated_topics: bool,
    #[command(flatten)]
    http: HttpFlags,
}

impl Run {
    pub fn run(self, global: &Global) -> Result {
        let interrupt = Interrupt::watch_all()?;
        let address = self.http.bind()?;
        let engine = global.engine(&self.applications(global)?)?;
        let load = |app: &PathBuf| Loaded::load_kept(&engine, app, self.state_dir.as_deref());
        let loaded = self.apps.iter().map(load).collect::<std::result::Result<Vec<_>, _>>()?;
        let logs = loaded.iter().map(|app| global.open_log_of(&app.application)).collect::<Result<Vec<_>>>()?;
        let apps = self.start(loaded, logs)?;
        let server = match self.serve(&apps, address) {
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
    fn applications(&self, global: &Global) -> Result<Vec<Application>> {
        let apps = self.apps.iter().map(|app| global.application(app)).collect::<std::result::Result<Vec<_>, _>>()?;
        for (place, app) in apps.iter().enumerate() {
            if apps[..place].iter().any(|earlier| earlier.manifest.id == app.manifest.id) {
                return Err(usage(format!("application {} is named twice", app.manifest.id)).into());
            }
        }
        Ok(apps)
    }

    /// All of them or none.
    fn start(&self, loaded: Vec<Loaded>, logs: Vec<Arc<dyn Log>>) -> Result<Vec<Supervised>> {
        let options = Options {
            state_dir: self.state_dir.clone(),
            threads: self.threads.map(usize::from),
            allow_orphaned_state: self.allow_orphaned_state,
            allow_recreated_topics: self.allow_recreated_topics,
            ..Options::default()
        };
        let mut addresses = Vec::new();
        for loaded in &loaded {
            let state_dir = loaded.application.state_dir(self.state_dir.as_deref());
            addresses.push(self.http.advertised(&socket_path(&state_dir, &loaded.application.manifest.id))?);
        }
        let mut apps = Vec::new();
        for ((loaded, log), address) in loaded.into_iter().zip(logs).zip(addresses) {
            let options = Options { address: Some(address), ..options.clone() };
            let (id, url) = (loaded.application.manifest.id.clone(), log.url().to_owned());
            match Supervised::start(loaded, log, options) {
                Ok(app) => apps.push(app),
                Err(problem) => {
                    stop(apps);
                    return Err(problem.into());
                }
            }
            say(format_args!("running {id} on {url}"));
        }
        Ok(apps)
    }

    fn serve(&self, apps: &[Supervised], address: Option<Address>) -> std::result::Result<Server, Problem> {
        let handles: Vec<_> = apps.iter().map(|app| app.handle().clone()).collect();
        let state_dir = |app: &Supervised| app.loaded().application.state_dir(self.state_dir.as_deref());
        let state_dirs: Vec<_> = apps.iter().map(state_dir).collect();
        http::serve(&handles, &state_dirs, address)
    }
}

/// Ends what was started before something else could not; the error that is told is the other one.
fn stop(apps: Vec<Supervised>) {
    for app in apps {
        if let Err(problem) = app.stop(false) {
            tracing::warn!(%problem, "did not stop cleanly");
        }
    }
}
