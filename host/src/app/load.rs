//! From what the user names to a checked application: manifest, component, blueprint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_engine::config::{self, Manifest};
use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::{Blueprint, Description};

use super::build;
use crate::log::{self, Log};
use crate::wasm::{Component, Engine};

/// The manifest's file name in a directory.
pub const MANIFEST: &str = "app.toml";
/// Where the log is when nothing names one: beside the manifest, or in the current directory.
const DEFAULT_LOG: &str = "embedded:.millstream/log";

/// A manifest and where its relative paths begin.
#[derive(Clone, Debug)]
pub struct Located {
    pub manifest: Manifest,
    pub dir: PathBuf,
}

impl Located {
    /// `app`: a manifest, a directory that holds one, or a component, which then runs with defaults under its file's
    /// name.
    pub fn find(app: &Path) -> Result<Located, Problem> {
        let file = if app.is_dir() { app.join(MANIFEST) } else { app.to_path_buf() };
        let dir = file.parent().map(Path::to_path_buf).unwrap_or_default();
        if file.extension().is_some_and(|extension| extension == "wasm") {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let id = stem.strip_suffix(".component").unwrap_or(&stem);
            let shown = file.display().to_string();
            let mut manifest = Manifest::default_for(id, &shown).map_err(|e| config::bad_manifest(&e))?;
            manifest.component = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Located { manifest, dir });
        }
        let text = std::fs::read_to_string(&file).map_err(|error| no_manifest(&file, &error))?;
        let manifest =
            Manifest::parse(&text, &file.display().to_string()).map_err(|errors| config::bad_manifest(&errors))?;
        Ok(Located { manifest, dir })
    }

    /// A path of the manifest.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path(&self.manifest.state_dir)
    }

    /// Opens the log named by the user, else by the manifest, else the default one.
    pub fn open_log(&self, named: Option<&str>) -> Result<Arc<dyn Log>, Problem> {
        let (url, base) = match (named, &self.manifest.log) {
            (Some(url), _) => (url, None),
            (None, Some(url)) => (url.as_str(), Some(self.dir.clone())),
            (None, None) => (DEFAULT_LOG, Some(self.dir.clone())),
        };
        let kafka = self.kafka_properties()?;
        Ok(log::open(url, &log::Options { kafka, base })?)
    }

    fn kafka_properties(&self) -> Result<std::collections::BTreeMap<String, String>, Problem> {
        let mut properties = std::collections::BTreeMap::new();
        for (name, setting) in &self.manifest.kafka.properties {
            let value = setting
                .resolve(&|name| std::env::var(name).ok(), &|file| std::fs::read_to_string(self.path(file)))
                .map_err(|why| {
                    Problem::new("SecretNotFound", "E0105", exit::BAD_PLAN, format!("[kafka] {name}: {why}"))
                        .field("property", name.as_str())
                        .fix("set the variable or the file the manifest names")
                })?;
            properties.insert(name.clone(), value);
        }
        Ok(properties)
    }
}

/// A checked application, ready to be planned against a log.
pub struct Loaded {
    pub located: Located,
    pub component: Component,
    /// `[config]` as the component's `describe` is given it.
    pub config: Arc<str>,
    pub description: Arc<Description>,
    pub blueprint: Blueprint,
}

impl Loaded {
    /// Finds, builds where there is a project, compiles and checks.
    pub fn load(engine: &Engine, app: &Path) -> Result<Loaded, Problem> {
        let located = Located::find(app)?;
        let component = component(engine, &located)?;
        Loaded::with(located, component)
    }

    pub fn with(located: Located, component: Component) -> Result<Loaded, Problem> {
        let config: Arc<str> = serde_json::Value::Object(located.manifest.config.clone()).to_string().into();
        let shown = located.path(&located.manifest.component).display().to_string();
        let description =
            component.describe(&located.manifest.id, &config).map_err(|error| error.problem(&shown))?;
        let blueprint = Blueprint::new(located.manifest.clone(), &description)?;
        Ok(Loaded { located, component, config, description: Arc::new(description), blueprint })
    }
}

fn component(engine: &Engine, located: &Located) -> Result<Component, Problem> {
    let limits = &located.manifest.limits;
    let path = located.path(&located.manifest.component);
    if path.is_dir() {
        return Ok(build::build(engine, limits, &path, None)?.component);
    }
    let shown = path.display().to_string();
    let bytes = std::fs::read(&path).map_err(|error| {
        Problem::new("ComponentNotFound", "E0211", exit::BAD_PLAN, format!("{shown}: {error}"))
            .field("component", shown.as_str())
            .fix("build it (`millstream build DIR`), or name another one in the manifest")
    })?;
    Component::load(engine, &bytes, limits.clone()).map_err(|error| error.problem(&shown))
}

fn no_manifest(file: &Path, error: &std::io::Error) -> Problem {
    let shown = file.display().to_string();
    Problem::new("ManifestNotFound", "E0100", exit::BAD_PLAN, format!("{shown}: {error}"))
        .field("file", shown.as_str())
        .why("an application is a manifest, a directory that holds app.toml, or a component")
        .fix("name one of them")
}
