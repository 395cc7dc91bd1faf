//! The thread that owns a client's producer: publishes, and carries intervals into the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millstream_engine::record::{Outgoing, TopicPartition};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;

use super::deliveries::{Delivered, Tag};
use super::group::GroupMetadata;
use super::native::Failure;
use super::producer::{Producer, Run};
use super::properties::Properties;
use super::rebalance::Membership;
use super::reports::Reports;
use super::timeout::TransactionTimeout;
use super::wakeup::Wakeup;
use super::{at_least_once, exactly_once};
use crate::log::{AssignedTask, Error, Guarantee, Interval, Result, Subscription};

/// Jobs on their way to the committer: some batches published ahead, one interval. A full queue holds the caller,
/// which is how a broker that does not keep up is felt.
const JOBS_MAX: usize = 16;

/// How long a committer with nothing to do sleeps between two looks at its producer's reports.
const IDLE: Duration = Duration::from_millis(200);
/// The same while published records are in flight, ms.
const BUSY_MS: i32 = 5;

/// One call to the cluster; repeated until it is answered, so that the end of the client is noticed in between.
const CALL: Duration = Duration::from_secs(1);

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
    pub group: GroupMetadata,
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

/// The client's end.
pub struct Committer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    ended: Receiver<()>,
    stop: Arc<AtomicBool>,
    pub reports: Arc<Reports>,
}

impl Committer {
    pub fn start(
        subscription: Arc<Subscription>,
        properties: &Properties,
        consumer: Arc<BaseConsumer<Membership>>,
        outcomes: Sender<Report>,
        wakeup: Arc<Wakeup>,
    ) -> Result<Committer> {
        let (jobs, queue) = sync_channel(JOBS_MAX);
        let (ending, ended) = sync_channel(0);
        let stop = Arc::new(AtomicBool::new(false));
        let reports = Arc::new(Reports::default());
        let mut work = Work {
            config: properties.producer(&subscription),
            timeout: TransactionTimeout::new(properties.transaction_timeout()),
            call: CALL,
            subscription,
            consumer,
            outcomes,
            wakeup,
            reports: reports.clone(),
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
        Ok(Committer { jobs: Some(jobs), thread: Some(thread), ended, stop, reports })
    }

    pub fn send(&self, job: Job) -> Result<()> {
        let gone = || Error::refused("kafka committer", "it has ended");
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())
    }

    /// Ends the thread, waiting a bounded time: some calls of librdkafka do not keep their timeouts while a
    /// coordinator is away.
    pub fn end(&mut self) {
        self.jobs = None;
        let graceful = matches!(self.ended.recv_timeout(END_TIMEOUT), Err(RecvTimeoutError::Disconnected));
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
    pub subscription: Arc<Subscription>,
    pub consumer: Arc<BaseConsumer<Membership>>,
    outcomes: Sender<Report>,
    wakeup: Arc<Wakeup>,
    reports: Arc<Reports>,
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
            }
            Job::Submit(interval, standing) => {
                let outcome = match self.subscription.guarantee {
                    Guarantee::ExactlyOnce => exactly_once::commit(self, &interval, &standing.group),
                    Guarantee::AtLeastOnce => at_least_once::commit(self, &interval, standing.losses),
                };
                tracing::debug!(?outcome, "interval");
                self.tell(Report::Outcome(outcome));
            }
            Job::Renew => self.renew(),
        }
    }

    /// What was published and not committed is wanted in the log all the same.
    fn drain(&self) {
        if let Some(producer) = &self.producer
            && self.subscription.guarantee == Guarantee::AtLeastOnce
        {
            producer.flush(END_TIMEOUT / 2);
        }
    }

    fn tell(&self, report: Report) {
        // A client that is gone needs no report.
        let _ = self.outcomes.send(report);
        self.wakeup.ring();
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
        let producer = Arc::new(self.open_producer()?);
        self.producer = Some(producer.clone());
        Ok(producer)
    }

    fn open_producer(&mut self) -> std::result::Result<Producer, Failure> {
        let mut config = self.config.clone();
        config.set("transaction.timeout.ms", self.timeout.now().as_millis().to_string());
        let opened = Producer::open(&config, self.reports.clone());
        let producer = opened.map_err(|error| {
            self.tell(Report::Failed(error.clone()));
            Failure::new(RDKafkaErrorCode::Fail, error.to_string())
        })?;
        if self.subscription.guarantee == Guarantee::ExactlyOnce {
            let initialised = self.until_answered(None, |call| producer.init_transactions(call));
            if let Err(failure) = initialised {
                let too_long = failure.code == RDKafkaErrorCode::InvalidTransactionTimeout && self.timeout.refuse();
                if !failure.retriable && !too_long && !self.is_stopping() {
                    let what = format!("start transactions of {}", self.subscription.application);
                    self.tell(Report::Failed(super::native::error(&what, failure.code, &failure.why)));
                }
                return Err(failure);
            }
        }
        Ok(producer)
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
    }
    Ok(())
}
