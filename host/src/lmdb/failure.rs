//! What LMDB's errors ask of their caller.

use std::io::ErrorKind;
use std::path::Path;

use heed::MdbError;
use millstream_engine::config::ByteSize;
use millstream_engine::store::Error;

/// The verdict on a failed call, with what a person needs to help. `map_size` is the environment's; 0 while opening.
pub fn failed(directory: &Path, error: heed::Error, map_size: ByteSize) -> Error {
    let state = format!("the state in {}", directory.display());
    match error {
        heed::Error::Mdb(MdbError::MapFull) => Error::Retry(format!(
            "{state} is full: it may have {map_size}; nothing was lost, it goes on after a restart with a larger max_size \
             ([state], or [stores.NAME] of one of its stores)"
        )),
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
