//! The guests of the tests: what lies in `guests/`, as components.
//!
//! - `guests/wat/NAME.wat`: the part of a core module that misbehaves; prelude and description are put before it.
//! - `guests/wat/NAME.component.wat`: a whole component, or what pretends to be one.
//! - `guests/js-orders`: JavaScript without an SDK of ours.
//! - `plugins/NAME`: the samples.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use millstream::app::build;
use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Names the directory of components that `tests/run` built before the tests, so that they need not look.
pub const PREPARED: &str = "MILLSTREAM_TEST_GUESTS";

/// One build at a time: tests run in parallel, npm and cargo write to shared directories.
static BUILDING: Mutex<()> = Mutex::new(());

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are one directory below the root")
}

/// Names of the guests in `guests/wat`.
pub fn wat_names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(wat_dir())? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        let name = file.strip_suffix(".component.wat").or_else(|| file.strip_suffix(".wat"));
        names.extend(name.filter(|name| !["prelude", "describe"].contains(name)).map(str::to_owned));
    }
    Ok(names)
}

/// The guest of `guests/wat` of this name.
pub fn wat(name: &str) -> Result<Vec<u8>> {
    let whole = wat_dir().join(format!("{name}.component.wat"));
    if whole.is_file() {
        return Ok(wat::parse_file(whole)?);
    }
    let part = |name: &str| std::fs::read_to_string(wat_dir().join(format!("{name}.wat"))).context(name.to_owned());
    of_text(&part(name)?).context(name.to_owned())
}

/// A guest of the text that [`wat`] would find in a file: the part of a core module that misbehaves.
pub fn of_text(guest: &str) -> Result<Vec<u8>> {
    let part = |name: &str| std::fs::read_to_string(wat_dir().join(format!("{name}.wat"))).context(name.to_owned());
    let describe = if guest.contains("(export \"describe\")") { String::new() } else { part("describe")? };
    component(&format!("(module\n{}\n{describe}\n{guest})", part("prelude")?))
}

/// A guest that describes itself with these bytes and answers nothing.
pub fn described_as(json: &str) -> Result<Vec<u8>> {
    let bytes: String = json.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let prelude = std::fs::read_to_string(wat_dir().join("prelude.wat"))?;
    component(&format!(
        "(module\n{prelude}\n(data (i32.const 4096) \"{bytes}\")\n(func (export \"describe\") (param i32 i32) (result i32) \
         (call $ok (i32.const 4096) (i32.const {})))\n(func (export \"process\") (param i32 i32 i32) (result i32) \
         (call $nothing)))",
        json.len()
    ))
}

/// A small file that takes long to compile: functions whose every local is alive across every branch.
pub fn bomb(functions: usize, locals: usize) -> Result<Vec<u8>> {
    let mut text = String::new();
    for function in 0..functions {
        write!(text, "(func $bomb{function} (param i32) (result i32) (local{})", " i32".repeat(locals))?;
        for local in 1..=locals {
            let other = (local * 7) % locals + 1;
            write!(
                text,
                "(if (i32.and (local.get 0) (i32.const {local})) (then (local.set {local} (i32.add (local.get {other}) \
                 (local.get 0)))))"
            )?;
        }
        for local in 1..=locals {
            write!(text, "(local.set 0 (i32.add (local.get 0) (local.get {local})))")?;
        }
        text.push_str("(local.get 0))");
    }
    text.push_str("(func (export \"process\") (param i32 i32 i32) (result i32) (call $nothing))");
    of_text(&text)
}

/// The guest `handle-flood` with more in it: part of a component, as text.
pub fn enlarged(more: &str) -> Result<Vec<u8>> {
    let text = std::fs::read_to_string(wat_dir().join("handle-flood.component.wat"))?;
    let (head, _) = text.trim_end().rsplit_once(')').context("a component ends with a parenthesis")?;
    Ok(wat::parse_str(format!("{head} {more})"))?)
}

/// The component of a plugin project in the repository, by its directory from the root: what [`prepare`] made if it
/// ran, else built now if anything changed.
pub fn plugin(engine: &Engine, dir: &str) -> Result<PathBuf> {
    if let Some(prepared) = std::env::var_os(PREPARED) {
        let file = component_file(Path::new(&prepared), dir);
        ensure!(file.is_file(), "{} is missing: run tests/run, or unset {PREPARED}", file.display());
        return Ok(file);
    }
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    build_one(engine, dir)
}

/// The component of `guests/js-orders`.
pub fn js_orders(engine: &Engine) -> Result<PathBuf> {
    plugin(engine, "tests/guests/js-orders")
}

/// Builds every plugin project of the repository, and answers what [`PREPARED`] is to be set to.
pub fn prepare() -> Result<PathBuf> {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process())?;
    for dir in projects()? {
        build_one(&engine, &dir).with_context(|| dir.clone())?;
    }
    out_dir()
}

/// Directories of all plugin projects: the samples, and the guests that are more than a file of text.
fn projects() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for parent in ["plugins", "tests/guests"] {
        for entry in std::fs::read_dir(root().join(parent))? {
            let entry = entry?;
            if build::is_project(&entry.path()) {
                found.push(format!("{parent}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    Ok(found)
}

/// Builds one project. Cargo knows what has changed; for JavaScript the component's age tells, because its tools take
/// seconds. Of several processes one builds at a time.
fn build_one(engine: &Engine, dir: &str) -> Result<PathBuf> {
    let out = out_dir()?;
    let lock = std::fs::File::create(out.join("lock"))?;
    lock.lock()?;
    let (file, project) = (component_file(&out, dir), root().join(dir));
    if project.join("package.json").is_file() {
        install(&project)?;
        let sources = [project.join("app.js"), project.join("package-lock.json"), root().join("wit/millstream.wit")];
        if is_newer(&file, &sources)? {
            return Ok(file);
        }
    }
    Ok(build::build_any(engine, &Limits::default(), &project, Some(&file))?)
}

fn component_file(out: &Path, dir: &str) -> PathBuf {
    out.join(format!("{}.component.wasm", dir.rsplit('/').next().unwrap_or(dir)))
}

/// `npm ci`, unless it was done for this lock file.
fn install(dir: &Path) -> Result<()> {
    let done = dir.join("node_modules/.package-lock.json");
    if is_newer(&done, &[dir.join("package-lock.json")])? {
        return Ok(());
    }
    let npm = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(dir).output();
    let npm = npm.context("npm does not start; the JavaScript guest needs Node and npm")?;
    ensure!(npm.status.success(), "npm ci in {}: {}", dir.display(), String::from_utf8_lossy(&npm.stderr));
    if !done.is_file() {
        bail!("npm ci left no {}", done.display());
    }
    Ok(())
}

fn is_newer(file: &Path, sources: &[PathBuf]) -> Result<bool> {
    let Ok(made) = file.metadata() else { return Ok(false) };
    let made = made.modified()?;
    for source in sources {
        if source.metadata().with_context(|| source.display().to_string())?.modified()? >= made {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Assembles a core module and makes it a component of our world.
fn component(module: &str) -> Result<Vec<u8>> {
    let mut module = wat::parse_str(module)?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit"))?;
    let world = resolve.select_world(&[package], Some("processor"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

fn wat_dir() -> PathBuf {
    root().join("tests/guests/wat")
}

fn out_dir() -> Result<PathBuf> {
    let dir = root().join("target/guests");
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
