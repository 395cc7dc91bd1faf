//! How a member ends: it answers whatever the group asks, and waits for librdkafka a bounded time.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::{GroupMetadata, Inputs, Member, State};
use crate::log::Result;

/// How long leaving waits for the group, and the end of a consumer for librdkafka.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same where no broker answers. The group cannot be told anything: it finds out when the session ends, and a start
/// before that takes the place of this member.
const SILENT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a broker may take to prove that it is there, when an interval has no outcome at the end.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

impl Member {
    pub(super) fn end(&mut self, is_silent: bool) {
        self.cancel_reading();
        self.let_go();
        let Some(consumer) = self.consumer.take() else { return };
        consumer.client().context().close();
        self.committer.end(is_silent);
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
        if ended.recv_timeout(timeout(is_silent)).is_err() {
            tracing::warn!("a Kafka consumer does not end; it is left behind");
        }
    }

    /// Whether there is nobody to say farewell to. Of a member with nothing in flight only what is known counts: on a slow
    /// wire it leaves as slowly, and well.
    pub(super) fn is_unheard(&self) -> bool {
        self.link.is_away() || (self.in_flight.is_some() && self.connection.ping(PROOF_TIMEOUT).is_err())
    }

    /// Asks the group to let go and answers what it asks back, for a bounded time.
    pub(super) fn unsubscribe(&mut self, is_silent: bool) -> Result<()> {
        let consumer = self.consumer()?;
        let deadline = Instant::now() + timeout(is_silent);
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

fn timeout(is_silent: bool) -> Duration {
    if is_silent { SILENT_TIMEOUT } else { LEAVE_TIMEOUT }
}
