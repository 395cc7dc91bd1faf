//! `build DIR`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Global, Result};
use crate::app::build;
use millstream_engine::config::Limits;

#[derive(Debug, Args)]
pub struct Build {
    /// The plugin project
    dir: PathBuf,
    /// Where the component goes; default: among the project's own outputs
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Build {
    pub fn run(self, global: &Global) -> Result {
        let limits = Limits::default();
        let engine = global.engine_with(limits.stack)?;
        let file = build::build_any(&engine, &limits, &self.dir, self.output.as_deref())?;
        Ok(writeln!(std::io::stdout(), "{}", file.display())?)
    }
}
