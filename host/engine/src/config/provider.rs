//! `[providers.NAME]`: components that keep stores, and what they may reach.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::section::Section;
use super::setting::Setting;
use super::store::Provider;
use super::value::{Value, Wrong};

/// Addresses of one grant: a server and its replicas are a handful, and each is looked up at every start.
const NETWORK_MAX: usize = 64;

/// `[providers.NAME]`: a component that keeps stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreProvider {
    /// Its file, or a directory with its project.
    pub component: String,
    /// Handed to the component; secrets may stand in it.
    pub config: BTreeMap<String, Setting>,
    /// What it may connect to, `HOST:PORT` each; empty: nothing.
    pub network: Vec<String>,
}

pub(super) fn read_providers(root: &mut Section<'_>) -> BTreeMap<String, StoreProvider> {
    let mut providers = BTreeMap::new();
    for (name, mut section) in root.named_sections("providers") {
        let component = section.required("component", "a provider is a component's file").unwrap_or_default();
        let config = section.map("config");
        let network = section.get::<Network>("network").map(|Network(addresses)| addresses).unwrap_or_default();
        if network.len() > NETWORK_MAX {
            section.refuse("network", format!("has {} addresses, and may have {NETWORK_MAX}", network.len()));
        }
        if Provider::named(&name).is_some() {
            section.refuse_whole(Wrong::new("is the name of a provider of the host's own"));
        }
        providers.insert(name, StoreProvider { component, config, network });
    }
    providers
}

/// Whether a text is an address of a grant: `HOST:PORT`, an IPv6 address in brackets, a port that can be connected to.
pub fn is_network_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_whole = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && is_whole && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// Addresses as they stand in the manifest.
struct Network(Vec<String>);

impl Value for Network {
    fn read(value: &DeValue<'_>) -> Result<Network, Wrong> {
        let address = |value: &toml::Spanned<DeValue<'_>>| {
            value.get_ref().as_str().filter(|text| is_network_address(text)).map(str::to_owned)
        };
        let addresses = value.as_array().and_then(|list| list.iter().map(address).collect());
        addresses.map(Network).ok_or_else(|| Wrong::new("should be a list of addresses such as [\"127.0.0.1:6379\"]"))
    }
}
