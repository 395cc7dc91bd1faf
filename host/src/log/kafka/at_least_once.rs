//! An interval in steps: outputs, then changelog, then offsets, each acknowledged before the next.

use std::time::{Duration, Instant};

use millstream_engine::record::Outgoing;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::committer::{Outcome, Work, drain, send};
use super::exactly_once::offsets;
use super::native::{Failure, describe};
use crate::log::Interval;

/// How long a commit of offsets is repeated while the group is between two generations or its coordinator away.
/// Below the bound on a revoked task's last commit.
const OFFSETS_PATIENCE: Duration = Duration::from_secs(30);
const OFFSETS_AGAIN: Duration = Duration::from_millis(50);

/// Sends ahead of the interval. A failure stays with the producer's reports, where the interval finds it.
pub fn publish(work: &mut Work, outgoing: &Outgoing) -> std::result::Result<(), Failure> {
    let producer = work.producer()?;
    let sent = send(&producer, &work.parts.subscription, outgoing, false);
    if let Err(failure) = &sent {
        producer.fail(failure.clone());
    }
    sent
}

/// `losses`: what [`super::rebalance::Membership::losses`] said at the cut.
pub fn commit(work: &mut Work, interval: &Interval, losses: u64) -> Outcome {
    let sequence = interval.sequence;
    let produced = produce(work, interval);
    let positions = match produced {
        Ok(positions) => positions,
        Err(failure) => {
            // What is still queued belongs to an interval that is done again: it goes with its producer.
            work.forget_producer();
            work.hear_failure(&failure, interval);
            return Outcome::Aborted { sequence, why: failure.why };
        }
    };
    match commit_offsets(work, interval, losses) {
        Ok(()) => Outcome::Committed { sequence, positions },
        Err(Code::UnknownMemberId | Code::FencedInstanceId | Code::AssignmentLost) => {
            Outcome::Lost { sequence, why: "the member was removed from its group".to_owned() }
        }
        Err(code @ (Code::IllegalGeneration | Code::RebalanceInProgress)) => {
            Outcome::Outdated { sequence, why: describe(code) }
        }
        Err(code) => {
            work.hear(code, interval);
            Outcome::Aborted { sequence, why: describe(code) }
        }
    }
}

type Positions = Vec<(millstream_engine::record::TopicPartition, i64)>;

fn produce(work: &mut Work, interval: &Interval) -> std::result::Result<Positions, Failure> {
    let producer = work.producer()?;
    send(&producer, &work.parts.subscription, &interval.outgoing, false)?;
    drain(work, &producer)?;
    // Everything published since the last interval too.
    if let Some(failure) = producer.take_delivered().failure {
        return Err(failure);
    }
    send(&producer, &work.parts.subscription, &interval.changelog, true)?;
    drain(work, &producer)?;
    let delivered = producer.take_delivered();
    match delivered.failure {
        Some(failure) => Err(failure),
        None => Ok(delivered.positions.into_iter().collect()),
    }
}

/// The client commits with the generation it has at the time; that is ours as long as nothing was lost since the cut.
fn commit_offsets(work: &Work, interval: &Interval, losses: u64) -> std::result::Result<(), Code> {
    if interval.offsets.is_empty() {
        return Ok(());
    }
    let offsets = offsets(&work.parts.subscription, interval).map_err(|_| Code::InvalidArgument)?;
    let start = Instant::now();
    loop {
        if work.parts.consumer.assignment_lost() || work.parts.consumer.client().context().losses() != losses {
            return Err(Code::AssignmentLost);
        }
        let Err(error) = work.parts.consumer.commit(&offsets, CommitMode::Sync) else { return Ok(()) };
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let passing = super::native::is_unreachable(code)
            || matches!(code, Code::IllegalGeneration | Code::RebalanceInProgress | Code::BrokerDestroy);
        if !passing || work.is_stopping() || start.elapsed() > OFFSETS_PATIENCE {
            return Err(code);
        }
        std::thread::sleep(OFFSETS_AGAIN);
    }
}
