//! A component that was swapped in stays after a restart, until the manifest names another file or another digest.
//!
//! Two files in the application's state directory: `swapped-DIGEST.wasm`, the component, and `swapped.json`, which names
//! it and is written behind it: `{"digest":"…","instead_of":{"component":"flights.wasm","digest":"…"}}`. A swap over
//! another one has for a moment two components there, and the record names one of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fail_point::{self, Point};

const COMPONENT: &str = "swapped-";
const COMPONENT_END: &str = ".wasm";
const RECORD: &str = "swapped.json";

/// The component of hosts that had room for one.
const COMPONENT_BEFORE: &str = "swapped.wasm";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    digest: String,
    instead_of: Named,
}

/// What the manifest names: the path as it stands there, and the digest of what is found there, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub component: String,
    pub digest: String,
}

/// Keeps a component in the application's directory. The record is replaced when the component is there: what was kept
/// before counts until then, and goes afterwards.
pub fn keep(directory: &Path, bytes: &[u8], digest: &str, instead_of: &Named) -> io::Result<()> {
    let component = component(directory, digest);
    write(&component, bytes)?;
    fail_point::pass(Point::SwapKept);
    let record = Record { digest: digest.to_owned(), instead_of: instead_of.clone() };
    let json = serde_json::to_vec(&record).map_err(io::Error::other)?;
    write(&directory.join(RECORD), &json)?;
    fail_point::pass(Point::SwapKept);
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_component = name.starts_with(COMPONENT) && name.ends_with(COMPONENT_END) || name == COMPONENT_BEFORE;
        if is_component && path != component {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn component(directory: &Path, digest: &str) -> PathBuf {
    directory.join(format!("{COMPONENT}{digest}{COMPONENT_END}"))
}

/// What is kept, as a start finds it.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// The component that was swapped in for what the manifest names.
    Component(Vec<u8>),
    /// One that was swapped in for something else: a start forgets it.
    Outdated,
}

/// Looks, and changes nothing.
pub fn find(directory: &Path, named: &Named) -> io::Result<Found> {
    let json = match fs::read(directory.join(RECORD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        read => read?,
    };
    match serde_json::from_slice::<Record>(&json) {
        Ok(record) if record.instead_of == *named => {
            let bytes = match fs::read(component(directory, &record.digest)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::read(directory.join(COMPONENT_BEFORE)),
                read => read,
            };
            let bytes = match bytes {
                // As one that is not what was kept.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
                read => read?,
            };
            Ok(if super::digest::of(&bytes) == record.digest { Found::Component(bytes) } else { Found::Nothing })
        }
        Ok(_) | Err(_) => Ok(Found::Outdated),
    }
}

/// Back to what the manifest names.
pub fn forget(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(RECORD)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, bytes)?;
    fs::File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named(component: &str, digest: &str) -> Named {
        Named { component: component.to_owned(), digest: digest.to_owned() }
    }

    #[test]
    fn what_was_swapped_in_counts_as_long_as_the_manifest_names_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let digest = super::super::digest::of(b"new");
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), Found::Nothing);
        keep(dir.path(), b"new", &digest, &named("a.wasm", "1")).unwrap();
        assert_eq!(find(dir.path(), &named("a.wasm", "2")).unwrap(), Found::Outdated);
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), Found::Component(b"new".to_vec()));
        fs::remove_file(component(dir.path(), &digest)).unwrap();
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), Found::Nothing);
        keep(dir.path(), b"new", &digest, &named("a.wasm", "1")).unwrap();
        forget(dir.path()).unwrap();
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), Found::Nothing);
    }

    #[test]
    fn the_last_one_is_kept_alone_whoever_kept_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = named("a.wasm", "1");
        // As hosts did that had room for one.
        fs::write(dir.path().join(COMPONENT_BEFORE), b"older").unwrap();
        let record = Record { digest: super::super::digest::of(b"older"), instead_of: manifest.clone() };
        fs::write(dir.path().join(RECORD), serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(find(dir.path(), &manifest).unwrap(), Found::Component(b"older".to_vec()));
        for bytes in [b"old", b"new"] {
            keep(dir.path(), bytes, &super::super::digest::of(bytes), &manifest).unwrap();
            assert_eq!(find(dir.path(), &manifest).unwrap(), Found::Component(bytes.to_vec()));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the record and its component");
        }
    }

    #[test]
    fn a_component_that_is_not_whole_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), b"new", &super::super::digest::of(b"new"), &named("a.wasm", "1")).unwrap();
        fs::write(component(dir.path(), &super::super::digest::of(b"new")), b"ne").unwrap();
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), Found::Nothing);
    }
}
