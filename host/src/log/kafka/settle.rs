//! What became of a commit whose answer never came: read from what the group has committed, never guessed.

use std::time::Duration;

use millstream_engine::metadata::{INCARNATION, Metadata, SEQUENCE};

use crate::log::{Committed, Proof};

/// How long one question for the committed offsets may take. The transaction in doubt was ended before it is asked.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Committed,
    Aborted,
    /// Another owner, or nobody knows.
    Lost(String),
}

/// Compares what an interval would have left beside its proofs' inputs with what is there, after the transaction was
/// ended one way or the other. All proofs were in one transaction, so they agree.
pub fn settle(proofs: &[Proof], committed: &[Option<Committed>]) -> Verdict {
    let mut verdicts = proofs.iter().zip(committed).map(|(proof, committed)| of_task(proof, committed.as_ref()));
    let Some(first) = verdicts.next() else {
        return Verdict::Lost("the interval carried no proof to settle it by".to_owned());
    };
    match verdicts.find(|other| *other != first) {
        None => first,
        Some(lost @ Verdict::Lost(_)) => lost,
        Some(_) if matches!(first, Verdict::Lost(_)) => first,
        Some(_) => Verdict::Lost("the tasks of one interval do not agree about its outcome".to_owned()),
    }
}

fn of_task(proof: &Proof, committed: Option<&Committed>) -> Verdict {
    let values = committed.and_then(|committed| Metadata::decode(&committed.metadata)).map(|found| found.values);
    let value = |name: &str| values.as_ref().and_then(|values| values.get(name)).copied();
    match (value(INCARNATION), value(SEQUENCE)) {
        (Some(incarnation), Some(sequence)) if incarnation == proof.incarnation => match sequence {
            sequence if sequence == proof.sequence => Verdict::Committed,
            sequence if sequence < proof.sequence => Verdict::Aborted,
            sequence => Verdict::Lost(format!(
                "task {} has committed sequence {sequence}, beyond {} of this interval",
                proof.task, proof.sequence
            )),
        },
        // The interval that takes a task finds what the owner before left, or nothing.
        (found, _) if proof.sequence == 0 && found.is_none_or(|found| found < proof.incarnation) => Verdict::Aborted,
        (found, _) => Verdict::Lost(format!(
            "task {} belongs to incarnation {}, not to {}",
            proof.task,
            found.map_or("none".to_owned(), |found| found.to_string()),
            proof.incarnation
        )),
    }
}

#[cfg(test)]
mod tests {
    use millstream_engine::record::{TopicId, TopicPartition};
    use millstream_engine::task::TaskId;

    use super::*;

    fn proof(partition: i32, incarnation: i64, sequence: i64) -> Proof {
        let input = TopicPartition { topic: TopicId(0), partition };
        Proof { task: TaskId { subtopology: 0, partition }, input, incarnation, sequence }
    }

    fn committed(incarnation: i64, sequence: i64) -> Option<Committed> {
        let values = [(INCARNATION.to_owned(), incarnation), (SEQUENCE.to_owned(), sequence)].into();
        Some(Committed { offset: 1, metadata: Metadata { partition_time: 0, values }.encode() })
    }

    fn is_lost(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Lost(_))
    }

    #[test]
    fn ours_with_this_sequence_was_committed_with_an_older_one_aborted() {
        assert_eq!(settle(&[proof(0, 7, 3)], &[committed(7, 3)]), Verdict::Committed);
        assert_eq!(settle(&[proof(0, 7, 3)], &[committed(7, 2)]), Verdict::Aborted);
        assert!(is_lost(settle(&[proof(0, 7, 3)], &[committed(7, 4)])));
    }

    #[test]
    fn another_incarnation_is_lost() {
        assert!(is_lost(settle(&[proof(0, 7, 3)], &[committed(8, 0)])));
        assert!(is_lost(settle(&[proof(0, 7, 3)], &[committed(6, 9)])));
        assert!(is_lost(settle(&[proof(0, 7, 3)], &[None])));
        let foreign = Some(Committed { offset: 1, metadata: "foreign".to_owned() });
        assert!(is_lost(settle(&[proof(0, 7, 3)], &[foreign])));
    }

    #[test]
    fn the_interval_that_takes_a_task_finds_the_owner_before_it() {
        assert_eq!(settle(&[proof(0, 7, 0)], &[committed(6, 9)]), Verdict::Aborted);
        assert_eq!(settle(&[proof(0, 7, 0)], &[None]), Verdict::Aborted);
        assert_eq!(settle(&[proof(0, 7, 0)], &[committed(7, 0)]), Verdict::Committed);
        assert!(is_lost(settle(&[proof(0, 7, 0)], &[committed(8, 0)])));
    }

    #[test]
    fn tasks_of_one_interval_agree_or_it_is_lost() {
        let proofs = [proof(0, 7, 3), proof(1, 7, 3)];
        assert_eq!(settle(&proofs, &[committed(7, 3), committed(7, 3)]), Verdict::Committed);
        assert!(is_lost(settle(&proofs, &[committed(7, 3), committed(7, 2)])));
        assert!(is_lost(settle(&proofs, &[committed(7, 3), committed(9, 0)])));
        assert!(is_lost(settle(&[], &[])));
    }
}
