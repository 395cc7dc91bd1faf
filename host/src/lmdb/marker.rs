//! A file beside an environment that says how it was left.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// How the last process left an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Closed, everything on disk; or never opened.
    Clean,
    /// So many processes in a row died while they opened it.
    Opening {
        times: u32,
        /// In which boot of the machine the last one did.
        boot: Option<String>,
    },
    /// A process died, or still lives, after it had opened it.
    Open {
        /// In which boot of the machine; `None` when that could not be told.
        boot: Option<String>,
    },
}

impl Left {
    /// Whether it was open when the machine went down, or when that cannot be told: what LMDB had written reached the
    /// disk in any order, or did not.
    pub fn outlived(&self, boot: Option<&str>) -> bool {
        match self {
            Left::Clean => false,
            Left::Opening { boot: before, .. } | Left::Open { boot: before } => {
                before.is_none() || before.as_deref() != boot
            }
        }
    }
}

/// The file itself. It is there from before an environment is opened until it is closed clean, so that a crash finds
/// it: written state is only trusted when the operating system that had it in its cache still lives.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
}

/// What is said of state that is left so.
pub const OUTLIVED: &str = "the machine went down while it was open";

const OPENING: &str = "opening";
const OPEN: &str = "open";

impl Marker {
    pub fn of(directory: &Path) -> Marker {
        Marker { path: directory.join("open") }
    }

    pub fn read(&self) -> io::Result<Left> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Left::Clean),
            // Bytes that nobody here wrote: as little known as after another boot.
            Err(why) if why.kind() == ErrorKind::InvalidData => return Ok(Left::Open { boot: None }),
            Err(why) => return Err(why),
        };
        Ok(match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [OPENING, times, boot] => match times.parse() {
                Ok(times) => Left::Opening { times, boot: Some((*boot).to_owned()) },
                Err(_) => Left::Open { boot: None },
            },
            [OPEN, boot] => Left::Open { boot: Some((*boot).to_owned()) },
            _ => Left::Open { boot: None },
        })
    }

    /// Before the environment is touched, for the `times`-th time since it was open; on disk when this returns.
    pub fn set_opening(&self, times: u32, boot: Option<&str>) -> io::Result<()> {
        self.write(&format!("{OPENING} {times} {}", boot.unwrap_or_default()))
    }

    /// After it was opened, by this boot of the machine.
    pub fn set_open(&self, boot: Option<&str>) -> io::Result<()> {
        self.write(&format!("{OPEN} {}", boot.unwrap_or_default()))
    }

    /// After everything was synced.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        sync_directory(&self.path)
    }
}

/// Makes the names in the directory of `path` durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Which boot of the machine this is, where the machine says.
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}
