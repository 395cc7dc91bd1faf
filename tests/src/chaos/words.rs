//! The application under test: the sample word-count, on topics and in directories of its own.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::outside::Outside;
use crate::guests;
use crate::http::get;
use crate::logs::{DEADLINE, Kind, TestLog, eventually, unique};
use crate::millstream::{Millstream, Running};
use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;

/// Partitions of the lines, and so tasks of each subtopology.
pub const PARTITIONS: i32 = 4;

/// Lines read, words counted.
pub const TASKS: usize = 2 * PARTITIONS as usize;

/// Partitions of the counts.
const COUNTS_PARTITIONS: i32 = 3;

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

    pub fn is_on_disk(&self) -> bool {
        self.provider == "lmdb"
    }
}

/// What most faults are tried with: the state that has most to lose.
pub const LMDB: Shape = Shape { provider: "lmdb", guarantee: "exactly-once" };

/// Different words when nobody says: few, so that all of them are in every interval.
const VOCABULARY: u64 = 97;

pub struct Words<'a> {
    pub mill: Millstream,
    pub id: String,
    pub shape: Shape,
    /// Its store's cache: not every count is said.
    pub cache: Option<&'static str>,
    /// Different words in the lines.
    pub vocabulary: u64,
    /// At the end of each word.
    pub letters: usize,
    pub log: &'a TestLog,
}

impl<'a> Words<'a> {
    /// Its topics are there; nothing runs.
    pub fn new(log: &'a TestLog, shape: Shape) -> Words<'a> {
        Words::with(log, shape, "", &[])
    }

    /// With librdkafka properties.
    pub fn with_kafka(log: &'a TestLog, shape: Shape, kafka: &[(&str, &str)]) -> Words<'a> {
        Words::with(log, shape, "", kafka)
    }

    /// With more lines for `[state]` in the manifest.
    pub fn with_state(log: &'a TestLog, shape: Shape, state: &str) -> Words<'a> {
        Words::with(log, shape, state, &[])
    }

    /// With a cache of this size over its store.
    pub fn cached(log: &'a TestLog, shape: Shape, cache: &'static str) -> Words<'a> {
        let state = format!("[stores.word-counts]\ncache = \"{cache}\"\n");
        Words { cache: Some(cache), ..Words::with(log, shape, &state, &[]) }
    }

    /// Another `[state]` for the next start.
    pub fn reconfigure(&self, state: &str) {
        self.mill.write("app.toml", &self.manifest(state, &[]));
    }

    fn with(log: &'a TestLog, shape: Shape, state: &str, kafka: &[(&str, &str)]) -> Words<'a> {
        let words = Words {
            mill: Millstream::new(log.log.url()),
            id: unique("chaos"),
            shape,
            cache: None,
            vocabulary: VOCABULARY,
            letters: 0,
            log,
        };
        for (topic, partitions) in [("lines", PARTITIONS), ("counts", COUNTS_PARTITIONS)] {
            words.create(&words.topic(topic), partitions);
        }
        words.mill.write("app.toml", &words.manifest(state, kafka));
        words
    }

    /// Short intervals: the more commits there are, the more faults meet one. A changelog keeps every record, so that
    /// they can be counted.
    fn manifest(&self, state: &str, kafka: &[(&str, &str)]) -> String {
        let component = component();
        let Shape { provider, guarantee } = self.shape;
        let mut manifest = format!(
            "id = \"{}\"\ncomponent = \"{}\"\nstate_dir = \"{STATE}\"\nguarantee = \"{guarantee}\"\n\
             commit_interval = \"20ms\"\n[state]\nprovider = \"{provider}\"\n{state}\
             [changelog]\ntopic_configs = {{ \"min.compaction.lag.ms\" = \"9223372036854775807\" }}\n\
             [sources.lines]\ntopic = \"{}\"\n[sinks.counts]\ntopic = \"{}\"\n",
            self.id,
            component.display(),
            self.topic("lines"),
            self.topic("counts"),
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

    /// The same program in other bytes: with a section of its own at the end, which nobody reads.
    pub fn another_component(&self, number: u8) -> Vec<u8> {
        let mut bytes = std::fs::read(component()).expect("what was built is there");
        // Custom section, three bytes, of which one is the length of its name.
        bytes.extend([0, 3, 1, b'n', number]);
        bytes
    }

    pub fn create(&self, topic: &str, partitions: i32) {
        self.mill.run(&["topics", "create", topic, "--partitions", &partitions.to_string()]).ok();
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    pub fn changelog(&self) -> String {
        self.topic("word-counts-changelog")
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

    /// Waits until the processes at these addresses run all tasks together.
    pub fn until_shared(&self, addresses: &[&str]) {
        eventually("all tasks run", || {
            let running: usize = addresses.iter().map(|address| self.running_tasks(address)).sum();
            (running == TASKS).then_some(())
        });
    }

    /// Waits until everything in the topics is processed and committed.
    pub fn until_caught_up(&self) {
        eventually("nothing is left to process", || (self.lag() == 0).then_some(()));
    }

    /// Lines and words that are not committed as processed.
    pub fn lag(&self) -> i64 {
        let described = self.mill.run(&["groups", "describe", &self.id, "-o", "json"]);
        // Nothing may be committed yet.
        if described.code != Some(0) { i64::MAX } else { described.json()["lag"].as_i64().expect("a number") }
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

/// The sample's component.
fn component() -> PathBuf {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts");
    guests::plugin(&engine, "plugins/word-count").expect("the sample builds")
}

/// The sum of a metric's series whose labels hold `label`.
pub fn metric(address: &str, name: &str, label: &str) -> u64 {
    let metrics = get(address, "/metrics").is(200).body;
    let series = metrics.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
    });
    series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}
