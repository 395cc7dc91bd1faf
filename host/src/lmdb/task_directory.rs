//! Where one task keeps its stores, and what happens to state that cannot be trusted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use millstream_engine::config::ByteSize;
use millstream_engine::store::{Base, Error};
use sha2::{Digest, Sha256};

use super::base::LmdbBase;
use super::environment::Environment;
use super::file_check;
use super::marker::{Left, Marker, OUTLIVED, boot_id};

/// Damaged states kept for a look at what happened; each may be as large as the state itself.
pub const QUARANTINES_MAX: usize = 2;

/// A `kill -9` may meet any process that opens a state, and what goes wrong beside it ends that too; of so many in a row,
/// the state is the cause.
const DEATHS_OPENING_MAX: u32 = 4;

/// A directory's name has 255 bytes; this leaves room for the partition and for `.quarantine-N`.
const NAME_BYTES_MAX: usize = 100;

const QUARANTINE: &str = ".quarantine-";

/// At the end of the name of a file beside the directory: why the state that was here was put aside. It is there before the
/// state goes, and until somebody asks for it: that may take more than one try to open it, and more than one process.
pub(super) const PUT_ASIDE: &str = ".put-aside";

/// `<state_dir>/<application>/<subtopology>-<partition>`; it need not be there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDirectory {
    path: PathBuf,
}

impl TaskDirectory {
    /// Of the task of one subtopology, by its stable name, and partition. `application` is the application's own
    /// directory.
    pub fn of(application: &Path, subtopology: &str, partition: i32) -> TaskDirectory {
        TaskDirectory { path: application.join(format!("{}-{partition}", path_legal(subtopology))) }
    }

    /// Of the global tables, under a name that no subtopology has.
    pub fn of_globals(application: &Path) -> TaskDirectory {
        TaskDirectory::of(application, "global tables", 0)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the task's stores, numbered as they stand here. What cannot be trusted is put aside and the stores
    /// begin empty, to be restored from their changelogs:
    /// - a file that is cut off, or is not LMDB's;
    /// - one in which a page or a row is not what was written (`pages` looks through all of it);
    /// - one that processes died opening, one after the other;
    /// - one that was open when the machine went down, for what LMDB writes may reach the disk in any order.
    ///
    /// State that another host wrote in another format is refused, and stays as it is.
    pub fn open(&self, stores: &[&str], max_size: ByteSize) -> Result<LmdbBase, Error> {
        LmdbBase::open(self.clone(), stores, max_size)
    }

    /// Empties one store of what is there, if it can be trusted; what cannot is put aside when it is opened.
    pub(super) fn wipe_store(&self, store: &str, max_size: ByteSize) -> Result<(), Error> {
        let exists = self.path.join("data.mdb").exists();
        if !exists || self.doubt().map_err(|why| self.failed(why))?.is_some() {
            return Ok(());
        }
        let stores: Vec<String> = match Environment::open_read_only(&self.path) {
            Ok(environment) => environment.stores().map(str::to_owned).collect(),
            Err(Error::Corrupted(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(place) = stores.iter().position(|known| known == store) else { return Ok(()) };
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        let mut base = self.open(&stores, max_size)?;
        base.wipe_store(place)?;
        base.close()
    }

    pub(super) fn open_environment(&self, stores: &[&str], max_size: ByteSize) -> Result<Environment, Error> {
        self.make().map_err(|why| self.failed(why))?;
        if let Some(why) = self.doubt().map_err(|why| self.failed(why))? {
            self.note_put_aside(&why)?;
            self.quarantine(&why)?;
        }
        match self.open_trusted(stores, max_size) {
            Err(Error::Corrupted(why)) => {
                self.note_put_aside(&why)?;
                self.quarantine(&why)?;
                self.open_trusted(stores, max_size)
            }
            opened => opened,
        }
    }

    /// Puts the state aside and begins with an empty directory. Nothing of it may be open.
    pub(super) fn quarantine(&self, why: &str) -> Result<(), Error> {
        let moved = self.move_aside().map_err(|why| self.failed(why))?;
        tracing::warn!(state = %self.path.display(), kept = %moved.display(), why, "state put aside");
        Ok(())
    }

    /// Why the state was put aside that was here before, as long as nobody has asked.
    pub(super) fn put_aside(&self) -> Result<Option<String>, Error> {
        match fs::read(self.put_aside_path()) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(self.failed(why)),
            Ok(why) => Ok(Some(String::from_utf8_lossy(&why).into_owned())),
        }
    }

    /// It was told.
    pub(super) fn forget_put_aside(&self) -> Result<(), Error> {
        gone(fs::remove_file(self.put_aside_path())).map_err(|why| self.failed(why))
    }

    fn note_put_aside(&self, why: &str) -> Result<(), Error> {
        fs::write(self.put_aside_path(), why).map_err(|why| self.failed(why))
    }

    fn put_aside_path(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{name}{PUT_ASIDE}"))
    }

    /// Begins with an empty directory. Nothing of it may be open.
    pub(super) fn clear(&self) -> Result<(), Error> {
        gone(fs::remove_dir_all(&self.path)).and_then(|()| self.make()).map_err(|why| self.failed(why))
    }

    /// Says that all of it is on disk.
    pub(super) fn mark_clean(&self) -> Result<(), Error> {
        Marker::of(&self.path).clear().map_err(|why| self.failed(why))
    }

    fn open_trusted(&self, stores: &[&str], max_size: ByteSize) -> Result<Environment, Error> {
        let (marker, boot) = (Marker::of(&self.path), boot_id());
        let left = marker.read().map_err(|why| self.failed(why))?;
        let died = match left {
            Left::Opening { times, .. } => times,
            Left::Open { .. } | Left::Clean => 0,
        };
        marker.set_opening(died.saturating_add(1), boot.as_deref()).map_err(|why| self.failed(why))?;
        let opened = Environment::open(&self.path, stores, max_size);
        // Whether it worked or not, this process is alive. What was refused is as it was found.
        let marked = match (&opened, left) {
            (Err(Error::Refused(_)), Left::Clean) => marker.clear(),
            _ => marker.set_open(boot.as_deref()),
        };
        marked.map_err(|why| self.failed(why))?;
        opened
    }

    /// Why what is there should not be opened.
    fn doubt(&self) -> io::Result<Option<String>> {
        let boot = boot_id();
        Ok(match Marker::of(&self.path).read()? {
            Left::Opening { times, .. } if times >= DEATHS_OPENING_MAX => {
                Some(format!("{times} processes in a row died while opening it"))
            }
            left if left.outlived(boot.as_deref()) => Some(OUTLIVED.to_owned()),
            _ => file_check::damage(&self.path.join("data.mdb"))?,
        })
    }

    fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.path)
    }

    fn move_aside(&self) -> io::Result<PathBuf> {
        let mut kept = self.quarantines()?;
        let number = kept.last().map_or(1, |last| last + 1);
        // Room first: a full disk is one way to get here.
        kept.push(number);
        for number in kept.iter().rev().skip(QUARANTINES_MAX) {
            gone(fs::remove_dir_all(self.quarantine_path(*number)))?;
        }
        let aside = self.quarantine_path(number);
        gone(fs::rename(&self.path, &aside))?;
        self.make()?;
        Ok(aside)
    }

    /// The numbers of what was put aside, in order.
    fn quarantines(&self) -> io::Result<Vec<u64>> {
        let prefix = self.quarantine_prefix();
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.path.parent().unwrap_or(Path::new(".")))? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn quarantine_path(&self, number: u64) -> PathBuf {
        self.path.with_file_name(format!("{}{number}", self.quarantine_prefix()))
    }

    fn quarantine_prefix(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name}{QUARANTINE}")
    }

