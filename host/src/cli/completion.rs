//! `completion SHELL`

use std::io::{Write, stdout};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Global, Result};

#[derive(Debug, Args)]
pub struct Completion {
    shell: Shell,
}

impl Completion {
    pub fn run(self, _: &Global) -> Result {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "millstream", &mut script);
        Ok(stdout().write_all(&script)?)
    }
}
