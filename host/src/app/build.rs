//! From a plugin project to a checked component: what `millstream build` and `dev` do.
//!
//! The project's own tools build it, and what they print is shown as it is; what comes out is made a component and
//! checked against the contract. Nothing is installed, with one exception that is said aloud: the wasm target of
//! the Rust toolchain.

mod cargo;
mod javascript;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use millstream_engine::config::Limits;
use millstream_engine::error::{Problem, exit};

use crate::wasm::provider::{Grant, is_provider};
use crate::wasm::{Component, Engine, Provider};

/// A component fresh from its project.
pub struct Built {
    pub file: PathBuf,
    /// Checked and compiled, so that whoever runs it next need not compile it again.
    pub component: Component,
}

/// Builds the project in `dir` and writes the component to `out`, by default among the project's own outputs.
pub fn build(engine: &Engine, limits: &Limits, dir: &Path, out: Option<&Path>) -> Result<Built, Problem> {
    let file = make(dir, out)?;
    let bytes = read(&file)?;
    let component =
        Component::load(engine, &bytes, *limits).map_err(|error| error.problem(&file.display().to_string()))?;
    Ok(Built { file, component })
}

/// As [`build()`], of a topology or of a store provider; answers the file. Where it is to run says what it is granted: here
/// it may ask for anything that can be.
pub fn build_any(engine: &Engine, limits: &Limits, dir: &Path, out: Option<&Path>) -> Result<PathBuf, Problem> {
    let file = make(dir, out)?;
    let bytes = read(&file)?;
    let checked = match is_provider(&bytes) {
        true => {
            let grant = Some(Grant::default());
            Provider::load(engine, &bytes, *limits, ("build", "build"), "{}".to_owned(), grant).map(drop)
        }
        false => Component::load(engine, &bytes, *limits).map(drop),
    };
    checked.map_err(|error| error.problem(&file.display().to_string()))?;
    Ok(file)
}

/// The component of the project in `dir`, not looked at yet.
pub(super) fn make(dir: &Path, out: Option<&Path>) -> Result<PathBuf, Problem> {
    if let Some(parent) = out.and_then(Path::parent) {
        std::fs::create_dir_all(parent).map_err(|error| unusable(parent, error))?;
    }
    match kind(dir)? {
        Kind::Cargo => cargo::build(dir, out),
        Kind::JavaScript => javascript::build(dir, out),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(file).map_err(|error| unusable(file, error))
}

/// Whether a directory holds a plugin project that [`build`] can build.
pub fn is_project(dir: &Path) -> bool {
    kind(dir).is_ok()
}

enum Kind {
    Cargo,
    JavaScript,
}

/// By what lies there; Rust first.
fn kind(dir: &Path) -> Result<Kind, Problem> {
    if dir.join("Cargo.toml").is_file() {
        return Ok(Kind::Cargo);
    }
    if dir.join("package.json").is_file() {
        return Ok(Kind::JavaScript);
    }
    let dir = dir.display().to_string();
    Err(Problem::new("NoProject", "E0320", exit::FAILED, format!("{dir} holds no plugin project"))
        .field("dir", dir)
        .why("there is neither a Cargo.toml nor a package.json")
        .fix("name the directory that holds it"))
}

/// Runs one of the project's tools in its directory, its messages on our stderr, and answers what it wrote to
/// stdout.
fn run(dir: &Path, program: &Path, args: &[&str]) -> Result<Vec<u8>, Problem> {
    let mut command = Command::new(program);
    command.current_dir(dir).args(args).stdin(Stdio::null()).stderr(Stdio::inherit());
    let line = command_line(program, args);
    let output = command.output().map_err(|error| {
        failed(dir, format!("`{line}` does not start: {error}")).fix(format!("install {}", program.display()))
    })?;
    if !output.status.success() {
        return Err(failed(dir, format!("`{line}` failed: {}", output.status)).fix("mend what it says above"));
    }
    Ok(output.stdout)
}

fn command_line(program: &Path, args: &[&str]) -> String {
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    [&[&*name], args].concat().join(" ")
}

fn failed(dir: &Path, message: impl Into<String>) -> Problem {
    Problem::new("BuildFailed", "E0321", exit::FAILED, message)
        .field("dir", dir.display().to_string())
        .why("without a component there is nothing to run")
}

/// Writes a component so that whoever watches the file sees the old one or the new one, never half of it.
fn write(file: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let part = file.with_extension("part");
    std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, file)).map_err(|error| unusable(file, error))
}

fn unusable(file: &Path, error: std::io::Error) -> Problem {
    let file = file.display().to_string();
    Problem::new("BuildFailed", "E0321", exit::FAILED, format!("{file}: {error}"))
        .field("file", file)
        .why("the component is written and read there")
        .fix("make room or give the right to write there; `millstream build DIR -o FILE` names another place")
}
