//! `changelogs plan APP`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stdout};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use millstream_engine::changelog::names_topic;
use millstream_engine::topology::{Plan, TopicPlan};
use serde::Serialize;

use super::{Global, Result, output};
use crate::app::topics::differing;
use crate::app::{Loaded, plan};

#[derive(Debug, Args)]
pub struct Changelogs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the internal topics that a start needs, to create them before
    Plan {
        /// A manifest, a directory that holds app.toml, or a component
        app: PathBuf,
        /// Default: text on a terminal, else json
        #[arg(short = 'o', long = "output", value_enum, value_name = "FORMAT")]
        format: Option<Format>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// One JSON array
    Json,
    /// A command of Kafka's own tools for each topic that is missing or has other configs; $BROKERS stands for the brokers
    KafkaTopics,
}

/// A topic of the application's own, as a start wants it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Topic {
    topic: String,
    kind: Kind,
    /// The store whose changelog it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    partitions: i32,
    /// `None`: the broker's default.
    replication_factor: Option<i32>,
    configs: BTreeMap<String, String>,
    exists: bool,
    /// What one that exists has in the place of `configs`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    differs: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Changelog,
    Repartition,
    /// Empty: by it a group shares out the tasks of a subtopology with several sources.
    Tasks,
    /// Records which stores the application has, and what it repartitions through.
    Names,
    /// One from outside, which is a table's changelog too: no start makes it.
    Source,
}

impl Changelogs {
    pub fn run(self, global: &Global) -> Result {
        let Verb::Plan { app, format } = self.verb;
        let application = global.application(&app)?;
        let engine = global.engine(std::slice::from_ref(&application))?;
        let mut loaded = Loaded::load(&engine, &app)?;
        let manifest = &mut loaded.blueprint.manifest;
        // What has to be created by hand is what is asked for here.
        manifest.changelog.topics.auto_create = true;
        manifest.repartition.auto_create = true;
        let log = global.open_log_of(&application)?;
        let plan = plan::plan(&*log, &loaded.blueprint)?;
        let mut topics = topics(&plan);
        let names: Vec<String> = topics.iter().map(|topic| topic.topic.clone()).collect();
        let found = log.describe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (topic, found) in topics.iter_mut().zip(found) {
            topic.differs = found.map(|found| differing(&topic.configs, &found.configs)).unwrap_or_default();
        }
        let default = if stdout().is_terminal() { Format::Text } else { Format::Json };
        let shown = match format.unwrap_or(default) {
            Format::Text => text(&topics),
            Format::Json => format!("{}\n", serde_json::to_value(&topics).map_err(std::io::Error::from)?),
            Format::KafkaTopics => topics.iter().map(command).collect(),
        };
        Ok(stdout().write_all(shown.as_bytes())?)
    }
}

fn topics(plan: &Plan) -> Vec<Topic> {
    let source = |at: usize| {
        plan.stores
            .iter()
            .find(|store| store.reuses_source && store.changelog.is_some_and(|topic| topic.0 as usize == at))
    };
    let topic = |(at, topic): (usize, &TopicPlan)| {
        let Some(internal) = &topic.internal else {
            return source(at).map(|store| Topic {
                topic: topic.name.clone(),
                kind: Kind::Source,
                store: Some(store.description.name.clone()),
                partitions: topic.partitions,
                replication_factor: None,
                configs: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
                exists: true,
                differs: BTreeMap::new(),
            });
        };
        let logs = plan.stores.iter().find(|store| store.changelog.is_some_and(|changelog| changelog.0 as usize == at));
        let is_shared_out = || plan.subtopologies.iter().any(|one| one.subscribe.0 as usize == at);
        let is_read =
            || plan.subtopologies.iter().flat_map(|one| plan.inputs(one)).any(|(_, id, _)| id.0 as usize == at);
        let kind = match logs {
            Some(_) => Kind::Changelog,
            None if topic.name == names_topic(&plan.application) => Kind::Names,
            None if is_shared_out() && !is_read() => Kind::Tasks,
            None => Kind::Repartition,
        };
        Some(Topic {
            topic: topic.name.clone(),
            kind,
            store: logs.map(|store| store.description.name.clone()),
            partitions: topic.partitions,
            replication_factor: internal.replication_factor,
            configs: internal.configs.clone(),
            exists: internal.exists,
            differs: BTreeMap::new(),
        })
    };
    plan.topics.iter().enumerate().filter_map(topic).collect()
}

