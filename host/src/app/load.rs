//! From what the user names to a checked application: manifest, component, blueprint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::{Blueprint, Description};

use super::application::Application;
use super::build;
use super::kept::{self, Named};
use super::providers;
use crate::lmdb::StateDirectory;
use crate::thread::StartFunctions;
use crate::wasm::{Component, Engine, Provider};

/// A checked application, ready to be planned against a log.
#[derive(Clone)]
pub struct Loaded {
    pub application: Application,
    pub component: Component,
    /// What the manifest names. A component that was swapped in stands in its place.
    pub named: Named,
    /// `[config]` as the component's `describe` is given it.
    pub config: Arc<str>,
    pub description: Arc<Description>,
    pub blueprint: Blueprint,
    /// The store providers that the manifest names.
    pub providers: Arc<BTreeMap<String, Provider>>,
    /// Native code that runs in the component's place, with the same description.
    pub native: Option<Arc<StartFunctions>>,
}

impl Loaded {
    /// Finds, builds where there is a project, compiles and checks.
    pub fn load(engine: &Engine, app: &Path) -> Result<Loaded, Problem> {
        let application = Application::open_with(app, &|_| Some(engine.clone()))?;
        let component = component(engine, &application)?;
        Loaded::with(application, component)
    }

    /// As [`Loaded::load`], with the component that was swapped in before a restart, if it still counts ([`kept`]);
    /// one that does not is forgotten.
    pub fn load_kept(engine: &Engine, app: &Path, state_dir: Option<&Path>) -> Result<Loaded, Problem> {
        let loaded = Loaded::load_to_look(engine, app, state_dir)?;
        if loaded.is_swapped_in() {
            tracing::info!(digest = loaded.component.digest(), "running the component that was swapped in before");
        } else {
            let directory = loaded.state_directory(state_dir);
            if find(&directory, &loaded.named)? == kept::Found::Outdated {
                kept::forget(&directory).map_err(|error| unreadable(&directory, &error))?;
            }
        }
        Ok(loaded)
    }

    /// What [`Loaded::load_kept`] would load; nothing is changed.
    pub fn load_to_look(engine: &Engine, app: &Path, state_dir: Option<&Path>) -> Result<Loaded, Problem> {
        let loaded = Loaded::load(engine, app)?;
        let kept::Found::Component(bytes) = find(&loaded.state_directory(state_dir), &loaded.named)? else {
            return Ok(loaded);
        };
        let component = Component::load(engine, &bytes, loaded.application.manifest.limits)
            .map_err(|error| error.problem("the component that was swapped in"))?;
        Ok(Loaded { named: loaded.named.clone(), ..Loaded::with(loaded.application, component)? })
    }

    /// Whether another component stands in the place of the one that the manifest names.
    pub fn is_swapped_in(&self) -> bool {
        self.named.digest != self.component.digest()
    }

    fn state_directory(&self, state_dir: Option<&Path>) -> PathBuf {
        StateDirectory::path_of(&self.application.state_dir(state_dir), &self.application.manifest.id)
    }

    pub fn with(application: Application, component: Component) -> Result<Loaded, Problem> {
        let config: Arc<str> = serde_json::Value::Object(application.manifest.config.clone()).to_string().into();
        let shown = application.component().display().to_string();
        let description =
            component.describe(&application.manifest.id, &config).map_err(|error| error.problem(&shown))?;
        let blueprint = Blueprint::new(application.manifest.clone(), &description)?;
        let providers = Arc::new(providers::load(component.engine(), &application)?);
        let named = Named { component: application.manifest.component.clone(), digest: component.digest().to_owned() };
        let description = Arc::new(description);
        Ok(Loaded { application, component, named, config, description, blueprint, providers, native: None })
    }
}

fn find(directory: &Path, named: &Named) -> Result<kept::Found, Problem> {
    kept::find(directory, named).map_err(|error| unreadable(directory, &error))
}

fn unreadable(directory: &Path, error: &std::io::Error) -> Problem {
    Problem::new("StateDirectoryUnusable", "E0702", exit::FAILED, format!("{}: {error}", directory.display()))
        .field("state_dir", directory.display().to_string())
        .why("the component that was swapped in before cannot be read")
        .fix("make the directory readable, or name another with --state-dir")
}

fn component(engine: &Engine, application: &Application) -> Result<Component, Problem> {
    let limits = &application.manifest.limits;
    let path = application.component();
    let shown = path.display().to_string();
    if path.is_dir() {
        if !build::is_project(&path) {
            return Err(not_found(&shown, &"it is a directory without a plugin project"));
        }
        return Ok(build::build(engine, limits, &path, None)?.component);
    }
    let bytes = std::fs::read(&path).map_err(|error| not_found(&shown, &error))?;
    Component::load(engine, &bytes, *limits).map_err(|error| error.problem(&shown))
}

pub(super) fn not_found(component: &str, why: &dyn std::fmt::Display) -> Problem {
    Problem::new("ComponentNotFound", "E0211", exit::BAD_PLAN, format!("{component}: {why}"))
        .field("component", component)
        .why("the component is the application's logic; without it there is nothing to run")
        .fix("build it (`millstream build DIR`), or name another one in the manifest")
}
