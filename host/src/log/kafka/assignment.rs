//! What a member is told of newly assigned tasks: stable committed offsets and the ends of their inputs, read beside
//! the client's loop, since a transaction of the owner before can hold them back for seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_engine::record::TopicPartition;
use millstream_engine::task::TaskId;
use rdkafka::consumer::BaseConsumer;

use super::connection::Connection;
use super::group;
use super::rebalance::Membership;
use super::rights::{Missing, Right};
use crate::log::{AssignedInput, AssignedTask, Error, Result, Subscription};

/// Of one question; asked again, with more and more time, until it is answered or the tasks are gone.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
const READ_TIMEOUT_MAX: Duration = Duration::from_secs(16);
const READ_AGAIN: Duration = Duration::from_millis(200);

/// Everything the reading needs, so that it can run on a thread of its own.
pub struct Reading {
    pub consumer: Arc<BaseConsumer<Membership>>,
    pub connection: Arc<Connection>,
    pub subscription: Arc<Subscription>,
    pub tasks: Vec<(TaskId, Vec<TopicPartition>)>,
    pub missing: Arc<Missing>,
    /// Whether to compare plans with the group's members: before the first interval only.
    pub compare_plans: bool,
    pub cancelled: Arc<AtomicBool>,
}

impl Reading {
    /// `None` when it was cancelled.
    pub fn run(&self) -> Option<Result<Vec<AssignedTask>>> {
        if self.compare_plans
            && let Err(error) = self.connection.compare_plans(&self.subscription)
        {
            return Some(Err(error));
        }
        let mut timeout = READ_TIMEOUT;
        while !self.cancelled.load(Ordering::Acquire) {
            match self.read(timeout) {
                Err(error) if error.may_pass() => {
                    tracing::debug!(%error, "assigned tasks wait for their offsets");
                    if let Error::Unauthorised { .. } = error {
                        self.missing.suspect(self.needs());
                    }
                    timeout = (2 * timeout).min(READ_TIMEOUT_MAX);
                    std::thread::sleep(READ_AGAIN);
                }
                answer => return Some(answer),
            }
        }
        None
    }

    /// The rights without which the offsets are not told.
    fn needs(&self) -> impl Iterator<Item = Right> {
        let inputs = self.tasks.iter().flat_map(|(_, inputs)| inputs);
        let topics = inputs.map(|input| Right::Read(self.subscription.topics[input.topic.0 as usize].clone()));
        topics.chain([Right::Group(self.subscription.application.clone())])
    }

    fn read(&self, timeout: Duration) -> Result<Vec<AssignedTask>> {
        let inputs: Vec<TopicPartition> = self.tasks.iter().flat_map(|(_, inputs)| inputs).copied().collect();
        let name = |input: &TopicPartition| &*self.subscription.topics[input.topic.0 as usize];
        let places: Vec<(&str, i32)> = inputs.iter().map(|input| (name(input), input.partition)).collect();
        let mut committed = group::committed(&self.consumer, &places, timeout)?.into_iter();
        let mut assigned = Vec::with_capacity(self.tasks.len());
        for (task, inputs) in &self.tasks {
            let mut of_task = Vec::with_capacity(inputs.len());
            for input in inputs {
                let offsets = self.connection.watermarks(name(input), input.partition)?;
                of_task.push(AssignedInput { input: *input, committed: committed.next().flatten(), offsets });
            }
            assigned.push(AssignedTask { task: *task, inputs: of_task });
        }
        Ok(assigned)
    }
}
