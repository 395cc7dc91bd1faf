//! From what the user names to a checked application: manifest, component, blueprint.

use std::path::Path;
use std::sync::Arc;

use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::{Blueprint, Description};

use super::application::Application;
use super::build;
use crate::thread::StartFunctions;
use crate::wasm::{Component, Engine};

/// A checked application, ready to be planned against a log.
pub struct Loaded {
    pub application: Application,
    pub component: Component,
    /// `[config]` as the component's `describe` is given it.
    pub config: Arc<str>,
    pub description: Arc<Description>,
    pub blueprint: Blueprint,
    /// Native code that runs in the component's place, with the same description.
    pub native: Option<Arc<StartFunctions>>,
}

impl Loaded {
    /// Finds, builds where there is a project, compiles and checks.
    pub fn load(engine: &Engine, app: &Path) -> Result<Loaded, Problem> {
        let application = Application::open(app)?;
        let component = component(engine, &application)?;
        Loaded::with(application, component)
    }

    pub fn with(application: Application, component: Component) -> Result<Loaded, Problem> {
        let config: Arc<str> = serde_json::Value::Object(application.manifest.config.clone()).to_string().into();
        let shown = application.component().display().to_string();
        let description =
            component.describe(&application.manifest.id, &config).map_err(|error| error.problem(&shown))?;
        let blueprint = Blueprint::new(application.manifest.clone(), &description)?;
        Ok(Loaded { application, component, config, description: Arc::new(description), blueprint, native: None })
    }
}

fn component(engine: &Engine, application: &Application) -> Result<Component, Problem> {
    let limits = &application.manifest.limits;
    let path = application.component();
    if path.is_dir() {
        return Ok(build::build(engine, limits, &path, None)?.component);
    }
    let shown = path.display().to_string();
    let bytes = std::fs::read(&path).map_err(|error| {
        Problem::new("ComponentNotFound", "E0211", exit::BAD_PLAN, format!("{shown}: {error}"))
            .field("component", shown.as_str())
            .why("the component is the application's logic; without it there is nothing to run")
            .fix("build it (`millstream build DIR`), or name another one in the manifest")
    })?;
    Component::load(engine, &bytes, *limits).map_err(|error| error.problem(&shown))
}
