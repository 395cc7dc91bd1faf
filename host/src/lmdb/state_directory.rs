//! Where one application keeps what it must not lose: locked against a second process.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use millstream_engine::config::ByteSize;
use millstream_engine::error::{Problem, exit};
use millstream_engine::store::{self, OFFSETS};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::marker::sync_directory;
use super::other_format::{HOST, OtherFormat};
use super::task_directory::{PUT_ASIDE, TaskDirectory};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two processes on one state directory would overwrite each other's state.
    #[error("the state directory {} is in use by {}", directory.display(), holder(*pid))]
    Locked { directory: PathBuf, pid: Option<u32> },
    #[error("the state directory {}: {why}", directory.display())]
    Io { directory: PathBuf, why: io::Error },
    #[error(transparent)]
    OtherFormat(#[from] OtherFormat),
    /// Of a task's state.
    #[error("{0}")]
    Refused(Box<Problem>),
}

/// `<state_dir>/<application>/`, owned by this process.
///
/// | entry | is |
/// |---|---|
/// | `lock` | locked while a process runs; the text is its pid |
/// | `instance` | who this process is to the group and to the transaction coordinator, kept over restarts |
/// | `stores.json` | what the application kept when it ran last ([`StateDirectory::record`]) |
/// | `<subtopology>-<partition>/` | a task's stores ([`TaskDirectory`]) |
/// | `global_tables-…-0/` | those of the global tables |
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    instance: String,
    /// Held for the sake of its lock, which the operating system takes away with the process, however it ends.
    _lock: Locked,
}

const RECORD: &str = "stores.json";

/// Of the record. Hosts before it was numbered wrote no number, and nothing that is different.
const FORMAT: u32 = 1;

/// What stands in front of the record in its file, `{"format":1,"host":"0.1.0", …}`; the rest is read only when the
/// number is known.
#[derive(Deserialize)]
struct Head {
    format: Option<Value>,
    #[serde(default)]
    host: Option<String>,
}

#[derive(Serialize)]
struct Recorded<'r, T> {
    format: u32,
    host: &'static str,
    #[serde(flatten)]
    record: &'r T,
}

impl StateDirectory {
    /// Takes the directory of an application, and makes it when it is not there. One process at a time.
    pub fn open(state_dir: &Path, application: &str) -> Result<StateDirectory, Error> {
        let path = StateDirectory::path_of(state_dir, application);
        let failed = |why| Error::Io { directory: path.clone(), why };
        fs::create_dir_all(&path).map_err(failed)?;
        let lock = lock(&path)?;
        let instance = instance(&path.join("instance")).map_err(failed)?;
        Ok(StateDirectory { path, instance, _lock: lock })
    }

    /// Where an application's state is, whoever owns it.
    pub fn path_of(state_dir: &Path, application: &str) -> PathBuf {
        state_dir.join(application)
    }

