//! What both sides of a join of streams go by, and a join that lets records wait: layered as their rows are, so that what a batch or an interval moved goes
//! back with them. It does not outlive the task, as in Kafka Streams (semantics.md B1).

use super::TaskStores;
use crate::record::NO_TIMESTAMP;

/// Kafka Streams' TimeTracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinTime {
    /// The highest timestamp that either side has seen.
    pub stream: i64,
    /// Where the next look for rows that have expired has to begin; [`i64::MAX`]: nothing is known.
    pub earliest: i64,
    /// Of each side, the right one first: no record of it waits since before. Begins below all times.
    pub waits_from: [i64; 2],
    /// Whether no row waits for a partner; `false`: not known.
    pub is_empty: bool,
    /// The last number given to a record that waits for a table; `None`: not looked for yet.
    pub number: Option<u32>,
}

impl Default for JoinTime {
    fn default() -> JoinTime {
        JoinTime { stream: NO_TIMESTAMP, earliest: i64::MAX, waits_from: [i64::MIN; 2], is_empty: false, number: None }
    }
}

/// `None` in a layer: as in the one below.
#[derive(Default)]
pub(super) struct JoinClock {
    open: Option<JoinTime>,
    /// The open layer's as the running batch found it.
    mark: Option<JoinTime>,
    sealed: Option<JoinTime>,
    committed: JoinTime,
}

impl JoinClock {
    /// Rows come from elsewhere: numbers may be among them that were not given here.
    pub(super) fn forget_number(&mut self) {
        self.committed.number = None;
    }

    fn now(&self) -> JoinTime {
        self.open.or(self.sealed).unwrap_or(self.committed)
    }

    pub(super) fn keep_batch(&mut self) {
        self.mark = self.open;
    }

    pub(super) fn drop_batch(&mut self) {
        self.open = self.mark;
    }

    pub(super) fn save(&self) -> Option<JoinTime> {
        self.open
    }

    pub(super) fn back_to_saved(&mut self, saved: Option<JoinTime>) {
        self.open = saved;
    }

    pub(super) fn seal(&mut self) {
        self.mark = None;
        self.sealed = self.open.take();
    }

    pub(super) fn apply_sealed(&mut self) {
        self.committed = self.sealed.take().unwrap_or(self.committed);
    }

    pub(super) fn drop_sealed(&mut self) {
        self.sealed = None;
    }

    pub(super) fn drop_open(&mut self) {
        (self.open, self.mark) = (None, None);
    }
}

impl TaskStores {
    /// The time of the join whose left side keeps its records in the store at this place, or lets them wait there.
    pub fn join_time(&self, store: usize) -> JoinTime {
        self.stores[store].join_clock.now()
    }

    /// The stores are filled by another way than the joins': what these knew of them is not so any more.
    pub(crate) fn forget_join_times(&mut self) {
        for one in &mut self.stores {
            one.join_clock = JoinClock::default();
            one.last_gone.take();
        }
    }

    pub fn set_join_time(&mut self, store: usize, time: JoinTime) {
        self.stores[store].join_clock.open = Some(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_back_with_a_batch_and_with_an_interval() {
        let at = |stream| JoinTime { stream, ..JoinTime::default() };
        let mut clock = JoinClock { open: Some(at(5)), ..JoinClock::default() };
        clock.keep_batch();
        clock.open = Some(at(9));
        clock.drop_batch();
        assert_eq!(clock.now(), at(5));
        clock.seal();
        clock.open = Some(at(7));
        clock.drop_open();
        assert_eq!(clock.now(), at(5));
        clock.drop_sealed();
        assert_eq!(clock.now(), JoinTime::default());
        clock.open = Some(at(8));
        clock.seal();
        clock.apply_sealed();
        clock.drop_open();
        assert_eq!(clock.now(), at(8));
    }
}
