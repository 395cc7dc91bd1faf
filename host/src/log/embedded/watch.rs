//! Waiting for what another thread or another process commits.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The first look at another process's commits comes after this; each next one after twice the time.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// The longest pause between two looks: what a record of another process may wait for when all was quiet.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// Wakes the waiting threads of this process; commits of others are seen by looking.
#[derive(Default)]
pub struct Watch {
    wakes: Mutex<u64>,
    woken: Condvar,
}

impl Watch {
    /// How often [`Watch::wake`] was called. Taken before looking for something, so that a wake-up between the look
    /// and the wait is not lost.
    pub fn wakes(&self) -> u64 {
        *self.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake(&self) {
        *self.wakes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.woken.notify_all();
    }

    /// Returns when there was a wake-up since `wakes`, when `changed` holds behind a first pause, or at the deadline.
    pub fn wait(&self, wakes: u64, deadline: Instant, changed: impl Fn() -> bool) {
        let mut look = FIRST_LOOK;
        let mut now = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        while *now == wakes {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            now = self.woken.wait_timeout(now, look.min(left)).unwrap_or_else(PoisonError::into_inner).0;
            // Not before the pause: a commit that is being synced, or whose process was killed in it, has changed the log for
            // as long as nobody commits, and no snapshot shows it.
            if changed() {
                return;
            }
            look = (look * 2).min(LAST_LOOK);
        }
    }
}
