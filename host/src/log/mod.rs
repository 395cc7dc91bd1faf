//! The log: topics of partitions of records, consumer groups and atomic commits, behind one contract.
//!
//! Two implementations, one test suite: [`kafka`] speaks to Apache Kafka through rdkafka, [`embedded`] keeps the
//! same things in one LMDB file. Nothing above this room knows which one it has.
//!
//! # One direction
//! A [`Client`] never calls upward. It answers [`Client::poll`] with [`Event`]s, and everything that takes time —
//! a commit, a rebalance, the settling of an unknown outcome — ends as an event too.

pub mod embedded;
pub mod kafka;
mod problem;
pub mod url;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_engine::record::{Outgoing, Record, Records, TopicId, TopicPartition};
use millstream_engine::task::TaskId;

pub use problem::UNKNOWN_TOPIC;

pub use millstream_engine::config::Guarantee;
pub use millstream_engine::task::{InputOffset, Proof};

/// Why the log did not do what it was asked to. The names are Kafka's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No broker answers, or the file cannot be opened: worth another try. `what` says what was asked for.
    #[error("{what}: the log cannot be reached: {why}")]
    Unreachable { what: String, why: String },
    #[error("topic {0} does not exist")]
    UnknownTopic(String),
    #[error("topic {0} exists already")]
    TopicExists(String),
    /// An answer that another try will not change: a refused configuration, an authorisation, a bad name.
    #[error("{what}: {why}")]
    Refused { what: String, why: String },
    /// The brokers do not take who asks for who he says he is: a wrong user, password or mechanism.
    #[error("{what}: the brokers do not let this client in: {why}")]
    Unauthenticated { what: String, why: String },
    /// No trust between client and brokers: the authority, the client's certificate, the name in the broker's.
    #[error("{what}: no TLS with the brokers: {why}")]
    Untrusted { what: String, why: String },
    /// The brokers know who asks, and do not allow it. `why` names the principal where that is known.
    #[error("{what}: not allowed: {why}")]
    Unauthorised { what: String, why: String },
    /// Properties of `[kafka]` that cannot be used. Never with their values: those may be secrets.
    #[error("[kafka]: {0}")]
    BadProperty(String),
    /// Another running instance owns this application (embedded log), or a newer one took over.
    #[error("application {application} is already running: {holder}")]
    AlreadyRunning { application: String, holder: String },
    #[error("{0}: the log's data is damaged: {1}")]
    Corrupted(String, String),
    /// The records from `offset` on are not in the log: below the first one, or behind the end.
    #[error("partition {partition} of topic {topic}: the log does not have offset {offset} any more")]
    Truncated { topic: String, partition: i32, offset: i64 },
}

impl Error {
    pub fn unreachable(what: impl Into<String>, why: impl std::fmt::Display) -> Error {
        Error::Unreachable { what: what.into(), why: why.to_string() }
    }

    pub fn refused(what: impl Into<String>, why: impl std::fmt::Display) -> Error {
        Error::Refused { what: what.into(), why: why.to_string() }
    }

