//! What stands behind a provider's exports; named by [`crate::provider!`] only.

use super::{Extent, Failure, Keys, Kind, Options, Provider, Rows, Scan, Values, Writes};
use crate::Config;
use crate::host::{self, Level};

/// What `wit/provider.wit` becomes in Rust.
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "store-provider",
        pub_export_macro: true,
        default_bindings_module: "millstream_sdk::provider::component::bindings",
    });
}

pub use bindings::exports::millstream::plugin::provider as wit;

type Answered<T> = Result<T, wit::Failure>;

pub fn open<P: Provider>(provider: &mut P, store: u32, options: wit::Options) -> Answered<wit::Capabilities> {
    std::panic::set_hook(Box::new(|panic| host::log(Level::Error, &panic.to_string())));
    let kind = match options.kind {
        wit::StoreKind::KeyValue => Kind::KeyValue,
        wit::StoreKind::Window => Kind::Window,
        wit::StoreKind::Session => Kind::Session,
        wit::StoreKind::Versioned => Kind::Versioned,
    };
    let config = Config::parse(&options.config).map_err(wit::Failure::Refused)?;
    let options = Options { id: options.id, kind, config, epoch: options.epoch };
    let capabilities = provider.open(store, options).map_err(failure)?;
    Ok(wit::Capabilities { persistent: capabilities.persistent })
}

pub fn get_many<P: Provider>(provider: &mut P, store: u32, keys: &[u8]) -> Answered<wit::Answer> {
    let mut values = Values::new();
    let keys = Keys::read(keys).ok_or_else(malformed)?;
    let position = provider.get_many(store, keys, &mut values).map_err(failure)?;
    Ok(wit::Answer { position, values: values.finish() })
}

pub fn scan<P: Provider>(provider: &mut P, store: u32, request: wit::ScanRequest) -> Answered<wit::Page> {
    let wit::ScanRequest { lower, upper, after, reverse, limit } = request;
    let mut rows = Rows::new(limit);
    let scan = Scan { lower, upper, after, reverse, limit };
    let position = provider.scan(store, &scan, &mut rows).map_err(failure)?;
    let (entries, more) = rows.finish();
    Ok(wit::Page { position, entries, more })
}

/// The bytes: from, to, writes.
pub fn apply<P: Provider>(provider: &mut P, store: u32, epoch: u64, [from, to, writes]: [&[u8]; 3]) -> Answered<()> {
    let writes = Writes::read(writes).ok_or_else(malformed)?;
    provider.apply(store, epoch, from, to, writes).map_err(failure)
}

pub fn position<P: Provider>(provider: &mut P, store: u32) -> Answered<Vec<u8>> {
    provider.position(store).map_err(failure)
}

pub fn size<P: Provider>(provider: &mut P, store: u32) -> Answered<wit::Extent> {
    let Extent { entries, bytes } = provider.size(store).map_err(failure)?;
    Ok(wit::Extent { entries, bytes })
}

pub fn flush<P: Provider>(provider: &mut P, store: u32, epoch: u64) -> Answered<()> {
    provider.flush(store, epoch).map_err(failure)
}

pub fn wipe<P: Provider>(provider: &mut P, store: u32, epoch: u64) -> Answered<()> {
    provider.wipe(store, epoch).map_err(failure)
}

pub fn close<P: Provider>(provider: &mut P, store: u32) -> Answered<()> {
    provider.close(store).map_err(failure)
}

fn failure(failure: Failure) -> wit::Failure {
    match failure {
        Failure::Retry(why) => wit::Failure::Retry(why),
        Failure::Corrupted(why) => wit::Failure::Corrupted(why),
        Failure::Conflict(why) => wit::Failure::Conflict(why),
        Failure::Refused(why) => wit::Failure::Refused(why),
    }
}

fn malformed() -> wit::Failure {
    wit::Failure::Refused("the host's bytes are not those of this SDK; build against its version".to_owned())
}
