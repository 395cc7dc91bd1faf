//! Rights that the brokers refuse: heard of where a call fails, told, and looked after until they are given back.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;

use super::connection::Connection;
use super::wakeup::Wakeup;
use crate::log::Event;

/// Between two questions for a right that is missing.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What an application needs of its brokers while it runs, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Of a topic.
    Read(String),
    /// Of a topic.
    Write(String),
    Group(String),
    TransactionalId(String),
    /// Only brokers before 2.8 ask for it.
    IdempotentWrite,
}

impl Right {
    /// Whether the brokers can be asked for it. The others are there again when a call that needs them works.
    fn can_be_asked_for(&self) -> bool {
        matches!(self, Right::Read(_) | Right::Write(_) | Right::Group(_))
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::Read(topic) => write!(f, "Read on topic {topic}"),
            Right::Write(topic) => write!(f, "Write on topic {topic}"),
            Right::Group(group) => write!(f, "Read on group {group}"),
            Right::TransactionalId(id) => write!(f, "Write on transactional id {id}"),
            Right::IdempotentWrite => f.write_str("IdempotentWrite on the cluster"),
        }
    }
}

/// Whether a code says that a right is missing. Which one it seldom says.
pub fn is_about_rights(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// Shared by the threads of a client: any of them hears that something is refused.
pub struct Missing {
    state: Mutex<State>,
    wakeup: Arc<Wakeup>,
}

#[derive(Default)]
struct State {
    known: BTreeSet<Right>,
    /// One of these may be missing: the brokers are to be asked.
    suspected: BTreeSet<Right>,
}

impl Missing {
    pub fn new(wakeup: Arc<Wakeup>) -> Missing {
        Missing { state: Mutex::default(), wakeup }
    }

    /// A call failed that needs these; which of them was refused it did not say.
    pub fn suspect(&self, rights: impl IntoIterator<Item = Right>) {
        let mut state = self.lock();
        for right in rights {
            match right.can_be_asked_for() {
                true if !state.known.contains(&right) => drop(state.suspected.insert(right)),
                true => {}
                false => drop(state.known.insert(right)),
            }
        }
        drop(state);
        self.wakeup.ring();
    }

    /// A call worked that needs one that nobody can be asked for.
    pub fn regain(&self) {
        let mut state = self.lock();
        let before = state.known.len();
        state.known.retain(Right::can_be_asked_for);
        if state.known.len() < before {
            self.wakeup.ring();
        }
    }

    fn known(&self) -> BTreeSet<Right> {
        self.lock().known.clone()
    }

    /// What the brokers have to be asked about.
    fn to_ask(&self) -> Vec<Right> {
        let state = self.lock();
        state.known.union(&state.suspected).filter(|right| right.can_be_asked_for()).cloned().collect()
    }

    fn answer(&self, right: Right, is_there: bool) {
        let mut state = self.lock();
        state.suspected.remove(&right);
        match is_there {
            true => state.known.remove(&right),
            false => state.known.insert(right),
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's end: tells what is missing, and asks for it.
pub struct Rights {
    pub missing: Arc<Missing>,
    connection: Arc<Connection>,
    wakeup: Arc<Wakeup>,
    told: BTreeSet<Right>,
    /// A thread asks for what is missing.
    asking: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Rights {
    pub fn new(connection: Arc<Connection>, wakeup: Arc<Wakeup>) -> Rights {
        let missing = Arc::new(Missing::new(wakeup.clone()));
        Rights { missing, connection, wakeup, told: BTreeSet::new(), asking: Arc::default(), ended: Arc::default() }
    }

    /// Tells what has changed; whether something was given back.
    pub fn serve(&mut self, events: &mut Vec<Event>) -> bool {
        if !self.missing.to_ask().is_empty() && !self.asking.swap(true, Ordering::AcqRel) {
            self.ask();
        }
        let known = self.missing.known();
        if known == self.told {
            return false;
        }
        events.push(Event::Denied { why: self.text(&known) });
        let regained = !self.told.is_subset(&known);
        self.told = known;
        regained
    }

    fn text(&self, known: &BTreeSet<Right>) -> Option<String> {
        if known.is_empty() {
            return None;
        }
        let rights: Vec<String> = known.iter().map(Right::to_string).collect();
        let whose = self.connection.principal.as_deref().unwrap_or("the application");
        Some(format!("{whose} is not allowed: {}", rights.join(", ")))
    }

    /// On a thread of its own, until nothing is missing.
    fn ask(&self) {
        let (missing, connection, wakeup) = (self.missing.clone(), self.connection.clone(), self.wakeup.clone());
        let (asking, ended) = (self.asking.clone(), self.ended.clone());
        std::thread::spawn(move || {
            loop {
                let rights = missing.to_ask();
                if rights.is_empty() || ended.load(Ordering::Acquire) {
                    break;
                }
                for right in rights {
                    match connection.has(&right) {
                        Ok(is_there) => missing.answer(right, is_there),
                        // Asked again: it is missing until somebody says otherwise.
                        Err(error) => tracing::debug!(%right, %error, "a right cannot be asked for"),
                    }
                }
                wakeup.ring();
                std::thread::sleep(LOOK_EVERY);
            }
            asking.store(false, Ordering::Release);
        });
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn missing() -> Missing {
        Missing::new(Arc::new(Wakeup::new().unwrap()))
    }

    #[test]
    fn a_suspicion_is_told_when_the_brokers_have_confirmed_it() {
        let (missing, read, write) = (missing(), Right::Read("a".into()), Right::Write("b".into()));
        missing.suspect([read.clone(), write.clone()]);
        assert!(missing.known().is_empty());
        assert_eq!(missing.to_ask(), [read.clone(), write.clone()]);
        missing.answer(read, true);
        missing.answer(write.clone(), false);
        assert_eq!(missing.known(), [write.clone()].into());
        assert_eq!(missing.to_ask(), std::slice::from_ref(&write), "asked for until it is back");
        missing.answer(write, true);
        assert!(missing.known().is_empty() && missing.to_ask().is_empty());
    }

    #[test]
    fn what_nobody_can_be_asked_for_is_known_until_it_works() {
        let (missing, id) = (missing(), Right::TransactionalId("t".into()));
        missing.suspect([id.clone()]);
        assert_eq!((missing.known(), missing.to_ask()), ([id].into(), vec![]));
        missing.regain();
        assert!(missing.known().is_empty());
    }
}
