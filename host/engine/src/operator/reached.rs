//! How far operators have come in time, beside what is in their stores.

use crate::record::NO_TIMESTAMP;

/// By the store's number, and where several inputs have times of their own by the input's: up to which close time an
/// aggregation has given its windows away, the highest time that a suppression has seen, or that each input of a cogroup of
/// windows has. It travels beside the committed offset, so that neither a restart nor a rebuilt store gives a window away
/// twice, holds back what was due, or takes what was late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached(Vec<((usize, u16), i64)>);

impl Reached {
    /// [`NO_TIMESTAMP`] where it has not begun.
    pub fn get(&self, of: (usize, u16)) -> i64 {
        self.0.iter().find(|(other, _)| *other == of).map_or(NO_TIMESTAMP, |(_, time)| *time)
    }

    pub fn set(&mut self, of: (usize, u16), time: i64) {
        match self.0.iter_mut().find(|(other, _)| *other == of) {
            Some((_, found)) => *found = time,
            None => self.0.push((of, time)),
        }
    }

    /// As if it had not begun.
    pub fn forget(&mut self, of: (usize, u16)) {
        self.0.retain(|(other, _)| *other != of);
    }

    pub fn iter(&self) -> impl Iterator<Item = ((usize, u16), i64)> {
        self.0.iter().copied()
    }
}
