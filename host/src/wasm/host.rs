//! What an instance's `Store` holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_engine::config::Limits;
use millstream_engine::store::{self, AccessError, TaskStores};
use millstream_engine::task::TaskId;

use super::bindings::millstream::plugin::stores::StoreError;
use super::engine::TICK;
use super::limits::{HOST_CALLS, HOST_TIME, Meter, Overrun, SLOW_HOST_CALL, bytes};
use super::runtime::GuestLog;

/// Whose guest it is, for its log lines.
#[derive(Clone, Debug)]
pub struct Owner {
    pub application: Arc<str>,
    /// `None`: a throw-away instance that only describes itself.
    pub task: Option<TaskId>,
}

/// The data of one instance's `Store`.
pub(super) struct HostState {
    /// The task's own while a call runs, empty in between.
    pub(super) stores: TaskStores,
    pub(super) meter: Meter,
    /// Bytes one host call may be handed.
    transfer_max: usize,
    pub(super) clock: CallClock,
    pub(super) log: Arc<GuestLog>,
    /// The guest's last error line of this call: what a panic hook said before the trap.
    pub(super) last_words: Option<String>,
}

impl HostState {
    pub(super) fn new(limits: &Limits, log: Arc<GuestLog>) -> HostState {
        HostState {
            stores: TaskStores::default(),
            meter: Meter::new(limits),
            transfer_max: bytes(limits.transfer),
            clock: CallClock::new(limits),
            log,
            last_words: None,
        }
    }

    /// One call of the guest into the task's stores, with so many bytes: counted, its time taken off the guest's,
    /// and its failure either an answer for the guest or, where it is the host's own, a trap that carries it out.
    pub(super) fn access<T>(
        &mut self,
        handed: usize,
        run: impl FnOnce(&mut TaskStores) -> Result<T, AccessError>,
    ) -> wasmtime::Result<Result<T, StoreError>> {
        self.clock.begin_host_call()?;
        if handed > self.transfer_max {
            return Err(wasmtime::Error::new(Overrun::Transfer { bytes: handed, limit: self.transfer_max }));
        }
        let began = Instant::now();
        let answer = run(&mut self.stores);
        self.clock.host_time += began.elapsed();
        match answer {
            Ok(value) => Ok(Ok(value)),
            Err(AccessError::UnknownStore) => Ok(Err(StoreError::UnknownStore)),
            Err(AccessError::TooLarge) => Ok(Err(StoreError::TooLarge)),
            Err(AccessError::Malformed) => Ok(Err(StoreError::Malformed)),
            Err(AccessError::Denied) => Ok(Err(StoreError::Denied)),
            Err(AccessError::Overrun(what)) => Err(wasmtime::Error::new(Overrun::Stores(what))),
            Err(AccessError::Host(error)) => Err(wasmtime::Error::new(error)),
        }
    }
}

impl AsMut<HostState> for HostState {
    fn as_mut(&mut self) -> &mut HostState {
        self
    }
}

/// What the guest call that runs has used up.
///
/// The epoch only asks often enough; what ends a call is the guest's own time, so that a slow disk under a store is
/// not held against the record. The time inside host calls has a bound of its own.
pub(super) struct CallClock {
    call: Duration,
    began: Instant,
    host_time: Duration,
    host_calls: u32,
}

impl CallClock {
    fn new(limits: &Limits) -> CallClock {
        CallClock { call: limits.call, began: Instant::now(), host_time: Duration::ZERO, host_calls: 0 }
    }

    /// Starts a call; answers how many ticks to wait before looking at it.
    pub(super) fn begin(&mut self) -> u64 {
        self.began = Instant::now();
        self.host_time = Duration::ZERO;
        self.host_calls = 0;
        ticks(self.call)
    }

    /// How many ticks the guest has left; `None`: its time is over.
    pub(super) fn ticks_left(&self) -> Option<u64> {
        let guest_time = self.began.elapsed().saturating_sub(self.host_time);
        self.call.checked_sub(guest_time).filter(|left| !left.is_zero()).map(ticks)
    }

    pub(super) fn begin_host_call(&mut self) -> wasmtime::Result<()> {
        let limit = self.call.saturating_mul(HOST_TIME);
        if self.host_time > limit {
            let calls = self.host_calls;
            let is_slow = self.host_time / calls.max(1) >= SLOW_HOST_CALL;
            return Err(match is_slow {
                true => wasmtime::Error::new(store::Error::Retry(format!("{calls} calls took {:?}", self.host_time))),
                false => wasmtime::Error::new(Overrun::HostTime { calls, limit }),
            });
        }
        self.host_calls += 1;
        if self.host_calls > HOST_CALLS {
            return Err(wasmtime::Error::new(Overrun::HostCalls));
        }
        Ok(())
    }
}

/// Whole ticks, rounded up.
fn ticks(time: Duration) -> u64 {
    time.as_nanos().div_ceil(TICK.as_nanos()) as u64
}
