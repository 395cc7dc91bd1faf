//! What LMDB answers, in the log's words.

use heed::MdbError;

use super::{Error, Result, directory};

/// Names the thing that was asked for in an error of LMDB.
pub trait Named<T> {
    fn on(self, what: &str) -> Result<T>;
}

impl<T> Named<T> for heed::Result<T> {
    fn on(self, what: &str) -> Result<T> {
        self.map_err(|error| translate(what, error))
    }
}

impl<T> Named<T> for std::io::Result<T> {
    fn on(self, what: &str) -> Result<T> {
        self.map_err(|error| Error::unreachable(what, error))
    }
}

pub fn translate(what: &str, error: heed::Error) -> Error {
    match error {
        heed::Error::Mdb(MdbError::MapFull) => Error::refused(
            what,
            format!("the embedded log is full ({} GiB); delete topics or start a new one", directory::MAP_BYTES >> 30),
        ),
        // Too many readers at once, a full disk and everything else of the system's may be over at the next try.
        heed::Error::Mdb(MdbError::ReadersFull | MdbError::Other(_)) | heed::Error::Io(_) => {
            Error::unreachable(what, error)
        }
        heed::Error::EnvAlreadyOpened => Error::unreachable(what, error),
        heed::Error::Mdb(_) | heed::Error::Decoding(_) | heed::Error::Encoding(_) => damaged(what, error),
    }
}

pub fn damaged(what: &str, why: impl std::fmt::Display) -> Error {
    Error::Corrupted(what.to_owned(), why.to_string())
}