    /// Whether the same call may work later without anybody changing the program: brokers return, and rights and
    /// passwords are set right beside a running application.
    pub fn may_pass(&self) -> bool {
        use Error::{Unauthenticated, Unauthorised, Unreachable, Untrusted};
        matches!(self, Unreachable { .. } | Unauthenticated { .. } | Untrusted { .. } | Unauthorised { .. })
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// A connection to one log, cheap to clone and share between threads.
pub trait Log: Send + Sync {
    /// The URL it was opened by, without secrets.
    fn url(&self) -> &str;

    /// One call to the log that proves it is there.
    fn ping(&self, timeout: Duration) -> Result<()>;

    // === topics ===

    /// All topics in order of their names, internal ones of the log itself left out.
    fn topics(&self) -> Result<Vec<String>>;
    /// In the order asked for; `None` = no such topic.
    fn describe(&self, names: &[&str]) -> Result<Vec<Option<Topic>>>;
    /// Waits until the topic can be written. [`Error::TopicExists`] when it is there already.
    fn create(&self, topic: &NewTopic) -> Result<()>;
    fn delete(&self, name: &str) -> Result<()>;
    /// First offset, and the offset behind the last record (the high watermark, transactions in flight and
    /// markers included) of one partition.
    fn offsets(&self, topic: &str, partition: i32) -> Result<Offsets>;

    /// What the log takes on this machine's disk; `None`: it is on others.
    fn space(&self) -> Result<Option<Space>>;
    /// Compacts a topic and deletes what is beyond its bounds now, as far as its configurations allow: what the log does
    /// by itself once it is worth it. [`Error::Refused`] where brokers do that.
    fn sweep(&self, topic: &str) -> Result<Swept>;
    /// Deletes what lies below an offset of each of these partitions: exactly that on Kafka, the whole batches of it on the
    /// embedded log. What is gone already is no error.
    fn delete_records(&self, below: &[(String, i32, i64)]) -> Result<()>;

    // === groups ===

    /// The committed offsets of an application on these partitions, stable ones only: it waits for a
    /// transaction in flight. `None` = never committed.
    fn committed(&self, application: &str, partitions: &[(String, i32)]) -> Result<Vec<Option<Committed>>>;

    /// All partitions on which an application has committed offsets, in no order; a topic may be gone by now.
    fn committed_partitions(&self, application: &str) -> Result<Vec<(String, i32)>>;

    /// The members of an application's group, by their client ids. `None`: on this log one process runs an application
    /// alone.
    fn members(&self, application: &str) -> Result<Option<Vec<String>>>;

    /// Where the members of an application's group say that they can be asked for their parts of its stores, each once:
    /// [`Subscription::address`]. None on a log where one process runs an application alone.
    fn addresses(&self, _application: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Who runs an application now, in a few words; `None`: nobody.
    fn holder(&self, application: &str) -> Result<Option<String>>;

    /// Forgets everything that an application has committed. Refused while anybody runs it: [`Error::AlreadyRunning`].
    fn forget(&self, application: &str) -> Result<()>;

    // === records ===

    /// Reads partitions outside any group: restore, `consume`, verify.
    fn reader(&self, isolation: Isolation) -> Result<Box<dyn Reader>>;
    /// Writes records outside any application: `produce`, `dev`.
    fn writer(&self) -> Result<Box<dyn Writer>>;
    /// The client of one stream thread: a group member and a producer.
    fn client(&self, subscription: Subscription) -> Result<Box<dyn Client>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// Another one for each topic that was ever created, under an old name too. `None`: the broker is too old to tell.
    pub id: Option<String>,
    pub partitions: i32,
    /// Copies of each partition; the fewest, where they differ. One on the embedded log.
    pub replicas: i32,
    /// All configurations the log knows for it, with their effective values.
    pub configs: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    /// `None` = the log's default.
    pub replication_factor: Option<i32>,
    pub configs: BTreeMap<String, String>,
}

/// Of a log in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub file_bytes: u64,
    /// Of the file, to be written again: the file does not shrink, and grows only when this is used up.
    pub free_bytes: u64,
}

/// What a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Records that had a successor of their key, and tombstones after their time.
    pub compacted_records: u64,
    /// Records that were too old or too many.
    pub deleted_records: u64,
    /// Of the records' batches.
    pub freed_bytes: u64,
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, other: Swept) {
        self.compacted_records += other.compacted_records;
        self.deleted_records += other.deleted_records;
        self.freed_bytes += other.freed_bytes;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    pub begin: i64,
    pub end: i64,
}

/// A committed offset: the next record to process, and what the application wrote beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub metadata: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Only records of committed transactions.
    Committed,
    Uncommitted,
}

/// Reads the partitions it was given, from where it was told, in offset order.
pub trait Reader: Send {
    /// Adds partitions. An offset that is not between the first one and the end leads to [`Fetched::Truncated`].
    fn assign(&mut self, partitions: &[(String, i32, i64)]) -> Result<()>;
    /// Takes partitions away; nothing of them is delivered afterwards.
    fn unassign(&mut self, partitions: &[(String, i32)]) -> Result<()>;
    /// What there is now, or after at most `wait`. Appends to `out`; the first failure of a partition is the answer.
    fn poll(&mut self, wait: Duration, out: &mut Vec<Fetched>) -> Result<()> {
        let mut failed = Vec::new();
        self.poll_each(wait, out, &mut failed)?;
        failed.into_iter().next().map_or(Ok(()), |Failed { error, .. }| Err(error))
    }

