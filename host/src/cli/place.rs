//! Which log a verb speaks to.

use std::path::Path;
use std::sync::Arc;

use millstream_engine::error::{Problem, exit};

use super::{Global, Result};
use crate::app::{Application, DEFAULT_LOG, MANIFEST};
use crate::log::{self, Log};

impl Global {
    /// The log of a verb that names no application: `--log` or MILLSTREAM_LOG, else that of the manifest in the
    /// current directory, else the embedded one there. The manifest's `[kafka]` counts for any log.
    pub fn open_log(&self) -> Result<Arc<dyn Log>> {
        if Path::new(MANIFEST).is_file() {
            return self.open_log_of(&Application::open(Path::new(MANIFEST))?);
        }
        self.open_url(self.log.as_deref().unwrap_or(DEFAULT_LOG), &log::Options::default())
    }

    /// The log of an application.
    pub fn open_log_of(&self, app: &Application) -> Result<Arc<dyn Log>> {
        let (url, options) = app.log(self.log.as_deref())?;
        self.open_url(&url, &options)
    }

    fn open_url(&self, url: &str, options: &log::Options) -> Result<Arc<dyn Log>> {
        if let Err(error) = log::url::parse(url) {
            let exit = if self.log.is_some() { exit::USAGE } else { exit::BAD_PLAN };
            return Err(Problem::new("BadLogUrl", "E0003", exit, error.to_string())
                .field("log", url)
                .why("a log is embedded:DIR or kafka://HOST:PORT[,HOST:PORT…]")
                .fix("mend --log, MILLSTREAM_LOG or the manifest's `log`")
                .into());
        }
        Ok(log::open(url, options)?)
    }
}
