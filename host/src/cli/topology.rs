//! `topology APP`

mod dot;
mod mermaid;
mod text;
mod view;

use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::say;
use super::{Global, Result};
use crate::app::{Loaded, plan};
use view::View;

#[derive(Debug, Args)]
pub struct Topology {
    /// A manifest, a directory that holds app.toml, or a component
    app: PathBuf,
    /// Default: text on a terminal, else json
    #[arg(short = 'o', long = "output", value_enum, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As Kafka Streams describes a topology
    Text,
    Json,
    Mermaid,
    Dot,
}

impl Topology {
    pub fn run(self, global: &Global) -> Result {
        let application = global.application(&self.app)?;
        let engine = global.engine(std::slice::from_ref(&application))?;
        let loaded = Loaded::load(&engine, &self.app)?;
        let plan = plan::plan(&*global.open_log_of(&application)?, &loaded.blueprint);
        if let Err(problem) = &plan {
            say(format_args!("without partitions: {problem}"));
        }
        let view = View::of(&loaded.blueprint, plan.as_ref().ok());
        let default = if stdout().is_terminal() { Format::Text } else { Format::Json };
        let shown = match self.format.unwrap_or(default) {
            Format::Text => text::text(&view),
            Format::Json => format!("{}\n", serde_json::to_value(&view).map_err(std::io::Error::from)?),
            Format::Mermaid => mermaid::mermaid(&view),
            Format::Dot => dot::dot(&view),
        };
        Ok(stdout().write_all(shown.as_bytes())?)
    }
}
