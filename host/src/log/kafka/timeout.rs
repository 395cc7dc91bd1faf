//! How long a transaction may take.
//!
//! As short as the manifest has it, for what a dead member leaves open holds up its successor that long. But a slow
//! wire needs more: librdkafka sends five requests at a time, one partition each, so a transaction over many
//! partitions takes many round trips, and one that never fits would be tried for ever.

use std::time::Duration;

/// librdkafka's own default: what somebody who sets nothing can live with.
const LONGEST: Duration = Duration::from_secs(60);

/// A transaction that takes less than this part of the manifest's time shows that it is enough again.
const ENOUGH: u32 = 4;

#[derive(Debug)]
pub struct TransactionTimeout {
    set: Duration,
    now: Duration,
    longest: Duration,
}

impl TransactionTimeout {
    /// `set`: the manifest's, or ours.
    pub fn new(set: Duration) -> TransactionTimeout {
        TransactionTimeout { set, now: set, longest: LONGEST.max(set) }
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    /// A transaction was not done in its time: whether the next one has more.
    pub fn lengthen(&mut self) -> bool {
        let before = self.now;
        self.now = (2 * self.now).min(self.longest);
        self.now > before
    }

    /// A transaction was done: whether the next one has less again.
    pub fn shorten(&mut self, took: Duration) -> bool {
        let enough = self.now > self.set && took < self.set / ENOUGH;
        if enough {
            self.now = self.set;
        }
        enough
    }

    /// The broker does not allow so much: whether there is less to try.
    pub fn refuse(&mut self) -> bool {
        let lengthened = self.now > self.set;
        (self.now, self.longest) = (self.set, self.set);
        lengthened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Duration = Duration::from_secs(10);

    #[test]
    fn it_grows_with_what_does_not_fit_and_comes_back() {
        let mut timeout = TransactionTimeout::new(SET);
        assert!(!timeout.shorten(Duration::ZERO));
        assert!(timeout.lengthen() && timeout.lengthen() && timeout.lengthen());
        assert_eq!(timeout.now(), LONGEST);
        assert!(!timeout.lengthen());
        assert!(!timeout.shorten(SET) && timeout.now() == LONGEST);
        assert!(timeout.shorten(SET / 5) && timeout.now() == SET);
    }

    #[test]
    fn what_the_broker_refuses_is_not_tried_again() {
        let mut timeout = TransactionTimeout::new(SET);
        assert!(!timeout.refuse());
        let mut timeout = TransactionTimeout::new(SET);
        timeout.lengthen();
        assert!(timeout.refuse() && timeout.now() == SET && !timeout.lengthen());
    }
}
