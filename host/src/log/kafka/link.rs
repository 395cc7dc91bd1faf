//! Whether the log can be reached: told once when it cannot, and once when it can again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::connection::Connection;
use super::reports::Reports;
use super::wakeup::Wakeup;
use crate::log::Event;

/// Between two tries to reach the log again. Also how long a client that is being dropped may still try.
const TRY_AGAIN: Duration = Duration::from_millis(500);
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

pub struct Link {
    connection: Arc<Connection>,
    wakeup: Arc<Wakeup>,
    /// While the log is away: set by the thread that looks for it.
    back: Option<Arc<AtomicBool>>,
    /// Ends that thread.
    ended: Arc<AtomicBool>,
}

impl Link {
    pub fn new(connection: Arc<Connection>, wakeup: Arc<Wakeup>) -> Link {
        Link { connection, wakeup, back: None, ended: Arc::default() }
    }

    /// Whether no broker is there, as far as is known.
    pub fn is_away(&self) -> bool {
        self.back.as_ref().is_some_and(|back| !back.load(Ordering::Acquire))
    }

    /// Looks at what librdkafka reported and tells what changed.
    pub fn serve<'a>(&mut self, reports: impl IntoIterator<Item = &'a Reports>, events: &mut Vec<Event>) {
        let down = reports.into_iter().filter(|reports| reports.take_down()).last();
        match (&self.back, down) {
            (None, Some(reports)) => {
                events.push(Event::Disconnected { why: Some(reports.why("all brokers are down")) });
                self.look();
            }
            (Some(back), _) if back.load(Ordering::Acquire) => {
                self.back = None;
                events.push(Event::Disconnected { why: None });
            }
            _ => {}
        }
    }

    /// On a thread of its own: librdkafka reports that all brokers are gone, but not that one is back.
    fn look(&mut self) {
        let back = Arc::new(AtomicBool::new(false));
        self.back = Some(back.clone());
        let (connection, wakeup, ended) = (self.connection.clone(), self.wakeup.clone(), self.ended.clone());
        std::thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                if connection.ping(TRY_TIMEOUT).is_ok() {
                    back.store(true, Ordering::Release);
                    wakeup.ring();
                    return;
                }
                std::thread::sleep(TRY_AGAIN);
            }
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}
