//! The store providers of a manifest: found, built where there is a project, checked.

use std::collections::BTreeMap;

use millstream_engine::config::StoreProvider;
use millstream_engine::error::Problem;

use super::application::Application;
use super::build;
use super::load::not_found;
use crate::wasm::provider::Grant;
use crate::wasm::{Engine, Provider};

/// Loads every `[providers.NAME]`, whether a store uses it or not: a start refuses what is wrong with any.
pub fn load(engine: &Engine, application: &Application) -> Result<BTreeMap<String, Provider>, Problem> {
    let one =
        |(name, provider): (&String, &StoreProvider)| Ok((name.clone(), open(engine, application, name, provider)?));
    application.manifest.providers.iter().map(one).collect()
}

fn open(engine: &Engine, application: &Application, name: &str, provider: &StoreProvider) -> Result<Provider, Problem> {
    let mut path = application.dir.join(&provider.component);
    if build::is_project(&path) {
        path = build::make(&path, None)?;
    }
    let shown = path.display().to_string();
    let bytes = std::fs::read(&path).map_err(|error| not_found(&shown, &error))?;
    let mut config = serde_json::Map::new();
    for (key, setting) in &provider.config {
        let value = application.resolve(&format!("providers.{name}.config.{key}"), setting)?;
        config.insert(key.clone(), value.into());
    }
    let manifest = &application.manifest;
    let config = serde_json::Value::Object(config).to_string();
    let network = &provider.network;
    let grant = if network.is_empty() { None } else { Some(Grant::resolve(network)) };
    grant
        .transpose()
        .and_then(|grant| Provider::load(engine, &bytes, manifest.limits, (&manifest.id, name), config, grant))
        .map_err(|error| error.problem(&shown))
}
