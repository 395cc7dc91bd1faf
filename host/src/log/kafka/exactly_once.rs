//! An interval as one transaction.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::error::RDKafkaErrorCode as Code;

use super::committer::{Outcome, Work, drain, send};
use super::deliveries::Delivered;
use super::group::{self, GroupMetadata};
use super::native::Failure;
use super::producer::Producer;
use super::rights::is_about_rights;
use super::settle::{SETTLE_TIMEOUT, Verdict, settle};
use crate::log::{Interval, Proof, Subscription};

/// Where a transaction failed: before its commit was asked for, nothing of it can be in the log.
enum Failed {
    Before(Failure),
    /// All records were acknowledged by then.
    AtCommit(Failure, Delivered),
}

pub fn commit(work: &mut Work, interval: &Interval, group: &Arc<GroupMetadata>) -> Outcome {
    let start = Instant::now();
    let outcome = try_to_commit(work, interval, group);
    work.learn(start.elapsed(), matches!(outcome, Outcome::Committed { .. }));
    outcome
}

fn try_to_commit(work: &mut Work, interval: &Interval, group: &Arc<GroupMetadata>) -> Outcome {
    let sequence = interval.sequence;
    let producer = match work.producer() {
        Ok(producer) => producer,
        Err(failure) => return Outcome::Aborted { sequence, why: failure.why },
    };
    let committed = transaction(work, &producer, interval, group);
    match committed {
        Ok(delivered) => Outcome::committed(sequence, delivered),
        Err(Failed::Before(failure)) => {
            // A record that was purged because a partition may not be written says only that it was purged.
            let cause = if failure.is_stuck { None } else { producer.transaction_failure() };
            let failure = cause.filter(|cause| is_about_rights(cause.code)).unwrap_or(failure);
            work.hear_failure(&failure, interval);
            give_up(work, &producer, sequence, failure)
        }
        Err(Failed::AtCommit(failure, delivered)) => {
            tracing::debug!(?failure, "commit");
            work.hear(failure.code, interval);
            if is_fenced(failure.code) {
                lose(work, sequence, failure)
            } else if failure.abort && !failure.fatal {
                // The coordinator says that it was not committed.
                give_up(work, &producer, sequence, failure)
            } else {
                drop(producer);
                find_out(work, interval, delivered, &failure)
            }
        }
    }
}

fn transaction(
    work: &mut Work,
    producer: &Arc<Producer>,
    interval: &Interval,
    group: &Arc<GroupMetadata>,
) -> std::result::Result<Delivered, Failed> {
    let delivered = fill(work, producer, interval, group).map_err(Failed::Before)?;
    match work.patiently(|call| producer.commit(call)) {
        Ok(()) => Ok(delivered),
        Err(failure) => Err(Failed::AtCommit(failure, delivered)),
    }
}

/// Everything before the commit.
fn fill(
    work: &mut Work,
    producer: &Arc<Producer>,
    interval: &Interval,
    group: &Arc<GroupMetadata>,
) -> std::result::Result<Delivered, Failure> {
    let subscription = &*work.parts.subscription.clone();
    producer.take_delivered();
    work.patiently(|_| producer.begin())?;
    send(producer, subscription, &interval.outgoing, false)?;
    send(producer, subscription, &interval.changelog, true)?;
    drain(work, producer)?;
    let mut delivered = producer.take_delivered();
    if let Some(failure) = delivered.failure.take() {
        return Err(failure);
    }
    if !interval.offsets.is_empty() {
        let offsets =
            offsets(subscription, interval).map_err(|e| Failure::new(Code::InvalidArgument, e.to_string()))?;
        work.send_offsets(producer, offsets, group)?;
    }
    Ok(delivered)
}

/// The interval's offsets with their metadata, as librdkafka takes them.
pub fn offsets(subscription: &Subscription, interval: &Interval) -> crate::log::Result<rdkafka::TopicPartitionList> {
    group::offsets(interval.offsets.iter().map(|offset| {
        let topic = subscription.topics[offset.input.topic.0 as usize].as_str();
        (topic, offset.input.partition, offset.offset, offset.metadata.as_str())
    }))
}

/// Ends a transaction of which nothing is in the log, and says what its failure means.
fn give_up(work: &mut Work, producer: &Producer, sequence: u64, failure: Failure) -> Outcome {
    if is_fenced(failure.code) {
        return lose(work, sequence, failure);
    }
    // The next transaction cannot begin before this one has ended: with a new producer at the latest.
    let aborted = match failure.is_stuck {
        true => Err(failure.clone()),
        false => work.patiently(|call| producer.abort(call)),
    };
    match aborted {
        Err(fenced) if is_fenced(fenced.code) => return lose(work, sequence, fenced),
        Err(other) => {
            tracing::debug!(why = other.why, "abort; a new producer ends the transaction");
            work.renew();
        }
        Ok(()) => {}
    }
    let Failure { code, why, .. } = failure;
    match code {
        Code::UnknownMemberId | Code::FencedInstanceId => Outcome::Lost { sequence, why },
        Code::IllegalGeneration | Code::RebalanceInProgress => Outcome::Outdated { sequence, why },
        _ => Outcome::Aborted { sequence, why },
    }
}

/// A newer producer of this id took over. Ours must not come back on its own: it would shut that one out in turn.
fn lose(work: &mut Work, sequence: u64, failure: Failure) -> Outcome {
    work.forget_producer();
    Outcome::Lost { sequence, why: failure.why }
}

/// Nobody knows whether the commit was made: a new producer of the same id ends the transaction one way or the other,
/// and what the group has committed tells which way it went.
fn find_out(work: &mut Work, interval: &Interval, delivered: Delivered, failure: &Failure) -> Outcome {
    let sequence = interval.sequence;
    tracing::info!(sequence, why = failure.why, "the outcome of a commit is unknown, settling it");
    work.renew();
    let lost = |why: String| Outcome::Lost { sequence, why: format!("{}; {why}", failure.why) };
    if let Err(failure) = work.producer() {
        return lost(failure.why);
    }
    match committed(work, &interval.proofs) {
        Err(error) => lost(error.to_string()),
        Ok(found) => match settle(&interval.proofs, &found) {
            Verdict::Committed => Outcome::committed(sequence, delivered),
            Verdict::Aborted => Outcome::Aborted { sequence, why: failure.why.clone() },
            Verdict::Lost(why) => lost(why),
        },
    }
}

fn committed(work: &Work, proofs: &[Proof]) -> crate::log::Result<Vec<Option<crate::log::Committed>>> {
    let place =
        |proof: &Proof| (work.parts.subscription.topics[proof.input.topic.0 as usize].as_str(), proof.input.partition);
    let places: Vec<(&str, i32)> = proofs.iter().map(place).collect();
    group::committed(&work.parts.consumer, &places, SETTLE_TIMEOUT)
}

/// Whether a code says that a newer producer of the id has taken over.
pub fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::InvalidProducerIdMapping
            | Code::TransactionCoordinatorFenced
    )
}
