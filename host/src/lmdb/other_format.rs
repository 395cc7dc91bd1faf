//! State that another version of the host wrote in another format: it is refused by name and left as it is.

use std::path::{Path, PathBuf};

use millstream_engine::error::{Problem, exit};

/// This host's version, beside the format in what it writes: whoever reads another format is told whose it is.
pub const HOST: &str = env!("CARGO_PKG_VERSION");

/// What was found, and what this host reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} has format {found}, and this host reads format {reads}", path.display())]
pub struct OtherFormat {
    pub path: PathBuf,
    /// As it stands there.
    pub found: String,
    pub reads: u32,
    /// The version of the host that wrote it, where it says so.
    pub host: Option<String>,
}

impl OtherFormat {
    pub fn new(path: &Path, found: String, reads: u32, host: Option<String>) -> OtherFormat {
        OtherFormat { path: path.to_owned(), found, reads, host }
    }

    pub fn problem(&self) -> Problem {
        let path = self.path.display().to_string();
        let (writer, run) = match &self.host {
            Some(host) => (format!("millstream {host}"), format!("run millstream {host}, which wrote it")),
            None => ("another version of millstream".to_owned(), "run the version that wrote it".to_owned()),
        };
        Problem::new("StateFormatUnknown", "E0703", exit::FAILED, self.to_string())
            .field("path", path.as_str())
            .field("found_format", self.found.as_str())
            .field("expected_format", self.reads)
            .field("written_by", self.host.clone())
            .field("version", HOST)
            .why(format!("{writer} wrote it, and read here its bytes could mean something else; nothing was changed"))
            .fix(format!(
                "{run}; or give this one a directory of its own with --state-dir, or remove {path}: stores with a \
                 changelog are restored from it"
            ))
    }
}
