//! A running provider: one `Store` and the instance in it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasmtime::Store;

use super::super::guest::{begin, new_store};
use super::super::host::HostState;
use super::super::limits::{Overrun, bytes};
use super::super::runtime::GuestLog;
use super::bindings::exports::millstream::plugin::provider::{
    Answer, Capabilities, Extent, Failure, Options, Page, ScanRequest,
};
use super::component::Provider;
use super::frame::CALL_BYTES;
use super::state::State;

/// Answers as multiples of what one has in the usual case: the last value of one may be large, and pages have rows beside.
const ANSWERS: usize = 4;

/// The outer error is a trap or an overrun, after which the guest must be dropped; the inner one is its own word.
pub(super) type Called<T> = wasmtime::Result<Result<T, Failure>>;

pub(super) struct Guest {
    store: Store<State>,
    exports: super::bindings::StoreProvider,
    waits: Waits,
}

macro_rules! calls {
    ($($name:ident $call:ident ($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl Guest {
            $(pub fn $name(&mut self, $($arg: $type),*) -> Called<$answer> {
                begin(&mut self.store);
                self.waits.run(self.exports.millstream_plugin_provider().$call(&mut self.store, $($arg),*))
            })*
        }
    };
}

calls! {
    open call_open(store: u32, options: &Options) -> Capabilities;
    get_many call_get_many(store: u32, keys: &[u8]) -> Answer;
    scan call_scan(store: u32, request: &ScanRequest) -> Page;
    apply call_apply(store: u32, epoch: u64, from: &[u8], to: &[u8], writes: &[u8]) -> ();
    position call_position(store: u32) -> Vec<u8>;
    size call_size(store: u32) -> Extent;
    flush call_flush(store: u32, epoch: u64) -> ();
    wipe call_wipe(store: u32, epoch: u64) -> ();
    close call_close(store: u32) -> ();
}

impl Guest {
    /// Instantiates, under the limits of a call.
    pub fn start(provider: &Provider, log: &Arc<GuestLog>) -> wasmtime::Result<Guest> {
        let limits = provider.limits();
        let entry = bytes(limits.key_bytes).saturating_add(bytes(limits.value_bytes));
        let copied = (ANSWERS * CALL_BYTES).saturating_add(entry);
        let state = State::new(HostState::new(limits, log.clone()), provider.grant());
        let mut store = new_store(provider.pre().engine(), limits, state, copied);
        let waits = match provider.grant() {
            Some(_) => Waits::until(limits.call)?,
            None => Waits::Never,
        };
        let exports = waits.run(provider.pre().instantiate_async(&mut store))?;
        Ok(Guest { store, exports, waits })
    }

    /// The last error line of a call that trapped.
    pub fn last_words(&mut self) -> Option<String> {
        self.store.data_mut().host.last_words.take()
    }
}

/// How a call waits.
enum Waits {
    /// It imports nothing that could.
    Never,
    /// For sockets and clocks, on this thread. The epoch ends loops and no waits, so these have a limit of their own.
    Until { runtime: tokio::runtime::Runtime, limit: Duration },
}

impl Waits {
    fn until(limit: Duration) -> wasmtime::Result<Waits> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Waits::Until { runtime, limit })
    }

    /// A call that is over its time is dropped where it waits, and its instance is of no more use.
    fn run<T>(&self, call: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
        match self {
            Waits::Never => match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => answer,
                Poll::Pending => Err(wasmtime::Error::msg("waits for something that it was not given")),
            },
            Waits::Until { runtime, limit } => runtime.block_on(async {
                let overrun = |_| Err(wasmtime::Error::new(Overrun::Waited { limit: *limit }));
                tokio::time::timeout(*limit, call).await.unwrap_or_else(overrun)
            }),
        }
    }
}
