//! The topics of `[dev]`: created when they are missing, fed when they are empty.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use millstream_engine::error::{Problem, exit};
use millstream_engine::record::{Headers, Record};
use millstream_engine::topology::Operator;

use crate::app::{Application, Loaded};
use crate::cli::error::output_failed;
use crate::cli::lines::LINE_BYTES_MAX;
use crate::cli::output::say;
use crate::cli::produce::now_ms;
use crate::cli::{Result, topics};
use crate::log::{self, Log, NewTopic};
use crate::text::Codecs;
use crate::text::record::parse_json;

/// Makes and feeds every topic of `[dev]`.
pub fn feed(log: &dyn Log, application: &Application) -> Result {
    for (name, topic) in &application.manifest.dev.topics {
        let started = Started::of(application, name);
        if started.is_there() {
            // The last feeding was cut off: nobody has read what it left, for nothing runs before it ends.
            say(format_args!("{name}: fed only in part the last time, beginning anew"));
            forgive_absence(log.delete(name))?;
        }
        create(log, name, topic.partitions.get())?;
        let Some(file) = &topic.file else { continue };
        if !is_empty(log, name)? {
            continue;
        }
        started.set()?;
        let file = application.dir.join(file);
        let records = feed_file(log, name, &file)?;
        started.clear()?;
        say(format_args!("{name}: {records} records from {}", file.display()));
    }
    Ok(())
}

/// Makes the topics from outside that the component names and that nobody has made: as wide as the widest input.
pub fn create_missing(log: &dyn Log, loaded: &Loaded) -> log::Result<()> {
    let blueprint = &loaded.blueprint;
    let nodes = || blueprint.graph.nodes.iter();
    let outside = nodes()
        .filter(|node| node.operator.reads_external() || node.operator == Operator::Sink)
        .filter_map(|node| blueprint.topic_name(node));
    let dead_letters = blueprint.dead_letter_topics();
    let names: Vec<String> = outside.chain(dead_letters).collect();
    let found = log.describe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let partitions = found.iter().flatten().map(|topic| topic.partitions).max().unwrap_or(1);
    for (name, _) in names.iter().zip(&found).filter(|(_, found)| found.is_none()) {
        create(log, name, partitions)?;
    }
    Ok(())
}

fn create(log: &dyn Log, name: &str, partitions: i32) -> log::Result<()> {
    let topic = NewTopic { name: name.to_owned(), partitions, replication_factor: None, configs: Default::default() };
    match log.create(&topic) {
        Err(log::Error::TopicExists(_)) => Ok(()),
        created => created,
    }
}

fn is_empty(log: &dyn Log, name: &str) -> log::Result<bool> {
    for partition in 0..topics::existing(log, name)?.partitions {
        let offsets = log.offsets(name, partition)?;
        if offsets.end > offsets.begin {
            return Ok(false);
        }
    }
    Ok(true)
}

fn forgive_absence(deleted: log::Result<()>) -> log::Result<()> {
    match deleted {
        Err(log::Error::UnknownTopic(_)) => Ok(()),
        deleted => deleted,
    }
}

/// Writes a file's records; how many.
fn feed_file(log: &dyn Log, topic: &str, file: &Path) -> Result<u64> {
    let bad = |line: u64, why: &dyn std::fmt::Display| {
        Problem::new("InvalidRecord", "E0501", exit::FAILED, format!("{}:{line}: {why}", file.display()))
            .field("file", file.display().to_string())
            .field("line", line)
            .why("half a file would be taken for a whole one; the next start feeds the topic anew")
            .fix("mend the line or the manifest's [dev.topics]; a line is {\"value\":…}, as `millstream consume` prints it")
    };
    let opened = File::open(file).map_err(|error| bad(0, &error))?;
    let compressed = file.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> = if compressed { Box::new(MultiGzDecoder::new(opened)) } else { Box::new(opened) };
    let mut reader = BufReader::new(bytes);
    let mut writer = log.writer()?;
    let (mut line, mut number, mut records) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        number += 1;
        let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = reader.by_ref().take(bound).read_until(b'\n', &mut line).map_err(|error| bad(number, &error))?;
        if read == 0 {
            writer.flush()?;
            return Ok(records);
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed = parse_json(&line, Codecs::default()).map_err(|why| bad(number, &why))?;
        let record = Record {
            key: parsed.key.as_deref(),
            value: parsed.value.as_deref(),
            headers: Headers(&parsed.headers),
            timestamp: parsed.timestamp.unwrap_or_else(now_ms),
        };
        writer.send(topic, parsed.partition, record)?;
        records += 1;
    }
}

/// A mark beside the application that a topic is being fed, so that half a feeding is not taken for a whole one.
struct Started(PathBuf);

impl Started {
    fn of(application: &Application, topic: &str) -> Started {
        Started(application.dir.join(".millstream/dev").join(format!("{topic}.feeding")))
    }

    fn is_there(&self) -> bool {
        self.0.exists()
    }

    fn set(&self) -> std::result::Result<(), Problem> {
        let made = self.0.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&self.0, ""));
        made.map_err(|error| self.failed(&error))
    }

    fn clear(&self) -> std::result::Result<(), Problem> {
        fs::remove_file(&self.0).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> Problem {
        output_failed(&self.0.display().to_string(), error)
    }
}
