//! The seam to the host: the component's imports on WebAssembly, the engine's stores in a native test.

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub(crate) use component::{
    apply, apply_timed, approximate_entries, get_many, get_timed, log, scan, scan_sessions, scan_timed, topics,
};
#[cfg(target_arch = "wasm32")]
pub use component::{bindings, describe, process};
#[cfg(test)]
pub(crate) use native::CALLS;
#[cfg(not(target_arch = "wasm32"))]
pub use native::Plugin;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{
    apply, apply_timed, approximate_entries, get_many, get_timed, log, scan, scan_sessions, scan_timed, topics,
};

use std::fmt;

/// Why the host refused a store call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownStore,
    TooLarge,
    Malformed,
    Denied,
    /// The host itself failed; it undoes this call and blames nobody.
    #[cfg(not(target_arch = "wasm32"))]
    Broken,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::UnknownStore => "it is not connected to this node; open it with `init.store`",
            Refusal::TooLarge => "a key or a value is larger than the host's limit (`[limits]` of the manifest)",
            Refusal::Malformed => "the host does not understand this SDK's bytes; build against its version",
            Refusal::Denied => "one of the host's limits is reached (`[limits]` of the manifest)",
            #[cfg(not(target_arch = "wasm32"))]
            Refusal::Broken => "the store itself failed",
        })
    }
}

/// A page of a scan to ask for; all bounds inclusive, `after` exclusive.
pub(crate) struct Page<'a> {
    pub lower: Option<&'a [u8]>,
    pub upper: Option<&'a [u8]>,
    pub prefix: Option<&'a [u8]>,
    pub after: Option<&'a [u8]>,
    pub reverse: bool,
    pub limit: u32,
}

/// A page of a window or session store to ask for.
pub(crate) struct TimedPage<'a> {
    pub key: Option<&'a [u8]>,
    pub lower: Option<&'a [u8]>,
    pub upper: Option<&'a [u8]>,
    pub from: i64,
    pub to: i64,
    /// Of [`scan_sessions`] alone.
    pub latest_end: Option<i64>,
    pub after: Option<&'a [u8]>,
    pub reverse: bool,
    pub limit: u32,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}
