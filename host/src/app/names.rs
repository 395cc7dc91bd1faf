//! The record of an application's names in its log: `APP-names`, a compacted topic of its own, has its stores and their
//! changelogs, and the topics between its subtopologies, whatever machine it ran on. By it a start knows what it would leave
//! behind where the state directory is new ([`super::orphans`]).
//!
//! One record: key `stores`, value JSON, `{"stores":{"word-counts":"app-word-counts-changelog"},
//! "internal":["app-word-counts-repartition"],"abandoned":[]}`. The last one counts. It is written before anything is
//! processed, and only when it says something new. Hosts before wrote it without `internal` and `left`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_engine::changelog::names_topic;
use millstream_engine::error::Problem;
use millstream_engine::record::{Headers, Record};
use serde::{Deserialize, Serialize};

use crate::log::{self, Fetched, Isolation, Log};

const KEY: &[u8] = b"stores";

/// All of it is in this partition, however many somebody has made.
const PARTITION: i32 = 0;

const POLL: Duration = Duration::from_millis(100);

/// How long the record may take to come: it is a few records at the most, from a log that has just answered.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a topic that was just made may be unknown to a broker: far longer than its metadata takes.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Changelog topics by store.
    pub stores: BTreeMap<String, String>,
    /// The source topics that are changelogs, by store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// The topics between its subtopologies.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub internal: BTreeSet<String>,
    /// Those that it had before, with the ends of their partitions up to which nothing of them is missed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left: BTreeMap<String, Vec<i64>>,
    /// Changelog topics that somebody has said may stay behind.
    #[serde(default)]
    pub abandoned: BTreeSet<String>,
}

impl Names {
    /// All topics of its own that it knows of.
    pub fn topics(self) -> impl Iterator<Item = String> {
        self.stores.into_values().chain(self.internal).chain(self.left.into_keys()).chain(self.abandoned)
    }
}

/// What the log knows of an application; nothing where it has no such topic. What is not a record of ours is passed over:
/// the next start writes one.
pub fn read(log: &dyn Log, application: &str) -> Result<Names, Problem> {
    let topic = names_topic(application);
    let mut names = Names::default();
    if log.describe(&[&topic])?.into_iter().flatten().next().is_none() {
        return Ok(names);
    }
    let log::Offsets { begin, end } = match log.offsets(&topic, PARTITION) {
        // It has just been deleted.
        Err(log::Error::UnknownTopic(_)) => return Ok(names),
        offsets => offsets?,
    };
    let mut reader = log.reader(Isolation::Committed)?;
    reader.assign(&[(topic.clone(), PARTITION, begin)])?;
    let (mut position, mut fetched, since) = (begin, Vec::new(), Instant::now());
    while position < end {
        if since.elapsed() > READ_TIMEOUT {
            let why = format!("it came up to offset {position} of {end} in {READ_TIMEOUT:?}");
            return Err(log::Error::unreachable(format!("topic {topic}"), why).into());
        }
        reader.poll(POLL, &mut fetched)?;
        for part in fetched.drain(..) {
            match part {
                Fetched::Records { records, .. } => records.iter().for_each(|(_, record)| take(&record, &mut names)),
                Fetched::End { offset, .. } => position = offset,
                Fetched::Truncated { topic, partition, offset } => {
                    return Err(log::Error::Truncated { topic, partition, offset }.into());
                }
            }
        }
    }
    Ok(names)
}

fn take(record: &Record<'_>, names: &mut Names) {
    if record.key != Some(KEY) {
        return;
    }
    match serde_json::from_slice(record.value.unwrap_or_default()) {
        Ok(read) => *names = read,
        Err(error) => tracing::warn!(%error, "the record of the application's names in the log cannot be read"),
    }
}

/// Makes it what the log knows. The topic is there: where another process has just made it, a broker may not know it yet.
pub fn write(log: &dyn Log, application: &str, names: &Names) -> Result<(), Problem> {
    let value = serde_json::to_vec(names).map_err(std::io::Error::from);
    let value = value.map_err(|error| log::Error::refused("the record of names", error))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let record = Record { key: Some(KEY), value: Some(&value), headers: Headers(&[]), timestamp };
    let begun = Instant::now();
    loop {
        match send(log, &names_topic(application), record) {
            Err(log::Error::UnknownTopic(_)) if begun.elapsed() < KNOWN_TIMEOUT => std::thread::sleep(POLL),
            sent => return Ok(sent?),
        }
    }
}

fn send(log: &dyn Log, topic: &str, record: Record<'_>) -> log::Result<()> {
    let mut writer = log.writer()?;
    writer.send(topic, Some(PARTITION), record)?;
    writer.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(value: &str) -> Names {
        let mut names = Names::default();
        let record = Record { key: Some(KEY), value: Some(value.as_bytes()), headers: Headers(&[]), timestamp: 0 };
        take(&record, &mut names);
        names
    }

    #[test]
    fn what_hosts_before_have_written_is_read_and_without_internal_topics_written_the_same() {
        let before = r#"{"stores":{"counts":"a-counts-changelog"},"abandoned":["a-old-changelog"]}"#;
        let names = said(before);
        assert_eq!((names.stores.len(), names.internal.len(), names.left.len()), (1, 0, 0));
        assert_eq!(serde_json::to_string(&names).unwrap(), before);
    }

    #[test]
    fn all_topics_of_a_record_are_the_applications() {
        let names = said(
            r#"{"stores":{"s":"a-s-changelog"},"sources":{"t":"outside"},"internal":["a-x-repartition"],
            "left":{"a-y-repartition":[3,0]},"abandoned":["a-z-changelog"]}"#,
        );
        assert_eq!(said(&serde_json::to_string(&names).unwrap()), names);
        let topics: Vec<String> = names.topics().collect();
        assert_eq!(topics, ["a-s-changelog", "a-x-repartition", "a-y-repartition", "a-z-changelog"]);
    }
}
