//! A log whose outcomes, assignments and revocations come when a test says so: what a broker does by chance.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream::log::{
    AssignedInput, AssignedTask, Client, Committed, Event, Interval, Isolation, Log, NewTopic, Offsets, Reader, Result,
    Space, Subscription, Swept, Topic, Writer,
};
use millstream_engine::record::{Outgoing, TopicPartition};
use millstream_engine::task::TaskId;

/// A log with a gate before the clients of its stream threads.
pub struct Gated {
    log: Arc<dyn Log>,
    gate: Gate,
}

/// The test's hand on it.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether intervals wait before the log has them.
    holds: bool,
    /// Intervals that wait, by their sequences.
    held: usize,
    /// What to do with the one that waits.
    verdict: Option<Verdict>,
    /// Partitions whose tasks are not given to the thread when the log assigns them.
    kept_back: Vec<i32>,
    orders: VecDeque<Order>,
}

#[derive(Clone, Copy)]
enum Verdict {
    Pass,
    Abort,
}

enum Order {
    /// Gives what was kept back.
    Give,
    Revoke(i32),
    /// Gives a task again that was revoked.
    Return(i32),
}

impl Gate {
    /// From now on intervals wait.
    pub fn hold(&self) {
        self.state().holds = true;
    }

    pub fn holds_one(&self) -> bool {
        self.state().held > 0
    }

    /// The one that waits is committed; later ones wait no more.
    pub fn pass(&self) {
        let mut state = self.state();
        (state.holds, state.verdict) = (false, Some(Verdict::Pass));
    }

    /// The log says that nothing of the one that waits was committed; later ones wait no more.
    pub fn abort(&self) {
        let mut state = self.state();
        (state.holds, state.verdict) = (false, Some(Verdict::Abort));
    }

    /// Tasks of this partition are not assigned before [`Gate::give`].
    pub fn keep_back(&self, partition: i32) {
        self.state().kept_back.push(partition);
    }

    pub fn give(&self) {
        self.state().orders.push_back(Order::Give);
    }

    /// The group wants the tasks of this partition back.
    pub fn revoke(&self, partition: i32) {
        self.state().orders.push_back(Order::Revoke(partition));
    }

    /// The group gives them again.
    pub fn give_again(&self, partition: i32) {
        self.state().orders.push_back(Order::Return(partition));
    }

