//! How a table or a processor's state is kept.

/// The name and the keeping of a state store. A plain name will do: `count("word-counts")`.
///
/// The manifest's `[stores.NAME]` wins over what is said here.
#[derive(Clone, Debug, Default)]
pub struct Materialized {
    pub(crate) name: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) changelog: Option<bool>,
}

impl Materialized {
    pub fn named(name: impl Into<String>) -> Materialized {
        Materialized { name: Some(name.into()), ..Materialized::default() }
    }

    /// A store called after its operator and its place among the stores, `count-store-0`. A later version of the
    /// topology that adds a store in front of it renames it: name what shall live.
    pub fn unnamed() -> Materialized {
        Materialized::default()
    }

    /// `memory`, `lmdb` or one of the manifest's `[providers]`.
    pub fn provider(self, provider: impl Into<String>) -> Materialized {
        Materialized { provider: Some(provider.into()), ..self }
    }

    /// `false`: no changelog, so the state is lost with its disk. The manifest must allow it under exactly-once.
    pub fn changelog(self, changelog: bool) -> Materialized {
        Materialized { changelog: Some(changelog), ..self }
    }
}

impl From<&str> for Materialized {
    fn from(name: &str) -> Materialized {
        Materialized::named(name)
    }
}

impl From<String> for Materialized {
    fn from(name: String) -> Materialized {
        Materialized::named(name)
    }
}
