//! The case files of a project.

use std::path::{Path, PathBuf};

use millstream_engine::config::ConfigError;
use millstream_engine::error::{Problem, exit};

use super::{Case, Names, vectors, written};

/// Where a project has them.
pub const DIRECTORY: &str = "tests";

/// A case file and what stands in it.
#[derive(Clone, Debug)]
pub struct File {
    pub path: PathBuf,
    pub text: String,
    pub cases: Vec<Case>,
}

impl File {
    /// Whether it is JSON lines.
    pub fn is_vectors(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "jsonl")
    }

    /// As users name it.
    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// All case files of the project in `dir`, in order of their names, each read and checked. All that is wrong with any of
/// them is one error.
pub fn find(dir: &Path, names: &Names) -> Result<Vec<File>, Problem> {
    let tests = dir.join(DIRECTORY);
    let paths = match std::fs::read_dir(&tests) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        entries => {
            let entries = entries.and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
            entries.map_err(|error| unreadable(&tests, &error))?.into_iter().map(|entry| entry.path()).collect()
        }
    };
    let is_case =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml" || extension == "jsonl");
    let mut paths: Vec<PathBuf> = paths.into_iter().filter(is_case).collect();
    paths.sort();
    if paths.is_empty() {
        return Err(no_cases(&tests));
    }
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        let mut file = File { path, text, cases: Vec::new() };
        let read = if file.is_vectors() { vectors::read } else { written::read };
        match read(&file.shown(), &file.text, names) {
            Ok(cases) => file.cases = cases,
            Err(found) => errors.extend(found),
        }
        files.push(file);
    }
    if errors.is_empty() { Ok(files) } else { Err(bad_cases(&errors)) }
}

fn bad_cases(errors: &[ConfigError]) -> Problem {
    let count = match errors {
        [_] => "1 error".to_owned(),
        _ => format!("{} errors", errors.len()),
    };
    let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    let list: Vec<serde_json::Value> = errors.iter().map(ConfigError::to_json).collect();
    Problem::new("BadCaseFile", "E0510", exit::FAILED, format!("the case files have {count}:{lines}"))
        .field("errors", list)
        .why("a key that is ignored, or read as something else, would let a case pass that tests nothing")
        .fix("correct the named lines")
}

fn no_cases(tests: &Path) -> Problem {
    let tests = tests.display().to_string();
    Problem::new("NoCaseFiles", "E0511", exit::FAILED, format!("there is no case file in {tests}"))
        .field("dir", tests)
        .why("a run without cases would pass whatever the plugin does")
        .fix("write one: a *.toml with [[case]], or a *.jsonl in the vectors' format")
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let path = path.display().to_string();
    Problem::new("BadCaseFile", "E0510", exit::FAILED, format!("{path}: {error}"))
        .field("file", path)
        .why("a case file that is not read tests nothing")
        .fix("give the right to read it")
}
