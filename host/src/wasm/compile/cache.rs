//! What was compiled before.
//!
//! Machine code that is read from a disk runs in this process, so an entry is believed only with a MAC under a key
//! that lies beside it, in a directory that nobody but its owner can enter. Anything that does not fit is thrown away
//! and compiled again.
//!
//! ```text
//! DIR/components/key       32 random bytes, 0600
//! DIR/components/NAME      magic, kind, MAC over name, magic, kind and content, content
//! ```

use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::{Error, Result};
use super::bounds;
use super::mac::{Key, MAC_BYTES, is_equal, mac};
use super::name::Name;
use super::refusal::Refusal;

/// All entries together. A component's code has some megabytes, and `dev` leaves one behind at each build.
const ENTRIES_BYTES_MAX: u64 = 1 << 30;

const MAGIC: &[u8; 8] = b"MSCODE01";
const HEADER_BYTES: usize = MAGIC.len() + 1 + MAC_BYTES;
const CODE: u8 = 1;
const REFUSAL: u8 = 2;

/// Several processes may use one directory.
#[derive(Clone)]
pub struct Cache {
    dir: PathBuf,
    key: Key,
}

pub(super) enum Entry {
    Code(Vec<u8>),
    Refusal(Refusal),
}

impl Cache {
    /// In `dir`, which is made if it is missing.
    pub fn open(dir: &Path) -> Result<Cache> {
        let dir = dir.join("components");
        let unusable = |why: String| Error::Cache { dir: dir.display().to_string(), why };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.and_then(|()| check_private(&dir)).map_err(|error| unusable(error.to_string()))?;
        let key = key(&dir.join("key")).map_err(|error| unusable(format!("its key: {error}")))?;
        Ok(Cache { dir, key })
    }

    /// `None`: there is no entry, or none that can be believed.
    pub(super) fn get(&self, name: &Name) -> Option<Entry> {
        let path = self.dir.join(name.as_str());
        let bytes = read(&path).ok()?;
        let entry = self.open_entry(name, &bytes);
        if entry.is_none() {
            tracing::warn!(file = %path.display(), "a compiled component is not as it was written: it is made again");
            let _ = fs::remove_file(&path);
        }
        entry
    }

    /// A cache that cannot be written to is only slow.
    pub(super) fn put(&self, name: &Name, entry: &Entry) {
        let written = self.write(name, entry).and_then(|()| self.make_room(name));
        if let Err(error) = written {
            tracing::warn!(dir = %self.dir.display(), %error, "a compiled component is not kept");
        }
    }

    fn write(&self, name: &Name, entry: &Entry) -> io::Result<()> {
        let (kind, content) = match entry {
            Entry::Code(code) => (CODE, Cow::Borrowed(&code[..])),
            Entry::Refusal(refusal) => (REFUSAL, Cow::Owned(serde_json::to_vec(refusal)?)),
        };
        let mac = self.mac(name, kind, &content);
        let path = self.dir.join(name.as_str());
        write_private(&path, &[MAGIC, &[kind], &mac, &content])
    }

    fn open_entry(&self, name: &Name, bytes: &[u8]) -> Option<Entry> {
        let (header, content) = bytes.split_at_checked(HEADER_BYTES)?;
        let (magic, rest) = header.split_at_checked(MAGIC.len())?;
        let (kind, mac) = rest.split_first()?;
        if magic != MAGIC || !is_equal(mac, &self.mac(name, *kind, content)) {
            return None;
        }
        match *kind {
            CODE => Some(Entry::Code(content.to_vec())),
            REFUSAL => serde_json::from_slice(content).ok().map(Entry::Refusal),
            _ => None,
        }
    }

    fn mac(&self, name: &Name, kind: u8, content: &[u8]) -> [u8; MAC_BYTES] {
        mac(&self.key, &[name.as_str().as_bytes(), MAGIC, &[kind], content])
    }

    /// Removes what was not used for longest, and never the newest.
    fn make_room(&self, newest: &Name) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Ok(found) = entry.metadata() else { continue };
            if name != "key" && name != newest.as_str() {
                entries.push((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len(), entry.path()));
            }
        }
        entries.sort();
        let mut held: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in entries {
            if held <= ENTRIES_BYTES_MAX {
                break;
            }
            held -= bytes;
            // Another process may have been faster.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}

/// A directory, and not a link to one; ours; closed to everyone else.
fn check_private(dir: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(dir)?;
    let owner = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        return Err(io::Error::other("it is no directory"));
    }
    if found.uid() != owner {
        return Err(io::Error::other(format!("it belongs to user {}, this is user {owner}", found.uid())));
    }
    match found.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("others may enter it (mode {:o})", found.permissions().mode() & 0o777))),
    }
}

/// The key, made anew where there is none that is ours alone: what was written under another is then not believed.
fn key(path: &Path) -> io::Result<Key> {
    if let Some(key) = read_key(path) {
        return Ok(key);
    }
    let mut key = Key::default();
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    write_private(path, &[&key])?;
    // Another process may have put its own there since.
    read_key(path).ok_or_else(|| io::Error::other("it is not what was written"))
}

fn read_key(path: &Path) -> Option<Key> {
    let private =
        fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 == 0);
    let bytes = private.then(|| fs::read(path).ok()).flatten()?;
    bytes.try_into().ok()
}

/// Reads a whole entry and marks it as used.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len().min(bounds::CODE.as_u64())).unwrap_or(0));
    Read::by_ref(&mut file).take(bounds::CODE.as_u64() + HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    let _ = file.set_modified(SystemTime::now());
    Ok(bytes)
}

/// Whoever reads the file sees all of it or none.
fn write_private(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    let written = parts.iter().try_for_each(|bytes| file.write_all(bytes)).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}
