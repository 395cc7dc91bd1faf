//! How often a provider may trap and lie before its application is stopped.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Faults in a row, over all tasks. What mends itself does so in one or two; behind ten a person is told rather than the
/// state restored for ever.
const FAULTS_MAX: u32 = 10;

/// A fault so long after the one before is the first of a row again: longer than most restores.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(super) struct Faults(Mutex<Option<Row>>);

struct Row {
    count: u32,
    last: Instant,
}

impl Faults {
    /// Counts one; answers whether that was one too many.
    pub fn add(&self) -> bool {
        let mut row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let before = row.take().filter(|row| now.duration_since(row.last) < FORGOTTEN_AFTER);
        let count = before.map_or(0, |row| row.count) + 1;
        *row = Some(Row { count, last: now });
        count > FAULTS_MAX
    }
}
