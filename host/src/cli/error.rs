//! How a verb ends badly, and how that is shown.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use millstream_engine::error::{Problem, exit};
use serde_json::{Map, Value};

/// Why a verb did not end well.
#[derive(Debug)]
pub enum Error {
    Problem(Box<Problem>),
    /// What a running application answered, as it said it.
    Told(Value),
    /// SIGINT; what was asked for was done so far.
    Interrupted,
    /// stdout is gone or full.
    Stdout(io::Error),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        Error::Problem(Box::new(problem))
    }
}

impl From<crate::log::Error> for Error {
    fn from(error: crate::log::Error) -> Error {
        Problem::from(error).into()
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Stdout(error)
    }
}

/// `--error-format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ErrorFormat {
    #[default]
    Text,
    Json,
}

impl ErrorFormat {
    /// What was asked for in arguments that as a whole cannot be read.
    pub fn asked_for(args: impl Iterator<Item = OsString>) -> ErrorFormat {
        let args: Vec<_> = args.collect();
        let json = args.iter().any(|arg| arg == "--error-format=json")
            || args.windows(2).any(|pair| pair[0] == "--error-format" && pair[1] == "json");
        if json { ErrorFormat::Json } else { ErrorFormat::Text }
    }
}

impl Error {
    /// Shows the error on stderr and gives the process's exit code.
    pub fn report(self, format: ErrorFormat) -> ExitCode {
        match self {
            Error::Interrupted => ExitCode::from(exit::INTERRUPTED),
            // The reader has seen enough: `millstream consume in | head`.
            Error::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Error::Stdout(error) => show(&output_failed("stdout", &error), format),
            Error::Problem(problem) => show(&problem, format),
            Error::Told(problem) => {
                print(&without_http(problem), format);
                ExitCode::from(exit::FAILED)
            }
        }
    }
}

/// What was to be written, and did not get there.
pub fn output_failed(place: &str, error: &io::Error) -> Problem {
    Problem::new("OutputFailed", "E0002", exit::FAILED, format!("cannot write to {place}: {error}"))
        .field("output", place)
        .why("what was written before may be incomplete")
        .fix("make room or give the right to write there, and try again")
}

fn show(problem: &Problem, format: ErrorFormat) -> ExitCode {
    print(&problem.to_json(), format);
    ExitCode::from(problem.exit)
}

fn print(problem: &Value, format: ErrorFormat) {
    match format {
        ErrorFormat::Json => anstream::eprintln!("{problem}"),
        ErrorFormat::Text => anstream::eprint!("{}", text(problem)),
    }
}

/// Leaves out what only HTTP says.
fn without_http(mut problem: Value) -> Value {
    if let Some(fields) = problem.as_object_mut() {
        fields.retain(|name, _| !["status", "title", "detail"].contains(&name.as_str()));
    }
    problem
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const LABEL: Style = AnsiColor::Cyan.on_default();

/// ```text
/// error[E0203] the changelog has the wrong number of partitions
///   changelog_topic  my-app-user-counts-changelog
///   why              task N must write partition N
///   fix              millstream …
/// ```
pub fn text(problem: &Value) -> String {
    let empty = Map::new();
    let fields = problem.as_object().unwrap_or(&empty);
    let word = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(out, "{ERROR}error[{}]{ERROR:#} {}", word("code"), word("message"));
    let shown = || fields.iter().filter(|(name, value)| !is_heading(name) && !value.is_null() && !is_told(value));
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in shown() {
        for (row, line) in lines(value).iter().enumerate() {
            let label = if row == 0 { name } else { "" };
            let _ = writeln!(out, "  {LABEL}{label:width$}{LABEL:#}  {line}");
        }
    }
    out
}

fn is_heading(name: &str) -> bool {
    ["error", "code", "message"].contains(&name)
}

/// A field's value, one line or several.
fn lines(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.lines().map(str::to_owned).collect(),
        Value::Array(items) => vec![items.iter().map(|item| lines(item).join(" ")).collect::<Vec<_>>().join(", ")],
        other => vec![other.to_string()],
    }
}

/// A list of errors: the message has told them already, a line each.
fn is_told(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().any(Value::is_object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_of_an_error_names_object_values_why_and_fix() {
        let problem = Problem::new("ChangelogPartitionMismatch", "E0203", 78, "the changelog has 4 partitions")
            .field("store", "counts")
            .field("source_topics", json!(["a", "b"]))
            .field("topic", Value::Null)
            .why("task N must write partition N")
            .fix("recreate it:\n  millstream topics delete x");
        let plain = anstream::adapter::strip_str(&text(&problem.to_json())).to_string();
        let expected = "error[E0203] the changelog has 4 partitions\n  \
             store          counts\n  \
             source_topics  a, b\n  \
             why            task N must write partition N\n  \
             fix            recreate it:\n  \
             \u{20}                millstream topics delete x\n";
        assert_eq!(plain, expected);
    }

    #[test]
    fn errors_that_the_message_lists_are_not_told_twice() {
        let problem = Problem::new("BadManifest", "E0101", 78, "the manifest has 1 error:\n  app.toml:3: thread")
            .field("errors", json!([{"file": "app.toml", "line": 3, "message": "thread"}]));
        let plain = anstream::adapter::strip_str(&text(&problem.to_json())).to_string();
        assert_eq!(plain, "error[E0101] the manifest has 1 error:\n  app.toml:3: thread\n");
    }
}
