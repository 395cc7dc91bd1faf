//! How far a partition was compacted, and since when its tombstones have been seen.

use super::fault::damaged;
use super::{Error, Result};

/// A tombstone waits at most this part of `delete.retention.ms` longer than it must, so that a partition remembers
/// about as many passes and no more.
const PASSES: i64 = 16;

/// A partition's row in the table of what was compacted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Below it no key has two records.
    pub to: i64,
    /// Of the batches below it.
    pub bytes: u64,
    /// Tombstones below it.
    pub tombstones: u64,
    /// Tombstones below this offset were dropped.
    pub dropped: i64,
    /// Where a record stands that has the greatest timestamp of those below `to`; kept where the log's time counts.
    pub newest: Option<Newest>,
    /// Passes, oldest first: up to which offset, and when by the clock, ms.
    passes: Vec<(i64, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    pub offset: i64,
    pub timestamp: i64,
}

impl Cleaned {
    /// Tombstones below this offset have been there for `delete.retention.ms` since the pass that took away what they
    /// delete: whoever began to read before has read them.
    pub fn droppable_below(&self, now: i64, keep_ms: i64) -> i64 {
        let old = self.passes.iter().filter(|(_, at)| at.saturating_add(keep_ms) <= now);
        old.map(|(to, _)| *to).max().unwrap_or_default()
    }

    /// A pass has come to an end.
    pub fn pass(&mut self, to: i64, now: i64, keep_ms: i64) {
        self.to = to;
        let droppable = self.droppable_below(now, keep_ms);
        self.passes.retain(|(to, at)| at.saturating_add(keep_ms) > now || *to == droppable);
        // Passes that are close together count as the last of them.
        if let [.., (_, before), last] = &mut self.passes[..]
            && now.saturating_sub(*before) < keep_ms / PASSES
        {
            *last = (to, now);
        } else {
            self.passes.push((to, now));
        }
    }

    pub fn to_row(&self) -> Vec<u8> {
        let newest = self.newest.unwrap_or(Newest { offset: -1, timestamp: 0 });
        let mut row = Vec::with_capacity(48 + 16 * self.passes.len());
        for number in
            [self.to, self.bytes as i64, self.tombstones as i64, self.dropped, newest.offset, newest.timestamp]
        {
            row.extend_from_slice(&number.to_le_bytes());
        }
        for (to, at) in &self.passes {
            row.extend_from_slice(&to.to_le_bytes());
            row.extend_from_slice(&at.to_le_bytes());
        }
        row
    }

    /// `what` names the partition in errors.
    pub fn of_row(row: &[u8], what: &str) -> Result<Cleaned> {
        let (numbers, rest) = row.as_chunks::<8>();
        let numbers: Vec<i64> = numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        let wrong = || -> Error { damaged(what, "the row of what was compacted has a wrong length") };
        let [to, bytes, tombstones, dropped, offset, timestamp, passes @ ..] = &numbers[..] else {
            return Err(wrong());
        };
        let (passes, odd) = passes.as_chunks::<2>();
        if !rest.is_empty() || !odd.is_empty() {
            return Err(wrong());
        }
        let newest = (*offset >= 0).then_some(Newest { offset: *offset, timestamp: *timestamp });
        let passes = passes.iter().map(|[to, at]| (*to, *at)).collect();
        let (bytes, tombstones) = (*bytes as u64, *tombstones as u64);
        Ok(Cleaned { to: *to, bytes, tombstones, dropped: *dropped, newest, passes })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tombstone_stays_for_its_time_behind_the_pass_that_saw_it() {
        let (mut cleaned, keep) = (Cleaned::default(), 1_600);
        for now in (0..16_000).step_by(10) {
            cleaned.pass(now + 1, now, keep);
            let below = cleaned.droppable_below(now, keep);
            assert!(below <= now - keep + 1 || below == 0, "{below} at {now}");
            assert!(now < 2 * keep || below >= now - keep - keep / PASSES - 10, "{below} at {now}");
            assert!(cleaned.passes.len() <= 2 * PASSES as usize, "{}", cleaned.passes.len());
        }
    }

    #[test]
    fn without_a_time_the_next_pass_may_drop() {
        let mut cleaned = Cleaned::default();
        cleaned.pass(10, 5, 0);
        cleaned.pass(20, 5, 0);
        assert_eq!((cleaned.droppable_below(5, 0), cleaned.passes.len()), (20, 2));
    }

    #[test]
    fn a_row_gives_back_what_was_written() {
        let mut cleaned = Cleaned { bytes: 7, tombstones: 2, dropped: 3, ..Cleaned::default() };
        cleaned.newest = Some(Newest { offset: 8, timestamp: -5 });
        cleaned.pass(10, 5, 100);
        let row = cleaned.to_row();
        assert_eq!(Cleaned::of_row(&row, "t").unwrap(), cleaned);
        for len in [0, 40, row.len() - 1, row.len() - 8] {
            assert!(Cleaned::of_row(&row[..len], "t").is_err(), "{len}");
        }
    }
}