    fn failed(&self, why: io::Error) -> Error {
        Error::Retry(format!("the state in {}: {why}", self.path.display()))
    }
}

/// The task directories in an application's own, without those put aside.
pub fn task_directories(application: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(application)? {
        let path = entry?.path();
        let is_task = path.is_dir() && !path.to_string_lossy().contains(QUARANTINE) && path.join("data.mdb").exists();
        found.extend(is_task.then_some(path));
    }
    found.sort();
    Ok(found)
}

/// A name as part of a path: itself where that works, else cut short, with its hash to stay one of a kind.
fn path_legal(name: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let kept = name.chars().all(legal) && name.len() <= NAME_BYTES_MAX && !name.contains(QUARANTINE);
    if kept && !name.is_empty() {
        return name.to_owned();
    }
    /// Half of a SHA-256's first half: no two names of one application meet by chance.
    const HASH_BYTES: usize = 8;
    let hash: String = Sha256::digest(name).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let plain: String = name.chars().map(|c| if legal(c) && c != '.' { c } else { '_' }).collect();
    let cut = plain.len().min(NAME_BYTES_MAX - 2 * HASH_BYTES - 1);
    format!("{}-{hash}", &plain[..cut])
}

/// What is gone already was taken away by a try that failed half way.
fn gone(taken: io::Result<()>) -> io::Result<()> {
    match taken {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        taken => taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_and_stay_apart() {
        let name = |name: &str| TaskDirectory::of(Path::new("/s"), name, 3).path.to_string_lossy().into_owned();
        assert_eq!(name("orders.v2_x"), "/s/orders.v2_x-3");
        assert_ne!(name("a/b"), name("a:b"));
        assert!(!name("../../etc").contains(".."));
        let long = "x".repeat(101);
        assert!(name(&long).len() <= "/s/".len() + NAME_BYTES_MAX + "-3".len());
        assert_ne!(name(&long), name(&"x".repeat(102)));
        assert_ne!(name("a.quarantine-1"), "/s/a.quarantine-1-3");
    }
}
