//! A topic's row: what it is called, how it is identified, how it is configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_engine::record::Record;
use serde::{Deserialize, Serialize};

use super::{Error, NewTopic, Result, Topic};

/// Kafka's bound on a name's length: it becomes part of a file name there.
const NAME_CHARS_MAX: usize = 249;

/// As many as LMDB and a reader's memory take without thought; Kafka has no bound of its own.
const PARTITIONS_MAX: i32 = 100_000;

/// Kafka's default when neither topic nor application says.
const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_048_588;

/// Where the replication factor that was asked for is shown: one file has no replicas.
const REPLICATION_FACTOR: &str = "millstream.replication.factor";

/// Kafka's defaults of the configurations that say how long records live and how large they may be. Only `retention.ms`
/// is not Kafka's week: this log is the only copy, and records carry the time of their event, so that those of another
/// year would be deleted at once.
const DEFAULTS: [(&str, &str); 14] = [
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("delete.retention.ms", "86400000"),
    ("max.compaction.lag.ms", "9223372036854775807"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.type", "CreateTime"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("min.compaction.lag.ms", "0"),
    ("min.insync.replicas", "1"),
    ("retention.bytes", "-1"),
    ("retention.ms", "-1"),
    ("segment.bytes", "1073741824"),
    ("segment.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

/// What is stored under a topic's name, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Never used twice, in no log: a topic created anew under an old name is another topic.
    pub id: String,
    /// The topic in the keys of this log; never used twice in it.
    pub number: u32,
    pub partitions: i32,
    pub replication_factor: Option<i32>,
    /// What was set; defaults are added when it is shown.
    pub configs: BTreeMap<String, String>,
}

/// A topic that was found once. Every use compares its id, so that nothing meant for it reaches a successor of the
/// same name.
#[derive(Debug)]
pub struct Handle {
    pub name: String,
    pub id: String,
    pub number: u32,
    pub partitions: i32,
    pub max_message_bytes: usize,
}

impl Row {
    /// Checks what is asked for. The number is given when the row is written.
    pub fn of(topic: &NewTopic) -> Result<Row> {
        let what = format!("topic `{}`", topic.name);
        check_name(&topic.name).map_err(|why| Error::refused(&what, why))?;
        if !(1..=PARTITIONS_MAX).contains(&topic.partitions) {
            let why = format!("{} partitions asked for; a topic has 1 to {PARTITIONS_MAX}", topic.partitions);
            return Err(Error::refused(&what, why));
        }
        for (name, value) in &topic.configs {
            check_config(name, value).map_err(|why| Error::refused(format!("{what}, `{name}`"), why))?;
        }
        Ok(Row {
            id: uuid::Uuid::new_v4().to_string(),
            number: 0,
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            configs: topic.configs.clone(),
        })
    }

    /// A configuration's value, or its default.
    pub fn config(&self, name: &str) -> Option<&str> {
        let default = || DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        self.configs.get(name).map(String::as_str).or_else(default)
    }

    pub fn describe(&self, name: &str) -> Topic {
        let mut configs: BTreeMap<String, String> = DEFAULTS.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        configs.extend(self.configs.clone());
        if let Some(factor) = self.replication_factor {
            configs.insert(REPLICATION_FACTOR.to_owned(), factor.to_string());
        }
        let (id, partitions) = (Some(self.id.clone()), self.partitions);
        Topic { name: name.to_owned(), id, partitions, replicas: 1, configs }
    }

    pub fn handle(&self, name: &str) -> Arc<Handle> {
        let configured = self.configs.get("max.message.bytes").and_then(|value| value.parse().ok());
        Arc::new(Handle {
            name: name.to_owned(),
            id: self.id.clone(),
            number: self.number,
            partitions: self.partitions,
            max_message_bytes: configured.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES),
        })
    }
}

impl Handle {
    /// Whether the topic has this partition.
    pub fn check(&self, partition: i32) -> Result<()> {
        if (0..self.partitions).contains(&partition) {
            return Ok(());
        }
        let why = format!("the topic has partitions 0 to {}", self.partitions - 1);
        Err(Error::refused(self.at(partition), why))
    }

    /// Whether the topic takes a record of this size.
    pub fn check_size(&self, partition: i32, record: &Record<'_>) -> Result<()> {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let found = len(record.key) + len(record.value) + record.headers.0.len();
        if found <= self.max_message_bytes {
            return Ok(());
        }
        let why =
            format!("a record of {found} bytes is above the topic's max.message.bytes, {}", self.max_message_bytes);
        Err(Error::refused(self.at(partition), why))
    }

    /// Names a partition in errors.
    pub fn at(&self, partition: i32) -> String {
        format!("topic {} partition {partition}", self.name)
    }
}

/// Kafka's rule, so that a topic can move to Kafka and an application's id can be part of its name.
pub fn check_name(name: &str) -> std::result::Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name == "." || name == ".." {
        return Err("a name is not empty, `.` or `..`".to_owned());
    }
    if let Some(bad) = name.chars().find(|c| !legal(*c)) {
        return Err(format!("`{bad}` is not allowed in a name; use letters, digits, `.`, `_` and `-`"));
    }
    match name.len() {
        ..=NAME_CHARS_MAX => Ok(()),
        found => Err(format!("the name has {found} characters; {NAME_CHARS_MAX} are allowed")),
    }
}

/// Refuses what the log could not honour. Names it does not know are kept as they are.
fn check_config(name: &str, value: &str) -> std::result::Result<(), String> {
    let allowed = match name {
        "cleanup.policy" => matches!(value, "delete" | "compact" | "compact,delete" | "delete,compact"),
        "message.timestamp.type" => value == "CreateTime",
        "max.message.bytes" => value.parse::<usize>().is_ok(),
        "min.cleanable.dirty.ratio" => value.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)),
        "compression.type" | "unclean.leader.election.enable" => true,
        known if DEFAULTS.iter().any(|(n, _)| *n == known) => value.parse::<i64>().is_ok(),
        _ => true,
    };
    if allowed { Ok(()) } else { Err(format!("`{value}` is not a value the embedded log can honour")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn topic(configs: &[(&str, &str)]) -> NewTopic {
        let configs = configs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        NewTopic { name: "t".into(), partitions: 1, replication_factor: Some(3), configs }
    }

    #[test]
    fn a_topic_shows_what_was_set_over_the_defaults() {
        let row = Row::of(&topic(&[("retention.ms", "5"), ("own", "kept")])).unwrap();
        let shown = row.describe("t").configs;
        let value = |name: &str| shown.get(name).map(String::as_str);
        assert_eq!((value("retention.ms"), value("own")), (Some("5"), Some("kept")));
        assert_eq!((value("cleanup.policy"), value(REPLICATION_FACTOR)), (Some("delete"), Some("3")));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for bad in [
            ("cleanup.policy", "shred"),
            ("retention.ms", "1h"),
            ("message.timestamp.type", "LogAppendTime"),
            ("max.message.bytes", "-1"),
        ] {
            assert!(Row::of(&topic(&[bad])).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_default_size_is_the_one_that_is_shown() {
        let shown = DEFAULTS.iter().find(|(name, _)| *name == "max.message.bytes").unwrap().1;
        assert_eq!(shown.parse(), Ok(DEFAULT_MAX_MESSAGE_BYTES));
    }
}
