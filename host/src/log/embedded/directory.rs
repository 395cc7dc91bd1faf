//! The files of an embedded log.
//!
//! | file | is |
//! |---|---|
//! | `FORMAT` | one line; written last when a log is made, read first when it is opened |
//! | `data.mdb`, `lock.mdb` | LMDB's |
//! | `open.lock` | held by all processes that have the log open, together; alone by the first one, while it looks through it |
//! | `look.lock` | held by the process that is about to take `open.lock` |
//! | `write.lock` | held by the process that commits |
//! | `janitor.lock` | held by the process that compacts and deletes what has grown old |
//! | `applications/ID.lock` | held by the process that runs the application |

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::{Named, damaged};
use super::lock::Lock;
use super::presence::Presence;
use super::{Error, Result};
use crate::lmdb::UNWRITTEN_BYTES_MAX;

const FORMAT: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";
const DATA: &str = "data.mdb";
const LMDB_LOCK: &str = "lock.mdb";
const OPEN_LOCK: &str = "open.lock";
const LOOK_LOCK: &str = "look.lock";
const WRITE_LOCK: &str = "write.lock";
const JANITOR_LOCK: &str = "janitor.lock";
const APPLICATIONS: &str = "applications";

/// What stands in `FORMAT` before the version.
const TITLE: &str = "millstream embedded log, format ";

/// Of everything in the directory: the layout of files, tables, rows and batches.
const VERSION: &str = "2";

/// The one before, which knew no sizes and no compaction: brought to this one by the first who opens it.
const OLDER: &str = "1";

/// How long an open waits for another process that makes or commits to the same log.
const WAIT: Duration = Duration::from_secs(30);

pub fn write_lock(dir: &Path) -> Result<Lock> {
    Lock::open(&dir.join(WRITE_LOCK))
}

pub fn janitor_lock(dir: &Path) -> Result<Lock> {
    Lock::open(&dir.join(JANITOR_LOCK))
}

/// The application's id must be a legal topic name: it becomes part of a path.
pub fn application_lock(dir: &Path, application: &str) -> Result<Lock> {
    let dir = dir.join(APPLICATIONS);
    fs::create_dir_all(&dir).on(&dir.display().to_string())?;
    Lock::open(&dir.join(format!("{application}.lock")))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Older,
    Ours,
}

/// Makes the directory a log of this version, or finds that it is one whose pages LMDB may follow. `create` makes LMDB's
/// files, `upgrade` brings those of the version before to this one; it may have been interrupted before.
pub fn prepare(
    dir: &Path,
    create: impl FnOnce() -> Result<()>,
    upgrade: impl FnOnce() -> Result<()>,
) -> Result<Presence> {
    if found(dir)? == Found::Nothing {
        refuse_foreign(dir)?;
        let lock = write_lock(dir)?;
        let _held = lock.hold(WAIT)?;
        // Another process may have made it meanwhile.
        if found(dir)? == Found::Nothing {
            make(dir, create)?;
        }
    }
    let presence = presence(dir)?;
    lengthen(dir)?;
    if found(dir)? == Found::Older {
        let lock = write_lock(dir)?;
        let _held = lock.hold(WAIT)?;
        if found(dir)? == Found::Older {
            upgrade()?;
            publish(dir).on(&format!("log directory {}", dir.display()))?;
        }
    }
    Ok(presence)
}

fn presence(dir: &Path) -> Result<Presence> {
    let (look, write) = (Lock::open(&dir.join(LOOK_LOCK))?, write_lock(dir)?);
    Presence::take(&dir.join(OPEN_LOCK), &dir.join(DATA), &look, &write, WAIT)
}

