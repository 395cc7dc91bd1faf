//! A running guest: one `Store` and the instance in it.

use std::sync::Arc;

use millstream_engine::config::Limits;
use wasmtime::{Store, UpdateDeadline};

use super::bindings::Processor;
use super::component::Component;
use super::host::HostState;
use super::limits::{ANSWER_RECORDS, bytes};
use super::runtime::GuestLog;

/// Lives from its start to its first trap. Both exports answer `Err` for a trap, after which it must be dropped, and
/// `Ok(Err)` for the guest's own `err`.
pub(super) struct Guest {
    store: Store<HostState>,
    exports: Processor,
    /// Linear memory right after the start.
    memory_at_start: usize,
}

impl Guest {
    /// Instantiates, under the limits of a call.
    pub(super) fn start(component: &Component, log: &Arc<GuestLog>) -> wasmtime::Result<Guest> {
        let limits = component.limits();
        let copied = bytes(limits.transfer).max(bytes(limits.output_bytes).saturating_mul(ANSWER_RECORDS));
        let state = HostState::new(limits, log.clone());
        let mut store = new_store(component.pre().engine(), limits, state, copied);
        let exports = component.pre().instantiate(&mut store)?;
        let memory_at_start = store.data().meter.memory_bytes();
        Ok(Guest { store, exports, memory_at_start })
    }

    pub(super) fn describe(&mut self, config: &str) -> wasmtime::Result<Result<String, String>> {
        begin(&mut self.store);
        self.exports.call_describe(&mut self.store, config)
    }

    pub(super) fn process(&mut self, node: u32, frame: &[u8]) -> wasmtime::Result<Result<Vec<u8>, String>> {
        begin(&mut self.store);
        self.exports.call_process(&mut self.store, node, frame)
    }

    pub(super) fn state(&mut self) -> &mut HostState {
        self.store.data_mut()
    }

    pub(super) fn last_words(&mut self) -> Option<String> {
        self.state().last_words.take()
    }

    /// Whether three quarters of what it could grow by are used up: managed languages leak, and a fresh instance is
    /// cheaper than a trap.
    pub(super) fn is_worn(&self, memory_limit: usize) -> bool {
        let held = self.store.data().meter.memory_bytes();
        let room = memory_limit.saturating_sub(self.memory_at_start);
        held > self.memory_at_start + room / 4 * 3
    }
}

/// A `Store` in which nothing runs beyond its limits. `copied`: bytes that one call may hand over, in either direction.
pub(super) fn new_store<S: AsMut<HostState> + 'static>(
    engine: &wasmtime::Engine,
    limits: &Limits,
    state: S,
    copied: usize,
) -> Store<S> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.as_mut().meter);
    store.set_hostcall_fuel(copied);
    store.set_max_component_handles(limits.handles.get() as usize);
    store.epoch_deadline_callback(|mut ctx| {
        Ok(ctx.data_mut().as_mut().clock.ticks_left().map_or(UpdateDeadline::Interrupt, UpdateDeadline::Continue))
    });
    begin(&mut store);
    store
}

/// A new call: its time, its host calls and its words count from here.
pub(super) fn begin<S: AsMut<HostState>>(store: &mut Store<S>) {
    let state = store.data_mut().as_mut();
    state.last_words = None;
    let ticks = state.clock.begin();
    store.set_epoch_deadline(ticks);
}
