//! `store backup`: a copy of an application's state on disk.

use std::path::{Path, PathBuf};

use clap::Args;
use millstream_engine::config::ByteSize;
use millstream_engine::error::{Problem, exit};

use super::super::output::{self, Output};
use super::super::produce::now_ms;
use super::super::{Global, Result};
use crate::lmdb::{StateDirectory, back_up, task_directories};

#[derive(Debug, Args)]
pub struct Backup {
    app: PathBuf,
    /// Where to; afterwards `state_dir` or `--state-dir` can name it. Not a directory that holds one already
    dir: PathBuf,
}

impl Backup {
    pub fn run(&self, global: &Global, state_dir: Option<&Path>, output: Output) -> Result {
        let application = global.application(&self.app)?;
        let directory = StateDirectory::path_of(&application.state_dir(state_dir), &application.manifest.id);
        if task_directories(&directory).unwrap_or_default().is_empty() {
            return Err(nothing_there(&directory).into());
        }
        let backup = back_up(&directory, &self.dir, now_ms()).map_err(|error| failed(&self.dir, &error.to_string()))?;
        output::object(output.format, &backup, || {
            let (dir, size) = (self.dir.display(), ByteSize(backup.bytes));
            format!("backed up {} tasks ({size}) to {dir}; `--state-dir {dir}` starts from it\n", backup.tasks)
        })
    }
}

fn nothing_there(directory: &Path) -> Problem {
    Problem::new("BackupFailed", "E0621", exit::FAILED, format!("{} holds no stores", directory.display()))
        .field("state_dir", directory.display().to_string())
        .why("a backup copies stores in LMDB; those in memory have their changelogs alone")
        .fix("name the state directory with --state-dir, or keep stores on disk ([state] provider = \"lmdb\")")
}

fn failed(dir: &Path, why: &str) -> Problem {
    Problem::new("BackupFailed", "E0621", exit::FAILED, format!("the backup was not made: {why}"))
        .field("directory", dir.display().to_string())
        .why("a copy that is not whole is none")
        .fix("name another directory with room, and see whether the application starts on its state")
}
