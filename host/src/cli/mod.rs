//! The command line: one file a verb.
//!
//! Data goes to stdout, everything else to stderr. A verb ends with `Ok` or with one [`Error`], which is shown
//! once, here.

mod app;
mod ask;
mod build;
mod changelog;
mod changelogs;
mod client;
mod codecs;
mod compile;
mod completion;
mod consume;
mod dev;
mod doctor;
mod engine;
mod error;
mod groups;
mod http;
mod interrupt;
mod lines;
mod local;
mod output;
mod place;
mod produce;
mod progress;
mod provider;
mod run;
mod state;
mod store;
mod test;
mod topics;
mod topology;
mod validate;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millstream_engine::error::{Problem, exit};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use crate::wasm::compile::worker;
use error::{Error, ErrorFormat};

type Result<T = ()> = std::result::Result<T, Error>;

/// Stateful stream processing over Kafka, with all user logic in WebAssembly components
#[derive(Debug, Parser)]
#[command(name = "millstream", version)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every verb takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The log: embedded:DIR or kafka://HOST:PORT[,HOST:PORT…]; default: the manifest's, else embedded:.millstream/log
    #[arg(long, global = true, env = "MILLSTREAM_LOG", value_name = "URL")]
    log: Option<String>,
    /// How an error is printed on stderr
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    error_format: ErrorFormat,
    /// Where compiled components are kept; default: millstream in XDG_CACHE_HOME or ~/.cache
    #[arg(long, global = true, env = "MILLSTREAM_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Say more on stderr; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create, list, describe and delete topics
    Topics(topics::Topics),
    /// Write records from stdin into a topic
    Produce(produce::Produce),
    /// Print a topic's records
    Consume(consume::Consume),
    /// See how far an application has come
    Groups(groups::Groups),
    /// Read an application's stores
    Store(store::Store),
    /// Run applications until SIGINT or SIGTERM
    Run(run::Run),
    /// Build a plugin, feed it, run it, and build it again whenever it changes
    Dev(dev::Dev),
    /// Check everything that a start would refuse, without starting
    Validate(validate::Validate),
    /// Show subtopologies, nodes, stores and topics
    Topology(topology::Topology),
    /// Show the internal topics that a start needs
    Changelogs(changelogs::Changelogs),
    /// Hold an application against the nine best practices of keeping state
    Doctor(doctor::Doctor),
    /// Check store providers
    Provider(provider::Provider),
    /// Reset an application
    App(app::App),
    /// Build a plugin project into a component and check it against the contract
    Build(build::Build),
    /// Run a plugin project's case files on the built component, without a log
    Test(test::Test),
    /// Print a script that completes commands in a shell
    Completion(completion::Completion),
    /// Print the versions of host, contract and engines
    Version(version::Version),
    #[command(name = worker::VERB, hide = true)]
    Compile(compile::Compile),
}

impl Command {
    fn run(self, global: &Global) -> Result {
        match self {
            Command::Topics(verb) => verb.run(global),
            Command::Produce(verb) => verb.run(global),
            Command::Consume(verb) => verb.run(global),
            Command::Groups(verb) => verb.run(global),
            Command::Store(verb) => verb.run(global),
            Command::Run(verb) => verb.run(global),
            Command::Validate(verb) => verb.run(global),
            Command::Topology(verb) => verb.run(global),
            Command::Dev(verb) => verb.run(global),
            Command::Changelogs(verb) => verb.run(global),
            Command::Doctor(verb) => verb.run(global),
            Command::Provider(verb) => verb.run(global),
            Command::App(verb) => verb.run(global),
            Command::Build(verb) => verb.run(global),
            Command::Test(verb) => verb.run(global),
            Command::Completion(verb) => verb.run(global),
            Command::Version(verb) => verb.run(global),
            Command::Compile(verb) => verb.run(global),
        }
    }
}

/// Reads the arguments, runs the verb, shows its error.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    trace(cli.global.verbose);
    match cli.command.run(&cli.global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(cli.global.error_format),
    }
}

/// Help and version go to stdout; a wrong argument is an error like any other.
fn usage(error: &clap::Error) -> ExitCode {
    let as_json = ErrorFormat::asked_for(std::env::args_os()) == ErrorFormat::Json;
    if !error.use_stderr() || !as_json {
        // A closed stdout is no reason to complain about help.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
    }
    Error::from(usage_problem(&error.render().to_string())).report(ErrorFormat::Json)
}

/// clap's own words: what is wrong, up to the usage line; a tip is the fix.
fn usage_problem(text: &str) -> Problem {
    let said = || text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim);
    let (tips, message): (Vec<_>, Vec<_>) =
        said().filter(|line| !line.is_empty()).partition(|line| line.starts_with("tip: "));
    let message = message.join(" ");
    let problem = output::usage(message.trim_start_matches("error: "));
    if tips.is_empty() { problem } else { problem.fix(tips.join("; ").replace("tip: ", "")) }
}

/// What the program tells about itself, on stderr. RUST_LOG wins.
fn trace(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let ansi = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistyped_verb_is_a_usage_problem_with_a_tip() {
        let error = Cli::try_parse_from(["millstream", "topic"]).expect_err("there is no such verb");
        let problem = usage_problem(&error.render().to_string());
        assert_eq!(problem.message, "unrecognized subcommand 'topic'");
        assert!(problem.fix.contains("'topics'"), "{}", problem.fix);
    }
}