    /// As [`Reader::poll`], with what fails of one partition alone told beside what comes of the others.
    fn poll_each(&mut self, wait: Duration, out: &mut Vec<Fetched>, failed: &mut Vec<Failed>) -> Result<()>;
}

/// A partition that cannot be read. Nothing more comes of it until it is assigned again.
#[derive(Debug)]
pub struct Failed {
    pub topic: String,
    pub partition: i32,
    pub error: Error,
}

/// One answer of a [`Reader`].
#[derive(Debug)]
pub enum Fetched {
    Records {
        topic: String,
        partition: i32,
        records: Records,
    },
    /// Everything below `offset` has been delivered or skipped (markers, aborted records) and the partition has
    /// nothing more now. Comes again after each stretch of records.
    End {
        topic: String,
        partition: i32,
        offset: i64,
    },
    /// The log does not have `offset`, which comes next: its records were deleted, or the log ends before it. Nothing
    /// more comes of the partition until it is assigned again.
    Truncated {
        topic: String,
        partition: i32,
        offset: i64,
    },
}

/// Writes records; acknowledged means durable.
pub trait Writer: Send {
    /// `partition`: `None` = murmur2 of the key, sticky without a key.
    fn send(&mut self, topic: &str, partition: Option<i32>, record: Record<'_>) -> Result<()>;
    /// Waits until all records sent so far are acknowledged.
    fn flush(&mut self) -> Result<()>;
}

/// What a stream thread needs from its log.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub application: String,
    /// The plan's topics; [`TopicId`] is a place in this list.
    pub topics: Arc<[String]>,
    pub task_sets: Vec<TaskSet>,
    pub guarantee: Guarantee,
    /// Number of this thread in the process, and how many there are.
    pub thread: usize,
    pub threads: usize,
    /// Kept with the state directory: the static member id and the transactional id are made of it and the
    /// thread's number, so that a killed process is back in a second (KIP-345).
    pub instance: String,
    /// The plan's hash: members of one group must run one plan.
    pub plan_hash: String,
    /// Where this process can be asked for its part of stores; the group tells it to whoever may look at it.
    pub address: Option<String>,
}

/// The tasks of one subtopology: partition N of every input that has one.
#[derive(Clone, Debug)]
pub struct TaskSet {
    pub subtopology: u32,
    /// The topic whose partitions the group shares out: the only input, or the empty `…-tasks` topic.
    pub subscribe: TopicId,
    /// Number of tasks.
    pub partitions: i32,
    /// Each input and how many partitions it has.
    pub inputs: Vec<(TopicId, i32)>,
}

/// The client of one stream thread. All calls come from that thread.
pub trait Client: Send {
    /// What happened, waiting at most `wait` for the first thing. Appends to `events`.
    ///
    /// Records come only for inputs that were started ([`Client::start`]) and are wanted ([`Client::want`]).
    fn poll(&mut self, wait: Duration, events: &mut Vec<Event>) -> Result<()>;

    /// Takes the tasks of an [`Event::Assigned`]. Their inputs stay silent until [`Client::start`].
    fn accept(&mut self, tasks: &[TaskId]) -> Result<()>;
    /// Gives the tasks of an [`Event::Revoked`] back; nothing of them is delivered afterwards.
    fn release(&mut self, tasks: &[TaskId]) -> Result<()>;

    /// Delivers the input from this offset on; again with another offset to rewind.
    fn start(&mut self, input: TopicPartition, offset: i64) -> Result<()>;
    /// `false`: keep what was fetched, deliver nothing until `true` (a full task). Default `true`.
    fn want(&mut self, input: TopicPartition, wanted: bool);

    /// Sends records ahead of the interval they belong to, without waiting for room: `false`, none of them was taken, and
    /// they go again or with their interval. At-least-once only.
    fn publish(&mut self, outgoing: &Outgoing) -> Result<bool>;
    /// Commits an interval, in the background: all of it or nothing. Its outcome is an [`Event::Committed`] or
    /// [`Event::Aborted`] with its sequence, or an [`Event::Revoked`] with `lost`. One at a time.
    fn submit(&mut self, interval: Interval) -> Result<()>;

