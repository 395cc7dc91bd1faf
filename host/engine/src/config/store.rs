//! `[state]` and `[stores.NAME]`: where state is kept.

use std::time::Duration;

use bytesize::ByteSize;

use super::section::Section;
use super::topics::StoreChangelog;
use super::value::Wrong;

/// What keeps a store's committed state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Gone with the process; restored from the changelog.
    #[default]
    Memory,
    /// On disk, one environment per task.
    Lmdb,
    /// In a store-provider component: `[providers.NAME]`.
    Component(String),
}

impl Provider {
    pub const NAMES: [&'static str; 2] = ["memory", "lmdb"];

    /// The host's own provider of this name.
    pub fn named(name: &str) -> Option<Provider> {
        match name {
            "memory" => Some(Provider::Memory),
            "lmdb" => Some(Provider::Lmdb),
            _ => None,
        }
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Provider::Memory => "memory",
            Provider::Lmdb => "lmdb",
            Provider::Component(name) => name,
        })
    }
}

/// LMDB's reservation when nothing else is said: address space, not disk.
pub const STATE_BYTES_MAX: ByteSize = ByteSize::gib(1);

/// Below it LMDB has no room for its own pages and one commit's copies.
const STATE_BYTES_MIN: ByteSize = ByteSize::mib(1);

/// A 47-bit address space, shared by all tasks of a process, has room for a few of these.
const STATE_BYTES_LIMIT: ByteSize = ByteSize::tib(16);

/// The largest cache of a store: half of what a task may hold that is not committed, beyond which its interval is cut, and
/// the cache with it.
pub const CACHE_BYTES_MAX: ByteSize = ByteSize::mib(32);

/// `[state]`: for every store without its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Default memory; a component's own choice for a store wins.
    pub provider: Option<Provider>,
    /// Of one task directory. Default 1 GiB.
    pub max_size: ByteSize,
    /// Whether the manifest says so.
    pub is_sized: bool,
}

impl Default for State {
    fn default() -> State {
        State { provider: None, max_size: STATE_BYTES_MAX, is_sized: false }
    }
}

/// `[stores.NAME]`: wins field by field over what the component declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Where the manifest speaks of it.
    pub line: usize,
    pub provider: Option<Provider>,
    /// LMDB alone; a task directory is as large as the largest of its stores asks for.
    pub max_size: Option<ByteSize>,
    /// How long a window, session or versioned store keeps what time leaves behind.
    pub retention: Option<Duration>,
    /// Bytes of each task's updates that are held back until a commit; 0: none.
    pub cache: Option<ByteSize>,
    pub changelog: Option<StoreChangelog>,
}

impl State {
    pub(super) fn read(mut section: Section<'_>, components: &[String]) -> State {
        let (provider, max_size) = (provider(&mut section, components), max_size(&mut section));
        State { provider, max_size: max_size.unwrap_or(STATE_BYTES_MAX), is_sized: max_size.is_some() }
    }
}

impl Store {
    pub(super) fn read(mut section: Section<'_>, components: &[String]) -> Store {
        let store = Store {
            line: section.line(),
            provider: provider(&mut section, components),
            max_size: max_size(&mut section),
            retention: section.get("retention"),
            cache: cache(&mut section),
            changelog: StoreChangelog::read(&mut section),
        };
        let place = match &store.provider {
            Some(Provider::Memory) => Some("a store in memory"),
            Some(Provider::Component(_)) => Some("a store in a provider, whose own config bounds it"),
            Some(Provider::Lmdb) | None => None,
        };
        if let Some(place) = place.filter(|_| store.max_size.is_some()) {
            section.refuse("max_size", Wrong::new(format!("has no effect on {place}")).suggest("provider = \"lmdb\""));
        }
        store
    }
}

fn provider(section: &mut Section<'_>, components: &[String]) -> Option<Provider> {
    let name: String = section.get("provider")?;
    if components.contains(&name) {
        return Some(Provider::Component(name));
    }
    let provider = Provider::named(&name);
    if provider.is_none() {
        let known = Provider::NAMES.into_iter().chain(components.iter().map(String::as_str));
        section.refuse("provider", Wrong::unknown(&name, known));
    }
    provider
}

fn cache(section: &mut Section<'_>) -> Option<ByteSize> {
    let bytes: ByteSize = section.get("cache")?;
    if bytes > CACHE_BYTES_MAX {
        section.refuse("cache", format!("is {bytes}, and may be {CACHE_BYTES_MAX} at most"));
    }
    Some(bytes)
}

fn max_size(section: &mut Section<'_>) -> Option<ByteSize> {
    let size: ByteSize = section.get("max_size")?;
    if !(STATE_BYTES_MIN..=STATE_BYTES_LIMIT).contains(&size) {
        section.refuse("max_size", format!("is {size}, and may be {STATE_BYTES_MIN} to {STATE_BYTES_LIMIT}"));
    }
    Some(size)
}
