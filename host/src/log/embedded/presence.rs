//! Who has a log open. The first one looks through its file's pages before LMDB maps it: LMDB follows every number that
//! it finds in a page, and a wrong one ends the process or answers wrongly. Those who come while somebody has it open
//! need not: nobody but LMDB has written to it since.
//!
//! Its cost: every leaf is read, and where each large batch begins, by every opening of a log that nobody has open. It has
//! no bound, for a page that nobody has looked at can end the process; it says how far it is ([`lmdb`]).

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::lmdb;

use super::fault::{Named, damaged};
use super::lock::{Held, Lock};
use super::tables::SmallRows;
use super::{Error, Result};

/// How long others wait for the first one, who reads all pages but those inside of large values, perhaps from a cold disk.
const LOOK_MAX: Duration = Duration::from_secs(600);

/// How long the shared lock is tried for while another program holds it alone.
const SHARE_MAX: Duration = Duration::from_secs(30);
const SHARE_AGAIN: Duration = Duration::from_millis(10);

/// How long they wait without a word.
const SILENCE: Duration = Duration::from_secs(5);

/// Held as long as the log is open, shared with all others who have it open.
#[derive(Debug)]
pub struct Presence(File);

impl Drop for Presence {
    /// As that of [`Lock`].
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Presence {
    /// Takes the lock `path`. Who is alone looks through `data`, while `write` keeps it as it is.
    ///
    /// One at a time: `look` is held until the lock is taken. So whoever shares it has looked himself, or came while
    /// somebody had the log open who has: one who waited for a look that failed, or that was cut off, looks again.
    pub fn take(path: &Path, data: &Path, look: &Lock, write: &Lock, wait: Duration) -> Result<Presence> {
        let what = path.display().to_string();
        let presence =
            Presence(File::options().read(true).write(true).create(true).truncate(false).open(path).on(&what)?);
        let _looking = wait_for_looks(look, data)?;
        match presence.0.try_lock() {
            Ok(()) => {
                let _still = write.hold(wait)?;
                look_through(data)?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(why)) => return Err(Error::unreachable(what, why)),
        }
        // Of one who was alone the lock becomes a shared one. In between nobody can find himself alone.
        presence.share(&what, SHARE_MAX)?;
        Ok(presence)
    }

    /// Nobody who looks holds it alone now; another program, such as a backup of files, may for a while.
    fn share(&self, what: &str, wait: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            match self.0.try_lock_shared() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if start.elapsed() < wait => std::thread::sleep(SHARE_AGAIN),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::unreachable(
                        what,
                        format!("another program has held the lock alone for {wait:?}"),
                    ));
                }
                Err(TryLockError::Error(why)) => return Err(Error::unreachable(what, why)),
            }
        }
    }
}

fn wait_for_looks<'l>(look: &'l Lock, data: &Path) -> Result<Held<'l>> {
    if let Ok(held) = look.hold(SILENCE) {
        return Ok(held);
    }
    let process = look.holder().map_or_else(|| "another one".to_owned(), |process| process.to_string());
    tracing::warn!(file = %data.display(), process, "another process looks through it; waiting up to {LOOK_MAX:?}");
    look.hold(LOOK_MAX)
}

fn look_through(data: &Path) -> Result<()> {
    let what = data.display().to_string();
    match lmdb::damage_by(data, SmallRows).on(&what)? {
        None => Ok(()),
        Some(why) => Err(damaged(&what, why)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::PathBuf;
    use std::thread::{JoinHandle, sleep, spawn};

    /// For anything that has to happen.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// Long enough for a thread that was started to wait where it has to.
    const BEGUN: Duration = Duration::from_millis(200);

    fn lock(dir: &Path, name: &str) -> Lock {
        Lock::open(&dir.join(name)).unwrap()
    }

    /// A directory with a data file that LMDB must not be let into.
    fn damaged_log() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data.mdb"), [0xA5; 16_384]).unwrap();
        let path = dir.path().to_owned();
        (dir, path)
    }

    fn opener(dir: &Path, wait: Duration) -> JoinHandle<Result<Presence>> {
        let dir = dir.to_owned();
        spawn(move || {
            let (look, write) = (lock(&dir, "look"), lock(&dir, "write"));
            Presence::take(&dir.join("open"), &dir.join("data.mdb"), &look, &write, wait)
        })
    }

    fn until_one_looks(dir: &Path) {
        let (look, begun) = (lock(dir, "look"), Instant::now());
        while look.try_hold().unwrap().is_some() {
            assert!(begun.elapsed() < DEADLINE);
            sleep(Duration::from_millis(5));
        }
    }

    fn assert_damaged(opener: JoinHandle<Result<Presence>>) {
        let opened = opener.join().unwrap();
        assert!(matches!(opened, Err(Error::Corrupted(..))), "{opened:?}");
    }

    /// The one's look cannot end while somebody else holds the lock of those who write.
    #[test]
    fn who_waited_for_a_look_that_found_damage_finds_it_too() {
        let (_dir, dir) = damaged_log();
        let write = lock(&dir, "write");
        let still = write.hold(Duration::ZERO).unwrap();
        let first = opener(&dir, DEADLINE);
        until_one_looks(&dir);
        let second = opener(&dir, DEADLINE);
        sleep(BEGUN);
        drop(still);
        assert_damaged(first);
        assert_damaged(second);
    }

    #[test]
    fn who_waited_for_a_look_that_was_given_up_looks_himself() {
        let (_dir, dir) = damaged_log();
        let write = lock(&dir, "write");
        let still = write.hold(Duration::ZERO).unwrap();
        let first = opener(&dir, 2 * BEGUN);
        until_one_looks(&dir);
        let second = opener(&dir, DEADLINE);
        let given_up = first.join().unwrap();
        assert!(matches!(given_up, Err(Error::Unreachable { .. })), "{given_up:?}");
        sleep(BEGUN);
        drop(still);
        assert_damaged(second);
    }

    #[test]
    fn who_finds_it_held_alone_by_another_program_waits_until_it_is_free() {
        let (_dir, dir) = damaged_log();
        std::fs::write(dir.join("data.mdb"), "").unwrap();
        let alone = File::options().write(true).create(true).truncate(false).open(dir.join("open")).unwrap();
        alone.lock().unwrap();
        let opener = opener(&dir, DEADLINE);
        sleep(BEGUN);
        assert!(!opener.is_finished(), "it is held alone");
        alone.unlock().unwrap();
        opener.join().unwrap().unwrap();
        alone.lock().unwrap();
        let free = Presence(File::options().write(true).open(dir.join("open")).unwrap());
        assert!(matches!(free.share("open", Duration::ZERO), Err(Error::Unreachable { .. })), "not for ever");
    }

    /// An empty data file is one that the walk lets pass.
    #[test]
    fn who_comes_while_others_have_it_open_waits_for_nobody() {
        let (_dir, dir) = damaged_log();
        std::fs::write(dir.join("data.mdb"), "").unwrap();
        let first = opener(&dir, DEADLINE).join().unwrap().unwrap();
        let write = lock(&dir, "write");
        let _busy = write.hold(Duration::ZERO).unwrap();
        let second = opener(&dir, Duration::ZERO).join().unwrap().unwrap();
        drop((first, second));
    }
}
