//! `[state]`, `[stores.NAME]` and `[providers.NAME]`: where state is kept.

use std::collections::BTreeMap;

use bytesize::ByteSize;
use toml::de::DeValue;

use super::section::Section;
use super::setting::Setting;
use super::topics::StoreChangelog;
use super::value::{Value, Wrong};

/// What keeps a store's committed state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Gone with the process; restored from the changelog.
    #[default]
    Memory,
    /// On disk, one environment per task.
    Lmdb,
}

impl Provider {
    pub const NAMES: [&'static str; 2] = ["memory", "lmdb"];

    /// The provider a component or a manifest names.
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
        })
    }
}

/// LMDB's reservation when nothing else is said: address space, not disk.
pub const STATE_BYTES_MAX: ByteSize = ByteSize::gib(1);

/// Below it LMDB has no room for its own pages and one commit's copies.
const STATE_BYTES_MIN: ByteSize = ByteSize::mib(1);

/// A 47-bit address space, shared by all tasks of a process, has room for a few of these.
const STATE_BYTES_LIMIT: ByteSize = ByteSize::tib(16);

/// `[state]`: for every store without its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Default memory; a component's own choice for a store wins.
    pub provider: Option<Provider>,
    /// Of one task directory. Default 1 GiB.
    pub max_size: ByteSize,
}

impl Default for State {
    fn default() -> State {
        State { provider: None, max_size: STATE_BYTES_MAX }
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
    pub changelog: Option<StoreChangelog>,
}

impl State {
    pub(super) fn read(mut section: Section<'_>, components: &[String]) -> State {
        State {
            provider: provider(&mut section, components),
            max_size: max_size(&mut section).unwrap_or(STATE_BYTES_MAX),
        }
    }
}

impl Store {
    pub(super) fn read(mut section: Section<'_>, components: &[String]) -> Store {
        let store = Store {
            line: section.line(),
            provider: provider(&mut section, components),
            max_size: max_size(&mut section),
            changelog: StoreChangelog::read(&mut section),
        };
        if section.raw("retention").is_some() {
            let message = "belongs to window, session and versioned stores, which come with a later version";
            section.refuse("retention", Wrong::new(message));
        }
        if store.provider == Some(Provider::Memory) && store.max_size.is_some() {
            section.refuse("max_size", Wrong::new("has no effect on a store in memory").suggest("provider = \"lmdb\""));
        }
        store
    }
}

fn provider(section: &mut Section<'_>, components: &[String]) -> Option<Provider> {
    let name: String = section.get("provider")?;
    let provider = Provider::named(&name);
    if components.contains(&name) {
        section.refuse("provider", Wrong::new(format!("is {name:?}: {LATER}")));
    } else if provider.is_none() {
        section.refuse("provider", Wrong::unknown(&name, Provider::NAMES));
    }
    provider
}

fn max_size(section: &mut Section<'_>) -> Option<ByteSize> {
    let size: ByteSize = section.get("max_size")?;
    if !(STATE_BYTES_MIN..=STATE_BYTES_LIMIT).contains(&size) {
        section.refuse("max_size", format!("is {size}, and may be {STATE_BYTES_MIN} to {STATE_BYTES_LIMIT}"));
    }
    Some(size)
}

const LATER: &str = "store providers come with a later version";

/// Checks `[providers.NAME]` and refuses it, for this host runs no provider yet. Answers their names.
pub(super) fn read_providers(root: &mut Section<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for (name, mut section) in root.named_sections("providers") {
        section.required::<String>("component", "a provider is a component's file");
        let _: BTreeMap<String, Setting> = section.map("config");
        section.get::<Network>("network");
        section.refuse_whole(Wrong::new(LATER));
        names.push(name);
    }
    names
}

/// Addresses a provider may reach, `HOST:PORT` each.
struct Network;

impl Value for Network {
    fn read(value: &DeValue<'_>) -> Result<Network, Wrong> {
        let is_address = |value: &toml::Spanned<DeValue<'_>>| {
            let text = value.get_ref().as_str()?;
            let (host, port) = text.rsplit_once(':')?;
            (!host.is_empty() && port.parse::<u16>().is_ok()).then_some(())
        };
        match value.as_array() {
            Some(list) if list.iter().all(|value| is_address(value).is_some()) => Ok(Network),
            _ => Err(Wrong::new("should be a list of addresses such as [\"127.0.0.1:6379\"]")),
        }
    }
}
