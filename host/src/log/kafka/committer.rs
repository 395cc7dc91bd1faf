//! The thread that owns a client's producer: publishes, and carries intervals into the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millstream_engine::record::{Outgoing, TopicId, TopicPartition};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;

use super::deliveries::{Delivered, Tag};
use super::group::GroupMetadata;
use super::native::Failure;
use super::producer::{Producer, Run};
use super::properties::Properties;
use super::rebalance::Membership;
use super::refused::Refused;
use super::reports::Reports;
use super::rights::{Missing, Right, is_about_rights};
use super::timeout::TransactionTimeout;
use super::wakeup::Wakeup;
use super::{at_least_once, exactly_once};
use crate::log::{AssignedTask, Error, Guarantee, Interval, Result, Subscription};

/// Batches published ahead on their way to the committer: more of them stay with their tasks, which is how a broker that
/// does not keep up is felt. Of other jobs there are few by themselves: one interval, one renewal for each loss.
const PUBLISHED_MAX: usize = 16;

/// How long a committer with nothing to do sleeps between two looks at its producer's reports.
const IDLE: Duration = Duration::from_millis(200);
/// The same while published records are in flight, ms.
const BUSY_MS: i32 = 5;

/// One call to the cluster; repeated until it is answered, so that the end of the client is noticed in between.
const CALL: Duration = Duration::from_secs(1);

/// After something was refused for a missing right: the same again would be refused too.
const DENIED_AGAIN: Duration = Duration::from_secs(1);

/// How long the end of a client waits for its committer.
const END_TIMEOUT: Duration = Duration::from_secs(5);

pub enum Job {
    Publish(Outgoing),
    /// With what the member was at the cut.
    Submit(Interval, Standing),
    /// A new producer, before tasks that were lost are taken again.
    Renew,
}

/// A member's standing in its group at one moment.
pub struct Standing {
    pub group: Arc<GroupMetadata>,
    /// [`Membership::losses`]
    pub losses: u64,
}

/// What the client's other threads tell it.
pub enum Report {
    Outcome(Outcome),
    /// Of the reading with this number.
    Assigned(u64, Vec<AssignedTask>),
    /// Another try will not help.
    Failed(Error),
}

/// How an interval ended.
#[derive(Debug)]
pub enum Outcome {
    Committed {
        sequence: u64,
        positions: Vec<(TopicPartition, i64)>,
    },
    Aborted {
        sequence: u64,
        why: String,
    },
    /// Aborted, because the group has a newer generation. Whether the tasks are still ours the client knows.
    Outdated {
        sequence: u64,
        why: String,
    },
    Lost {
        sequence: u64,
        why: String,
    },
}

impl Outcome {
    pub fn committed(sequence: u64, delivered: Delivered) -> Outcome {
        Outcome::Committed { sequence, positions: delivered.positions.into_iter().collect() }
    }

    pub fn sequence(&self) -> u64 {
        match self {
            Outcome::Committed { sequence, .. }
            | Outcome::Aborted { sequence, .. }
            | Outcome::Outdated { sequence, .. }
            | Outcome::Lost { sequence, .. } => *sequence,
        }
    }
}

/// What the committer has of its client.
pub struct Parts {
    pub subscription: Arc<Subscription>,
    pub consumer: Arc<BaseConsumer<Membership>>,
    pub outcomes: Sender<Report>,
    pub missing: Arc<Missing>,
    pub wakeup: Arc<Wakeup>,
}

/// The client's end.
pub struct Committer {
    jobs: Option<Sender<Job>>,
    /// Batches that are published ahead and not handed over yet.
    published: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
    ended: Receiver<()>,
    stop: Arc<AtomicBool>,
    pub reports: Arc<Reports>,
}

