//! A stream thread's client: a static member of the group, and a committer beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use millstream_engine::record::{Outgoing, TopicPartition};
use millstream_engine::task::TaskId;
use rdkafka::bindings as native_api;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Message, TopicPartitionList};

use super::assignment::Reading;
use super::committer::{Committer, Job, Outcome, Report, Standing};
use super::connection::Connection;
use super::group::GroupMetadata;
use super::inputs::Inputs;
use super::link::Link;
use super::native::{self, Queue};
use super::properties::Properties;
use super::rebalance::{Change, Membership};
use super::tasks::{State, Tasks};
use super::wakeup::Wakeup;
use crate::log::{AssignedTask, Client, Error, Event, Guarantee, Interval, Result, Subscription};

/// A waiting client looks around at least this often, whatever rings.
const LOOK_AROUND: Duration = Duration::from_millis(500);

/// Calls into librdkafka's event queue in one poll; the rest waits for the next one.
const EVENTS_MAX: usize = 100;

/// Tasks lost without the group saying so are taken again only after the next heartbeats: a member that was replaced
/// learns it from them, and must not shut its successor out.
const TAKE_AGAIN: Duration = Duration::from_secs(7);

/// How long leaving waits for the group, and the end of a consumer for librdkafka.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Fields are dropped from the top: queues before the consumer they belong to.
pub struct Member {
    inputs: Inputs,
    /// The consumer's own, for its length.
    events: Option<Queue>,
    tasks: Tasks,
    committer: Committer,
    link: Link,
    consumer: Option<Arc<BaseConsumer<Membership>>>,
    connection: Arc<Connection>,
    subscription: Arc<Subscription>,
    wakeup: Arc<Wakeup>,
    reports: (Sender<Report>, Receiver<Report>),
    /// Events made outside `poll`.
    pending: VecDeque<Event>,
    in_flight: Option<u64>,
    has_committed: bool,
    reading: Option<(u64, Arc<AtomicBool>)>,
    readings: u64,
    take_again_at: Option<Instant>,
    /// Told after the events that came before it, and at every poll from then on.
    failed: Option<Error>,
}

impl Member {
    pub fn join(connection: Arc<Connection>, properties: &Properties, subscription: Subscription) -> Result<Member> {
        let what = format!("join group {}", subscription.application);
        connection.compare_plans(&subscription)?;
        let subscription = Arc::new(subscription);
        let consumer: BaseConsumer<Membership> = properties
            .member(&subscription)
            .create_with_context(Membership::default())
            .map_err(|e| native::kafka_error(&what, &e))?;
        let consumer = Arc::new(consumer);
        let wakeup = Arc::new(Wakeup::new().map_err(|e| Error::unreachable(&what, e))?);
        // SAFETY: a member has a consumer queue; it is dropped before the consumer.
        let events = unsafe { Queue::own(native_api::rd_kafka_queue_get_consumer(consumer.client().native_ptr())) };
        let events = events.ok_or_else(|| Error::refused(&what, "librdkafka made no queue"))?;
        wakeup.watch(&events);
        let reports = channel();
        let committer =
            Committer::start(subscription.clone(), properties, consumer.clone(), reports.0.clone(), wakeup.clone())?;
        let topic = |set: &crate::log::TaskSet| subscription.topics[set.subscribe.0 as usize].as_str();
        let topics: Vec<&str> = subscription.task_sets.iter().map(topic).collect();
        consumer.subscribe(&topics).map_err(|e| native::kafka_error(&what, &e))?;
        Ok(Member {
            inputs: Inputs::new(subscription.clone(), wakeup.clone()),
            events: Some(events),
            tasks: Tasks::new(subscription.clone()),
            committer,
            link: Link::new(connection.clone(), wakeup.clone()),
            consumer: Some(consumer),
            connection,
            subscription,
            wakeup,
            reports,
            pending: VecDeque::new(),
            in_flight: None,
            has_committed: false,
            reading: None,
            readings: 0,
            take_again_at: None,
            failed: None,
        })
    }

    fn consumer(&self) -> Result<Arc<BaseConsumer<Membership>>> {
        self.consumer.clone().ok_or_else(|| Error::refused(&self.subscription.application, "the client has left"))
    }

    // === the group ===

