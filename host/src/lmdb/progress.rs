//! How far a walk over a file's pages is: said only of one that takes long.

use std::path::Path;
use std::time::{Duration, Instant};

/// Longer than files of an ordinary size take, and how long it is silent between two words.
const SILENCE: Duration = Duration::from_secs(5);

pub struct Progress<'p> {
    path: &'p Path,
    pages: u64,
    done: u64,
    begun: Instant,
    said: Instant,
}

impl Progress<'_> {
    pub fn new(path: &Path, pages: u64) -> Progress<'_> {
        let now = Instant::now();
        Progress { path, pages, done: 0, begun: now, said: now }
    }

    /// One page more is somebody's, or is free.
    pub fn count(&mut self) {
        self.done += 1;
    }

    /// To be called at every page that is read: a disk may take long for each.
    pub fn say(&mut self) {
        let now = Instant::now();
        if let Some(percent) = self.due(now) {
            // Whoever opens it waits, and would wonder.
            tracing::warn!(
                file = %self.path.display(),
                after = ?Duration::from_secs((now - self.begun).as_secs()),
                "a large file is looked through before it is opened: {percent} % of its pages are done"
            );
        }
    }

    fn due(&mut self, now: Instant) -> Option<u64> {
        let is_due = now.saturating_duration_since(self.said) >= SILENCE;
        is_due.then(|| {
            self.said = now;
            self.done * 100 / self.pages.max(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_says_every_few_seconds_how_far_it_is_and_nothing_before() {
        let mut progress = Progress::new(Path::new("data.mdb"), 400);
        let begun = progress.begun;
        let mut said = Vec::new();
        for second in 0..12 {
            (0..10).for_each(|_| progress.count());
            said.extend(progress.due(begun + Duration::from_secs(second)).map(|percent| (second, percent)));
        }
        assert_eq!(said, [(5, 15), (10, 27)]);
    }
}
