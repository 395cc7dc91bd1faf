//! Interactive queries: one question to all tasks that hold a store, one answer.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use millstream_engine::error::{Problem, exit};
use millstream_engine::store::{GlobalTable, StoreKind};
use millstream_engine::task::TaskId;

use super::handle::StorePlan;
use super::status::StoreInfo;
use crate::desk::query::{Keys, Page, Query, Reply, merge};
use crate::desk::{Link, Refusal};

/// Why there is no answer. Never a wrong one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("there is no store {0}")]
    UnknownStore(String),
    #[error("store {store} is of kind {kind}: {why}")]
    OtherKind { store: String, kind: String, why: &'static str },
    /// The place that a list is to go on behind is none of its pages' ends.
    #[error("{0}")]
    Misplaced(&'static str),
    /// A task that holds a part of the answer restores, moves or runs elsewhere: ask again.
    #[error("{0}")]
    NotReady(String),
}

/// `elsewhere`: the addresses of processes that may hold the other parts.
pub fn not_ready(why: String, elsewhere: Vec<String>) -> Problem {
    let problem = Problem::new("NotReady", "E0604", exit::FAILED, "the store cannot answer now");
    let problem = if elsewhere.is_empty() { problem } else { problem.field("elsewhere", elsewhere) };
    problem.why(why).fix(
        "ask again after a second: a store that restores or moves never answers with half of it; what other processes \
             hold, those in `elsewhere` answer with ?partial=true",
    )
}

pub fn key_not_found(store: &str, key: &str) -> Problem {
    Problem::new("KeyNotFound", "E0603", exit::FAILED, format!("store {store} holds no key {key}"))
        .field("store", store)
        .field("key", key)
        .why("nothing that is committed has put it there, or it was deleted")
        .fix("a key is written in the store's codec, or as base64:…; `store scan` shows all")
}

pub fn other_kind(store: &str, kind: &str, why: &str) -> Problem {
    Problem::new("OtherStoreKind", "E0231", exit::USAGE, format!("store {store} is of kind {kind}"))
        .field("store", store)
        .field("kind", kind)
        .why(why.to_owned())
        .fix("`store list` shows each store's kind; `store scan` reads any")
}

/// `known`: the names of the stores there are.
pub fn unknown_store(store: &str, known: &[&str]) -> Problem {
    Problem::new("UnknownStateStore", "E0602", exit::FAILED, format!("there is no store {store}"))
        .field("store", store)
        .field("stores", known.to_vec())
        .why("the component declares no store of this name")
        .fix("name one of `stores`")
}

/// What the tasks of one process answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub page: Page,
    /// The tasks whose rows are in it, in no order.
    pub tasks: Vec<TaskId>,
    /// How many tasks hold a part of the store, in all processes; 0: every process has all of it.
    pub of: usize,
}

impl Part {
    /// Of a store that every process has a whole copy of.
    pub fn whole(page: Page) -> Part {
        Part { page, tasks: Vec::new(), of: 0 }
    }
}

/// Asks every thread and waits for all of them. A page is given only when each task of the store has answered.
pub fn ask(threads: &[Link], store: &StorePlan, keys: Keys, deadline: Duration) -> Result<Page, QueryError> {
    let single = keys.is_single();
    let (Part { page, tasks, of }, late) = gather(threads, store, keys, deadline)?;
    // One found entry is the entry, whatever the other tasks do.
    if single && !page.rows.is_empty() {
        return Ok(page);
    }
    match late {
        Some(why) => Err(QueryError::NotReady(why)),
        None if tasks.len() < of => {
            let why = format!("{} of the {of} tasks of store {} run here", tasks.len(), store.info.name);
            Err(QueryError::NotReady(why))
        }
        None => Ok(page),
    }
}

