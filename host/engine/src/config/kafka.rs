//! `[kafka]`: librdkafka's own properties, handed on verbatim, but for those that Millstream owns.

use std::collections::BTreeMap;

use super::Guarantee;
use super::section::Section;
use super::setting::{HIDDEN, Setting};
use super::value::Wrong;

/// How long a transaction may stay open before the broker aborts it. 10 s: the time that a restore waits for a dead
/// owner's open transaction.
pub const TRANSACTION_TIMEOUT_MS: u64 = 10_000;

/// `[kafka]`. Names are librdkafka's; `client.id` is a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kafka {
    pub properties: BTreeMap<String, Setting>,
}

/// Properties that decide what Millstream guarantees, and the knob for each of them: the only list of them.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "log"),
    ("metadata.broker.list", "log"),
    ("group.id", "id"),
    ("transactional.id", "id"),
    ("group.instance.id", "state_dir"),
    ("auto.offset.reset", "sources.NAME.start"),
    ("enable.auto.commit", "commit_interval"),
    ("auto.commit.enable", "commit_interval"),
    ("auto.commit.interval.ms", "commit_interval"),
    ("enable.auto.offset.store", "commit_interval"),
    ("isolation.level", "guarantee"),
    ("enable.idempotence", "guarantee"),
    ("enable.gapless.guarantee", "guarantee"),
    ("acks", "guarantee"),
    ("request.required.acks", "guarantee"),
    ("allow.auto.create.topics", "changelog.auto_create"),
    ("statistics.interval.ms", "--http"),
    // No knob: another value would break how records and partitions are matched.
    ("partition.assignment.strategy", ""),
    ("group.protocol", ""),
    ("group.remote.assignor", ""),
    ("partitioner", ""),
    ("enable.partition.eof", ""),
    ("delivery.report.only.error", ""),
    ("produce.offset.report", ""),
    // No knob: they bring native code into the host.
    ("plugin.library.paths", ""),
    ("ssl.engine.location", ""),
];

/// Why a property is not taken from a user, in words that name the knob to use. `None`: it may be set.
pub fn refused_property(name: &str) -> Option<String> {
    let (_, knob) = RESERVED.iter().find(|(reserved, _)| *reserved == name)?;
    Some(reserved(knob).message)
}

/// Parts of names whose values are secrets even when they stand in the manifest as plain text.
const SECRET_WORDS: &[&str] = &["password", "secret", "key.pem", "jaas", "oauthbearer.config", "username"];

impl Kafka {
    pub(super) fn read(root: &mut Section<'_>, guarantee: Guarantee) -> Kafka {
        let kafka = Kafka { properties: root.map("kafka") };
        let Some(mut section) = root.map_section("kafka") else { return kafka };
        for (name, knob) in RESERVED.iter().filter(|(name, _)| kafka.properties.contains_key(*name)) {
            section.refuse(name, reserved(knob));
        }
        if guarantee == Guarantee::ExactlyOnce {
            kafka.check_timeouts(&mut section);
        }
        kafka
    }

    /// librdkafka refuses a transactional producer whose requests may outlive their transaction.
    fn check_timeouts(&self, section: &mut Section<'_>) {
        let number = |name: &str| self.properties.get(name)?.plain()?.parse::<u64>().ok();
        let transaction = number("transaction.timeout.ms").unwrap_or(TRANSACTION_TIMEOUT_MS);
        // librdkafka's own slack for the one, none for the others.
        for (name, slack) in [("socket.timeout.ms", 100), ("message.timeout.ms", 0), ("delivery.timeout.ms", 0)] {
            let max = transaction.saturating_add(slack);
            if let Some(value) = number(name).filter(|value| *value > max) {
                let message = format!("is {value}, and may be up to {max} (transaction.timeout.ms is {transaction})");
                section.refuse(name, message);
            }
        }
    }

    /// The properties as they may be shown.
    pub fn shown(&self) -> BTreeMap<&str, &str> {
        let hidden = |name: &str| SECRET_WORDS.iter().any(|word| name.contains(word));
        self.properties
            .iter()
            .map(|(name, value)| match value.plain() {
                Some(text) if !hidden(name) => (name.as_str(), text),
                _ => (name.as_str(), HIDDEN),
            })
            .collect()
    }
}

fn reserved(knob: &str) -> Wrong {
    match knob {
        "" => Wrong::new("is fixed: Millstream's guarantees rest on its own value"),
        knob => Wrong::new(format!("is set by Millstream: use `{knob}`")).suggest(knob),
    }
}
