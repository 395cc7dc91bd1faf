//! Millstream plugins in Rust: topologies in the words of Kafka Streams' DSL, typed, without unsafe code, WIT or
//! frames in sight.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! fn topology(app: &mut Topology) {
//!     app.stream::<(), String>("lines")
//!         .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
//!         .group_by(|_, word| word.clone())
//!         .count("word-counts")
//!         .to_stream()
//!         .to("counts");
//! }
//!
//! millstream_sdk::plugin!(topology);
//! # fn main() {}
//! ```
//!
//! # Layout, from what a plugin writes down to the bytes
//!
//! | module | holds |
//! |---|---|
//! | [`topology`] | streams, groups, tables: the builder |
//! | [`processor`] | processors, what they are opened with and what they know of a record |
//! | [`store`] | typed state stores, the buffer between them and the host |
//! | [`record`], [`windowed`], [`codec`], [`failure`], [`config`], [`log`] | what plugins hold in their hands |
//! | [`provider`] | store providers: what keeps state, for any application |
//! | `program`, `call`, `chain` | a described topology; one call of one node, and of several in a row |
//! | `description`, `frame`, `answer` | the bytes of `wit/README.md` |
//! | [`host`] | the seam: a component's imports, or the engine in a native test |
//! | `testing` | the test driver (not on WebAssembly) |

mod answer;
mod call;
mod chain;
pub mod codec;
pub mod config;
mod description;
pub mod failure;
mod frame;
#[doc(hidden)]
pub mod host;
pub mod log;
pub mod processor;
mod program;
pub mod provider;
pub mod record;
pub mod store;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod topology;
pub mod windowed;

pub use codec::{Codec, Data, DecodeError, Json};
pub use config::Config;
pub use failure::Failure;
#[cfg(not(target_arch = "wasm32"))]
pub use host::Plugin;
pub use processor::{Context, FixedKeyContext, FixedKeyProcessor, Init, Prefetch, Processor, Punctuation, Random};
pub use program::{Define, Defined};
pub use record::{Headers, Record};
pub use store::{
    KeyValueStore, ReadOnlyKeyValueStore, Scan, SessionStore, Sessions, Store, TimedEntry, TimedScan, TimestampedScan,
    ValidTo, ValueAndTimestamp, Versioned, VersionedStore, Versions, WindowStore, Windows,
};
pub use topology::{
    BufferConfig, Changes, Cogrouped, Consumed, Deletes, EmitStrategy, GlobalTable, Grouped, GroupedTable,
    InvalidTimestamp, JoinWindows, Materialized, Produced, Repartitioned, SessionWindowed, SessionWindows,
    SlidingWindows, Split, Stream, Suppressed, Table, TimeWindowed, TimeWindows, Topology, UnlimitedWindows, Upserts,
    WindowedBy,
};
pub use windowed::{Session, Time, Windowed};

/// Everything a plugin writes by name.
pub mod prelude {
    pub use crate::{
        BufferConfig, Changes, Codec, Cogrouped, Config, Consumed, Context, Data, DecodeError, Deletes, EmitStrategy,
        Failure, FixedKeyContext, FixedKeyProcessor, GlobalTable, Grouped, GroupedTable, Headers, Init,
        InvalidTimestamp, JoinWindows, Json, KeyValueStore, Materialized, Prefetch, Processor, Produced, Punctuation,
        ReadOnlyKeyValueStore, Record, Repartitioned, Scan, Session, SessionStore, SessionWindows, Sessions,
        SlidingWindows, Split, Store, Stream, Suppressed, Table, TimeWindows, TimedEntry, TimedScan, TimestampedScan,
        Topology, UnlimitedWindows, Upserts, ValidTo, ValueAndTimestamp, Versioned, VersionedStore, Versions,
        WindowStore, Windowed, Windows, log,
    };
    pub use std::time::Duration;
}

/// Makes the crate a plugin: `plugin!(topology)` with a function `fn(&mut Topology)` or
/// `fn(&mut Topology, &Config)`, which may answer a `Result`.
///
/// On `wasm32` it exports the component; elsewhere it makes `pub fn plugin(config)`, the same plugin as native code
/// for tests.
#[macro_export]
macro_rules! plugin {
    ($topology:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::host::bindings::Guest for Component {
                fn describe(config: String) -> Result<String, String> {
                    $crate::host::describe($topology, &config)
                }

                fn process(node: u32, frame: Vec<u8>) -> Result<Vec<u8>, String> {
                    $crate::host::process(node, &frame)
                }
            }

    $crate::host::bindings::export!(Component with_types_in $crate::host::bindings);
        };

        /// The plugin as native code; `config` is the manifest's `[config]` as a JSON object.
        #[cfg(not(target_arch = "wasm32"))]
        pub fn plugin(config: &str) -> Result<$crate::Plugin, String> {
            $crate::Plugin::new($topology, config)
        }
    };
}

/// The README's plugin, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
