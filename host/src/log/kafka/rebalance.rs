//! The group's changes, stashed: librdkafka calls back inside `poll`, where nothing may take time. It then waits, with
//! the partitions held, for the answer that the client gives when it is ready.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::reports::{Reports, log_line};

/// One change of the group's mind, to be answered by an incremental assign or unassign.
#[derive(Debug)]
pub enum Change {
    Assign(Vec<(String, i32)>),
    /// `lost`: another member may have them already.
    Revoke {
        partitions: Vec<(String, i32)>,
        lost: bool,
    },
}

/// The context of a group member.
#[derive(Debug, Default)]
pub struct Membership {
    pub reports: Reports,
    changes: Mutex<VecDeque<Change>>,
    closing: AtomicBool,
    losses: AtomicU64,
}

impl Membership {
    pub fn next(&self) -> Option<Change> {
        self.lock().pop_front()
    }

    /// How often this member has lost what it owned.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// From now on changes are answered at once: a consumer that is dropped waits for an unassign, and nobody is left
    /// to make it.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerContext for Membership {
    fn rebalance(&self, consumer: &BaseConsumer<Membership>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Acquire) {
            // A closing consumer takes any answer as "unassign all".
            if let Err(error) = consumer.unassign() {
                tracing::debug!(%error, "unassign at close");
            }
            return;
        }
        let partitions = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
        let change = match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::AssignPartitions => Change::Assign(partitions),
            _ => Change::Revoke { partitions, lost: consumer.assignment_lost() },
        };
        if let Change::Revoke { lost: true, .. } = &change {
            self.losses.fetch_add(1, Ordering::AcqRel);
        }
        tracing::debug!(?change, "rebalance");
        self.lock().push_back(change);
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.reports.error(error, reason);
    }
}