impl Committer {
    pub fn start(properties: &Properties, parts: Parts) -> Result<Committer> {
        let (jobs, queue) = channel();
        let published = Arc::new(AtomicUsize::new(0));
        let (ending, ended) = sync_channel(0);
        let stop = Arc::new(AtomicBool::new(false));
        let reports = Arc::new(Reports::default());
        let mut work = Work {
            config: properties.producer(&parts.subscription),
            timeout: TransactionTimeout::new(properties.transaction_timeout()),
            call: CALL,
            parts,
            was_let_in: false,
            was_denied: false,
            refused: Refused::default(),
            reports: reports.clone(),
            published: published.clone(),
            stop: stop.clone(),
            producer: None,
        };
        let run = move || {
            // Hung up when this thread ends, however it ends.
            let _ending = ending;
            work.run(&queue);
        };
        let thread = std::thread::Builder::new().name("kafka-committer".to_owned()).spawn(run);
        let thread = thread.map_err(|e| Error::unreachable("kafka committer", e))?;
        Ok(Committer { jobs: Some(jobs), published, thread: Some(thread), ended, stop, reports })
    }

    /// Publishes ahead, if there is room: a caller never waits for a broker here.
    pub fn offer(&self, outgoing: &Outgoing) -> Result<bool> {
        // Only the caller adds to it.
        if self.published.load(Ordering::Acquire) >= PUBLISHED_MAX {
            return Ok(false);
        }
        self.published.fetch_add(1, Ordering::AcqRel);
        self.send(Job::Publish(outgoing.clone())).map(|()| true)
    }

    pub fn send(&self, job: Job) -> Result<()> {
        let gone = || Error::refused("kafka committer", "it has ended");
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())
    }

    /// Ends the thread, waiting a bounded time: some calls of librdkafka do not keep their timeouts while a
    /// coordinator is away. Where no broker answers (`is_silent`), what it has in hand is given up at once.
    pub fn end(&mut self, is_silent: bool) {
        self.jobs = None;
        let patience = if is_silent { Duration::ZERO } else { END_TIMEOUT };
        let graceful = matches!(self.ended.recv_timeout(patience), Err(RecvTimeoutError::Disconnected));
        self.stop.store(true, Ordering::Release);
        let ended = graceful || matches!(self.ended.recv_timeout(2 * CALL), Err(RecvTimeoutError::Disconnected));
        match self.thread.take() {
            Some(thread) if ended => drop(thread.join()),
            _ => tracing::warn!("a Kafka committer does not end; it is left behind"),
        }
    }
}

/// The thread's end.
pub struct Work {
    config: rdkafka::ClientConfig,
    pub parts: Parts,
    /// Transactions could be started before: a right that is missing now was taken away.
    was_let_in: bool,
    /// Something was refused since the last interval.
    was_denied: bool,
    refused: Refused,
    reports: Arc<Reports>,
    published: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    timeout: TransactionTimeout,
    /// How long one call waits: longer where answers take longer, for librdkafka begins some calls anew each time.
    call: Duration,
    producer: Option<Arc<Producer>>,
}

