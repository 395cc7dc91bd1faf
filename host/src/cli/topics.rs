//! `topics create | list | describe | delete | sweep`

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{self, Format, Output};
use super::{Global, Result};
use crate::log::{self, Log, NewTopic, Space, Swept, Topic};

#[derive(Debug, Args)]
pub struct Topics {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a topic
    Create(Create),
    /// List all topics with their partitions
    #[command(visible_alias = "ls")]
    List,
    /// Show a topic's partitions, offsets and configurations
    Describe { name: String },
    /// Delete a topic and its records
    Delete { name: String },
    /// Compact topics of an embedded log, and delete what is beyond their bounds, now
    Sweep {
        /// Default: all topics
        names: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Create {
    name: String,
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Default: the log's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    replication_factor: Option<i32>,
    /// A configuration of the topic; may be given several times
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_and_value)]
    configs: Vec<(String, String)>,
}

impl Topics {
    pub fn run(self, global: &Global) -> Result {
        let log = global.open_log()?;
        let format = self.output.format;
        match self.verb {
            Verb::Create(new) => create(&*log, new, format),
            Verb::List => list(&*log, format),
            Verb::Describe { name } => describe(&*log, &name, format),
            Verb::Delete { name } => delete(&*log, &name, format),
            Verb::Sweep { names } => sweep(&*log, names, format),
        }
    }
}

fn create(log: &dyn Log, new: Create, format: Option<Format>) -> Result {
    let configs: BTreeMap<_, _> = new.configs.into_iter().collect();
    let topic =
        NewTopic { name: new.name, partitions: new.partitions, replication_factor: new.replication_factor, configs };
    log.create(&topic)?;
    #[derive(Serialize)]
    struct Created<'a> {
        name: &'a str,
        partitions: i32,
        configs: &'a BTreeMap<String, String>,
    }
    let created = Created { name: &topic.name, partitions: topic.partitions, configs: &topic.configs };
    output::object(format, &created, || format!("created {} with {} partitions\n", topic.name, topic.partitions))
}

fn list(log: &dyn Log, format: Option<Format>) -> Result {
    #[derive(Serialize)]
    struct Listed {
        name: String,
        partitions: i32,
    }
    let names = log.topics()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // A topic deleted since then is left out.
    let topics = log.describe(&names)?.into_iter().flatten();
    let topics: Vec<_> = topics.map(|topic| Listed { name: topic.name, partitions: topic.partitions }).collect();
    output::list(format, &topics, || {
        let rows = topics.iter().map(|topic| [topic.name.clone(), topic.partitions.to_string()]);
        output::table(["name", "partitions"], &[1], rows)
    })
}

fn describe(log: &dyn Log, name: &str, format: Option<Format>) -> Result {
    #[derive(Serialize)]
    struct Described {
        name: String,
        partitions: i32,
        configs: BTreeMap<String, String>,
        offsets: Vec<PartitionOffsets>,
    }
    #[derive(Serialize)]
    struct PartitionOffsets {
        partition: i32,
        begin: i64,
        end: i64,
    }
    let topic = existing(log, name)?;
    let offsets = |partition| {
        let offsets = log.offsets(name, partition)?;
        Ok(PartitionOffsets { partition, begin: offsets.begin, end: offsets.end })
    };
    let offsets = (0..topic.partitions).map(offsets).collect::<log::Result<Vec<_>>>()?;
    let space = log.space()?.map(|space| format!("\n{}\n", in_file(space))).unwrap_or_default();
    let described = Described { name: topic.name, partitions: topic.partitions, configs: topic.configs, offsets };
    output::object(format, &described, || {
        let rows =
            described.offsets.iter().map(|row| [row.partition.into(), row.begin, row.end].map(|n: i64| n.to_string()));
        let offsets = output::table(["partition", "begin", "end"], &[0, 1, 2], rows);
        let rows = described.configs.iter().map(|(key, value)| [key.clone(), value.clone()]);
        let configs = output::table(["config", "value"], &[], rows);
        format!("{}: {} partitions\n\n{offsets}\n{configs}{space}", described.name, described.partitions)
    })
}

fn delete(log: &dyn Log, name: &str, format: Option<Format>) -> Result {
    log.delete(name)?;
    output::object(format, &serde_json::json!({ "name": name }), || format!("deleted {name}\n"))
}

/// What a running application does by itself once it is worth it.
fn sweep(log: &dyn Log, names: Vec<String>, format: Option<Format>) -> Result {
    #[derive(Serialize)]
    struct Done {
        topics: Vec<OfTopic>,
        file_bytes: Option<u64>,
        free_bytes: Option<u64>,
    }
    #[derive(Serialize)]
    struct OfTopic {
        name: String,
        compacted_records: u64,
        deleted_records: u64,
        freed_bytes: u64,
    }
    let names = if names.is_empty() { log.topics()? } else { names };
    let one = |name: String| {
        let Swept { compacted_records, deleted_records, freed_bytes } = log.sweep(&name)?;
        Ok(OfTopic { name, compacted_records, deleted_records, freed_bytes })
    };
    let topics = names.into_iter().map(one).collect::<log::Result<Vec<_>>>()?;
    let space = log.space()?;
    let (file_bytes, free_bytes) = (space.map(|space| space.file_bytes), space.map(|space| space.free_bytes));
    let done = Done { topics, file_bytes, free_bytes };
    output::object(format, &done, || {
        let row = |topic: &OfTopic| {
            let numbers = [topic.compacted_records, topic.deleted_records, topic.freed_bytes].map(|n| n.to_string());
            let [compacted, deleted, freed] = numbers;
            [topic.name.clone(), compacted, deleted, freed]
        };
        let table =
            output::table(["topic", "compacted", "deleted", "bytes freed"], &[1, 2, 3], done.topics.iter().map(row));
        format!("{table}{}", space.map(|space| format!("\n{}\n", in_file(space))).unwrap_or_default())
    })
}

fn in_file(Space { file_bytes, free_bytes }: Space) -> String {
    format!("the log's file has {file_bytes} bytes; {free_bytes} of them are free for new records")
}

/// The topic, or the error that says that there is none.
pub fn existing(log: &dyn Log, name: &str) -> log::Result<Topic> {
    log.describe(&[name])?.into_iter().next().flatten().ok_or_else(|| log::Error::UnknownTopic(name.to_owned()))
}

fn key_and_value(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
