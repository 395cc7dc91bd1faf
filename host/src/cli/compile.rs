//! `compile-component`, the hidden verb that the host starts itself by.

use clap::Args;

use super::{Global, Result};
use crate::wasm::compile::worker;

/// One component from stdin, machine code to stdout.
#[derive(Debug, Args)]
pub struct Compile {
    /// Seconds of CPU
    cpu_s: u64,
    /// Bytes of address space
    address_space: u64,
}

impl Compile {
    /// Ends the process by itself: its exit code is for the host and no user's.
    pub fn run(self, _: &Global) -> Result {
        std::process::exit(worker::run(self.cpu_s, self.address_space).into())
    }
}