impl Work {
    fn run(&mut self, jobs: &Receiver<Job>) {
        // At once: it ends a transaction that a killed predecessor left open, for which the stable offsets wait.
        self.renew();
        loop {
            let in_flight = self.producer.as_ref().map_or(0, |producer| producer.in_flight());
            let wait = if in_flight > 0 { Duration::ZERO } else { IDLE };
            match jobs.recv_timeout(wait) {
                Ok(job) => self.serve(job),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(producer) = &self.producer {
                        producer.poll(if in_flight > 0 { BUSY_MS } else { 0 });
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.drain();
    }

    fn serve(&mut self, job: Job) {
        match job {
            Job::Publish(outgoing) => {
                // A failure is told with the interval that it belongs to.
                if let Err(failure) = at_least_once::publish(self, &outgoing) {
                    tracing::debug!(why = failure.why, "publish");
                }
                self.published.fetch_sub(1, Ordering::AcqRel);
            }
            Job::Submit(interval, standing) => {
                let outcome = match self.parts.subscription.guarantee {
                    Guarantee::ExactlyOnce => exactly_once::commit(self, &interval, &standing.group),
                    Guarantee::AtLeastOnce => at_least_once::commit(self, &interval, standing.losses),
                };
                tracing::debug!(?outcome, "interval");
                if matches!(outcome, Outcome::Committed { .. }) {
                    self.refused.committed(&interval.offsets);
                }
                if std::mem::take(&mut self.was_denied) {
                    // What it knows of topics is what it was refused.
                    self.forget_producer();
                    self.pause();
                }
                self.tell(Report::Outcome(outcome));
            }
            Job::Renew => self.renew(),
        }
    }

    /// What was published and not committed is wanted in the log all the same, if that is there.
    fn drain(&self) {
        if let Some(producer) = &self.producer
            && !self.is_stopping()
            && self.parts.subscription.guarantee == Guarantee::AtLeastOnce
        {
            producer.flush(END_TIMEOUT / 2);
        }
    }

    fn tell(&self, report: Report) {
        // A client that is gone needs no report.
        let _ = self.parts.outcomes.send(report);
        self.parts.wakeup.ring();
    }

    /// Notes what an interval failed by before it was to be committed.
    pub fn hear_failure(&mut self, failure: &Failure, interval: &Interval) {
        if let Some(error) = self.refused.hear(failure, &interval.offsets) {
            self.tell(Report::Failed(error));
        }
        self.hear(failure.code, interval);
    }

    /// Notes the rights that an interval needs, one of which was refused.
    pub fn hear(&mut self, code: RDKafkaErrorCode, interval: &Interval) {
        if !is_about_rights(code) {
            return;
        }
        let name = |topic: TopicId| self.parts.subscription.topics[topic.0 as usize].clone();
        let written = [&interval.outgoing, &interval.changelog].into_iter().flat_map(Outgoing::topics);
        let rights: Vec<Right> = match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                let read = interval.offsets.iter().map(|offset| Right::Read(name(offset.input.topic)));
                written.map(|topic| Right::Write(name(topic))).chain(read).collect()
            }
            RDKafkaErrorCode::GroupAuthorizationFailed => {
                vec![Right::Group(self.parts.subscription.application.clone())]
            }
            code => self.right_of_producer(code).into_iter().collect(),
        };
        self.was_denied = true;
        self.parts.missing.suspect(rights);
    }

    fn right_of_producer(&self, code: RDKafkaErrorCode) -> Option<Right> {
        match code {
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
                Some(Right::TransactionalId(self.config.get("transactional.id").unwrap_or_default().to_owned()))
            }
            RDKafkaErrorCode::ClusterAuthorizationFailed => Some(Right::IdempotentWrite),
            _ => None,
        }
    }

    /// Until it may be worth another try.
    fn pause(&self) {
        let until = Instant::now() + DENIED_AGAIN;
        while Instant::now() < until && !self.is_stopping() {
            std::thread::sleep(super::connection::LOOK_AGAIN);
        }
    }

