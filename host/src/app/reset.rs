//! Back to the beginning, as Kafka's `kafka-streams-application-reset`: an application forgets how far it has read and what
//! it has kept. Its inputs and outputs stay as they are.
//!
//! What belongs to it is what its topology needs and what its state directory and its record in the log remember, topic by
//! topic: never whatever happens to begin with its id. The steps can be taken again: until the last of them is done a start on
//! this state directory is refused.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use millstream_engine::changelog::names_topic;
use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::{Blueprint, Operator};
use serde::Serialize;

use super::load::Loaded;
use super::names::{self, Names};
use super::orphans::{self, Kept};
use super::provided::{self, Provided};
use crate::lmdb::StateDirectory;
use crate::log::{self, Log};

/// What a reset takes away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reset {
    pub application: String,
    /// Changelogs, repartition and tasks topics that exist.
    pub topics: Vec<String>,
    /// Where the next start begins as the manifest's `start` says.
    pub offsets: Vec<CommittedOffset>,
    /// Directories and files of this machine's state directory.
    pub state: Vec<PathBuf>,
    /// Stores that are emptied where their providers keep them.
    pub provided: Vec<Provided>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommittedOffset {
    pub topic: String,
    pub partition: i32,
    pub committed: i64,
}

impl Reset {
    /// Looks at all that there is of an application; `directory` is its own state directory, there or not. Nothing is
    /// changed. Refused while anybody runs it.
    pub fn look(log: &dyn Log, blueprint: &Blueprint, directory: &Path) -> Result<Reset, Problem> {
        let application = blueprint.manifest.id.clone();
        if let Some(holder) = log.holder(&application)? {
            return Err(running(&application, &holder));
        }
        let kept: Kept = StateDirectory::recorded(directory).map_err(|error| error.problem())?.unwrap_or_default();
        let names = names::read(log, &application)?;
        // Of an application that keeps nothing a topic of that name may be anybody's.
        let record = (names != Names::default()).then(|| names_topic(&application));
        let known = names.topics().chain(record);
        let mut own: BTreeSet<String> = blueprint.internal_topics().chain(kept.topics()).chain(known).collect();
        let outside: BTreeSet<String> = outside(blueprint).collect();
        // What is another's stays, though a component before may have kept a store in it: a global table's topic, say.
        own.retain(|topic| !outside.contains(topic));
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        Ok(Reset {
            topics: log.describe(&own)?.into_iter().flatten().map(|topic| topic.name).collect(),
            offsets: committed(log, &application)?,
            state: StateDirectory::contents(directory).map_err(|error| unreadable(directory, &error))?,
            provided: provided::of(blueprint),
            application,
        })
    }

    /// Takes it all away, offsets first. `directory` must be the one that was looked at; `now` is in ms since the epoch.
    pub fn run(&self, log: &dyn Log, loaded: &Loaded, directory: &StateDirectory, now: i64) -> Result<(), Problem> {
        orphans::mark_reset(directory)?;
        match log.forget(&self.application) {
            Err(log::Error::AlreadyRunning { holder, .. }) => return Err(running(&self.application, &holder)),
            forgotten => forgotten?,
        }
        provided::empty(log, loaded, now.unsigned_abs())?;
        // The record last: some of the others only it remembers, should this be done again.
        let record = names_topic(&self.application);
        let (last, first): (Vec<&String>, Vec<&String>) = self.topics.iter().partition(|topic| **topic == record);
        for topic in first.into_iter().chain(last) {
            match log.delete(topic) {
                Ok(()) | Err(log::Error::UnknownTopic(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        directory.wipe().map_err(|error| error.problem())
    }

    /// Whether there is anything to take away.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.offsets.is_empty() && self.state.is_empty() && self.provided.is_empty()
    }
}

/// What it reads and writes that is not its own.
fn outside(blueprint: &Blueprint) -> impl Iterator<Item = String> {
    let outer = |operator: Operator| operator.reads_external() || operator == Operator::Sink;
    let nodes = blueprint.graph.nodes.iter().filter(move |node| outer(node.operator));
    nodes.filter_map(|node| blueprint.topic_name(node))
}

/// Everything that an application has committed, on topics that exist, in their order.
pub fn committed(log: &dyn Log, application: &str) -> log::Result<Vec<CommittedOffset>> {
    let mut partitions = log.committed_partitions(application)?;
    let names: BTreeSet<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
    let there = log.describe(&Vec::from_iter(names))?.into_iter().flatten();
    let there: BTreeSet<String> = there.map(|topic| topic.name).collect();
    partitions.retain(|(topic, _)| there.contains(topic));
    partitions.sort();
    let committed = log.committed(application, &partitions)?;
    let known = partitions.into_iter().zip(committed).filter_map(|((topic, partition), committed)| {
        Some(CommittedOffset { topic, partition, committed: committed?.offset })
    });
    Ok(known.collect())
}

fn running(application: &str, holder: &str) -> Problem {
    Problem::new("NonEmptyGroup", "E0411", exit::FAILED, format!("application {application} runs: {holder}"))
        .field("application", application)
        .field("holder", holder)
        .why("what runs would go on from offsets and state that are gone, and write them anew")
        .fix("stop it everywhere; a member that was killed leaves its group when session.timeout.ms is over")
}

fn unreadable(directory: &Path, error: &io::Error) -> Problem {
    Problem::new("StateDirectoryUnusable", "E0702", exit::FAILED, format!("{}: {error}", directory.display()))
        .field("state_dir", directory.display().to_string())
        .why("what is to be taken away is there")
        .fix("make it readable, or name another with --state-dir")
}