/// Whether there is a `FORMAT`; refuses any but ours and the one before.
fn found(dir: &Path) -> Result<Found> {
    let what = || format!("log directory {}", dir.display());
    let mut line = String::new();
    match File::open(dir.join(FORMAT)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(Error::unreachable(what(), error)),
        Ok(file) => file.take(256).read_to_string(&mut line).on(&what())?,
    };
    match line.trim_end().strip_prefix(TITLE) {
        Some(VERSION) => Ok(Found::Ours),
        Some(OLDER) => Ok(Found::Older),
        Some(other) => {
            let why = format!("its format is {other}, this build reads {VERSION}; use the build that wrote it");
            Err(Error::refused(what(), why))
        }
        None => Err(Error::refused(what(), format!("its {FORMAT} does not begin with `{TITLE}`"))),
    }
}

/// A directory without `FORMAT` may be empty or hold what an interrupted making left: its lock came first.
fn refuse_foreign(dir: &Path) -> Result<()> {
    let what = format!("log directory {}", dir.display());
    let names: std::io::Result<Vec<_>> = fs::read_dir(dir).on(&what)?.map(|e| e.map(|e| e.file_name())).collect();
    let names = names.on(&what)?;
    let ours = |name: &std::ffi::OsString| [WRITE_LOCK, DATA, LMDB_LOCK, FORMAT_NEW].iter().any(|n| name == *n);
    match names.iter().find(|name| !ours(name)) {
        None if names.is_empty() || names.iter().any(|name| name == WRITE_LOCK) => Ok(()),
        None => Err(Error::refused(what, format!("it holds {DATA} but no {FORMAT}: not an embedded log"))),
        Some(name) => {
            let why = format!("it holds `{}` and no {FORMAT}: not an embedded log", name.display());
            Err(Error::refused(what, format!("{why}; name an empty or new directory")))
        }
    }
}

/// Makes LMDB's files, durably, and only then says that this is a log.
fn make(dir: &Path, create: impl FnOnce() -> Result<()>) -> Result<()> {
    let what = format!("log directory {}", dir.display());
    for rest in [DATA, LMDB_LOCK] {
        match fs::remove_file(dir.join(rest)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::unreachable(what, error)),
            _ => {}
        }
    }
    create()?;
    publish(dir).on(&what)
}

/// Says, durably, that the files are of this version.
fn publish(dir: &Path) -> std::io::Result<()> {
    let sync = |path: &Path| File::open(path)?.sync_all();
    sync(dir)?;
    let mut file = File::create(dir.join(FORMAT_NEW))?;
    writeln!(file, "{TITLE}{VERSION}")?;
    file.sync_all()?;
    fs::rename(dir.join(FORMAT_NEW), dir.join(FORMAT))?;
    sync(dir)?;
    dir.parent().map_or(Ok(()), sync)
}

// === the data file's length ===

/// LMDB maps the file and reads it as memory: a page behind the file's end would end the process. LMDB itself leaves it
/// short when the last pages are free; then it grows to its own account of it, so that what is read there is damaged,
/// not deadly. Only after the look through its pages, which tells what was cut off: that stays as it is.
fn lengthen(dir: &Path) -> Result<()> {
    let path = dir.join(DATA);
    let what = path.display().to_string();
    let file = match File::options().read(true).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged(&what, "the file is missing")),
        other => other.on(&what)?,
    };
    let mut metas = Vec::new();
    (&file).take(METAS_BYTES_MAX).read_to_end(&mut metas).on(&what)?;
    let needed = needed_bytes(&metas).ok_or_else(|| damaged(&what, "it does not begin as an LMDB file"))?;
    if needed > MAP_BYTES as u64 {
        return Err(damaged(&what, "it says that it is longer than a log can be"));
    }
    let len = || file.metadata().map(|m| m.len()).on(&what);
    if len()? >= needed {
        return Ok(());
    }
    let lock = write_lock(dir)?;
    let _held = lock.hold(WAIT)?;
    // While nobody writes, it cannot grow in between.
    match len()? {
        len if len.saturating_add(UNWRITTEN_BYTES_MAX) < needed => {
            Err(damaged(&what, format!("it has {len} bytes, and its pages need {needed}: it was cut off")))
        }
        len if len < needed => file.set_len(needed).on(&what),
        _ => Ok(()),
    }
}

