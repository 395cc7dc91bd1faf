//! A store provider that an application keeps its state in, as its manifest says it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::app::property;

/// What the manifest calls it.
pub const NAME: &str = "component";

#[derive(Clone, Debug, Args)]
pub struct Component {
    /// Keep the state in this store provider, a component's file, instead of --store
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    provider: Option<PathBuf>,
    /// A line of the provider's configuration; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", requires = "provider", value_parser = property)]
    provider_config: Vec<(String, String)>,
    /// What the provider may connect to; may be given more than once
    #[arg(long, value_name = "HOST:PORT", requires = "provider")]
    network: Vec<String>,
}

impl Component {
    /// `[providers.component]`; `None`: the host's own keep the state.
    pub fn section(&self) -> Result<Option<String>> {
        let Some(file) = &self.provider else { return Ok(None) };
        // The manifest's own paths are relative to the project that counts.
        let file = file.canonicalize().with_context(|| file.display().to_string())?;
        let config: Vec<String> =
            self.provider_config.iter().map(|(key, value)| format!("{key:?} = {value:?}")).collect();
        let (config, network) = (config.join(", "), &self.network);
        Ok(Some(format!("[providers.{NAME}]\ncomponent = {file:?}\nconfig = {{ {config} }}\nnetwork = {network:?}\n")))
    }
}
