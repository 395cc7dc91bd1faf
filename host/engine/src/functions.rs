//! The one trait between operators and user code: a frame in, a frame out, stores at hand.
//!
//! Implemented by the wasm room of the host (a component's instance) and by native code (the SDK's test driver,
//! the bench's native engine).

use crate::store;
use crate::store::TaskStores;

/// User code of one task.
pub trait Functions: Send {
    /// Runs the function of node `node` over `frame` and appends the result frame to `out` (`wit/README.md`). The
    /// stores are the task's own; what an implementation has to hand over as its own it takes out of `stores` and
    /// puts back before it returns, whatever happened.
    fn call(&mut self, node: u32, frame: &[u8], stores: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault>;

    /// Forgets whatever the user code remembers: called after every rollback, so that a replay meets what a restart
    /// would. Must not fail: a fresh instance is made at the next call.
    fn discard(&mut self);
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The user code's own doing: it meets the policy of the record that caused it.
    #[error("{0}")]
    Guest(GuestFault),
    /// A store, a provider or the disk failed inside the call: never blamed on the record.
    #[error(transparent)]
    Host(#[from] store::Error),
}

/// A failed call of user code, as it stands in a dead letter's headers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct GuestFault {
    pub kind: FaultKind,
    pub message: String,
    /// One frame a line, innermost first; empty when there is none.
    pub backtrace: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The guest crashed.
    Trap,
    /// The call took longer than its limit.
    Deadline,
    /// The guest wanted more memory than its limit.
    Memory,
    /// The guest answered with an error instead of a frame.
    Failed,
    /// The guest's answer is not a frame, or asks for what it may not.
    BadFrame,
    /// The guest's instance could not be started.
    Start,
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FaultKind::Trap => "trap",
            FaultKind::Deadline => "deadline",
            FaultKind::Memory => "memory",
            FaultKind::Failed => "failed",
            FaultKind::BadFrame => "bad frame",
            FaultKind::Start => "start",
        })
    }
}

impl Fault {
    pub fn guest(kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault::Guest(GuestFault { kind, message: message.into(), backtrace: String::new() })
    }
}
