//! The sample word-count under test, on topics and in directories of its own.

use std::ops::Deref;

pub use super::subject::{LMDB, STATE, Shape, metric};
use super::subject::{Subject, component};
use crate::logs::{TestLog, eventually};

const GUEST: &str = "plugins/word-count";

/// Partitions of the lines, and so tasks of each subtopology.
pub const PARTITIONS: i32 = 4;

/// Lines read, words counted.
pub const TASKS: usize = 2 * PARTITIONS as usize;

/// Partitions of the counts.
const COUNTS_PARTITIONS: i32 = 3;

/// Different words when nobody says: few, so that all of them are in every interval.
const VOCABULARY: u64 = 97;

pub struct Words<'a> {
    pub subject: Subject<'a>,
    /// Its store's cache: not every count is said.
    pub cache: Option<&'static str>,
    /// Different words in the lines.
    pub vocabulary: u64,
    /// At the end of each word.
    pub letters: usize,
}

/// A subject like any other, that counts words.
impl<'a> Deref for Words<'a> {
    type Target = Subject<'a>;

    fn deref(&self) -> &Subject<'a> {
        &self.subject
    }
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

    /// With both.
    pub fn with(log: &'a TestLog, shape: Shape, state: &str, kafka: &[(&str, &str)]) -> Words<'a> {
        let subject = Subject::new(log, shape, "chaos");
        let words = Words { subject, cache: None, vocabulary: VOCABULARY, letters: 0 };
        for (topic, partitions) in [("lines", PARTITIONS), ("counts", COUNTS_PARTITIONS)] {
            words.create(&words.topic(topic), partitions);
        }
        words.mill.write("app.toml", &words.manifest(state, kafka));
        words
    }

    fn manifest(&self, state: &str, kafka: &[(&str, &str)]) -> String {
        let (lines, counts) = (self.topic("lines"), self.topic("counts"));
        self.subject.manifest(GUEST, state, kafka)
            + &format!("[sources.lines]\ntopic = \"{lines}\"\n[sinks.counts]\ntopic = \"{counts}\"\n")
    }

    /// The same program in other bytes: with a section of its own at the end, which nobody reads.
    pub fn another_component(&self, number: u8) -> Vec<u8> {
        let mut bytes = std::fs::read(component(GUEST)).expect("what was built is there");
        // Custom section, three bytes, of which one is the length of its name.
        bytes.extend([0, 3, 1, b'n', number]);
        bytes
    }

    pub fn changelog(&self) -> String {
        self.topic("word-counts-changelog")
    }

    /// Waits until the processes at these addresses run all tasks together.
    pub fn until_shared(&self, addresses: &[&str]) {
        eventually("all tasks run", || {
            let running: usize = addresses.iter().map(|address| self.running_tasks(address)).sum();
            (running == TASKS).then_some(())
        });
    }
}
