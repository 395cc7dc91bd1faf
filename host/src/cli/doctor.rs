//! `doctor APP`

use std::path::PathBuf;

use clap::Args;
use millstream_engine::error::{Problem, exit};

use super::output::{self, Output};
use super::produce::now_ms;
use super::{Global, Result};
use crate::app::Loaded;
use crate::app::practices::{Check, Patient, check};
use crate::lmdb::StateDirectory;

#[derive(Debug, Args)]
pub struct Doctor {
    /// A manifest, a directory that holds app.toml, or a component
    app: PathBuf,
    /// Where the application keeps its state; default: the manifest's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Doctor {
    pub fn run(self, global: &Global) -> Result {
        let application = global.application(&self.app)?;
        let engine = global.engine(std::slice::from_ref(&application))?;
        let state_dir = application.state_dir(self.state_dir.as_deref());
        let loaded = Loaded::load_to_look(&engine, &self.app, Some(&state_dir))?;
        let log = global.open_log_of(&application)?;
        let directory = StateDirectory::path_of(&state_dir, &application.manifest.id);
        let patient = Patient { loaded: &loaded, log: &*log, directory: &directory, now_ms: now_ms() };
        let checks = check(&patient)?;
        output::list(self.output.format, &checks, || checks.iter().map(text).collect())?;
        let findings: Vec<&str> = checks.iter().filter(|check| !check.ok).map(|check| check.practice).collect();
        if findings.is_empty() { Ok(()) } else { Err(unwell(&findings).into()) }
    }
}

fn text(check: &Check) -> String {
    let sign = if check.ok { "ok      " } else { "finding " };
    let fix = check.fix.iter().map(|fix| format!("\n        fix: {fix}")).collect::<String>();
    format!("{sign}{}: {}{fix}\n", check.practice, check.found)
}

fn unwell(findings: &[&str]) -> Problem {
    let message = format!("{} of the nine practices are not kept: {}", findings.len(), findings.join(", "));
    Problem::new("Findings", "E0623", exit::FAILED, message)
        .field("practices", findings.to_vec())
        .why("each has cost somebody state, or a night")
        .fix("each row of the report has its own")
}
