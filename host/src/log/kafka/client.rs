//! A stream thread's client: a static member of the group, and a committer beside it.

mod end;

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
use super::committer::{Committer, Job, Outcome, Parts, Report, Standing};
use super::connection::Connection;
use super::doubt::Doubt;
use super::group::GroupMetadata;
use super::inputs::Inputs;
use super::link::Link;
use super::native::{self, Queue};
use super::properties::Properties;
use super::rebalance::{Change, Membership};
use super::rights::{Right, Rights};
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

/// Fields are dropped from the top: queues before the consumer they belong to.
pub struct Member {
    inputs: Inputs,
    /// The consumer's own, for its length.
    events: Option<Queue>,
    tasks: Tasks,
    committer: Committer,
    link: Link,
    rights: Rights,
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
    doubt: Doubt,
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
        let rights = Rights::new(connection.clone(), wakeup.clone());
        let parts = Parts {
            subscription: subscription.clone(),
            consumer: consumer.clone(),
            outcomes: reports.0.clone(),
            missing: rights.missing.clone(),
            wakeup: wakeup.clone(),
        };
        let committer = Committer::start(properties, parts)?;
        let doubt = Doubt::new(properties, &subscription);
        let member = Member {
            inputs: Inputs::new(subscription.clone(), wakeup.clone()),
            events: Some(events),
            tasks: Tasks::new(subscription.clone()),
            committer,
            link: Link::new(connection.clone(), wakeup.clone()),
            rights,
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
            doubt,
        };
        member.subscribe()?;
        Ok(member)
    }

    /// Again, after a right on a topic was given back: librdkafka looks at the topics anew only then, or after minutes.
    fn subscribe(&self) -> Result<()> {
        let what = format!("join group {}", self.subscription.application);
        let topics: Vec<&str> = self.subscribed().collect();
        self.consumer()?.subscribe(&topics).map_err(|e| native::kafka_error(&what, &e))
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
                if !self.may_be_itself() {
                    self.lose("this member was replaced");
                    self.failed = Some(self.replaced());
                }
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
            Code::TopicAuthorizationFailed => {
                let topics: Vec<Right> = self.subscribed().map(|topic| Right::Read(topic.to_owned())).collect();
                self.rights.missing.suspect(topics);
            }
            Code::GroupAuthorizationFailed => self.rights.missing.suspect([Right::Group(application)]),
            Code::ClusterAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::InconsistentGroupProtocol
            | Code::InvalidSessionTimeout
            | Code::GroupMaxSizeReached => {
                return Err(native::error(&format!("group {application}"), code, &native::describe(code)));
            }
            code => tracing::debug!(?code, "group"),
        }
        Ok(())
    }

    /// Whether it is not clear yet that another process has this member's place. Nothing is done until it is.
    fn may_be_itself(&mut self) -> bool {
        if !self.doubt.is_open() && self.doubt.begin() {
            self.lose("this member was replaced, perhaps by itself");
        }
        self.doubt.is_open()
    }

    fn replaced(&self) -> Error {
        let Subscription { application, instance, .. } = &*self.subscription;
        let holder = format!("another process has joined the group as instance {instance}");
        Error::AlreadyRunning { application: application.clone(), holder }
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
        let mut undecided = false;
        if lost {
            // Whatever becomes of it, its tasks are gone: this is its outcome.
            undecided = self.in_flight.take().is_some();
            self.inputs.silence_all();
            self.doubt.session_ended();
        }
        if undecided || !told.is_empty() {
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
            missing: self.rights.missing.clone(),
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
                Report::Failed(Error::AlreadyRunning { .. }) if self.may_be_itself() => {}
                Report::Failed(error) => self.failed = Some(error),
            }
        }
        events.extend(self.pending.drain(..));
        if self.take_again_at.is_some_and(|at| at <= Instant::now()) && self.failed.is_none() && !self.doubt.is_open() {
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
        match outcome {
            Outcome::Committed { sequence, positions } => {
                self.in_flight = None;
                self.has_committed = true;
                self.rights.missing.regain();
                events.push(Event::Committed { sequence, positions });
            }
            Outcome::Aborted { sequence, why } => self.abort(sequence, why, events),
            Outcome::Outdated { sequence, why } if self.is_member() => self.abort(sequence, why, events),
            Outcome::Outdated { why, .. } | Outcome::Lost { why, .. } => self.lose(&why),
        }
    }

    /// What was taken from the inputs since the last commit is to be taken again: nothing more comes before that.
    fn abort(&mut self, sequence: u64, why: String, events: &mut Vec<Event>) {
        self.in_flight = None;
        self.inputs.silence_all();
        events.push(Event::Aborted { sequence, why });
    }

    /// Whether the group still counts on us, in some generation.
    fn is_member(&self) -> bool {
        let Some(consumer) = &self.consumer else { return false };
        !consumer.assignment_lost() && GroupMetadata::of(&**consumer).is_some()
    }

    /// All tasks are lost, though the group has not said so. The interval in flight ends with it, also where none of its
    /// tasks is left to tell of: whoever submitted it waits for that.
    fn lose(&mut self, why: &str) {
        tracing::info!(why, "tasks lost");
        let undecided = self.in_flight.take().is_some();
        self.inputs.silence_all();
        let tasks = self.tasks.advance(State::Announced, State::Dropped);
        if undecided || !tasks.is_empty() {
            self.pending.push_back(Event::Revoked { tasks, lost: true });
        }
        self.take_again_at = Some(Instant::now() + TAKE_AGAIN);
    }
}

