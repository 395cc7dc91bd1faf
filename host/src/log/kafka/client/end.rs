//! How a member ends: it answers whatever the group asks, and waits for librdkafka a bounded time.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::{GroupMetadata, Inputs, Member, State};
use crate::log::Result;

/// How long leaving waits for the group, and the end of a consumer for librdkafka.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

impl Member {
    pub(super) fn end(&mut self) {
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
    pub(super) fn unsubscribe(&mut self) -> Result<()> {
        let consumer = self.consumer()?;
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        consumer.unsubscribe();
        while Instant::now() < deadline {
            self.let_go();
            if GroupMetadata::of(&consumer).is_none() && self.inputs.is_empty() {
                break;
            }
            self.wakeup.wait(crate::log::kafka::connection::LOOK_AGAIN);
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
