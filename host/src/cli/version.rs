//! `version`

use clap::Args;
use serde::Serialize;

use super::output::{self, Output};
use super::{Global, Result};
use crate::{log, wasm};

#[derive(Debug, Args)]
pub struct Version {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Versions {
    millstream: &'static str,
    /// The contract that components are built against.
    contract: &'static str,
    wasmtime: &'static str,
    librdkafka: String,
}

impl Version {
    pub fn run(self, _: &Global) -> Result {
        let versions = Versions {
            millstream: env!("CARGO_PKG_VERSION"),
            contract: wasm::CONTRACT,
            wasmtime: wasm::ENGINE_VERSION,
            librdkafka: log::kafka::client_version(),
        };
        output::object(self.output.format, &versions, || {
            format!(
                "millstream {}\ncontract   {}\nwasmtime   {}\nlibrdkafka {}\n",
                versions.millstream, versions.contract, versions.wasmtime, versions.librdkafka
            )
        })
    }
}
