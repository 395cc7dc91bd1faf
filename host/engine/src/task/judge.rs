//! What becomes of a record that was rejected or trapped: the policy of its source.

use std::fmt::Write;

use super::apart::guilty;
use super::clocks::Timer;
use super::step::Step;
use super::{Failure, Task};
use crate::config::OnError;
use crate::frame::OutcomeKind;
use crate::functions::{Fault, GuestFault};
use crate::operator::{Element, Rejection, Stop};
use crate::partitioner;
use crate::record::{Headers, Record, TopicId, TopicPartition, push_header};
use crate::topology::Policy;

/// A record that stopped its application, as the user sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{topic}-{partition} offset {offset}, node `{node}`: {exception}: {message}")]
pub struct FailedRecord {
    pub topic: String,
    pub partition: i32,
    /// -1: a punctuation, or windows that closed behind a record.
    pub offset: i64,
    pub node: String,
    /// `trap`, `deadline`, `fail`…: what `__streams.errors.exception` says.
    pub exception: String,
    pub message: String,
    pub backtrace: String,
}

impl FailedRecord {
    /// It was not the record itself.
    pub(super) fn of_let_go(mut self) -> FailedRecord {
        self.message = format!("of what it let go: {}", self.message);
        self
    }
}

/// What a policy comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fail,
    Skip,
    DeadLetter(TopicId),
}

/// Header names of KIP-1034.
const HEADER: &str = "__streams.errors.";

/// Says what of the record a letter is without.
const OMITTED_HEADER: &str = "__millstream.errors.omitted";

/// What a letter is without, from the whole one on.
const OMITTED: [&str; 4] = ["", "value", "value,headers", "value,headers,key"];

/// What a guest says of its failure: a page of text, small against what a topic takes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The host's own backtraces have 32 frames at most, of long names.
const BACKTRACE_BYTES_MAX: usize = 16 << 10;

impl Task {
    /// The record at the cursor ran alone and was stopped; its effects are undone.
    pub(super) fn judge(&mut self, stop: Stop, now: i64) -> Result<Step, Failure> {
        let cursor = self.chosen.cursor;
        let record = &self.chosen.records[cursor];
        let (element, was_run) = (record.element, record.exception.is_none());
        let policy = self.plan.policies[record.source].clone();
        if let Stop::Rejected(Rejection { kind: OutcomeKind::Retry, .. }) = &stop {
            self.chosen.attempts += 1;
            if self.chosen.attempts <= policy.retry_attempts {
                self.chosen.not_before = now.saturating_add(policy.retry_backoff_ms);
                return Ok(Step::Wait(self.chosen.not_before));
            }
        }
        // With what it lets go, the record would let it go again and again, and all behind it would. Whatever the policy: what
        // was only too much together is nobody's failure.
        let stop = match was_run && self.can_run_apart() {
            false => Some(stop),
            true => self.run_record_apart(&policy)?,
        };
        if let Some(stop) = stop {
            self.count_fault(&stop);
            let verdict = self.verdict(&stop, &policy);
            let failed = self.failed_record(stop);
            self.settle(verdict, failed, &element)?;
        }
        self.advance(cursor..cursor + 1);
        Ok(Step::Ran)
    }

    /// Runs the record at the cursor, and what it lets go apart from it; answers why it failed by itself.
    fn run_record_apart(&mut self, policy: &Policy) -> Result<Option<Stop>, Failure> {
        let record = &self.chosen.records[self.chosen.cursor];
        let head = [(record.source, Element { context: 0, ..record.element })];
        self.run_apart(
            Some(record.context),
            |run| run.records(&head, true),
            |task, stop, element| {
                task.count_fault(&stop);
                let verdict = task.verdict(&stop, policy);
                let failed = task.failed_record(stop).of_let_go();
                task.settle(verdict, failed, element)
            },
        )
    }

