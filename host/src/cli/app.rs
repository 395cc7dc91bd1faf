//! `app reset APP`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{self, Output};
use super::produce::now_ms;
use super::{Global, Result};
use crate::app::Loaded;
use crate::app::reset::Reset;
use crate::lmdb::StateDirectory;

#[derive(Debug, Args)]
pub struct App {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Forget how far an application has read and what it has kept, so that it begins again
    Reset {
        /// A manifest, a directory that holds app.toml, or a component
        app: PathBuf,
        /// Show what would be taken away, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Where the application keeps its state; default: the manifest's
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    dry_run: bool,
    #[serde(flatten)]
    reset: &'a Reset,
}

impl App {
    pub fn run(self, global: &Global) -> Result {
        let Verb::Reset { app, dry_run, state_dir } = self.verb;
        let application = global.application(&app)?;
        let engine = global.engine(std::slice::from_ref(&application))?;
        let state_dir = application.state_dir(state_dir.as_deref());
        let loaded = Loaded::load_to_look(&engine, &app, Some(&state_dir))?;
        let log = global.open_log_of(&application)?;
        let id = &application.manifest.id;
        let look = || Reset::look(&*log, &loaded.blueprint, &StateDirectory::path_of(&state_dir, id));
        let mut reset = look()?;
        if !dry_run {
            // Nobody starts on this state before all is done; what came meanwhile is taken away too.
            let directory = StateDirectory::open(&state_dir, id).map_err(|error| error.problem())?;
            reset = look()?;
            reset.run(&*log, &loaded, &directory, now_ms())?;
        }
        output::object(self.output.format, &Done { dry_run, reset: &reset }, || text(&reset, dry_run))
    }
}

fn text(reset: &Reset, dry_run: bool) -> String {
    let (deleted, forgotten) = match dry_run {
        true => ("would be deleted", "would be forgotten"),
        false => ("deleted", "forgotten"),
    };
    if reset.is_empty() {
        return format!("{}: there is nothing to take away\n", reset.application);
    }
    let topics = reset.topics.iter().map(|topic| format!("topic {topic}: {deleted}\n"));
    let offsets = reset
        .offsets
        .iter()
        .map(|at| format!("offset {} of {} partition {}: {forgotten}\n", at.committed, at.topic, at.partition));
    let state = reset.state.iter().map(|path| format!("{}: {deleted}\n", path.display()));
    let emptied = if dry_run { "would be emptied" } else { "emptied" };
    let provided =
        reset.provided.iter().map(|at| format!("store {} of provider {}: {emptied}\n", at.store, at.provider));
    topics.chain(offsets).chain(state).chain(provided).collect()
}