fn text(topics: &[Topic]) -> String {
    let row = |topic: &Topic| {
        let does = match (topic.kind, topic.exists) {
            (Kind::Source, _) => "a table's source, and its changelog",
            (_, true) if !topic.differs.is_empty() => "exists, with other configs",
            (_, true) => "exists",
            (_, false) => "is missing",
        };
        let has = |name: &str| topic.differs.get(name).map(|has| format!(" (has {has})")).unwrap_or_default();
        let configs: Vec<String> =
            topic.configs.iter().map(|(name, value)| format!("{name}={value}{}", has(name))).collect();
        let replicas = topic.replication_factor.map_or("default".to_owned(), |factor| factor.to_string());
        [topic.topic.clone(), topic.partitions.to_string(), replicas, configs.join(" "), does.to_owned()]
    };
    output::table(["internal topic", "partitions", "replicas", "configs", ""], &[1, 2], topics.iter().map(row))
}

/// `kafka-topics.sh`'s words for one that is missing, `kafka-configs.sh`'s for one with other configs. Names are
/// topic-legal; values are quoted for a shell.
fn command(topic: &Topic) -> String {
    if topic.exists {
        let wanted = |name: &String| {
            let value = &topic.configs[name];
            if value.contains(',') { format!("{name}=[{value}]") } else { format!("{name}={value}") }
        };
        let wanted: Vec<String> = topic.differs.keys().map(wanted).collect();
        let (name, wanted) = (&topic.topic, quoted(&wanted.join(",")));
        return match topic.differs.is_empty() {
            true => String::new(),
            false => format!(
                "kafka-configs.sh --bootstrap-server \"$BROKERS\" --alter --topic {name} --add-config {wanted}\n"
            ),
        };
    }
    let mut line = format!(
        "kafka-topics.sh --bootstrap-server \"$BROKERS\" --create --if-not-exists --topic {} --partitions {}",
        topic.topic, topic.partitions
    );
    // Writing into a String cannot fail.
    if let Some(factor) = topic.replication_factor {
        let _ = write!(line, " --replication-factor {factor}");
    }
    for (name, value) in &topic.configs {
        let _ = write!(line, " --config {}", quoted(&format!("{name}={value}")));
    }
    line + "\n"
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=._-/:".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic_named(name: &str) -> Topic {
        Topic {
            topic: name.to_owned(),
            kind: Kind::Names,
            store: None,
            partitions: 1,
            replication_factor: None,
            configs: BTreeMap::new(),
            exists: false,
            differs: BTreeMap::new(),
        }
    }

    #[test]
    fn a_topic_becomes_a_command_that_a_shell_can_run() {
        let configs = [("cleanup.policy", "compact,delete"), ("retention.ms", "-1"), ("x", "it's")];
        let topic = Topic {
            topic: "a-s-changelog".to_owned(),
            kind: Kind::Changelog,
            store: Some("s".to_owned()),
            partitions: 4,
            replication_factor: Some(3),
            configs: configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            exists: false,
            differs: BTreeMap::new(),
        };
        let is = |name: &str| (name.to_owned(), "other".to_owned());
        let differs = ["cleanup.policy", "retention.ms"].map(is).into();
        let other = Topic { exists: true, differs, configs: topic.configs.clone(), store: None, ..topic_named("a") };
        assert_eq!(
            command(&other),
            "kafka-configs.sh --bootstrap-server \"$BROKERS\" --alter --topic a --add-config \
             'cleanup.policy=[compact,delete],retention.ms=-1'\n"
        );
        assert_eq!(command(&Topic { exists: true, ..topic_named("a") }), "");
        assert_eq!(
            command(&topic),
            "kafka-topics.sh --bootstrap-server \"$BROKERS\" --create --if-not-exists --topic a-s-changelog \
             --partitions 4 --replication-factor 3 --config 'cleanup.policy=compact,delete' --config retention.ms=-1 \
             --config 'x=it'\\''s'\n"
        );
    }
}
