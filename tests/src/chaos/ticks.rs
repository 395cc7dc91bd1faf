//! The application that works by the clock: the guest `ticks`, one clock for each partition of its lines.

use std::collections::BTreeMap;
use std::process::Command;

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use rustix::process::Signal;

use super::outside::{Outside, Row, Values};
use super::subject::metric;
use crate::guests;
use crate::logs::{TestLog, unique};
use crate::millstream::{Millstream, Running};

/// Partitions of the lines, and so clocks.
pub const CLOCKS: i32 = 3;

/// Between two ticks of a clock, as the guest has it.
pub const EVERY_MS: u64 = 50;

const STATE: &str = "state";

pub struct Ticks<'a> {
    pub mill: Millstream,
    pub id: String,
    log: &'a TestLog,
}

impl<'a> Ticks<'a> {
    /// Its topics are there; nothing runs.
    pub fn new(log: &'a TestLog) -> Ticks<'a> {
        Ticks::with_kafka(log, &[])
    }

    /// With librdkafka properties.
    pub fn with_kafka(log: &'a TestLog, kafka: &[(&str, &str)]) -> Ticks<'a> {
        let ticks = Ticks { mill: Millstream::new(log.log.url()), id: unique("ticks"), log };
        for topic in ["lines", "counted"] {
            let partitions = CLOCKS.to_string();
            ticks.mill.run(&["topics", "create", &ticks.topic(topic), "--partitions", &partitions]).ok();
        }
        let engine = Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts");
        let component = guests::plugin(&engine, "tests/guests/ticks").expect("the guest builds");
        let mut manifest = format!(
            "id = \"{}\"\ncomponent = \"{}\"\nstate_dir = \"{STATE}\"\ncommit_interval = \"20ms\"\non_error = \"skip\"\n\
             retry = {{ attempts = 1, backoff = \"2s\" }}\n[state]\nprovider = \"lmdb\"\n\
             [changelog]\ntopic_configs = {{ \"min.compaction.lag.ms\" = \"9223372036854775807\" }}\n\
             [sources.lines]\ntopic = \"{}\"\n[sinks.counted]\ntopic = \"{}\"\n",
            ticks.id,
            component.display(),
            ticks.topic("lines"),
            ticks.topic("counted"),
        );
        if !kafka.is_empty() {
            manifest += "[kafka]\n";
            kafka.iter().for_each(|(name, value)| manifest += &format!("\"{name}\" = \"{value}\"\n"));
        }
        ticks.mill.write("app.toml", &manifest);
        ticks
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    pub fn start_with(&self, prepare: impl FnOnce(&mut Command)) -> Running {
        self.mill.start_with(&["run", ".", "--http", "0", "-v"], prepare)
    }

    /// Writes a line to the first clock's partition.
    pub fn say(&self, line: &str) {
        let text = format!("{{\"partition\":0,\"value\":\"{line}\"}}");
        self.mill.run_with(&["produce", &self.topic("lines")], text).ok();
    }

    /// Commits of the process at this address: while no line comes each of them has ticks alone.
    pub fn commits(&self, address: &str) -> u64 {
        metric(address, "millstream_commits_total", "committed")
    }

    /// Ends the process, and checks what came of it, from outside: every clock's counts go 1, 2, 3 …, and its store is
    /// the fold of its changelog and has the last of them. What was said, and every clock's counts with their times.
    pub fn stop(&self, running: Running) -> (String, BTreeMap<String, Vec<Row>>) {
        running.signal(Signal::TERM);
        let said = running.finish().ok().stderr;
        let outside = Outside::of(self.log, &self.mill);
        let mut counted: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in outside.read(&self.topic("counted"), Values::Number) {
            counted.entry(row.key.clone()).or_default().push(row);
        }
        for (what, rows) in &counted {
            let counts: Vec<i64> = rows.iter().filter_map(|row| row.value.as_i64()).collect();
            assert_eq!(counts, (1..=rows.len() as i64).collect::<Vec<_>>(), "{what}: a gap or a repeat");
        }
        let last: BTreeMap<String, i64> =
            counted.iter().map(|(what, rows)| (what.clone(), rows.len() as i64)).collect();
        let changelog = outside.read(&format!("{}-counts-changelog", self.id), Values::Number);
        let logged = changelog.iter().map(|row| (row.key.clone(), row.value.as_i64().expect("a count is a number")));
        assert_eq!(logged.collect::<BTreeMap<_, _>>(), last, "the changelog ends with the last counts");
        let scan = self.mill.run(&["store", "scan", ".", "counts", "-o", "jsonl"]).ok().jsonl();
        let entry = |entry: &serde_json::Value| Some((entry["key"].as_str()?.to_owned(), entry["value"].as_i64()?));
        assert_eq!(scan.iter().filter_map(entry).collect::<BTreeMap<_, _>>(), last, "the store has the last counts");
        (said, counted)
    }
}
