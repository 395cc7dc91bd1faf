//! State on disk: a directory per application, an LMDB environment per task.
//!
//! | file | holds |
//! |---|---|
//! | `state_directory` | the application's directory: lock, instance id |
//! | `task_directory` | a task's directory: what is trusted, what is put aside |
//! | `base` | a task's stores, as the engine wants them |
//! | `read_only`, `backup` | what another process may read of them, and copy |
//! | `environment`, `opening`, `layout` | LMDB itself, how it is opened, and what stands where in it |
//! | `marker`, `failure` | how it was left; what an error means |
//! | `file_check`, `pages`, `rows`, `progress` | whether it may be mapped; how far the look is |
//! | `other_format` | what is said of state in another host's format |
//!
//! Nothing here is synced before a clean close, for the changelog holds it all: a process that dies loses nothing
//! (the operating system has the pages), and after a machine that dies the state is restored.

mod backup;
mod base;
mod environment;
mod failure;
mod file_check;
mod layout;
mod marker;
mod opening;
mod other_format;
mod pages;
mod progress;
mod read_only;
mod rows;
mod state_directory;
mod task_directory;

pub use backup::{Backup, back_up, last_backup};
pub use base::LmdbBase;
pub use environment::Environment;
pub use file_check::{UNWRITTEN_BYTES_MAX, damage_by};
pub use read_only::ReadOnlyBase;
pub use rows::Rows;
pub use state_directory::{Error, StateDirectory};
pub use task_directory::{QUARANTINES_MAX, TaskDirectory, task_directories};

#[cfg(test)]
mod tests;
