//! What becomes of a record that was rejected or trapped: the policy of its source.

use super::clocks::Timer;
use super::step::Step;
use super::{Failure, Task};
use crate::config::OnError;
use crate::frame::OutcomeKind;
use crate::functions::{Fault, GuestFault};
use crate::operator::{Rejection, Stop};
use crate::partitioner;
use crate::record::{Record, TopicId, TopicPartition, push_header};

/// A record that stopped its application, as the user sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{topic}-{partition} offset {offset}, node `{node}`: {exception}: {message}")]
pub struct FailedRecord {
    pub topic: String,
    pub partition: i32,
    /// -1: a punctuation.
    pub offset: i64,
    pub node: String,
    /// `trap`, `deadline`, `fail`…: what `__streams.errors.exception` says.
    pub exception: String,
    pub message: String,
    pub backtrace: String,
}

/// Header names of KIP-1034.
const HEADER: &str = "__streams.errors.";

impl Task {
    /// The record at the cursor ran alone and was stopped; its effects are undone.
    pub(super) fn judge(&mut self, stop: Stop, now: i64) -> Result<Step, Failure> {
        let source = self.chosen.records[self.chosen.cursor].source;
        let policy = self.plan.policies[source].clone();
        let on_error = match &stop {
            Stop::Rejected(Rejection { kind: OutcomeKind::Retry, .. }) => {
                self.chosen.attempts += 1;
                if self.chosen.attempts <= policy.retry_attempts {
                    self.chosen.not_before = now + policy.retry_backoff_ms;
                    return Ok(Step::Wait(self.chosen.not_before));
                }
                policy.on_error
            }
            Stop::Rejected(Rejection { kind: OutcomeKind::DeadLetter, .. }) => match policy.dead_letter {
                Some(_) => OnError::DeadLetter(String::new()),
                // Asked for a dead-letter topic that nobody named: never silently lost.
                None => OnError::Fail,
            },
            _ => policy.on_error,
        };
        let on_error = if self.on_trial && matches!(stop, Stop::Fault { .. }) { OnError::Fail } else { on_error };
        let failed = self.failed_record(stop);
        match on_error {
            OnError::Fail => return Err(Failure::Record(Box::new(failed))),
            OnError::Skip => self.open.dropped.skipped += 1,
            OnError::DeadLetter(_) => match policy.dead_letter {
                Some(topic) => self.send_dead_letter(topic, &failed),
                None => return Err(Failure::Record(Box::new(failed))),
            },
        }
        let cursor = self.chosen.cursor;
        self.advance(cursor..cursor + 1);
        Ok(Step::Ran)
    }

    /// Under `skip` a punctuation's effects are dropped and it counts as fired; anything else fails.
    pub(super) fn judge_punctuation(&mut self, stop: Stop, timer: Timer, time: i64) -> Result<(), Failure> {
        if let Stop::Store(error) | Stop::Fault { fault: Fault::Host(error), .. } = stop {
            return Err(error.into());
        }
        if self.plan.punctuation_policy == OnError::Skip && !self.on_trial {
            self.open.dropped.skipped += 1;
            return Ok(());
        }
        let node = &self.plan.nodes[timer.node];
        let name = &node.punctuations[usize::from(timer.punctuation)].name;
        let (_, exception, message, backtrace) = describe(stop);
        Err(Failure::Record(Box::new(FailedRecord {
            topic: format!("punctuation {name} at {time}"),
            partition: self.id.partition,
            offset: -1,
            node: node.name.clone(),
            exception,
            message,
            backtrace,
        })))
    }

    fn failed_record(&self, stop: Stop) -> FailedRecord {
        let record = &self.chosen.records[self.chosen.cursor];
        let input = self.queues[record.input].input;
        let (node, exception, message, backtrace) = describe(stop);
        FailedRecord {
            topic: self.plan.topics[input.topic.0 as usize].name.clone(),
            partition: input.partition,
            offset: record.offset,
            node,
            exception,
            message,
            backtrace,
        }
    }

    /// The record as it came, with its headers and the six of KIP-1034 behind them. In the same interval as
    /// everything else: a dead letter is written once.
    fn send_dead_letter(&mut self, topic: TopicId, failed: &FailedRecord) {
        let element = self.chosen.records[self.chosen.cursor].element;
        let mut headers = element.headers.bytes(&self.batch.arena).to_vec();
        let (partition, offset) = (failed.partition.to_string(), failed.offset.to_string());
        for (name, value) in [
            ("exception", failed.exception.as_str()),
            ("message", &failed.message),
            ("stacktrace", &failed.backtrace),
            ("topic", &failed.topic),
            ("partition", &partition),
            ("offset", &offset),
        ] {
            push_header(&mut headers, &format!("{HEADER}{name}"), Some(value.as_bytes()));
        }
        push_header(&mut headers, &format!("{HEADER}node"), Some(failed.node.as_bytes()));
        let record = self.batch.record(&element);
        let partitions = self.plan.topics[topic.0 as usize].partitions;
        let partition = match record.key {
            Some(key) => partitioner::partition(key, partitions),
            None => failed.partition % partitions.max(1),
        };
        let letter = Record { headers: crate::record::Headers(&headers), ..record };
        self.outgoing.push(TopicPartition { topic, partition }, letter);
        self.open.dead_letters += 1;
    }
}

/// Node, exception, message, backtrace.
fn describe(stop: Stop) -> (String, String, String, String) {
    match stop {
        Stop::Rejected(Rejection { node, kind, message, .. }) => {
            let exception = match kind {
                OutcomeKind::Drop => "drop",
                OutcomeKind::DeadLetter => "dead-letter",
                OutcomeKind::Retry => "retry",
                OutcomeKind::Fail => "fail",
            };
            (node, exception.to_owned(), message, String::new())
        }
        Stop::Fault { node, fault: Fault::Guest(GuestFault { kind, message, backtrace }) } => {
            (node, kind.to_string(), message, backtrace)
        }
        Stop::Fault { node, fault: Fault::Host(error) } => (node, "host".to_owned(), error.to_string(), String::new()),
        Stop::Store(error) => (String::new(), "store".to_owned(), error.to_string(), String::new()),
    }
}