    /// What becomes of what failed, once it is not tried again.
    pub(super) fn verdict(&self, stop: &Stop, policy: &Policy) -> Verdict {
        if self.on_trial.is_some() && matches!(stop, Stop::Fault { .. }) {
            return Verdict::Fail;
        }
        let asks_for_letter = matches!(stop, Stop::Rejected(Rejection { kind: OutcomeKind::DeadLetter, .. }));
        match (&policy.on_error, policy.dead_letter) {
            (_, Some(topic)) if asks_for_letter => Verdict::DeadLetter(topic),
            // Asked for a dead-letter topic that nobody named: never silently lost.
            (_, None) if asks_for_letter => Verdict::Fail,
            (OnError::DeadLetter(_), Some(topic)) => Verdict::DeadLetter(topic),
            (OnError::Fail, _) | (OnError::DeadLetter(_), None) => Verdict::Fail,
            (OnError::Skip, _) => Verdict::Skip,
        }
    }

    pub(super) fn settle(&mut self, verdict: Verdict, failed: FailedRecord, element: &Element) -> Result<(), Failure> {
        match verdict {
            Verdict::Fail => return Err(Failure::Record(Box::new(failed))),
            Verdict::Skip => self.open.dropped.skipped += 1,
            Verdict::DeadLetter(topic) => self.send_dead_letter(topic, failed, element)?,
        }
        Ok(())
    }

    pub(super) fn count_fault(&mut self, stop: &Stop) {
        if let Stop::Fault { fault: Fault::Guest(fault), .. } = stop {
            *self.faults.entry(fault.kind).or_default() += 1;
        }
    }

    /// What an error says of a punctuation.
    pub(super) fn named(&self, timer: Timer, time: i64) -> String {
        let node = &self.plan.nodes[timer.node];
        let declared = node.punctuations.get(usize::from(timer.punctuation)).map(|punctuation| &punctuation.name);
        let name = declared.or_else(|| self.open.clocks.scheduled.get(&timer.punctuation));
        format!("punctuation {} at {time}", name.map_or("", String::as_str))
    }

    /// Whether what the user code refuses without a record is dropped.
    fn skips_without_record(&self) -> bool {
        self.plan.punctuation_policy == OnError::Skip && self.on_trial.is_none()
    }

    /// What was done without a record has failed at a node: under `skip` its effects are dropped and it counts as done;
    /// anything else fails.
    pub(super) fn judge_time(&mut self, stop: Stop, node: usize, what: &str) -> Result<(), Failure> {
        self.count_fault(&stop);
        let stop = guilty(stop)?;
        let failed = self.failed_time(stop, node, what);
        self.settle_time(failed)
    }

    /// The same of what it let go.
    pub(super) fn judge_let_go(&mut self, stop: Stop, node: usize, what: &str) -> Result<(), Failure> {
        self.count_fault(&stop);
        let failed = self.failed_time(stop, node, what).of_let_go();
        self.settle_time(failed)
    }

    fn settle_time(&mut self, failed: FailedRecord) -> Result<(), Failure> {
        if !self.skips_without_record() {
            return Err(Failure::Record(Box::new(failed)));
        }
        self.open.dropped.skipped += 1;
        Ok(())
    }

