//! What LMDB's errors ask of their caller.

use std::io::ErrorKind;
use std::path::Path;

use heed::MdbError;
use millstream_engine::config::ByteSize;
use millstream_engine::error::{Problem, exit};
use millstream_engine::store::Error;

/// The verdict on a failed call, with what a person needs to help. `map_size` is the environment's; 0 for readers.
pub fn failed(directory: &Path, error: heed::Error, map_size: ByteSize) -> Error {
    let state = format!("the state in {}", directory.display());
    match error {
        heed::Error::Mdb(MdbError::MapFull) => Error::Full(Box::new(full(directory, map_size))),
        heed::Error::Io(why) if matches!(why.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            Error::Retry(format!(
                "{state} does not fit on its disk ({why}); nothing was lost, it goes on when there is room again"
            ))
        }
        heed::Error::Io(why) => Error::Retry(format!("{state}: {why}")),
        heed::Error::EnvAlreadyOpened => Error::Retry(format!("{state} is still in use by this process")),
        heed::Error::Mdb(
            why @ (MdbError::ReadersFull
            | MdbError::TxnFull
            | MdbError::DbsFull
            | MdbError::MapResized
            | MdbError::TlsFull),
        ) => Error::Retry(format!("{state}: {why}")),
        // Everything else LMDB says is about pages that are not what they should be.
        why => Error::Corrupted(format!("{state} is damaged: {why}")),
    }
}

/// The name of the problem that a state is which has reached its `max_size`.
pub const STATE_FULL: &str = "StateFull";

fn full(directory: &Path, max_size: ByteSize) -> Problem {
    let message = format!("the state in {} is full: it may have {max_size} (max_size)", directory.display());
    Problem::new(STATE_FULL, "E0705", exit::FAILED, message)
        .field("state_dir", directory.display().to_string())
        .field("max_size_bytes", max_size.0)
        .why("nothing was lost: the log has what the state does not take, and its task waits")
        .fix(
            "start again with a larger max_size ([state], or [stores.NAME] of one of its stores); or keep less: a shorter \
             retention, or more partitions",
        )
}