    fn serve_group(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let consumer = self.consumer()?;
        for _ in 0..EVENTS_MAX {
            match consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let what = format!("partition {} of topic {}", message.partition(), message.topic());
                    return Err(Error::refused(what, "a record came past its queue"));
                }
                Some(Err(error)) => self.hear(&error)?,
                None if self.is_quiet() => break,
                None => {}
            }
        }
        while let Some(change) = consumer.client().context().next() {
            match change {
                Change::Assign(partitions) => self.assigned(&consumer, &partitions)?,
                Change::Revoke { partitions, lost } => self.revoked(&partitions, lost, events)?,
            }
        }
        Ok(())
    }

    /// Whether nothing waits in the consumer's own queue; its `poll` does not tell that from an event it served.
    fn is_quiet(&self) -> bool {
        // SAFETY: a live queue.
        self.events.as_ref().is_none_or(|events| unsafe { native_api::rd_kafka_queue_length(events.ptr()) } == 0)
    }

    /// Sorts an error of the member as a whole: most pass by themselves.
    fn hear(&mut self, error: &KafkaError) -> Result<()> {
        let Some(code) = error.rdkafka_error_code() else { return Ok(()) };
        let application = self.subscription.application.clone();
        match code {
            Code::FencedInstanceId => {
                let instance = &self.subscription.instance;
                let holder = format!("another process has joined the group as instance {instance}");
                self.lose("this member was replaced");
                self.failed = Some(Error::AlreadyRunning { application, holder });
            }
            Code::Fatal => {
                let why = self.fatal_reason();
                self.lose(&why);
                self.failed = Some(Error::refused(format!("group {application}"), why));
            }
            code if native::is_unknown_topic(code) => {
                let mut topics = self.subscribed();
                let missing = topics.find(|topic| matches!(self.connection.partitions(topic), Ok(None)));
                if let Some(topic) = missing {
                    return Err(Error::UnknownTopic(topic.to_owned()));
                }
            }
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::InconsistentGroupProtocol
            | Code::InvalidSessionTimeout
            | Code::GroupMaxSizeReached => {
                return Err(Error::refused(format!("group {application}"), native::describe(code)));
            }
            code => tracing::debug!(?code, "group"),
        }
        Ok(())
    }

    fn subscribed(&self) -> impl Iterator<Item = &str> {
        self.subscription.task_sets.iter().map(|set| self.subscription.topics[set.subscribe.0 as usize].as_str())
    }

    fn fatal_reason(&self) -> String {
        let Ok(consumer) = self.consumer() else { return String::new() };
        consumer.client().context().reports.why("librdkafka gave up")
    }

    /// Answered at once, with nothing: the group counts the partitions as ours from now on, and the tasks we hold
    /// already are read on. Inputs are assigned to librdkafka one by one as they are started.
    fn assigned(&mut self, consumer: &BaseConsumer<Membership>, partitions: &[(String, i32)]) -> Result<()> {
        let answered = consumer.incremental_assign(&TopicPartitionList::new());
        answered.map_err(|e| native::kafka_error("take partitions", &e))?;
        self.inputs.hold_positions(consumer)?;
        for task in self.tasks.of(partitions)? {
            self.tasks.set(task, State::Reading);
        }
        self.read();
        Ok(())
    }

    fn revoked(&mut self, partitions: &[(String, i32)], lost: bool, events: &mut Vec<Event>) -> Result<()> {
        let tasks = self.tasks.of(partitions)?;
        let told = self.tasks.revoke(&tasks);
        if lost {
            // Whatever becomes of it, its tasks are gone: this is its outcome.
            self.in_flight = None;
            self.inputs.silence_all();
        }
        if !told.is_empty() {
            events.push(Event::Revoked { tasks: told, lost });
        }
        self.answer_revoke()
    }

    /// Gives back what a revoke asked for, when nothing of it is with the thread any more.
    fn answer_revoke(&mut self) -> Result<()> {
        let Some(tasks) = self.tasks.take_released() else { return Ok(()) };
        let inputs: Vec<TopicPartition> = tasks.iter().flat_map(|task| self.tasks.inputs(*task)).collect();
        let consumer = self.consumer()?;
        self.inputs.silence(&inputs);
        self.inputs.unassign(&consumer, &inputs)?;
        self.inputs.hold_positions(&consumer)
    }

    // === the offsets of new tasks ===

    /// Reads the offsets of all tasks that wait for them, in place of a reading that is under way.
    fn read(&mut self) {
        let tasks = self.tasks.in_state(State::Reading);
        self.cancel_reading();
        if tasks.is_empty() {
            return;
        }
        let Ok(consumer) = self.consumer() else { return };
        let cancelled = Arc::new(AtomicBool::new(false));
        self.readings += 1;
        self.reading = Some((self.readings, cancelled.clone()));
        let reading = Reading {
            consumer,
            connection: self.connection.clone(),
            subscription: self.subscription.clone(),
            tasks: tasks.into_iter().map(|task| (task, self.tasks.inputs(task))).collect(),
            compare_plans: !self.has_committed,
            cancelled,
        };
        let (number, reports, wakeup) = (self.readings, self.reports.0.clone(), self.wakeup.clone());
        std::thread::spawn(move || {
            let report = match reading.run() {
                None => return,
                Some(Ok(tasks)) => Report::Assigned(number, tasks),
                Some(Err(error)) => Report::Failed(error),
            };
            // Its hold on the consumer ends before anybody hears of it.
            drop(reading);
            let _ = reports.send(report);
            wakeup.ring();
        });
    }

    fn cancel_reading(&mut self) {
        if let Some((_, cancelled)) = self.reading.take() {
            cancelled.store(true, Ordering::Release);
        }
    }

    fn announce(&mut self, number: u64, mut tasks: Vec<AssignedTask>, events: &mut Vec<Event>) {
        if self.reading.as_ref().is_none_or(|(current, _)| *current != number) {
            return;
        }
        self.reading = None;
        // The group may have taken some back meanwhile.
        tasks.retain(|assigned| self.tasks.state(assigned.task) == Some(State::Reading));
        for assigned in &tasks {
            self.tasks.set(assigned.task, State::Announced);
        }
        if !tasks.is_empty() {
            events.push(Event::Assigned { tasks });
        }
    }

    // === outcomes ===

    fn serve_reports(&mut self, events: &mut Vec<Event>) -> Result<()> {
        events.extend(self.pending.drain(..));
        while let Ok(report) = self.reports.1.try_recv() {
            match report {
                Report::Outcome(outcome) => self.conclude(outcome, events),
                Report::Assigned(number, tasks) => self.announce(number, tasks, events),
                Report::Failed(error) => self.failed = Some(error),
            }
        }
        events.extend(self.pending.drain(..));
        if self.take_again_at.is_some_and(|at| at <= Instant::now()) && self.failed.is_none() {
            self.take_again_at = None;
            if !self.tasks.advance(State::Returned, State::Reading).is_empty() {
                self.committer.send(Job::Renew)?;
                self.read();
            }
        }
        Ok(())
    }

    fn conclude(&mut self, outcome: Outcome, events: &mut Vec<Event>) {
        // Of an interval whose tasks were lost meanwhile nothing more is told.
        if self.in_flight != Some(outcome.sequence()) {
            return;
        }
        self.in_flight = None;
        match outcome {
            Outcome::Committed { sequence, positions } => {
                self.has_committed = true;
                events.push(Event::Committed { sequence, positions });
            }
            Outcome::Aborted { sequence, why } => self.abort(sequence, why, events),
            Outcome::Outdated { sequence, why } if self.is_member() => self.abort(sequence, why, events),
            Outcome::Outdated { why, .. } | Outcome::Lost { why, .. } => self.lose(&why),
        }
    }

    /// What was taken from the inputs since the last commit is to be taken again: nothing more comes before that.
    fn abort(&mut self, sequence: u64, why: String, events: &mut Vec<Event>) {
        self.inputs.silence_all();
        events.push(Event::Aborted { sequence, why });
    }

    /// Whether the group still counts on us, in some generation.
    fn is_member(&self) -> bool {
        let Some(consumer) = &self.consumer else { return false };
        !consumer.assignment_lost() && GroupMetadata::of(&**consumer).is_some()
    }

    /// All tasks are lost, though the group has not said so.
    fn lose(&mut self, why: &str) {
        tracing::info!(why, "tasks lost");
        self.in_flight = None;
        self.inputs.silence_all();
        let tasks = self.tasks.advance(State::Announced, State::Dropped);
        if !tasks.is_empty() {
            self.pending.push_back(Event::Revoked { tasks, lost: true });
        }
        self.take_again_at = Some(Instant::now() + TAKE_AGAIN);
    }

    // === the end ===

    fn end(&mut self) {
        self.cancel_reading();
        self.let_go();
        let Some(consumer) = self.consumer.take() else { return };
        consumer.client().context().close();
        self.committer.end();
        // The queues go before the consumer.
        if let Some(events) = self.events.take() {
            self.wakeup.ignore(&events);
        }
        self.inputs = Inputs::new(self.subscription.clone(), self.wakeup.clone());
        let (done, ended) = channel();
        std::thread::spawn(move || {
            drop(consumer);
            let _ = done.send(());
        });
        if ended.recv_timeout(LEAVE_TIMEOUT).is_err() {
            tracing::warn!("a Kafka consumer does not end; it is left behind");
        }
    }

    /// Asks the group to let go and answers what it asks back, for a bounded time.
    fn unsubscribe(&mut self) -> Result<()> {
        let consumer = self.consumer()?;
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        consumer.unsubscribe();
        while Instant::now() < deadline {
            self.let_go();
            if GroupMetadata::of(&consumer).is_none() && self.inputs.is_empty() {
                break;
            }
            self.wakeup.wait(super::connection::LOOK_AGAIN);
        }
        Ok(())
    }

    /// Answers whatever the group asks, with nothing kept: a consumer whose last question is open does not end.
    fn let_go(&mut self) {
        let heard = self.serve_group(&mut Vec::new());
        let held = [self.tasks.in_state(State::Announced), self.tasks.in_state(State::Dropped)].concat();
        self.tasks.release(&held);
        if let Err(error) = heard.and_then(|()| self.answer_revoke()) {
            tracing::debug!(%error, "leaving");
        }
    }
}

