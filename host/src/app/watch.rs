//! Looks after what others do to an application's topics, from a thread of its own beside the stream threads. What it
//! finds goes up as a value; whoever runs the application asks for it.

use std::cell::OnceCell;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use millstream_engine::error::Problem;

use super::topics::{Look, Topics};
use crate::log::{self, Log};

/// How often it looks: a handful of requests to the log, and a change of topics is a matter of hours.
const EVERY: Duration = Duration::from_secs(5);

/// Dropping it ends its thread at the next look.
pub struct Watch {
    events: Receiver<Problem>,
    found: OnceCell<Problem>,
    topics: Arc<Topics>,
    log: Arc<dyn Log>,
    /// Hung up to end the thread.
    _running: Sender<()>,
}

impl Watch {
    pub fn start(log: Arc<dyn Log>, topics: Topics, application: &str) -> io::Result<Watch> {
        let (found, events) = channel();
        let (running, ended) = channel();
        let topics = Arc::new(topics);
        let (looked, asked) = (topics.clone(), log.clone());
        let look = move || {
            let mut gone_before = None;
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                match looked.look_again(&*asked) {
                    Ok(Look { problem: Some(problem), .. }) => return drop(found.send(problem)),
                    // Twice: between a deletion and a creation there is nothing for a moment.
                    Ok(Look { gone: Some(topic), .. }) if gone_before.as_ref() == Some(&topic) => {
                        return drop(found.send(log::Error::UnknownTopic(topic).into()));
                    }
                    Ok(Look { gone, .. }) => gone_before = gone,
                    // The stream threads tell of a log that does not answer.
                    Err(problem) => tracing::debug!(%problem, "topics were not looked at"),
                }
            }
        };
        std::thread::Builder::new().name(format!("{application}-topics")).spawn(look)?;
        Ok(Watch { events, found: OnceCell::new(), topics, log, _running: running })
    }

    /// Why the application cannot go on.
    pub fn found(&self) -> Option<&Problem> {
        if let Ok(problem) = self.events.try_recv() {
            self.found.get_or_init(|| problem);
        }
        self.found.get()
    }

    /// Looks now: a thread that lost a topic may have lost it to another one of its name.
    pub fn look(&self) -> Option<Problem> {
        self.topics.look_again(&*self.log).ok()?.problem
    }
}
