//! The native side of the seam: the same plugin under `cargo test`, without WebAssembly.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream_engine::functions::{Fault, FaultKind, Functions};
use millstream_engine::store::{AccessError, ScanRequest, TaskStores, TimedRequest};

use super::{Level, Page, Refusal, TimedPage};
use crate::program::{Define, Program};

#[cfg(test)]
thread_local! {
    /// How often the host was called on this thread.
    pub(crate) static CALLS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

thread_local! {
    /// The stores of the task whose call runs on this thread.
    static STORES: RefCell<Option<TaskStores>> = const { RefCell::new(None) };
    /// What ends the running call, whatever the plugin makes of it.
    static BROKEN: RefCell<Option<Fault>> = const { RefCell::new(None) };
    /// Programs by plugin: they are not `Send`, and like instances of a component may be made anew at any call.
    static PROGRAMS: RefCell<HashMap<u64, Program>> = RefCell::new(HashMap::new());
}

/// Builds a program; kept so that it can be done again after a `discard`.
type Recipe = Arc<dyn Fn() -> Result<Program, String> + Send + Sync>;

/// A plugin as native code: what its component is to the host, in the same process.
pub struct Plugin {
    id: u64,
    recipe: Recipe,
    description: String,
}

impl Plugin {
    /// Describes `topology` under a configuration, a JSON object as text; `{}` is none. Err is what the user sees.
    pub fn new<Args: 'static>(
        topology: impl Define<Args> + Send + Sync + 'static,
        config: &str,
    ) -> Result<Plugin, String> {
        let config = config.to_owned();
        let recipe: Recipe = Arc::new(move || Program::build(&topology, &config));
        let description = recipe()?.description().to_owned();
        Ok(Plugin::of(recipe, description))
    }

    fn of(recipe: Recipe, description: String) -> Plugin {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Plugin { id: NEXT.fetch_add(1, Ordering::Relaxed), recipe, description }
    }

    /// The topology as JSON, as `describe` of the component answers it.
    pub fn description(&self) -> &str {
        &self.description
    }

    fn process(&self, node: u32, frame: &[u8]) -> Result<Vec<u8>, String> {
        // Taken out for the call, so that a panic leaves none behind.
        let program = PROGRAMS.with_borrow_mut(|programs| programs.remove(&self.id));
        let mut program = program.map_or_else(|| (self.recipe)(), Ok)?;
        let answer = program.process(node, frame);
        PROGRAMS.with_borrow_mut(|programs| programs.insert(self.id, program));
        answer
    }
}

/// Another instance of the same plugin, with nothing in common but its code.
impl Clone for Plugin {
    fn clone(&self) -> Plugin {
        Plugin::of(self.recipe.clone(), self.description.clone())
    }
}

impl Functions for Plugin {
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
        STORES.replace(Some(std::mem::take(stores)));
        let answer = catch_unwind(AssertUnwindSafe(|| self.process(node, frame)));
        *stores = STORES.take().unwrap_or_default();
        if let Some(fault) = BROKEN.take() {
            return Err(fault);
        }
        match answer {
            Ok(Ok(answer)) => {
                out.extend_from_slice(&answer);
                Ok(())
            }
            Ok(Err(message)) => Err(Fault::guest(FaultKind::Failed, message)),
            Err(panic) => Err(Fault::guest(FaultKind::Trap, panic_message(panic))),
        }
    }

    fn discard(&mut self) {
        PROGRAMS.with_borrow_mut(|programs| programs.remove(&self.id));
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.discard();
    }
}

fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

pub(crate) fn get_many(store: u32, keys: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    with_stores(|stores| stores.get_many(store, keys, &mut out))?;
    Ok(out)
}

pub(crate) fn apply(store: u32, writes: &[u8]) -> Result<(), Refusal> {
    with_stores(|stores| stores.apply_writes(store, writes))
}

/// The page's rows, and whether there are more behind it.
pub(crate) fn scan(store: u32, page: &Page<'_>) -> Result<(Vec<u8>, bool), Refusal> {
    let &Page { lower, upper, prefix, after, reverse, limit } = page;
    let mut out = Vec::new();
    let request = ScanRequest { lower, upper, prefix, after, reverse, limit };
    let more = with_stores(|stores| stores.scan_page(store, request, &mut out))?;
    Ok((out, more))
}

pub(crate) fn approximate_entries(store: u32) -> Result<u64, Refusal> {
    with_stores(|stores| stores.approximate_entries(store))
}

pub(crate) fn get_timed(store: u32, things: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    with_stores(|stores| stores.get_timed(store, things, &mut out))?;
    Ok(out)
}

pub(crate) fn apply_timed(store: u32, writes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    with_stores(|stores| stores.apply_timed(store, writes, &mut out))?;
    Ok(out)
}

/// The page's rows, and where the next page begins.
pub(crate) fn scan_timed(store: u32, page: &TimedPage<'_>) -> Result<(Vec<u8>, Option<Vec<u8>>), Refusal> {
    let &TimedPage { key, lower, upper, from, to, latest_end, after, reverse, limit } = page;
    let mut out = Vec::new();
    let request = TimedRequest { key, lower, upper, from, to, latest_end, after, reverse, limit };
    let next = with_stores(|stores| stores.scan_timed(store, request, &mut out))?;
    Ok((out, next))
}

/// The same of sessions that end no later than the page's `latest_end`.
pub(crate) fn scan_sessions(store: u32, page: &TimedPage<'_>) -> Result<(Vec<u8>, Option<Vec<u8>>), Refusal> {
    scan_timed(store, page)
}

pub(crate) fn log(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// Of a source: what it reads.
pub(crate) fn topics(source: u32) -> Vec<String> {
    STORES.with_borrow(|stores| stores.as_ref().map(|stores| stores.topics_of(source).to_vec())).unwrap_or_default()
}

fn with_stores<T>(call: impl FnOnce(&mut TaskStores) -> Result<T, AccessError>) -> Result<T, Refusal> {
    #[cfg(test)]
    CALLS.set(CALLS.get() + 1);
    let answer = STORES.with_borrow_mut(|stores| stores.as_mut().map_or(Err(AccessError::UnknownStore), call));
    answer.map_err(|error| match error {
        AccessError::UnknownStore => Refusal::UnknownStore,
        AccessError::TooLarge => Refusal::TooLarge,
        AccessError::Malformed => Refusal::Malformed,
        AccessError::Denied => Refusal::Denied,
        AccessError::Host(error) => {
            BROKEN.replace(Some(Fault::Host(error)));
            Refusal::Broken
        }
        AccessError::Overrun(what) => {
            BROKEN.replace(Some(Fault::guest(FaultKind::Trap, what)));
            Refusal::Broken
        }
    })
}
