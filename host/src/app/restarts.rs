//! How often an application may be started again after a failure that another try may mend.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A broker that was away or a fault of the host that comes once an hour is forgiven; what fails more often than this
/// needs a person, and each start costs the others of the process time.
const RESTARTS: usize = 5;

/// What was longer ago is forgotten.
const WINDOW: Duration = Duration::from_secs(600);

/// The first wait; it doubles with each restart within the window, so that all five take half a minute.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// The restarts of one application.
#[derive(Debug, Default)]
pub struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Takes one restart: how long to wait before it, and its number. `None`: there is none left.
    pub fn take(&mut self, now: Instant) -> Option<(Duration, usize)> {
        while self.0.front().is_some_and(|then| now.saturating_duration_since(*then) > WINDOW) {
            self.0.pop_front();
        }
        let taken = self.0.len();
        if taken == RESTARTS {
            return None;
        }
        self.0.push_back(now);
        Some((WAIT_FIRST * (1 << taken), taken + 1))
    }

    /// As users read it.
    pub fn budget() -> String {
        format!("{RESTARTS} restarts in {}", humantime::format_duration(WINDOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_restarts_wait_longer_and_longer_and_a_sixth_is_refused() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        let waits: Vec<_> = (0..6).map(|_| restarts.take(now)).collect();
        let expected = [1, 2, 4, 8, 16].into_iter().zip(1..);
        let expected = expected.map(|(wait_s, number)| Some((Duration::from_secs(wait_s), number)));
        assert_eq!(waits, expected.chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        for _ in 0..RESTARTS {
            restarts.take(now);
        }
        assert_eq!(restarts.take(now + WINDOW), None);
        assert_eq!(restarts.take(now + WINDOW + Duration::from_secs(1)), Some((WAIT_FIRST, 1)));
    }
}