    /// A transaction ended well or not, after this time: the next one has as long as it needs.
    pub fn learn(&mut self, took: Duration, committed: bool) {
        let changed = match committed {
            true => self.timeout.shorten(took),
            false => took >= self.timeout.now() && self.timeout.lengthen(),
        };
        if committed && took < CALL {
            self.call = CALL;
        }
        if changed {
            tracing::info!(?took, committed, timeout = ?self.timeout.now(), "transactions have another timeout");
            self.producer = None;
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    // === the producer ===

    /// Replaces the producer; under exactly-once, one with the same transactional id, which ends what the one before
    /// left open and shuts out every older one.
    pub fn renew(&mut self) {
        self.producer = None;
        if let Err(failure) = self.producer() {
            tracing::debug!(why = failure.why, "new producer");
        }
    }

    pub fn forget_producer(&mut self) {
        self.producer = None;
    }

    pub fn producer(&mut self) -> std::result::Result<Arc<Producer>, Failure> {
        if let Some(producer) = &self.producer {
            return Ok(producer.clone());
        }
        loop {
            match self.open_producer() {
                Ok(producer) => {
                    let producer = Arc::new(producer);
                    self.was_let_in = true;
                    self.parts.missing.regain();
                    self.producer = Some(producer.clone());
                    return Ok(producer);
                }
                // Such a producer is good for nothing any more; the next one may be let in again.
                Err(failure) if self.was_let_in && is_about_rights(failure.code) && !self.is_stopping() => {
                    self.parts.missing.suspect(self.right_of_producer(failure.code));
                    self.pause();
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn open_producer(&mut self) -> std::result::Result<Producer, Failure> {
        let mut config = self.config.clone();
        config.set("transaction.timeout.ms", self.timeout.now().as_millis().to_string());
        let opened = Producer::open(&config, self.reports.clone());
        let producer = opened.map_err(|error| {
            self.tell(Report::Failed(error.clone()));
            Failure::new(RDKafkaErrorCode::Fail, error.to_string())
        })?;
        if self.parts.subscription.guarantee == Guarantee::ExactlyOnce {
            let initialised = self.until_answered(None, |call| producer.init_transactions(call));
            if let Err(failure) = initialised {
                let too_long = failure.code == RDKafkaErrorCode::InvalidTransactionTimeout && self.timeout.refuse();
                let passes = failure.retriable || too_long || (self.was_let_in && is_about_rights(failure.code));
                if !passes && !self.is_stopping() {
                    let what = format!("start transactions of {}", self.parts.subscription.application);
                    self.tell(Report::Failed(super::native::error(&what, failure.code, &failure.why)));
                }
                return Err(failure);
            }
        }
        Ok(producer)
    }

    /// Sends an interval's offsets, on a thread of its own: librdkafka 2.12 does not come back from this call while the
    /// group's coordinator stays away, whatever its timeout says. Given up, it ends with its producer.
    pub fn send_offsets(
        &mut self,
        producer: &Arc<Producer>,
        offsets: TopicPartitionList,
        group: &Arc<GroupMetadata>,
    ) -> std::result::Result<(), Failure> {
        let (producer, group, offsets) = (producer.clone(), group.clone(), Arc::new(offsets));
        let patience = 2 * self.timeout.now();
        self.patiently(|call| {
            let (producer, group, offsets) = (producer.clone(), group.clone(), offsets.clone());
            let (answered, answer) = sync_channel(1);
            std::thread::spawn(move || {
                let sent = producer.send_offsets(&offsets, &group, call);
                // The producer is let go before anybody hears of it.
                drop(producer);
                let _ = answered.send(sent);
            });
            answer.recv_timeout(patience).unwrap_or_else(|_| {
                let why = "the group's coordinator does not answer";
                Err(Failure { is_stuck: true, ..Failure::new(RDKafkaErrorCode::OperationTimedOut, why) })
            })
        })
    }

    /// Repeats a call of a transaction for twice the time after which its coordinator gives it up by itself. No answer
    /// to a commit within it is an unknown outcome.
    pub fn patiently(
        &mut self,
        call: impl FnMut(Duration) -> std::result::Result<(), Failure>,
    ) -> std::result::Result<(), Failure> {
        self.until_answered(Some(2 * self.timeout.now()), call)
    }

    /// Repeats a call while it fails with a retriable error, the client is not ending, and there is patience.
    fn until_answered(
        &mut self,
        patience: Option<Duration>,
        mut call: impl FnMut(Duration) -> std::result::Result<(), Failure>,
    ) -> std::result::Result<(), Failure> {
        let start = Instant::now();
        loop {
            match call(self.call) {
                Err(failure)
                    if failure.retriable
                        && !self.is_stopping()
                        && patience.is_none_or(|patience| start.elapsed() < patience) =>
                {
                    if failure.code == RDKafkaErrorCode::OperationTimedOut {
                        self.call = (2 * self.call).min(self.timeout.now());
                    }
                    // Most of these calls waited already; those that did not must not spin.
                    std::thread::sleep(super::connection::LOOK_AGAIN);
                }
                answer => return answer,
            }
        }
    }
}

/// Hands records over, grouped by partition.
pub fn send(
    producer: &Producer,
    subscription: &Subscription,
    outgoing: &Outgoing,
    changelog: bool,
) -> std::result::Result<(), Failure> {
    let mut run: Option<(TopicPartition, Run<'_>)> = None;
    for (to, record) in outgoing.by_partition() {
        match &mut run {
            Some((at, run)) if *at == to => run.send(record)?,
            _ => {
                let topic = &subscription.topics[to.topic.0 as usize];
                let mut begun = producer.run(topic, Some(to.partition), Tag::new(to.topic, changelog))?;
                begun.send(record)?;
                run = Some((to, begun));
            }
        }
    }
    Ok(())
}

/// Waits until all that was handed over is acknowledged; the first failure otherwise.
pub fn drain(work: &Work, producer: &Producer) -> std::result::Result<(), Failure> {
    while !producer.flush(CALL) {
        if work.is_stopping() {
            return Err(Failure::new(RDKafkaErrorCode::Application, "the client ends"));
        }
        if let Some(failure) = producer.transaction_failure() {
            return Err(failure);
        }
    }
    Ok(())
}
