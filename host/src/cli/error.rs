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
            Error::Stdout(error) => show(
                &Problem::new("OutputFailed", "E0002", exit::FAILED, format!("cannot write to stdout: {error}")),
                format,
            ),
            Error::Problem(problem) => show(&problem, format),
        }
    }
}

fn show(problem: &Problem, format: ErrorFormat) -> ExitCode {
    let json = problem.to_json();
    match format {
        ErrorFormat::Json => anstream::eprintln!("{json}"),
        ErrorFormat::Text => anstream::eprint!("{}", text(&json)),
    }
    ExitCode::from(problem.exit)
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const LABEL: Style = AnsiColor::Cyan.on_default();

/// ```text
/// error[E0203] the changelog has the wrong number of partitions
///   changelog_topic  my-app-user-counts-changelog
///   why              task N must write partition N
///   fix              millstream …
/// ```
fn text(problem: &Value) -> String {
    let empty = Map::new();
    let fields = problem.as_object().unwrap_or(&empty);
    let word = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(out, "{ERROR}error[{}]{ERROR:#} {}", word("code"), word("message"));
    let shown = || fields.iter().filter(|(name, value)| !is_heading(name) && !value.is_null());
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
        Value::Array(items) if items.iter().any(Value::is_object) => items.iter().map(place_and_message).collect(),
        Value::Array(items) => vec![items.iter().map(|item| lines(item).join(" ")).collect::<Vec<_>>().join(", ")],
        other => vec![other.to_string()],
    }
}

/// One of several errors: `app.toml:14: unknown key …`, with whatever else it says behind.
fn place_and_message(error: &Value) -> String {
    let word = |name: &str| error.get(name).map(|value| lines(value).join(" "));
    let place = [word("file"), word("line")].into_iter().flatten().collect::<Vec<_>>().join(":");
    let said = ["message", "fix"].into_iter().filter_map(word).collect::<Vec<_>>().join("; ");
    match (place.is_empty(), said.is_empty()) {
        (_, true) => error.to_string(),
        (true, false) => said,
        (false, false) => format!("{place}: {said}"),
    }
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
    fn several_errors_stand_below_each_other_with_their_places() {
        let problem = Problem::new("BadManifest", "E0201", 78, "app.toml has 2 errors").field(
            "errors",
            json!([{"file": "app.toml", "line": 3, "message": "unknown key `thread`", "fix": "did you mean `threads`?"},
                   {"message": "no component"}]),
        );
        let plain = anstream::adapter::strip_str(&text(&problem.to_json())).to_string();
        assert!(plain.contains("  errors  app.toml:3: unknown key `thread`; did you mean `threads`?\n"), "{plain}");
        assert!(plain.ends_with("          no component\n"), "{plain}");
    }
}
