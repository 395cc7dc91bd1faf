//! A component that was swapped in stays after a restart, until the manifest names another file or another digest.
//!
//! Two files in the application's state directory: `swapped.wasm`, the component, and `swapped.json`, written behind it:
//! `{"digest":"sha256:…","instead_of":{"component":"flights.wasm","digest":"sha256:…"}}`.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

const COMPONENT: &str = "swapped.wasm";
const RECORD: &str = "swapped.json";

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

/// Keeps a component in the application's directory. The record is written last: without it the component counts for
/// nothing.
pub fn keep(directory: &Path, bytes: &[u8], digest: &str, instead_of: &Named) -> io::Result<()> {
    forget(directory)?;
    write(&directory.join(COMPONENT), bytes)?;
    let record = Record { digest: digest.to_owned(), instead_of: instead_of.clone() };
    let json = serde_json::to_vec(&record).map_err(io::Error::other)?;
    write(&directory.join(RECORD), &json)
}

/// The component that was swapped in for what the manifest names; one that was swapped in for something else is
/// forgotten.
pub fn find(directory: &Path, named: &Named) -> io::Result<Option<Vec<u8>>> {
    let json = match fs::read(directory.join(RECORD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    match serde_json::from_slice::<Record>(&json) {
        Ok(record) if record.instead_of == *named => {
            let bytes = fs::read(directory.join(COMPONENT))?;
            Ok((super::digest::of(&bytes) == record.digest).then_some(bytes))
        }
        Ok(_) | Err(_) => forget(directory).map(|()| None),
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
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), None);
        keep(dir.path(), b"new", &digest, &named("a.wasm", "1")).unwrap();
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), Some(b"new".to_vec()));
        assert_eq!(find(dir.path(), &named("a.wasm", "2")).unwrap(), None);
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), None, "another digest forgets it for good");
    }

    #[test]
    fn a_component_that_is_not_whole_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), b"new", &super::super::digest::of(b"new"), &named("a.wasm", "1")).unwrap();
        fs::write(dir.path().join(COMPONENT), b"ne").unwrap();
        assert_eq!(find(dir.path(), &named("a.wasm", "1")).unwrap(), None);
    }
}