impl Client for Member {
    fn poll(&mut self, wait: Duration, events: &mut Vec<Event>) -> Result<()> {
        let (heard, deadline) = (events.len(), Instant::now() + wait);
        loop {
            if self.failed.is_none() {
                self.serve_group(events)?;
            }
            self.serve_reports(events)?;
            let member = self.consumer()?;
            self.link.serve([&member.client().context().reports, &*self.committer.reports], events);
            if let Some(failed) = self.failed.as_ref().filter(|_| events.len() == heard) {
                return Err(failed.clone());
            }
            self.inputs.fetch(events)?;
            self.connection.serve();
            let left = deadline.saturating_duration_since(Instant::now());
            if events.len() > heard || left.is_zero() {
                return Ok(());
            }
            self.wakeup.wait(left.min(LOOK_AROUND));
        }
    }

    /// The group was answered when it assigned them; what waits for the thread is only their inputs.
    fn accept(&mut self, _: &[TaskId]) -> Result<()> {
        Ok(())
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<()> {
        for task in tasks {
            self.inputs.silence(&self.tasks.inputs(*task));
        }
        self.tasks.release(tasks);
        self.answer_revoke()
    }

    fn start(&mut self, input: TopicPartition, offset: i64) -> Result<()> {
        let consumer = self.consumer()?;
        if !self.tasks.is_owned(input) {
            let topic = &self.subscription.topics[input.topic.0 as usize];
            let what = format!("start partition {} of topic {topic}", input.partition);
            return Err(Error::refused(what, "this client does not own its task"));
        }
        self.inputs.start(&consumer, input, offset)
    }

    fn want(&mut self, input: TopicPartition, wanted: bool) {
        self.inputs.want(input, wanted);
    }

    fn publish(&mut self, outgoing: &Outgoing) -> Result<()> {
        if self.subscription.guarantee == Guarantee::ExactlyOnce {
            return Err(Error::refused("publish", "under exactly-once nothing is sent before its interval is cut"));
        }
        self.committer.send(Job::Publish(outgoing.clone()))
    }

    fn submit(&mut self, interval: Interval) -> Result<()> {
        if let Some(sequence) = self.in_flight {
            let what = format!("submit interval {}", interval.sequence);
            return Err(Error::refused(what, format!("interval {sequence} has no outcome yet")));
        }
        let consumer = self.consumer()?;
        let losses = consumer.client().context().losses();
        match GroupMetadata::of(&*consumer).filter(|_| !consumer.assignment_lost()) {
            None => {
                self.lose("not a member of the group at the cut");
                Ok(())
            }
            Some(group) => {
                self.in_flight = Some(interval.sequence);
                self.committer.send(Job::Submit(interval, Standing { group, losses }))
            }
        }
    }

    fn leave(&mut self, stay: bool) -> Result<()> {
        let left = if stay { Ok(()) } else { self.unsubscribe() };
        self.end();
        left
    }
}

impl Drop for Member {
    /// As a crash would look to the group: the static membership stays until the session ends.
    fn drop(&mut self) {
        self.end();
    }
}