    fn failed_time(&self, stop: Stop, node: usize, what: &str) -> FailedRecord {
        let (_, exception, message, backtrace) = describe(stop);
        FailedRecord {
            topic: what.to_owned(),
            partition: self.id.partition,
            offset: -1,
            node: self.plan.nodes[node].name.clone(),
            exception,
            message,
            backtrace,
        }
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

    /// The record as it came, or what it let go, with its headers and the reasons of KIP-1034 behind them. In the same
    /// interval as everything else: a dead letter is written once. A topic that takes no such record gets it without its
    /// value, then without its headers, then without its key; one that does not even take the reasons makes the record
    /// fail, for else the log would refuse the interval again and again.
    fn send_dead_letter(&mut self, topic: TopicId, mut failed: FailedRecord, element: &Element) -> Result<(), Failure> {
        let record = self.batch.record(element);
        let plan = &self.plan.topics[topic.0 as usize];
        let partition = match record.key {
            Some(key) => partitioner::partition(key, plan.partitions),
            None => failed.partition % plan.partitions.max(1),
        };
        // A record without a time is sent as of now.
        let time = if record.timestamp < 0 { self.now } else { record.timestamp };
        let latest = match record.timestamp.saturating_sub(self.now) > plan.timestamp_ahead_max_ms {
            true => self.now,
            false => i64::MAX,
        };
        for omitted in OMITTED {
            let headers = letter_headers(&record, &failed, self.settings.component, omitted);
            let letter = Record {
                key: record.key.filter(|_| !omitted.contains("key")),
                value: record.value.filter(|_| !omitted.contains("value")),
                headers: Headers(&headers),
                // One that the topic would not take for being ahead is of now; the message says what it was.
                timestamp: time.min(latest),
            };
            if letter.bytes() <= plan.record_bytes_max {
                self.outgoing.push(TopicPartition { topic, partition }, letter);
                self.open.dead_letters += 1;
                return Ok(());
            }
        }
        let (name, max) = (&plan.name, plan.record_bytes_max);
        let _ = write!(failed.message, "; its dead letter does not fit into topic {name}, which takes {max} bytes");
        Err(Failure::Record(Box::new(failed)))
    }
}

fn letter_headers(record: &Record<'_>, failed: &FailedRecord, component: Option<[u8; 32]>, omitted: &str) -> Vec<u8> {
    let mut headers = if omitted.contains("headers") { Vec::new() } else { record.headers.0.to_vec() };
    let (partition, offset) = (failed.partition.to_string(), failed.offset.to_string());
    for (name, value) in [
        ("exception", &failed.exception),
        ("message", &failed.message),
        ("stacktrace", &failed.backtrace),
        ("topic", &failed.topic),
        ("partition", &partition),
        ("offset", &offset),
        ("node", &failed.node),
    ] {
        push_header(&mut headers, &format!("{HEADER}{name}"), Some(value.as_bytes()));
    }
    if let Some(digest) = component {
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        push_header(&mut headers, &format!("{HEADER}component"), Some(format!("sha256:{digest}").as_bytes()));
    }
    if !omitted.is_empty() {
        push_header(&mut headers, OMITTED_HEADER, Some(omitted.as_bytes()));
    }
    headers
}

/// The beginning of a text that may be as long as a guest likes.
fn bounded(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let left_out = text.len() - text.floor_char_boundary(bytes_max);
        text.truncate(text.floor_char_boundary(bytes_max));
        let _ = write!(text, "… ({left_out} bytes more)");
    }
    text
}

/// Node, exception, message, backtrace.
pub(super) fn describe(stop: Stop) -> (String, String, String, String) {
    let (node, exception, message, backtrace) = reason(stop);
    (node, exception, bounded(message, MESSAGE_BYTES_MAX), bounded(backtrace, BACKTRACE_BYTES_MAX))
}

fn reason(stop: Stop) -> (String, String, String, String) {
    match stop {
        Stop::Rejected(Rejection { node, kind, message, .. }) => {
            let exception = match kind {
                OutcomeKind::Drop => "drop",
                OutcomeKind::DeadLetter => "dead-letter",
                OutcomeKind::Retry => "retry",
                OutcomeKind::Fail => "fail",
                OutcomeKind::Commit => "commit",
                OutcomeKind::Schedule => "schedule",
                OutcomeKind::Cancel => "cancel",
                OutcomeKind::Again => "again",
            };
            (node, exception.to_owned(), message, String::new())
        }
        Stop::Fault { node, fault: Fault::Guest(GuestFault { kind, message, backtrace }) } => {
            (node, kind.to_string(), message, backtrace)
        }
        Stop::Fault { node, fault: Fault::Host(error) } => (node, "host".to_owned(), error.to_string(), String::new()),
        Stop::Unreadable(unreadable) => {
            (unreadable.node.clone(), "store".to_owned(), unreadable.to_string(), String::new())
        }
        Stop::Store(error) => (String::new(), "store".to_owned(), error.to_string(), String::new()),
    }
}
