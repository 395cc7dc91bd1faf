//! What the threads of an application find out together about a build on trial. It is one version, and its first records
//! are those of all its threads, however few of them one thread gets.
//!
//! ```text
//! open ─100 records processed, then every thread says that it holds nothing of them back▸ Passed
//!   ├── a fault in any thread ─▸ Failed
//!   └── another build takes its place in a thread ─▸ Ended
//! ```
//! The first outcome stays: no thread keeps what another one puts back.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Records a new build must process without a fault (design.md 8).
pub const TRIAL_RECORDS: u64 = 100;

/// Shared by the threads that try one build out; cheap to clone.
#[derive(Clone, Debug)]
pub struct Probation(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    processed: AtomicU64,
    /// Threads that have not said yet that they hold nothing back.
    holding: AtomicUsize,
    outcome: OnceLock<Outcome>,
}

/// What became of a build on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every thread keeps it.
    Passed,
    /// Every thread puts back what ran before. Why.
    Failed(String),
    /// Another build took its place in a thread: it is neither proven nor at fault.
    Ended,
}

impl Probation {
    /// In so many threads.
    pub fn of(threads: usize) -> Probation {
        let (processed, holding) = (AtomicU64::new(0), AtomicUsize::new(threads));
        Probation(Arc::new(Shared { processed, holding, outcome: OnceLock::new() }))
    }

    /// `None`: it goes on.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.0.outcome.get()
    }

    pub fn has_passed(&self) -> bool {
        self.outcome() == Some(&Outcome::Passed)
    }

    /// So many more records were processed without a fault.
    pub(super) fn count(&self, records: u64) {
        if records > 0 {
            self.0.processed.fetch_add(records, Ordering::AcqRel);
        }
    }

    /// Records still to be processed, in whatever thread.
    pub(super) fn left(&self) -> u64 {
        TRIAL_RECORDS.saturating_sub(self.0.processed.load(Ordering::Acquire))
    }

    /// A thread holds nothing back of what it has processed; each says it once, when no records are left. Answers whether
    /// it was the last one, and the build has passed with it.
    pub(super) fn clear(&self) -> bool {
        self.0.holding.fetch_sub(1, Ordering::AcqRel) == 1 && self.0.outcome.set(Outcome::Passed).is_ok()
    }

    /// A thread has met a fault. Answers whether it was the first one of a build that had no outcome yet.
    pub(super) fn fail(&self, why: &str) -> bool {
        self.0.outcome.set(Outcome::Failed(why.to_owned())).is_ok()
    }

    /// Another build takes its place in a thread. Answers its outcome, which that is where there was none.
    pub(super) fn end(&self) -> &Outcome {
        self.0.outcome.get_or_init(|| Outcome::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_all_threads_count_together_and_threads_without_any_have_only_to_agree() {
        let probation = Probation::of(3);
        probation.count(40);
        assert_eq!(probation.left(), 60);
        probation.count(70);
        assert_eq!(probation.left(), 0);
        assert!(!probation.clear() && !probation.clear() && probation.outcome().is_none());
        assert!(probation.clear() && probation.has_passed());
        assert!(!probation.fail("late"), "what all keep is not put back any more");
        assert_eq!(probation.end(), &Outcome::Passed);
    }

    #[test]
    fn a_fault_beside_a_thread_that_holds_nothing_back_is_a_fault_of_all() {
        let probation = Probation::of(2);
        probation.count(TRIAL_RECORDS);
        assert!(!probation.clear());
        assert!(probation.fail("a trap"));
        assert!(!probation.fail("another one"), "the first one counts");
        assert!(!probation.clear());
        assert_eq!(probation.outcome(), Some(&Outcome::Failed("a trap".to_owned())));
    }

    #[test]
    fn a_build_that_another_one_took_the_place_of_is_never_proven() {
        let probation = Probation::of(1);
        assert_eq!(probation.end(), &Outcome::Ended);
        probation.count(TRIAL_RECORDS);
        assert!(!probation.clear() && !probation.fail("a trap") && !probation.has_passed());
    }

    #[test]
    fn threads_that_keep_and_fault_at_once_come_to_one_outcome() {
        for _ in 0..200 {
            let probation = Probation::of(2);
            let (kept, failed) = std::thread::scope(|scope| {
                let keeps = scope.spawn(|| {
                    probation.count(TRIAL_RECORDS);
                    let first = probation.clear();
                    first | probation.clear()
                });
                let faults = scope.spawn(|| probation.fail("a trap"));
                (keeps.join().unwrap_or_default(), faults.join().unwrap_or_default())
            });
            assert!(kept != failed, "kept {kept}, failed {failed}");
            assert_eq!(probation.has_passed(), kept);
        }
    }
}