/// The same of what the tasks here can say now; those that restore are left out, as those that are elsewhere.
pub fn ask_part(threads: &[Link], store: &StorePlan, keys: Keys, deadline: Duration) -> Result<Part, QueryError> {
    gather(threads, store, keys, deadline).map(|(part, _)| part)
}

/// What all threads say, and why a task does not.
fn gather(
    threads: &[Link],
    store: &StorePlan,
    keys: Keys,
    deadline: Duration,
) -> Result<(Part, Option<String>), QueryError> {
    let until = Instant::now() + deadline;
    check(store, &keys, |task| task.subtopology == store.subtopology && is_below(task.partition, store.tasks))?;
    let (reverse, limit) = keys.order();
    let query = Query { store: store.info.name.clone(), keys };
    // All are asked before the first one is waited for.
    let replies: Vec<_> = threads.iter().map(|thread| thread.ask(query.clone(), until)).collect::<Result<_, _>>()?;
    let (mut pages, mut tasks, mut late) = (Vec::new(), Vec::new(), None);
    for reply in replies {
        for task in wait(&reply, until)?.0 {
            match task.page {
                Ok(page) => {
                    pages.push(page);
                    tasks.push(task.task);
                }
                Err(why) => late = Some(format!("task {}: {why}", task.task)),
            }
        }
    }
    Ok((Part { page: merge(pages, reverse, limit), tasks, of: store.tasks }, late))
}

/// Reads a global table, of which there is a whole one in every process: no thread is asked.
pub fn ask_global(table: &GlobalTable, store: &StorePlan, keys: &Keys) -> Result<Page, QueryError> {
    let nobody = TaskId { subtopology: 0, partition: 0 };
    check(store, keys, |task| task == nobody)?;
    let read = keys.read(nobody, table, table.slot, StoreKind::KeyValue);
    read.map_err(|error| QueryError::NotReady(error.to_string()))
}

/// Whether a store can be asked so; `has`: whose rows it has.
fn check(store: &StorePlan, keys: &Keys, has: impl Fn(TaskId) -> bool) -> Result<(), QueryError> {
    let StoreInfo { name, kind, .. } = &store.info;
    if let Some(why) = keys.misfit(kind) {
        return Err(QueryError::OtherKind { store: name.clone(), kind: kind.clone(), why });
    }
    let Keys::Range(range) = keys else { return Ok(()) };
    if range.after.as_ref().is_some_and(|(_, task)| !has(*task)) {
        return Err(QueryError::Misplaced("it is of a task that does not hold this store"));
    }
    range.misplaced(kind).map_or(Ok(()), |why| Err(QueryError::Misplaced(why)))
}

