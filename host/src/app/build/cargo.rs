//! Rust: `cargo build` for a target that knows no operating system, and a component around it; or, where the project says
//! so, for WASI's, whose linker makes the component.

use std::path::{Path, PathBuf};

use millstream_engine::error::Problem;
use serde::Deserialize;
use toml_edit::DocumentMut;
use wasmparser::{BinaryReader, Parser};
use wit_component::ComponentEncoder;

use super::{failed, run, unusable, write};

const TARGET: &str = "wasm32-unknown-unknown";

/// For store providers with sockets: `[package.metadata.millstream] target = "wasm32-wasip2"`.
const WASI_TARGET: &str = "wasm32-wasip2";

/// The linker of [`WASI_TARGET`] makes a component, whose debug information only it can leave out.
const STRIP: &str = "profile.release.strip=\"debuginfo\"";

/// One line of `cargo build --message-format json`; other reasons than `compiler-artifact` leave all but the first
/// field out.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

pub(super) fn build(dir: &Path, out: Option<&Path>) -> Result<PathBuf, Problem> {
    let target = target(dir)?;
    add_target(dir, target)?;
    let mut args =
        vec!["build", "--release", "--lib", "--target", target, "--message-format", "json-render-diagnostics"];
    if target == WASI_TARGET {
        args.extend(["--config", STRIP]);
    }
    let messages = run(dir, Path::new("cargo"), &args)?;
    let module = artifact(dir, &String::from_utf8_lossy(&messages))?;
    let bytes = std::fs::read(&module).map_err(|error| unusable(&module, error))?;
    let component = match Parser::is_component(&bytes) {
        true => bytes,
        false => encode(&bytes).map_err(|error| {
            failed(dir, format!("{} does not become a component: {error}", module.display()))
                .fix("a plugin uses the SDK, or bindings made from Millstream's wit/, and no WASI")
        })?,
    };
    let file = out.map_or_else(|| module.with_extension("component.wasm"), Path::to_path_buf);
    write(&file, &component)?;
    Ok(file)
}

/// The target that the project names, or ours.
fn target(dir: &Path) -> Result<&'static str, Problem> {
    let file = dir.join("Cargo.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| unusable(&file, error))?;
    let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        failed(dir, format!("{}: {}", file.display(), error.message())).fix("mend it")
    })?;
    let item = |mut item: &'_ toml_edit::Item, keys: &[&str]| {
        for key in keys {
            item = item.get(key)?;
        }
        Some(item.as_str().unwrap_or_default().to_owned())
    };
    let named = item(document.as_item(), &["package", "metadata", "millstream", "target"]);
    match named.as_deref() {
        None | Some(TARGET) => Ok(TARGET),
        Some(WASI_TARGET) => Ok(WASI_TARGET),
        Some(other) => {
            Err(failed(dir, format!("{}: there is no target {other:?} for a plugin", file.display())).fix(format!(
                "[package.metadata.millstream] target: {TARGET}, or {WASI_TARGET} for a store provider with sockets"
            )))
        }
    }
}

/// Adds the wasm target to the toolchain that builds `dir`, if it lacks it.
fn add_target(dir: &Path, target: &str) -> Result<(), Problem> {
    let libraries = run(dir, Path::new("rustc"), &["--print", "target-libdir", "--target", target])?;
    if Path::new(String::from_utf8_lossy(&libraries).trim()).is_dir() {
        return Ok(());
    }
    eprintln!("the Rust toolchain lacks the target {target}: running `rustup target add {target}`");
    run(dir, Path::new("rustup"), &["target", "add", target])
        .map(drop)
        .map_err(|problem| problem.fix(format!("add the target {target} to the Rust toolchain that builds the plugin")))
}

/// The wasm file that the package in `dir` was built into; its dependencies are libraries of other kinds.
fn artifact(dir: &Path, messages: &str) -> Result<PathBuf, Problem> {
    let manifest = dir.join("Cargo.toml");
    let manifest = manifest.canonicalize().map_err(|error| unusable(&manifest, error))?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact" && message.manifest_path == manifest)
        .flat_map(|message| message.filenames)
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .ok_or_else(|| {
            failed(dir, format!("{} was built, but not into a wasm file", manifest.display()))
                .fix("in its Cargo.toml: [lib] crate-type = [\"cdylib\", \"rlib\"]")
        })
}

/// Wraps a core module that carries its WIT (wit-bindgen puts it there) into a component.
fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let module = without_debug_info(module).map_err(|error| error.to_string())?;
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
}

/// The module without its DWARF sections, which are most of its bytes and which no host reads. The names of the
/// functions stay: backtraces are made of them.
fn without_debug_info(module: &[u8]) -> wasmparser::Result<Vec<u8>> {
    const HEADER_BYTES: usize = 8;
    const CUSTOM_SECTION: u8 = 0;
    let mut reader = BinaryReader::new(module, 0);
    let mut kept = reader.read_bytes(HEADER_BYTES)?.to_vec();
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8()?;
        let bytes = reader.read_var_u32()? as usize;
        let content = reader.read_bytes(bytes)?;
        let is_debug_info = id == CUSTOM_SECTION && BinaryReader::new(content, 0).read_string()?.starts_with(".debug_");
        if !is_debug_info {
            kept.extend_from_slice(&module[start..reader.original_position()]);
        }
    }
    Ok(kept)
}
