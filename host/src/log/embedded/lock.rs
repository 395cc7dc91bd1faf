//! File locks: the operating system's, held by an open file, so that a killed process frees them at once. Each names
//! its holder, because LMDB's own locks cannot say for whom one waits.

use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::fault::Named;
use super::{Error, Result};

/// The first pause between two tries; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(50);

/// Short against a synced commit, so that a process that commits without a break does not shut others out.
const LAST_PAUSE: Duration = Duration::from_millis(1);

/// Bytes of a holder's row: a process id, padded, and a line feed.
const HOLDER_BYTES: usize = 12;

/// A file that one process at a time may hold.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Drop for Lock {
    /// Frees what [`Lock::try_keep`] has taken. Closing the file is not enough: a child that this process is about to start
    /// has it open too, until it becomes another program.
    fn drop(&mut self) {
        // Of one that is not held nothing is freed.
        let _ = self.file.unlock();
    }
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct Held<'a>(&'a Lock);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Fails only for a file that cannot be locked at all; then it was never held.
        let _ = self.0.file.unlock();
    }
}

impl Lock {
    pub fn open(path: &Path) -> Result<Lock> {
        let what = path.display().to_string();
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).on(&what)?;
        Ok(Lock { file, path: path.to_owned() })
    }

    /// Takes the lock, or says who has held it for all of `wait`.
    pub fn hold(&self, wait: Duration) -> Result<Held<'_>> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(held) = self.try_hold()? {
                return Ok(held);
            }
            if start.elapsed() >= wait {
                return Err(self.busy(wait));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Takes the lock if it is free, and writes down by whom.
    pub fn try_hold(&self) -> Result<Option<Held<'_>>> {
        match self.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::unreachable(self.what(), error)),
        }
        let held = Held(self);
        let holder = format!("{:<width$}\n", std::process::id(), width = HOLDER_BYTES - 1);
        self.file.write_all_at(holder.as_bytes(), 0).on(&self.what())?;
        Ok(Some(held))
    }

    /// Takes the lock if it is free, for as long as this value lives.
    pub fn try_keep(&self) -> Result<bool> {
        Ok(self.try_hold()?.map(std::mem::forget).is_some())
    }

    /// The process that holds the lock, as far as it has said so.
    pub fn holder(&self) -> Option<u32> {
        let mut row = [0; HOLDER_BYTES];
        self.file.read_exact_at(&mut row, 0).ok()?;
        std::str::from_utf8(&row).ok()?.trim().parse().ok()
    }

    fn busy(&self, wait: Duration) -> Error {
        let holder = self.holder().map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        Error::unreachable(self.what(), format!("{holder} has held the lock for {wait:?}; is it stopped?"))
    }

    fn what(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_busy_lock_names_its_holder_and_is_free_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let (one, two) = (Lock::open(&path).unwrap(), Lock::open(&path).unwrap());
        let held = one.hold(Duration::ZERO).unwrap();
        let refused = two.hold(Duration::from_millis(20)).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {} ", std::process::id())), "{refused}");
        drop(held);
        two.hold(Duration::ZERO).unwrap();
    }
}