    /// A log behind this gate.
    pub fn before(&self, log: Arc<dyn Log>) -> Arc<dyn Log> {
        Arc::new(Gated { log, gate: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct GatedClient {
    client: Box<dyn Client>,
    log: Arc<dyn Log>,
    gate: Gate,
    subscription: Subscription,
    waiting: Option<Interval>,
    kept_back: Vec<AssignedTask>,
    /// Tasks that the log has given to this client, whatever the thread was told.
    owned: Vec<AssignedTask>,
    /// Tasks that the thread gives back and the log knows nothing of.
    revoked: Vec<TaskId>,
}

impl GatedClient {
    fn obey(&mut self, order: &Order, events: &mut Vec<Event>) -> Result<()> {
        match order {
            Order::Give => events.push(Event::Assigned { tasks: std::mem::take(&mut self.kept_back) }),
            Order::Revoke(partition) => {
                let tasks = self.tasks_of(*partition);
                self.revoked.extend(&tasks);
                events.push(Event::Revoked { tasks, lost: false });
            }
            Order::Return(partition) => {
                let mut tasks: Vec<AssignedTask> =
                    self.owned.iter().filter(|task| task.task.partition == *partition).cloned().collect();
                tasks.iter_mut().flat_map(|task| &mut task.inputs).try_for_each(|input| self.look_up(input))?;
                events.push(Event::Assigned { tasks });
            }
        }
        Ok(())
    }

    fn tasks_of(&self, partition: i32) -> Vec<TaskId> {
        self.owned.iter().map(|task| task.task).filter(|task| task.partition == partition).collect()
    }

    /// Where an input stands now.
    fn look_up(&self, input: &mut AssignedInput) -> Result<()> {
        let topic = self.subscription.topics[input.input.topic.0 as usize].clone();
        let partition = input.input.partition;
        input.offsets = self.log.offsets(&topic, partition)?;
        let committed = self.log.committed(&self.subscription.application, &[(topic, partition)])?;
        input.committed = committed.into_iter().next().flatten();
        Ok(())
    }
}

impl Client for GatedClient {
    fn poll(&mut self, wait: Duration, events: &mut Vec<Event>) -> Result<()> {
        let (order, verdict) = {
            let mut state = self.gate.state();
            let verdict = if self.waiting.is_some() { state.verdict.take() } else { None };
            state.held -= usize::from(verdict.is_some());
            (state.orders.pop_front(), verdict)
        };
        if let Some(verdict) = verdict
            && let Some(interval) = self.waiting.take()
        {
            match verdict {
                Verdict::Pass => self.client.submit(interval)?,
                Verdict::Abort => {
                    events.push(Event::Aborted { sequence: interval.sequence, why: "the test says so".to_owned() });
                }
            }
        }
        if let Some(order) = order {
            self.obey(&order, events)?;
        }
        let heard = events.len();
        self.client.poll(wait, events)?;
        let kept_back = self.gate.state().kept_back.clone();
        for event in &mut events[heard..] {
            if let Event::Assigned { tasks } = event {
                self.owned.extend(tasks.iter().cloned());
                let (back, given) = tasks.drain(..).partition(|task| kept_back.contains(&task.task.partition));
                self.kept_back.extend::<Vec<_>>(back);
                *tasks = given;
            }
        }
        Ok(())
    }

    fn accept(&mut self, tasks: &[TaskId]) -> Result<()> {
        let (again, new): (Vec<TaskId>, Vec<TaskId>) = tasks.iter().partition(|task| self.revoked.contains(task));
        self.revoked.retain(|task| !again.contains(task));
        if new.is_empty() && !again.is_empty() { Ok(()) } else { self.client.accept(&new) }
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<()> {
        let real: Vec<TaskId> = tasks.iter().filter(|task| !self.revoked.contains(task)).copied().collect();
        if real.is_empty() && !tasks.is_empty() { Ok(()) } else { self.client.release(&real) }
    }

    fn start(&mut self, input: TopicPartition, offset: i64) -> Result<()> {
        self.client.start(input, offset)
    }

    fn want(&mut self, input: TopicPartition, wanted: bool) {
        self.client.want(input, wanted);
    }

    fn publish(&mut self, outgoing: &Outgoing) -> Result<bool> {
        self.client.publish(outgoing)
    }

    fn submit(&mut self, interval: Interval) -> Result<()> {
        let mut state = self.gate.state();
        if !state.holds {
            drop(state);
            return self.client.submit(interval);
        }
        state.held += 1;
        self.waiting = Some(interval);
        Ok(())
    }

    fn leave(&mut self, stay: bool) -> Result<()> {
        self.client.leave(stay)
    }
}

impl Log for Gated {
    fn client(&self, subscription: Subscription) -> Result<Box<dyn Client>> {
        Ok(Box::new(GatedClient {
            client: self.log.client(subscription.clone())?,
            log: self.log.clone(),
            gate: self.gate.clone(),
            subscription,
            waiting: None,
            kept_back: Vec::new(),
            owned: Vec::new(),
            revoked: Vec::new(),
        }))
    }

    fn url(&self) -> &str {
        self.log.url()
    }

    fn ping(&self, timeout: Duration) -> Result<()> {
        self.log.ping(timeout)
    }

    fn topics(&self) -> Result<Vec<String>> {
        self.log.topics()
    }

    fn describe(&self, names: &[&str]) -> Result<Vec<Option<Topic>>> {
        self.log.describe(names)
    }

    fn create(&self, topic: &NewTopic) -> Result<()> {
        self.log.create(topic)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.log.delete(name)
    }

    fn offsets(&self, topic: &str, partition: i32) -> Result<Offsets> {
        self.log.offsets(topic, partition)
    }

    fn space(&self) -> Result<Option<Space>> {
        self.log.space()
    }

    fn sweep(&self, topic: &str) -> Result<Swept> {
        self.log.sweep(topic)
    }

    fn delete_records(&self, below: &[(String, i32, i64)]) -> Result<()> {
        self.log.delete_records(below)
    }

    fn committed(&self, application: &str, partitions: &[(String, i32)]) -> Result<Vec<Option<Committed>>> {
        self.log.committed(application, partitions)
    }

    fn committed_partitions(&self, application: &str) -> Result<Vec<(String, i32)>> {
        self.log.committed_partitions(application)
    }

    fn members(&self, application: &str) -> Result<Option<Vec<String>>> {
        self.log.members(application)
    }

    fn holder(&self, application: &str) -> Result<Option<String>> {
        self.log.holder(application)
    }

    fn forget(&self, application: &str) -> Result<()> {
        self.log.forget(application)
    }

    fn reader(&self, isolation: Isolation) -> Result<Box<dyn Reader>> {
        self.log.reader(isolation)
    }

    fn writer(&self) -> Result<Box<dyn Writer>> {
        self.log.writer()
    }
}
