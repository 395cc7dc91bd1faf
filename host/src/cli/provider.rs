//! `provider check FILE`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use millstream_engine::config::{Limits, is_network_address};
use millstream_engine::error::{Problem, exit};

use super::output::{self, Output};
use super::{Global, Result};
use crate::wasm::Provider as Component;
use crate::wasm::provider::Grant;
use crate::wasm::provider::kit::{self, Clause};

#[derive(Debug, Args)]
pub struct Provider {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Hold a store provider against each clause of what it must do
    Check(Check),
}

#[derive(Debug, Args)]
struct Check {
    /// The component
    file: PathBuf,
    /// What the provider is configured with: a JSON object of texts, as [providers.NAME] config would be
    #[arg(long, value_name = "JSON", default_value = "{}")]
    config: String,
    /// What the provider may connect to, as [providers.NAME] network would say; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_parser = network)]
    network: Vec<String>,
    /// Draws what is random; default: another one each time
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    output: Output,
}

impl Provider {
    pub fn run(self, global: &Global) -> Result {
        let Verb::Check(check) = self.verb;
        check.run(global)
    }
}

impl Check {
    fn run(self, global: &Global) -> Result {
        let shown = self.file.display().to_string();
        if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.config).is_err() {
            return Err(output::usage(format!("--config {}: should be a JSON object", self.config)).into());
        }
        let bytes = std::fs::read(&self.file).map_err(|error| not_found(&shown, &error))?;
        let limits = Limits::default();
        let engine = global.engine_with(limits.stack)?;
        let grant = if self.network.is_empty() { None } else { Some(Grant::resolve(&self.network)) };
        let component = grant
            .transpose()
            .and_then(|grant| Component::load(&engine, &bytes, limits, ("check", &shown), self.config, grant))
            .map_err(|error| error.problem(&shown))?;
        let run = uuid::Uuid::new_v4();
        let seed = self.seed.unwrap_or(run.as_u64_pair().0 >> 32);
        let clauses = kit::check(&component, &run.to_string(), seed);
        output::list(self.output.format, &clauses, || clauses.iter().map(text).collect())?;
        let broken: Vec<&str> = clauses.iter().filter(|clause| !clause.ok).map(|clause| clause.clause).collect();
        if broken.is_empty() { Ok(()) } else { Err(faulty(&shown, &broken).into()) }
    }
}

fn network(address: &str) -> std::result::Result<String, String> {
    let is_one = is_network_address(address);
    is_one.then(|| address.to_owned()).ok_or_else(|| "should be HOST:PORT such as 127.0.0.1:6379".to_owned())
}

fn text(clause: &Clause) -> String {
    let sign = if clause.ok { "ok    " } else { "broken" };
    format!("{sign} {}: {}\n", clause.clause, clause.found)
}

fn faulty(file: &str, broken: &[&str]) -> Problem {
    let message = format!("{file} breaks {} clauses: {}", broken.len(), broken.join(", "));
    Problem::new("ProviderFaulty", "E0626", exit::FAILED, message)
        .field("component", file)
        .field("clauses", broken.to_vec())
        .why("what it does wrong would cost its stores a restore again and again")
        .fix("each row of the report says what was seen; wit/provider.wit says what must be")
}

fn not_found(file: &str, error: &std::io::Error) -> Problem {
    Problem::new("ComponentNotFound", "E0211", exit::BAD_PLAN, format!("{file}: {error}"))
        .field("component", file)
        .why("there is nothing to check")
        .fix("build it (`millstream build DIR`), or name another one")
}
