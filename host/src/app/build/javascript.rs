//! JavaScript: componentize-qjs, from the project's own `node_modules`.

use std::path::{Path, PathBuf};

use millstream_engine::error::Problem;
use serde::Deserialize;

use super::{failed, run, unusable};

/// The contract this host speaks; a component is built against it and no other.
const WIT: &str = include_str!("../../../../wit/millstream.wit");

/// The version that was tried; others may do.
const TOOL: &str = "componentize-qjs@0.4.5";

#[derive(Deserialize)]
struct Package {
    name: String,
    /// The program, an ES module.
    #[serde(default = "app_js")]
    main: String,
}

fn app_js() -> String {
    "app.js".into()
}

pub(super) fn build(dir: &Path, out: Option<&Path>) -> Result<PathBuf, Problem> {
    let package = package(dir)?;
    let dir = dir.canonicalize().map_err(|error| unusable(dir, error))?;
    let tool = tool(&dir)?;
    let wit = dir.join("node_modules/.millstream/wit");
    let file = output(&dir, &package.name, out)?;
    std::fs::create_dir_all(&wit)
        .and_then(|()| std::fs::write(wit.join("millstream.wit"), WIT))
        .map_err(|error| unusable(&wit, error))?;
    let (wit, target) = (wit.to_string_lossy(), file.to_string_lossy());
    let flags = ["--world", "processor", "--stub-wasi", "--sync", "--minify"];
    let paths = ["--wit", &*wit, "--js", &*package.main, "--output", &*target];
    let said = run(&dir, &tool, &[&flags[..], &paths[..]].concat())?;
    eprint!("{}", String::from_utf8_lossy(&said));
    Ok(file)
}

/// `dist/NAME.component.wasm` by default, absolute because the tool runs in the project's directory.
fn output(dir: &Path, package: &str, out: Option<&Path>) -> Result<PathBuf, Problem> {
    if let Some(out) = out {
        return std::path::absolute(out).map_err(|error| unusable(out, error));
    }
    let dist = dir.join("dist");
    std::fs::create_dir_all(&dist).map_err(|error| unusable(&dist, error))?;
    let name = package.rsplit('/').next().unwrap_or(package);
    Ok(dist.join(format!("{name}.component.wasm")))
}

fn package(dir: &Path) -> Result<Package, Problem> {
    let file = dir.join("package.json");
    let text = std::fs::read_to_string(&file).map_err(|error| unusable(&file, error))?;
    serde_json::from_str(&text).map_err(|error| {
        failed(dir, format!("{}: {error}", file.display())).fix("give it a \"name\"; \"main\" is app.js by default")
    })
}

/// componentize-qjs as npm puts it: here, or in a directory above.
fn tool(dir: &Path) -> Result<PathBuf, Problem> {
    let found = dir.ancestors().map(|dir| dir.join("node_modules/.bin/componentize-qjs")).find(|file| file.exists());
    found.ok_or_else(|| {
        failed(dir, format!("{} has no componentize-qjs in its node_modules", dir.display()))
            .why("it makes components of JavaScript; nothing is installed behind your back")
            .fix(match dir.join("package-lock.json").is_file() {
                true => format!("cd {} && npm ci", dir.display()),
                false => format!("cd {} && npm install --save-dev {TOOL}", dir.display()),
            })
    })
}
