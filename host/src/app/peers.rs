//! The other processes of an application, and where they can be asked for their parts of its stores.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::log::Log;

/// How long an answer of the group is good for: whoever asks a store that is not ready asks again within seconds, and a
/// coordinator is not to be asked for each of them.
const KNOWN_FOR: Duration = Duration::from_secs(2);

pub struct Peers {
    log: Arc<dyn Log>,
    application: String,
    own: Option<String>,
    known: Mutex<Option<(Instant, Vec<String>)>>,
}

impl Peers {
    /// `own`: the address of this process.
    pub fn new(log: Arc<dyn Log>, application: &str, own: Option<String>) -> Peers {
        Peers { log, application: application.to_owned(), own, known: Mutex::new(None) }
    }

    /// The address of this process.
    pub fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// The addresses of the others, as far as they have any and the log answers. Asks the log, so not on an async thread.
    pub fn others(&self) -> Vec<String> {
        if let Some(others) = self.known() {
            return others;
        }
        let mut others = self.log.addresses(&self.application).unwrap_or_default();
        others.retain(|address| Some(address) != self.own.as_ref());
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), others.clone()));
        others
    }

    /// What is known; `None`: the log is to be asked. While one asks, which takes seconds where the group does not answer,
    /// the others go on with what was known before.
    fn known(&self) -> Option<Vec<String>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some((since, others)) if since.elapsed() < KNOWN_FOR => Some(others.clone()),
            known => {
                let before = known.take().map(|(_, others)| others).unwrap_or_default();
                *known = Some((Instant::now(), before));
                None
            }
        }
    }
}
