//! `build DIR`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Global, Result};
use crate::app::build;
use crate::wasm::Engine;
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
    pub fn run(self, _: &Global) -> Result {
        let limits = Limits::default();
        let engine = Engine::new(limits.stack).map_err(|error| error.problem("wasmtime"))?;
        let built = build::build(&engine, &limits, &self.dir, self.output.as_deref())?;
        Ok(writeln!(std::io::stdout(), "{}", built.file.display())?)
    }
}
