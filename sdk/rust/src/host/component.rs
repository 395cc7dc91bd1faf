//! The WebAssembly side of the seam: the imports, and what stands behind the exports.

use std::cell::RefCell;

use super::{Level, Page, Refusal, TimedPage};
use crate::program::{Define, Program};
use bindings::millstream::plugin::{runtime, stores};

/// What `wit/millstream.wit` becomes in Rust; named by [`crate::plugin!`] only.
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "processor",
        pub_export_macro: true,
        default_bindings_module: "millstream_sdk::host::bindings",
    });
}

thread_local! {
    /// The instance's program: a component has one thread.
    static PROGRAM: RefCell<Option<Program>> = const { RefCell::new(None) };
}

/// The export `describe`.
pub fn describe<Args>(topology: impl Define<Args>, config: &str) -> Result<String, String> {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
    let program = Program::build(&topology, config)?;
    let description = program.description().to_owned();
    PROGRAM.replace(Some(program));
    Ok(description)
}

/// The export `process`.
pub fn process(node: u32, frame: &[u8]) -> Result<Vec<u8>, String> {
    PROGRAM.with_borrow_mut(|program| match program {
        Some(program) => program.process(node, frame),
        None => Err("`process` was called before `describe`".to_owned()),
    })
}

pub(crate) fn get_many(store: u32, keys: &[u8]) -> Result<Vec<u8>, Refusal> {
    stores::get_many(store, keys).map_err(refusal)
}

pub(crate) fn apply(store: u32, writes: &[u8]) -> Result<(), Refusal> {
    stores::apply(store, writes).map_err(refusal)
}

/// The page's rows, and whether there are more behind it.
pub(crate) fn scan(store: u32, page: &Page<'_>) -> Result<(Vec<u8>, bool), Refusal> {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let request = stores::ScanRequest {
        lower: owned(page.lower),
        upper: owned(page.upper),
        prefix: owned(page.prefix),
        after: owned(page.after),
        reverse: page.reverse,
        limit: page.limit,
    };
    stores::scan(store, &request).map(|page| (page.entries, page.more)).map_err(refusal)
}

pub(crate) fn approximate_entries(store: u32) -> Result<u64, Refusal> {
    stores::approximate_entries(store).map_err(refusal)
}

pub(crate) fn get_timed(store: u32, things: &[u8]) -> Result<Vec<u8>, Refusal> {
    stores::get_timed(store, things).map_err(refusal)
}

pub(crate) fn apply_timed(store: u32, writes: &[u8]) -> Result<Vec<u8>, Refusal> {
    stores::apply_timed(store, writes).map_err(refusal)
}

/// The page's rows, and where the next page begins.
pub(crate) fn scan_timed(store: u32, page: &TimedPage<'_>) -> Result<(Vec<u8>, Option<Vec<u8>>), Refusal> {
    stores::scan_timed(store, &timed_scan(page)).map(|page| (page.entries, page.next)).map_err(refusal)
}

/// The same of sessions that end no later than the page's `latest_end`. By itself: a component imports what its code may
/// call, and a host that does not know this function refuses one that does.
pub(crate) fn scan_sessions(store: u32, page: &TimedPage<'_>) -> Result<(Vec<u8>, Option<Vec<u8>>), Refusal> {
    let answer = stores::scan_sessions(store, &timed_scan(page), page.latest_end.unwrap_or(i64::MAX));
    answer.map(|page| (page.entries, page.next)).map_err(refusal)
}

fn timed_scan(page: &TimedPage<'_>) -> stores::TimedScan {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    stores::TimedScan {
        key: owned(page.key),
        lower: owned(page.lower),
        upper: owned(page.upper),
        from: page.from,
        to: page.to,
        after: owned(page.after),
        reverse: page.reverse,
        limit: page.limit,
    }
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => runtime::LogLevel::Debug,
        Level::Info => runtime::LogLevel::Info,
        Level::Warn => runtime::LogLevel::Warn,
        Level::Error => runtime::LogLevel::Error,
    };
    runtime::log(level, message);
}

/// Of a source: what it reads.
pub(crate) fn topics(source: u32) -> Vec<String> {
    runtime::topics(source)
}

fn refusal(error: stores::StoreError) -> Refusal {
    match error {
        stores::StoreError::UnknownStore => Refusal::UnknownStore,
        stores::StoreError::TooLarge => Refusal::TooLarge,
        stores::StoreError::Malformed => Refusal::Malformed,
        stores::StoreError::Denied => Refusal::Denied,
    }
}
