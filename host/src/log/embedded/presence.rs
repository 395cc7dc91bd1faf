//! Who has a log open. The first one looks through its file's pages before LMDB maps it: LMDB follows every number that
//! it finds in a page, and a wrong one ends the process or answers wrongly. Those who come while somebody has it open
//! need not: nobody but LMDB has written to it since.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::lmdb;

use super::fault::{Named, damaged};
use super::lock::Lock;
use super::tables::SmallRows;
use super::{Error, Result};

/// How long others wait for the first one, who reads all pages but those inside of large values, perhaps from a cold disk.
const LOOK_MAX: Duration = Duration::from_secs(600);

const PAUSE: Duration = Duration::from_millis(5);

/// Held as long as the log is open, shared with all others who have it open.
#[derive(Debug)]
pub struct Presence(#[expect(dead_code, reason = "its lock is what counts")] File);

impl Presence {
    /// Takes the lock `path`. Who is alone looks through `data`, while `write` keeps it as it is.
    pub fn take(path: &Path, data: &Path, write: &Lock, wait: Duration) -> Result<Presence> {
        let what = path.display().to_string();
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).on(&what)?;
        match file.try_lock() {
            Ok(()) => {
                let _still = write.hold(wait)?;
                look_through(data)?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(why)) => return Err(Error::unreachable(what, why)),
        }
        // Of one who was alone the lock becomes a shared one. In between another may find itself alone, and look too.
        let begun = Instant::now();
        loop {
            match file.try_lock_shared() {
                Ok(()) => return Ok(Presence(file)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOOK_MAX => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let why = format!("another process has looked through the log for {LOOK_MAX:?}; is it stopped?");
                    return Err(Error::unreachable(what, why));
                }
                Err(TryLockError::Error(why)) => return Err(Error::unreachable(what, why)),
            }
        }
    }
}

fn look_through(data: &Path) -> Result<()> {
    let what = data.display().to_string();
    match lmdb::damage_by(data, SmallRows).on(&what)? {
        None => Ok(()),
        Some(why) => Err(damaged(&what, why)),
    }
}
