//! The embedded log: topics, groups and atomic commits in one LMDB file.

use std::path::Path;
use std::sync::Arc;

use super::{Error, Log, Result};

pub fn open(url: &str, _dir: &Path) -> Result<Arc<dyn Log>> {
    Err(Error::refused(url, "not in this build"))
}
