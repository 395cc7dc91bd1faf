//! `[changelog]` and `[repartition]`: how internal topics are made; `[stores.NAME] changelog`.

use std::collections::BTreeMap;
use std::num::NonZeroI32;

use toml::de::DeValue;

use super::section::Section;
use super::topic_name::TopicName;
use super::value::{Value, Wrong, property};

/// `[changelog]`: the changelogs of all stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    pub topics: InternalTopics,
    /// One record per changed key and commit; `false`: every write, in write order. Default `true`.
    pub coalesce: bool,
}

/// What `[changelog]` and `[repartition]` (which speaks for the tasks topics too) share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopics {
    /// Create what is missing; `false`: a missing topic is an error. Default `true`.
    pub auto_create: bool,
    /// Default: the broker's. The embedded log keeps and shows it, without effect.
    pub replication_factor: Option<NonZeroI32>,
    /// Kafka's topic configurations, laid over the kind's defaults.
    pub topic_configs: BTreeMap<String, String>,
}

impl Default for InternalTopics {
    fn default() -> InternalTopics {
        InternalTopics { auto_create: true, replication_factor: None, topic_configs: BTreeMap::new() }
    }
}

impl Default for Changelog {
    fn default() -> Changelog {
        Changelog { topics: InternalTopics::default(), coalesce: true }
    }
}

/// `[stores.NAME] changelog`; wins over what the component declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChangelog {
    /// `false`: none. A crash may lose the store's last interval, a lost disk all of it.
    Off,
    /// `true`, or a table of what differs from `[changelog]`.
    On(ChangelogOverride),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangelogOverride {
    /// Default `{id}-{store}-changelog`.
    pub topic: Option<String>,
    pub replication_factor: Option<NonZeroI32>,
    pub topic_configs: BTreeMap<String, String>,
    /// A start takes the local state as it finds it, for what the changelog adds up to. At-least-once only.
    pub skip_restoration: bool,
    /// Of a table that is read from a topic: that topic is its changelog, and no other is made. `None`: what the component
    /// declares.
    pub reuse_source_topic: Option<bool>,
}

impl Changelog {
    pub(super) fn read(mut section: Section<'_>) -> Changelog {
        let topics = InternalTopics::read(&mut section);
        let coalesce = section.or("coalesce", true);
        check_configs(&mut section, &topics.topic_configs, Cleanup::Compact);
        Changelog { topics, coalesce }
    }
}

impl InternalTopics {
    pub(super) fn read_repartition(mut section: Section<'_>) -> InternalTopics {
        let topics = InternalTopics::read(&mut section);
        check_configs(&mut section, &topics.topic_configs, Cleanup::Delete);
        topics
    }

    fn read(section: &mut Section<'_>) -> InternalTopics {
        InternalTopics {
            auto_create: section.or("auto_create", true),
            replication_factor: replication_factor(section),
            topic_configs: topic_configs(section),
        }
    }
}

impl StoreChangelog {
    /// Reads the key `changelog` of a store's table.
    pub(super) fn read(store: &mut Section<'_>) -> Option<StoreChangelog> {
        match store.raw("changelog")? {
            DeValue::Boolean(false) => Some(StoreChangelog::Off),
            DeValue::Boolean(true) => Some(StoreChangelog::On(ChangelogOverride::default())),
            DeValue::Table(_) => Some(StoreChangelog::On(ChangelogOverride::read(store.section("changelog")?))),
            _ => {
                store.refuse("changelog", Wrong::new("should be false, or a table such as { topic = \"NAME\" }"));
                None
            }
        }
    }
}

impl ChangelogOverride {
    fn read(mut section: Section<'_>) -> ChangelogOverride {
        let changelog = ChangelogOverride {
            topic: section.get("topic").map(|TopicName(name)| name),
            replication_factor: replication_factor(&mut section),
            topic_configs: topic_configs(&mut section),
            skip_restoration: section.or("skip_restoration", false),
            reuse_source_topic: section.get("reuse_source_topic"),
        };
        if changelog.reuse_source_topic == Some(true) {
            let own = [
                ("topic", changelog.topic.is_some()),
                ("replication_factor", changelog.replication_factor.is_some()),
                ("topic_configs", !changelog.topic_configs.is_empty()),
                ("skip_restoration", changelog.skip_restoration),
            ];
            for (key, _) in own.into_iter().filter(|(_, given)| *given) {
                section.refuse(key, Wrong::new("has no effect on a source topic (reuse_source_topic = true)"));
            }
        }
        check_configs(&mut section, &changelog.topic_configs, Cleanup::Compact);
        changelog
    }
}

/// Kafka counts replicas in 16 bits.
const REPLICATION_FACTOR_MAX: i32 = i16::MAX as i32;

fn replication_factor(section: &mut Section<'_>) -> Option<NonZeroI32> {
    let factor: Option<NonZeroI32> = section.get("replication_factor");
    if factor.is_some_and(|factor| factor.get() > REPLICATION_FACTOR_MAX) {
        section.refuse("replication_factor", format!("may be 1 to {REPLICATION_FACTOR_MAX}"));
    }
    factor
}

fn topic_configs(section: &mut Section<'_>) -> BTreeMap<String, String> {
    section.map("topic_configs").into_iter().map(|(name, TopicConfig(value))| (name, value)).collect()
}

struct TopicConfig(String);

impl Value for TopicConfig {
    fn read(value: &DeValue<'_>) -> Result<TopicConfig, Wrong> {
        property(value).map(TopicConfig)
    }
}

/// What an internal topic lives by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cleanup {
    /// A changelog keeps the last value of every key.
    Compact,
    /// A repartition topic keeps every record.
    Delete,
}

/// Refuses configurations that would lose state or records.
fn check_configs(section: &mut Section<'_>, configs: &BTreeMap<String, String>, cleanup: Cleanup) {
    let Some(table) = section.map_section("topic_configs") else { return };
    if let Some(policy) = configs.get("cleanup.policy") {
        let compacts = policy.split(',').any(|word| word.trim() == "compact");
        match cleanup {
            Cleanup::Compact if !compacts => {
                let message = format!("is {policy:?}: a changelog that is not compacted loses the state it holds");
                table.refuse("cleanup.policy", Wrong::new(message).suggest("compact"));
            }
            Cleanup::Delete if compacts => {
                let message = format!("is {policy:?}: a compacted topic loses records that were not processed yet");
                table.refuse("cleanup.policy", Wrong::new(message).suggest("delete"));
            }
            Cleanup::Compact | Cleanup::Delete => {}
        }
    }
    if let Some(kind) = configs.get("message.timestamp.type").filter(|kind| *kind != "CreateTime") {
        let message = format!("is {kind:?}: the broker would overwrite the records' own timestamps");
        table.refuse("message.timestamp.type", Wrong::new(message).suggest("CreateTime"));
    }
}
