//! Which log a verb speaks to.

use std::sync::Arc;

use millstream_engine::error::{Problem, exit};

use super::{Global, Result};
use crate::log::{self, Log};

/// Used when neither the command line, the environment nor a manifest names a log.
pub const DEFAULT_LOG: &str = "embedded:.millstream/log";

impl Global {
    /// Opens the log named by `--log` or MILLSTREAM_LOG, else the one in the current directory.
    pub fn open_log(&self) -> Result<Arc<dyn Log>> {
        let url = self.log.as_deref().unwrap_or(DEFAULT_LOG);
        if let Err(error) = log::url::parse(url) {
            return Err(Problem::new("BadLogUrl", "E0003", exit::USAGE, error.to_string()).into());
        }
        Ok(log::open(url, &log::Options::default())?)
    }
}
