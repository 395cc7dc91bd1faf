//! Store providers for tests: `plugins/map-store`, and one that misbehaves as it is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use millstream::wasm::provider::Grant;
use millstream::wasm::{Compiler, Engine, Provider};
use millstream_engine::config::Limits;

use crate::application::Application;
use crate::guests;

static ENGINE: LazyLock<Result<Engine, millstream::wasm::Error>> =
    LazyLock::new(|| Engine::new(Limits::default().stack, Compiler::in_process()));

/// Does one thing wrong, which its configuration names.
pub const FAULTY: &str = "tests/guests/faulty-store";

/// Compiled once a process.
static MAP_STORE: Mutex<Option<Provider>> = Mutex::new(None);

pub fn engine() -> Result<&'static Engine> {
    ENGINE.as_ref().map_err(|error| anyhow!("{error}"))
}

/// `plugins/map-store`.
pub fn map_store() -> Result<Provider> {
    let mut loaded = MAP_STORE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(provider) = &*loaded {
        return Ok(provider.clone());
    }
    let provider = load("plugins/map-store", Limits::default(), "{}")?;
    Ok(loaded.insert(provider).clone())
}

/// The provider of a project in the repository, which reaches nothing.
pub fn load(dir: &str, limits: Limits, config: &str) -> Result<Provider> {
    load_granted(dir, limits, config, None)
}

/// The provider of a project in the repository.
pub fn load_granted(dir: &str, limits: Limits, config: &str, grant: Option<Grant>) -> Result<Provider> {
    let bytes = std::fs::read(file(dir)?)?;
    let name = dir.rsplit('/').next().unwrap_or(dir);
    Ok(Provider::load(engine()?, &bytes, limits, ("test", name), config.to_owned(), grant)?)
}

/// The newest count of each word that `plugins/word-count` wrote; under exactly-once those of each went 1, 2, 3….
pub fn counts(application: &Application<'_>, is_exact: bool) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for record in application.read("counts") {
        let word = String::from_utf8(record.key.expect("a count has a key")).expect("words are text");
        let count = record.value.and_then(|value| value.try_into().ok()).map(i64::from_be_bytes);
        let count = count.expect("a count is a number");
        let before = counts.insert(word.clone(), count).unwrap_or(0);
        assert!(!is_exact || count == before + 1, "{word}: {count} behind {before}");
    }
    counts
}

/// The component of a provider's project in the repository.
pub fn file(dir: &str) -> Result<PathBuf> {
    guests::plugin(engine()?, dir)
}
