//! `build`: from a project's directory to a component, and every way that can end before.

use std::path::Path;
use std::sync::LazyLock;

use millstream::app::build::{Built, build, is_project};
use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use millstream_engine::error::Problem;
use tempfile::TempDir;

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Limits::default().stack, Compiler::in_process()).unwrap());

fn project(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in files {
        let file = dir.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    dir
}

/// A Cargo project without dependencies.
fn cargo_project(crate_type: &str, source: &str) -> TempDir {
    let manifest = format!(
        "[package]\nname = \"some-plugin\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"{crate_type}\"]\n[workspace]\n"
    );
    project(&[("Cargo.toml", &manifest), ("src/lib.rs", source)])
}

fn built(dir: &Path, out: Option<&Path>) -> Result<Built, Problem> {
    build(&ENGINE, &Limits::default(), dir, out)
}

fn problem(dir: &TempDir) -> Problem {
    built(dir.path(), None).err().unwrap()
}

#[test]
fn a_sample_becomes_a_component_that_describes_itself() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("word-count.wasm");
    let built = built(&tests::guests::root().join("plugins/word-count"), Some(&file)).unwrap();
    assert_eq!(built.file, file);
    let description = built.component.describe("word-count", "{}").unwrap();
    assert_eq!(description.stores[0].name, "word-counts");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1, "nothing else is left behind");
}

#[test]
fn a_directory_without_a_project_is_refused() {
    let dir = project(&[("README.md", "")]);
    assert!(!is_project(dir.path()));
    assert_eq!(problem(&dir).name, "NoProject");
}

#[test]
fn a_project_that_does_not_compile_fails() {
    let problem = problem(&cargo_project("cdylib", "pub fn f() -> u32 { \"text\" }"));
    assert_eq!(problem.name, "BuildFailed");
    assert!(problem.message.starts_with("`cargo build --release --lib --target wasm32-unknown-unknown"), "{problem}");
}

#[test]
fn a_project_that_makes_no_wasm_file_is_told_its_crate_type() {
    let problem = problem(&cargo_project("rlib", ""));
    assert_eq!(problem.name, "BuildFailed");
    assert!(problem.fix.contains("cdylib"), "{}", problem.fix);
}

#[test]
fn a_library_that_is_no_plugin_is_refused_by_its_missing_export() {
    let problem = problem(&cargo_project("cdylib", "#[unsafe(no_mangle)] pub extern \"C\" fn f() {}"));
    assert_eq!(problem.name, "BadExport", "{problem}");
}

#[test]
fn a_javascript_project_without_its_tool_says_what_to_run() {
    let dir = project(&[("package.json", r#"{"name":"x"}"#), ("app.js", "")]);
    let missing = problem(&dir);
    assert_eq!(missing.name, "BuildFailed");
    assert!(missing.fix.ends_with("npm install --save-dev componentize-qjs@0.4.5"), "{}", missing.fix);
    std::fs::write(dir.path().join("package-lock.json"), "{}").unwrap();
    assert!(problem(&dir).fix.ends_with("npm ci"));
}
