//! Copies of an application's state that a start can be pointed at, and when the last one was made.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use millstream_engine::store::Error;
use serde::{Deserialize, Serialize};

use super::marker::sync_directory;
use super::read_only::ReadOnlyBase;
use super::task_directory::task_directories;

/// How the files begin that lie beside the task directories and belong to the state: what was recorded at the last
/// start, and the component that was swapped in. Not `instance`: two processes with one identity would fence each other.
const BESIDE: [&str; 2] = ["stores.json", "swapped"];

/// In the application's own directory: its last backup.
const RECORD: &str = "backup.json";

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The state directory that a start can be pointed at.
    pub state_dir: PathBuf,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// Of the copies.
    pub bytes: u64,
    pub tasks: usize,
}

/// Copies the state of every task in `directory`, an application's own, to `<to>/<its name>`, which may not be there.
/// Its owner may run meanwhile: each task's copy is what one commit left, with the position in the changelog. A copy
/// that is not whole has another name.
pub fn back_up(directory: &Path, to: &Path, at_ms: i64) -> Result<Backup, Error> {
    let name = directory.file_name().unwrap_or_default();
    let (whole, partial) = (to.join(name), to.join(format!("{}.partial", name.to_string_lossy())));
    let taken = || io::Error::new(ErrorKind::AlreadyExists, "a backup is there already");
    if whole.exists() {
        return Err(failed(&whole)(taken()));
    }
    gone(fs::remove_dir_all(&partial)).map_err(failed(&partial))?;
    fs::create_dir_all(&partial).map_err(failed(&partial))?;
    let mut backup = Backup { state_dir: to.to_owned(), at_ms, bytes: 0, tasks: 0 };
    for task in task_directories(directory).map_err(failed(directory))? {
        let copy = partial.join(task.file_name().unwrap_or_default());
        fs::create_dir(&copy).map_err(failed(&copy))?;
        let file = copy.join("data.mdb");
        ReadOnlyBase::open(&task)?.copy_to(&file)?;
        backup.bytes += fs::metadata(&file).map_err(failed(&file))?.len();
        backup.tasks += 1;
        sync_directory(&file).map_err(failed(&copy))?;
    }
    copy_beside(directory, &partial).map_err(failed(directory))?;
    File::open(&partial).and_then(|directory| directory.sync_all()).map_err(failed(&partial))?;
    fs::rename(&partial, &whole).and_then(|()| sync_directory(&whole)).map_err(failed(&whole))?;
    remember(directory, &backup).map_err(failed(directory))?;
    Ok(backup)
}

/// The last backup of an application's directory.
pub fn last_backup(directory: &Path) -> Option<Backup> {
    serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()
}

fn remember(directory: &Path, backup: &Backup) -> io::Result<()> {
    let (file, new) = (directory.join(RECORD), directory.join(format!("{RECORD}.new")));
    fs::write(&new, serde_json::to_vec(backup)?)?;
    fs::rename(new, file)
}

fn copy_beside(directory: &Path, to: &Path) -> io::Result<()> {
    let names: Vec<_> =
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    let belongs = |name: &&OsString| BESIDE.iter().any(|begin| name.to_string_lossy().starts_with(begin));
    let (records, others): (Vec<_>, Vec<_>) =
        names.iter().filter(belongs).partition(|name| name.to_string_lossy().ends_with(".json"));
    // Records before what they name: a swap meanwhile puts the component there before its record, and takes the one of
    // before away after it.
    for name in records.into_iter().chain(others).filter(|name| directory.join(name).is_file()) {
        gone(fs::copy(directory.join(name), to.join(name)).map(drop))?;
        gone(File::open(to.join(name)).and_then(|copy| copy.sync_all()))?;
    }
    Ok(())
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |why| Error::Retry(format!("{}: {why}", path.display()))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
