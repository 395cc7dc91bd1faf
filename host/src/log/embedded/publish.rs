//! Records sent ahead of their interval: how much is on its way, and whether some of it failed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Error, Result};

/// What a client may have on its way; beyond it nothing more is taken.
const IN_FLIGHT_BYTES: usize = 8 << 20;

#[derive(Default)]
pub struct Published {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: usize,
    failure: Option<Error>,
}

impl Published {
    /// Whether there is room for this much, which is taken then.
    pub fn begin(&self, bytes: usize) -> bool {
        let mut state = self.state();
        let has_room = state.bytes == 0 || state.bytes + bytes <= IN_FLIGHT_BYTES;
        state.bytes += if has_room { bytes } else { 0 };
        has_room
    }

    pub fn settle(&self, bytes: usize, result: Result<()>) {
        if let Err(error) = result {
            self.fail(error);
        }
        self.state().bytes -= bytes;
    }

    /// Something is not in the log; the first reason is kept.
    pub fn fail(&self, error: Error) {
        self.state().failure.get_or_insert(error);
    }

    /// Why some of it is not in the log; the interval it belongs to must not be committed.
    pub fn failure(&self) -> Option<Error> {
        self.state().failure.clone()
    }

    /// The interval was aborted: what follows is sent anew.
    pub fn forgive(&self) {
        self.state().failure = None;
    }

    pub fn is_idle(&self) -> bool {
        self.state().bytes == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
