//! Interactive queries: one question to all tasks that hold a store, one answer.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::handle::StorePlan;
use crate::desk::query::{Keys, Page, Query, Reply, merge};
use crate::desk::{Link, Refusal};

/// Why there is no answer. Never a wrong one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("there is no store {0}")]
    UnknownStore(String),
    /// A task that holds a part of the answer restores, moves or runs elsewhere: ask again.
    #[error("{0}")]
    NotReady(String),
}

/// Asks every thread and waits for all of them. A page is given only when each task of the store has answered.
pub fn ask(threads: &[Link], store: &StorePlan, keys: Keys, deadline: Duration) -> Result<Page, QueryError> {
    let until = Instant::now() + deadline;
    let (reverse, limit) = match &keys {
        Keys::One(_) => (false, 1),
        Keys::Range(range) => (range.reverse, range.limit),
    };
    let single = matches!(keys, Keys::One(_));
    let query = Query { store: store.info.name.clone(), keys };
    // All are asked before the first one is waited for.
    let replies: Vec<_> = threads.iter().map(|thread| thread.ask(query.clone())).collect::<Result<_, _>>()?;
    let mut pages = Vec::new();
    let mut late = None;
    for reply in replies {
        for task in wait(&reply, until)?.0 {
            match task.page {
                Ok(page) => pages.push(page),
                Err(why) => late = Some(format!("task {}: {why}", task.task)),
            }
        }
    }
    let answered = pages.len();
    let page = merge(pages, reverse, limit);
    // One found entry is the entry, whatever the other tasks do.
    if single && !page.rows.is_empty() {
        return Ok(page);
    }
    match late {
        Some(why) => Err(QueryError::NotReady(why)),
        None if answered < store.tasks => {
            let why = format!("{answered} of the {} tasks of store {} run here", store.tasks, store.info.name);
            Err(QueryError::NotReady(why))
        }
        None => Ok(page),
    }
}

fn wait(answer: &Receiver<Reply>, until: Instant) -> Result<Reply, QueryError> {
    answer.recv_timeout(until.saturating_duration_since(Instant::now())).map_err(|error| match error {
        RecvTimeoutError::Timeout => QueryError::NotReady("a stream thread is busy".to_owned()),
        RecvTimeoutError::Disconnected => Refusal::Stopped.into(),
    })
}

impl From<Refusal> for QueryError {
    fn from(refusal: Refusal) -> QueryError {
        QueryError::NotReady(refusal.to_string())
    }
}