/// Address space reserved for the file, the same in every process; the file itself grows with its data. Large, so
/// that nobody has to choose; small against the 128 TiB a process has.
pub const MAP_BYTES: usize = 1 << 40;

/// Two pages of the largest size LMDB takes.
const METAS_BYTES_MAX: u64 = 2 * 64 * 1024;

/// How long the file has to be by its newest meta page. `None`: these are no meta pages.
fn needed_bytes(metas: &[u8]) -> Option<u64> {
    let page_bytes = meta(metas)?.page_bytes;
    let second = usize::try_from(page_bytes).ok().and_then(|start| meta(metas.get(start..)?))?;
    let newest = std::cmp::max_by_key(meta(metas)?, second, |meta| meta.txn);
    newest.last_page.checked_add(1)?.checked_mul(page_bytes)
}

struct Meta {
    page_bytes: u64,
    last_page: u64,
    txn: u64,
}

/// Reads LMDB's `MDB_meta` (in the byte order of the machine) behind a page header of 16 bytes.
fn meta(page: &[u8]) -> Option<Meta> {
    const MAGIC: u32 = 0xBEEF_C0DE;
    let u32_at = |at: usize| Some(u32::from_ne_bytes(page.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(page.get(at..at + 8)?.try_into().ok()?));
    let page_bytes = u64::from(u32_at(40)?);
    let plausible = u32_at(16)? == MAGIC && page_bytes.is_power_of_two();
    plausible.then_some(Meta { page_bytes, last_page: u64_at(136)?, txn: u64_at(144)? })
}

/// The directory as the registry of open logs knows it.
pub fn canonical(dir: &Path) -> Result<PathBuf> {
    let what = format!("log directory {}", dir.display());
    fs::create_dir_all(dir).on(&what)?;
    dir.canonicalize().on(&what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::FileExt;

    use super::super::environment;
    use super::*;

    const PAGE: u64 = 4_096;

    /// A new log, closed; its data file.
    fn closed_log(dir: &Path) -> PathBuf {
        drop(environment::open(dir).unwrap());
        dir.join(DATA)
    }

    /// What an opening says of the damage that it refuses.
    fn refused(dir: &Path) -> String {
        match environment::open(dir) {
            Err(Error::Corrupted(_, why)) => why,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was opened"),
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_named_so_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let data = closed_log(dir.path());
        let whole = fs::read(&data).unwrap();
        for pages in 2..whole.len() / PAGE as usize {
            let cut = &whole[..pages * PAGE as usize];
            fs::write(&data, cut).unwrap();
            // Free pages at its end need not be there.
            match environment::open(dir.path()) {
                Ok(_) => continue,
                Err(Error::Corrupted(_, why)) => assert!(why.contains("cut off"), "{pages} pages: {why}"),
                Err(other) => panic!("{other}"),
            }
            assert!(fs::read(&data).unwrap() == cut, "{pages} pages: the file has changed");
        }
        fs::write(&data, &whole[..2 * PAGE as usize]).unwrap();
        refused(dir.path());
    }

    /// Of the number of the last page a bit that makes it half a TiB.
    #[test]
    fn a_file_never_grows_to_what_a_flipped_bit_says() {
        const LAST_PAGE: u64 = 136;
        let dir = tempfile::tempdir().unwrap();
        let data = closed_log(dir.path());
        let file = File::options().read(true).write(true).open(&data).unwrap();
        let before = file.metadata().unwrap().len();
        for page in 0..2 {
            let (mut byte, at) = ([0], page * PAGE + LAST_PAGE + 3);
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x08], at).unwrap();
            let why = refused(dir.path());
            assert!(why.contains("cut off"), "{why}");
            assert_eq!(file.metadata().unwrap().len(), before);
            file.write_all_at(&byte, at).unwrap();
        }
        environment::open(dir.path()).unwrap();
    }
}