impl Client for Member {
    fn poll(&mut self, wait: Duration, events: &mut Vec<Event>) -> Result<()> {
        let (heard, deadline) = (events.len(), Instant::now() + wait);
        loop {
            if self.failed.is_none() && !self.doubt.is_open() {
                self.serve_group(events)?;
            }
            if self.doubt.is_open() {
                let shut_out = self.replaced();
                let settled = self.doubt.settle(&self.connection, &self.subscription.application, shut_out);
                self.failed = self.failed.take().or(settled);
            }
            self.serve_reports(events)?;
            let member = self.consumer()?;
            self.link.serve([&member.client().context().reports, &*self.committer.reports], events);
            if self.rights.serve(events) {
                self.subscribe()?;
            }
            if let Some(failed) = self.failed.as_ref().filter(|_| events.len() == heard) {
                return Err(failed.clone());
            }
            self.inputs.fetch(events, &self.rights.missing)?;
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

    fn publish(&mut self, outgoing: &Outgoing) -> Result<bool> {
        if self.subscription.guarantee == Guarantee::ExactlyOnce {
            return Err(Error::refused("publish", "under exactly-once nothing is sent before its interval is cut"));
        }
        self.committer.offer(outgoing)
    }

    fn submit(&mut self, interval: Interval) -> Result<()> {
        if let Some(sequence) = self.in_flight {
            let what = format!("submit interval {}", interval.sequence);
            return Err(Error::refused(what, format!("interval {sequence} has no outcome yet")));
        }
        let consumer = self.consumer()?;
        let losses = consumer.client().context().losses();
        self.in_flight = Some(interval.sequence);
        match GroupMetadata::of(&*consumer).filter(|_| !consumer.assignment_lost()) {
            None => {
                self.lose("not a member of the group at the cut");
                Ok(())
            }
            Some(group) => self.committer.send(Job::Submit(interval, Standing { group: Arc::new(group), losses })),
        }
    }

    fn leave(&mut self, stay: bool) -> Result<()> {
        let is_silent = self.is_unheard();
        let left = if stay { Ok(()) } else { self.unsubscribe(is_silent) };
        self.end(is_silent);
        left
    }
}

impl Drop for Member {
    /// As a crash would look to the group: the static membership stays until the session ends.
    fn drop(&mut self) {
        let is_silent = self.link.is_away();
        self.end(is_silent);
    }
}