fn is_below(partition: i32, tasks: usize) -> bool {
    usize::try_from(partition).is_ok_and(|partition| partition < tasks)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::thread::JoinHandle;

    use millstream_engine::store::{Base, Changes, MemoryBase, StoreChanges, with_timestamp};

    use super::*;
    use crate::app::status::StoreCodecs;
    use crate::desk::query::Range;
    use crate::desk::{Desk, TaskReply, link};

    const PATIENT: Duration = Duration::from_secs(10);

    fn store(tasks: usize) -> StorePlan {
        let codecs = StoreCodecs { key: "utf8".into(), value: "utf8".into() };
        let (kind, provider) = ("key-value".to_owned(), "memory".to_owned());
        let (name, changelog_topic, reuses_source_topic) = ("s".into(), None, false);
        let (entries, bytes, of, tasks) = (0, 0, tasks, Vec::new());
        let info =
            StoreInfo { name, kind, provider, codecs, changelog_topic, reuses_source_topic, entries, bytes, tasks, of };
        StorePlan { info, subtopology: 0, tasks: of }
    }

    /// Answers one query as a stream thread does; a partition without keys restores.
    fn thread(partitions: &[(i32, Option<&'static [&'static str]>)]) -> (Link, JoinHandle<()>) {
        let (link, desk) = link();
        let partitions = partitions.to_vec();
        let serve = move |desk: Desk| {
            let request = loop {
                match desk.next() {
                    Some(request) => break request,
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            };
            let reply = |(partition, keys): &(i32, Option<&[&str]>)| {
                let task = TaskId { subtopology: 0, partition: *partition };
                let read = |keys: &&[&str]| request.query.keys.read(task, &base(keys), 0, StoreKind::KeyValue).unwrap();
                TaskReply { task, page: keys.as_ref().map(read).ok_or_else(|| "the store restores".to_owned()) }
            };
            request.reply.send(Reply(partitions.iter().map(reply).collect())).unwrap();
        };
        (link, std::thread::spawn(move || serve(desk)))
    }

    fn base(keys: &[&str]) -> MemoryBase {
        let mut base = MemoryBase::new(1);
        let entry = |key: &&str| (key.as_bytes().to_vec(), Some(with_timestamp(7, b"v")));
        let changes: Changes = keys.iter().map(entry).collect();
        base.apply(&[StoreChanges { store: 0, changes: &changes, position: None }]).unwrap();
        base
    }

    fn all() -> Keys {
        Keys::Range(Range { limit: 10, ..Range::default() })
    }

    fn keys(page: &Page) -> Vec<&str> {
        page.rows.iter().map(|row| std::str::from_utf8(&row.key).unwrap()).collect()
    }

    #[test]
    fn all_threads_answer_together_in_key_order() {
        let (one, first) = thread(&[(0, Some(&["b", "d"])), (1, Some(&["a"]))]);
        let (two, second) = thread(&[(2, Some(&["c"]))]);
        let page = ask(&[one, two], &store(3), all(), PATIENT).unwrap();
        assert_eq!(keys(&page), ["a", "b", "c", "d"]);
        first.join().unwrap();
        second.join().unwrap();
    }

    #[test]
    fn a_part_that_is_missing_makes_the_whole_not_ready() {
        let (restoring, first) = thread(&[(0, Some(&["a"])), (1, None)]);
        assert!(matches!(ask(&[restoring], &store(2), all(), PATIENT), Err(QueryError::NotReady(_))));
        let (elsewhere, second) = thread(&[(0, Some(&["a"]))]);
        assert!(matches!(ask(&[elsewhere], &store(2), all(), PATIENT), Err(QueryError::NotReady(_))));
        first.join().unwrap();
        second.join().unwrap();
    }

    #[test]
    fn a_key_that_is_found_needs_no_other_task_but_one_that_is_not_does() {
        let ask_for = |key: &str| {
            let (link, answering) = thread(&[(0, Some(&["a"])), (1, None)]);
            let answer = ask(&[link], &store(2), Keys::One(key.into()), PATIENT);
            answering.join().unwrap();
            answer
        };
        assert_eq!(keys(&ask_for("a").unwrap()), ["a"]);
        assert!(matches!(ask_for("b"), Err(QueryError::NotReady(_))));
    }

    #[test]
    fn nobody_waits_longer_than_the_deadline_or_for_a_thread_that_is_gone() {
        let (busy, _desk) = link();
        let start = Instant::now();
        let answer = ask(std::slice::from_ref(&busy), &store(1), all(), Duration::from_millis(50));
        assert!(matches!(answer, Err(QueryError::NotReady(_))));
        assert!(start.elapsed() < PATIENT);
        let (gone, desk) = link();
        drop(desk);
        assert!(matches!(ask(&[gone], &store(1), all(), PATIENT), Err(QueryError::NotReady(_))));
    }

    #[test]
    fn a_thread_takes_only_so_many_queries() {
        let (busy, _desk) = link();
        let ask = || ask(std::slice::from_ref(&busy), &store(1), all(), Duration::ZERO);
        let refusals = (0..100).filter(|_| ask() == Err(Refusal::Full.into())).count();
        assert_eq!(refusals, 100 - 64);
    }
}