    /// Leaves the group for good; `stay` keeps the static membership for a rolling restart. Call after every task
    /// was released; waits at most a bounded time.
    fn leave(&mut self, stay: bool) -> Result<()>;
}

/// What one commit carries.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Grows by one with every interval of this client.
    pub sequence: u64,
    /// Sinks, repartitions, dead letters. Under at-least-once only what was not published yet.
    pub outgoing: Outgoing,
    /// Sent after `outgoing`; with exactly-once, together with it.
    pub changelog: Outgoing,
    pub offsets: Vec<InputOffset>,
    /// Of each touched task: where its values stand among `offsets`, to settle an unknown outcome.
    pub proofs: Vec<Proof>,
}

/// What a [`Client`] has to tell.
#[derive(Debug)]
pub enum Event {
    Records {
        input: TopicPartition,
        records: Records,
    },
    /// Everything below `offset` was delivered or skipped; nothing more is there now. `offset` steps over
    /// transaction markers, so it may be behind the last record + 1.
    End {
        input: TopicPartition,
        offset: i64,
    },
    /// The log does not have `offset`, which comes next: its records were deleted, or the log ends before it. The input
    /// is silent until it is started again.
    Truncated {
        input: TopicPartition,
        offset: i64,
    },
    /// Tasks this client may own. Answer with [`Client::accept`].
    Assigned {
        tasks: Vec<AssignedTask>,
    },
    /// Tasks to give back, after their last commit ([`Client::release`]). `lost`: they already belong to another,
    /// or nobody knows: drop what is not committed; nothing more can be committed for them. It ends the interval in
    /// flight, too, and may name no task where that one's were all given back.
    Revoked {
        tasks: Vec<TaskId>,
        lost: bool,
    },
    /// `positions`: the offset of the last record of each partition of `Interval::changelog`. A partition is left
    /// out when the log did not say (a duplicate); then the old position stays, it may lag.
    Committed {
        sequence: u64,
        positions: Vec<(TopicPartition, i64)>,
    },
    /// Nothing of the interval is in the log (exactly-once), or some of it may be (at-least-once). The inputs must be
    /// started again at their committed offsets.
    Aborted {
        sequence: u64,
        why: String,
    },
    /// The log cannot be reached at the moment (`Some(why)`), or can be again (`None`).
    Disconnected {
        why: Option<String>,
    },
    /// Rights are missing at the moment (`Some`: which ones, on what, and whose), or all are there again (`None`). What
    /// needs them is tried again until they are.
    Denied {
        why: Option<String>,
    },
}

#[derive(Clone, Debug)]
pub struct AssignedTask {
    pub task: TaskId,
    pub inputs: Vec<AssignedInput>,
}

/// One partition of a task's input, as the group has it: stable offsets, read after the assignment.
#[derive(Clone, Debug)]
pub struct AssignedInput {
    pub input: TopicPartition,
    pub committed: Option<Committed>,
    pub offsets: Offsets,
}

/// How a log is opened.
#[derive(Clone, Default)]
pub struct Options {
    /// librdkafka properties of the manifest's `[kafka]`, secrets resolved.
    pub kafka: BTreeMap<String, String>,
    /// Relative embedded directories are resolved against it.
    pub base: Option<PathBuf>,
}

impl std::fmt::Debug for Options {
    /// Without values, which may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kafka: Vec<&String> = self.kafka.keys().collect();
        f.debug_struct("Options").field("kafka", &kafka).field("base", &self.base).finish()
    }
}

/// Opens the log a URL names (`embedded:DIR`, `kafka://HOST:PORT[,…]`). Does not fail because no broker answers;
/// see [`Log::ping`].
pub fn open(url: &str, options: &Options) -> Result<Arc<dyn Log>> {
    match url::parse(url)? {
        url::Url::Embedded(dir) => {
            let dir = options.base.as_ref().map_or(dir.clone(), |base| base.join(&dir));
            embedded::open(url, &dir)
        }
        url::Url::Kafka(brokers) => kafka::open(url, &brokers, &options.kafka),
    }
}