    /// What was recorded at the last start, whoever owns the directory now; `None`: nothing, or nothing that is a record.
    pub fn recorded<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
        let (directory, path) = (path, path.join(RECORD));
        let text = match fs::read(&path) {
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            // It is there, and what it says counts.
            read => read.map_err(|why| Error::Io { directory: directory.to_owned(), why })?,
        };
        match serde_json::from_slice(&text) {
            Ok(Head { format: Some(found), host }) if found != FORMAT => {
                Err(OtherFormat::new(&path, found.to_string(), FORMAT, host).into())
            }
            _ => Ok(serde_json::from_slice(&text).ok()),
        }
    }

    /// Replaces the record as a whole.
    pub fn record(&self, record: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_vec(&Recorded { format: FORMAT, host: HOST, record }).map_err(io::Error::from);
        let written = text.and_then(|text| replace(&self.path.join(RECORD), &text));
        written.map_err(|why| Error::Io { directory: self.path.clone(), why })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A UUID, made once: the static member id and the transactional id begin with it, so that a restart takes its
    /// own place again and fences its own past.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The directory of a task, by its subtopology's stable name.
    pub fn task(&self, subtopology: &str, partition: i32) -> TaskDirectory {
        TaskDirectory::of(&self.path, subtopology, partition)
    }

    /// The directory of the global tables, which are in no task.
    pub fn globals(&self) -> TaskDirectory {
        TaskDirectory::of_globals(&self.path)
    }

    /// Lets a global table begin anew: it goes by the offsets that are kept with it. Nobody may have it open.
    pub fn forget_global(&self, table: &str, max_size: ByteSize) -> Result<(), Error> {
        let failed = |why| Error::Io { directory: self.globals().path().to_owned(), why: io::Error::other(why) };
        self.globals().wipe_store(&format!("{OFFSETS}{table}"), max_size).map_err(failed)
    }

    /// What a reset takes away, whoever owns the directory now: state and the record of it, not who this process is, nor a
    /// component that was swapped in.
    pub fn contents(path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let is_note = entry.file_name().to_string_lossy().ends_with(PUT_ASIDE);
            let is_state = entry.file_type()?.is_dir() || entry.file_name() == RECORD || is_note;
            found.extend(is_state.then(|| entry.path()));
        }
        found.sort();
        Ok(found)
    }

    /// Removes [`StateDirectory::contents`], the record last. Nobody may have a task open.
    pub fn wipe(&self) -> Result<(), Error> {
        let failed = |why| Error::Io { directory: self.path.clone(), why };
        let record = self.path.join(RECORD);
        for path in StateDirectory::contents(&self.path).map_err(failed)?.into_iter().filter(|path| *path != record) {
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.map_err(failed)?;
        }
        match fs::remove_file(record) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => sync_directory(&self.path).map_err(failed),
        }
    }

    /// Empties one store of a task, where there is state of it; its neighbours keep theirs. Nobody may have it open.
    pub fn wipe_store(&self, subtopology: &str, partition: i32, store: &str, max_size: ByteSize) -> Result<(), Error> {
        let task = self.task(subtopology, partition);
        task.wipe_store(store, max_size).map_err(|why| match why {
            store::Error::Refused(problem) => Error::Refused(problem),
            why => Error::Io { directory: task.path().to_owned(), why: io::Error::other(why) },
        })
    }
}

impl Error {
    pub fn problem(&self) -> Problem {
        match self {
            Error::Locked { directory, pid } => {
                Problem::new("StateDirectoryLocked", "E0701", exit::FAILED, self.to_string())
                    .field("state_dir", directory.display().to_string())
                    .field("pid", *pid)
                    .why("two processes on one state directory would overwrite each other's state")
                    .fix("stop the other process, or give this one its own with --state-dir")
            }
            Error::Io { directory, .. } => {
                Problem::new("StateDirectoryUnusable", "E0702", exit::FAILED, self.to_string())
                    .field("state_dir", directory.display().to_string())
                    .why("stores, and who this process is to its group, are kept there")
                    .fix("make it writable, or name another with --state-dir")
            }
            Error::OtherFormat(other) => other.problem(),
            Error::Refused(problem) => (**problem).clone(),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
}

/// An open file whose lock goes with it: at once, and not only when a child that is being started has closed it too.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Fails only for a file that cannot be locked at all; then it was never held.
        let _ = self.0.unlock();
    }
}

fn lock(directory: &Path) -> Result<Locked, Error> {
    let failed = |why| Error::Io { directory: directory.to_owned(), why };
    let path = directory.join("lock");
    let mut file = File::options().create(true).read(true).write(true).truncate(false).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
            written.and_then(|()| file.rewind()).map(|()| Locked(file)).map_err(failed)
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            Err(Error::Locked { directory: directory.to_owned(), pid })
        }
        Err(TryLockError::Error(why)) => Err(failed(why)),
    }
}

/// The kept instance id, or a new one. A file that holds no UUID is replaced: another id only costs a rebalance.
fn instance(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            if let Ok(id) = Uuid::try_parse(text.trim()) {
                return Ok(id.to_string());
            }
        }
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {}
        Err(why) => return Err(why),
    }
    let id = Uuid::new_v4().to_string();
    replace(path, id.as_bytes())?;
    Ok(id)
}

/// A file that is there whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path)
}
