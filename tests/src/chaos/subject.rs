//! An application under test: its topics, its processes, and how it stands with its log.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use rustix::process::Signal;
use serde_json::Value;

use super::outside::Outside;
use crate::guests;
use crate::http::get;
use crate::logs::{DEADLINE, Kind, TestLog, eventually, unique};
use crate::millstream::{Millstream, Running};

/// Where the one process of most tests keeps its state, in the application's directory.
pub const STATE: &str = "state";

/// One way to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub provider: &'static str,
    pub guarantee: &'static str,
}

impl Shape {
    pub fn is_exactly_once(&self) -> bool {
        self.guarantee == "exactly-once"
    }

    /// Whether its state is there for the next process.
    pub fn is_kept(&self) -> bool {
        self.provider != "memory"
    }
}

/// What most faults are tried with: the state that has most to lose.
pub const LMDB: Shape = Shape { provider: "lmdb", guarantee: "exactly-once" };

pub struct Subject<'a> {
    pub mill: Millstream,
    pub id: String,
    pub shape: Shape,
    pub log: &'a TestLog,
}

impl<'a> Subject<'a> {
    /// An application whose id begins with this; nothing of it is there yet.
    pub fn new(log: &'a TestLog, shape: Shape, name: &str) -> Subject<'a> {
        Subject { mill: Millstream::new(log.log.url()), id: unique(name), shape, log }
    }

    /// Its manifest, but for sources and sinks: `state` is more of `[state]`, `kafka` are librdkafka properties. Short
    /// intervals: the more commits there are, the more faults meet one. A changelog keeps every record, so that they can be
    /// counted.
    pub fn manifest(&self, guest: &str, state: &str, kafka: &[(&str, &str)]) -> String {
        let Shape { provider, guarantee } = self.shape;
        let mut manifest = format!(
            "id = \"{}\"\ncomponent = \"{}\"\nstate_dir = \"{STATE}\"\nguarantee = \"{guarantee}\"\n\
             commit_interval = \"20ms\"\n[state]\nprovider = \"{provider}\"\n{state}\
             [changelog]\ntopic_configs = {{ \"min.compaction.lag.ms\" = \"9223372036854775807\" }}\n",
            self.id,
            component(guest).display(),
        );
        if self.log.kind == Kind::Kafka {
            manifest += "[kafka]\n";
            // A member that was killed is noticed soon.
            let quick = [("session.timeout.ms", "3000"), ("heartbeat.interval.ms", "500")];
            let unsaid = quick.iter().filter(|(name, _)| !kafka.iter().any(|(said, _)| said == name));
            unsaid.chain(kafka).for_each(|(name, value)| manifest += &format!("\"{name}\" = \"{value}\"\n"));
        }
        manifest
    }

    pub fn create(&self, topic: &str, partitions: i32) {
        self.mill.run(&["topics", "create", topic, "--partitions", &partitions.to_string()]).ok();
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    /// The log as a stranger reads it.
    pub fn outside(&self) -> Outside<'_> {
        Outside::of(self.log, &self.mill)
    }

    // === processes ===

    /// Starts a process on the first state directory.
    pub fn start(&self) -> Running {
        self.start_in(STATE)
    }

    pub fn start_in(&self, state_dir: &str) -> Running {
        self.start_with(state_dir, |_| {})
    }

    /// Starts a process that `prepare` makes special. It says what it restores.
    pub fn start_with(&self, state_dir: &str, prepare: impl FnOnce(&mut Command)) -> Running {
        self.mill.start_with(&["run", ".", "--state-dir", state_dir, "--http", "0", "-v"], prepare)
    }

    /// Starts a process that keeps its place in the group when it is told to end.
    pub fn start_to_stay(&self, state_dir: &str) -> Running {
        self.mill.start(&["run", ".", "--state-dir", state_dir, "--http", "0", "-v", "--stay"])
    }

    pub fn status(&self, address: &str) -> Value {
        get(address, &format!("/v1/apps/{}/status", self.id)).is(200).json()
    }

    /// Tasks of the process at this address that run.
    pub fn running_tasks(&self, address: &str) -> usize {
        let status = self.status(address);
        let tasks = status["tasks"].as_array().expect("a status lists tasks");
        tasks.iter().filter(|task| task["state"] == "RUNNING").count()
    }

    /// Waits until everything in the topics is processed and committed. A look takes one partition after the other, and a
    /// record may pass behind it: when nothing was left at two looks, and no topic has grown between them, nothing was.
    pub fn until_caught_up(&self) {
        let mut before = None;
        eventually("nothing is left to process", || {
            let now = self.progress().filter(|(_, lag)| *lag == 0);
            let is_done = now.is_some() && now == before;
            before = now;
            is_done.then_some(())
        });
    }

    /// Records of its topics that are not committed as processed.
    pub fn lag(&self) -> i64 {
        self.progress().map_or(i64::MAX, |(_, lag)| lag)
    }

    /// The partitions it reads, each with its end, and what is left in all of them. `None`: nothing is committed yet.
    pub fn progress(&self) -> Option<(Vec<(String, i64, i64)>, i64)> {
        let described = self.mill.run(&["groups", "describe", &self.id, "-o", "json"]);
        if described.code != Some(0) {
            return None;
        }
        let described = described.json();
        let number = |of: &Value, name: &str| of[name].as_i64().expect("a number");
        let partitions = described["partitions"].as_array().expect("a group has partitions").iter();
        let place = |one: &Value| {
            let topic = one["topic"].as_str().expect("a partition has a topic");
            (topic.to_owned(), number(one, "partition"), number(one, "end"))
        };
        Some((partitions.map(place).collect(), number(&described, "lag")))
    }

    /// Waits for two more commits of a process that lives on: one may have been on its way.
    #[track_caller]
    pub fn until_it_commits(&self, running: &mut Running, address: &str, when: &str) {
        let (since, mut before) = (Instant::now(), None);
        loop {
            if TcpStream::connect(address).is_err() {
                eventually("the end of a process that does not answer", || running.has_ended().then_some(()));
            }
            assert!(!running.has_ended(), "{when} it ended by itself: {}", running.said());
            let commits = self.metric(address, "millstream_commits_total", "committed");
            if commits > *before.get_or_insert(commits) + 1 {
                println!("commits {when}, after {:?}", since.elapsed());
                return;
            }
            assert!(since.elapsed() < DEADLINE, "{when} no commit within {DEADLINE:?}: {}", running.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Of the first thread on the first state directory: the application's id, what the directory is called to the
    /// brokers, the thread's number.
    pub fn transactional_id(&self) -> String {
        let instance = self.mill.dir().join(STATE).join(&self.id).join("instance");
        let instance = std::fs::read_to_string(instance).expect("a state directory knows its instance");
        format!("{}-{}-0", self.id, instance.trim())
    }

    /// A counter or gauge of the process at this address, summed over its labels that hold `label`.
    pub fn metric(&self, address: &str, name: &str, label: &str) -> u64 {
        metric(address, name, label)
    }

    /// Ends a process as an operator does, and answers what it had said.
    pub fn stop(&self, running: Running) -> String {
        running.signal(Signal::TERM);
        running.finish().ok().stderr
    }
}

/// The component of a plugin of this repository.
pub fn component(guest: &str) -> PathBuf {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts");
    guests::plugin(&engine, guest).expect("the guest builds")
}

/// The sum of a metric's series whose labels hold `label`.
pub fn metric(address: &str, name: &str, label: &str) -> u64 {
    let metrics = get(address, "/metrics").is(200).body;
    let series = metrics.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}
