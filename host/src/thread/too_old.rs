//! Windows whose changelog deletes them as soon as they are there: a broker goes by its clock, a store by the time of its
//! records. Old data that is fed late is whole in the store, and gone from what restores it.

use std::collections::BTreeMap;

use millstream_engine::error::{Problem, exit};
use millstream_engine::record::{Outgoing, TopicId};
use millstream_engine::topology::Plan;

/// Records of an interval that are looked at: old data comes in rows, and fresh data costs no more than that.
const LOOKED_AT: usize = 64;

/// Changelogs that delete, until something was told of them.
pub(super) struct TooOld {
    /// How old a record may be by the wall clock, ms.
    deletes_after_ms: BTreeMap<TopicId, i64>,
}

impl TooOld {
    pub fn new(deletes_after_ms: BTreeMap<TopicId, i64>) -> TooOld {
        TooOld { deletes_after_ms }
    }

    /// What is to be told of an interval's changelog records. Once for each changelog.
    pub fn look(&mut self, plan: &Plan, changelog: &Outgoing, now: i64) -> Option<Problem> {
        if self.deletes_after_ms.is_empty() {
            return None;
        }
        let old = changelog.iter().take(LOOKED_AT).find_map(|(to, record)| {
            let after = *self.deletes_after_ms.get(&to.topic)?;
            // A tombstone that goes at once is no loss.
            let is_old = record.value.is_some() && now.saturating_sub(record.timestamp) > after;
            is_old.then_some((to.topic, record.timestamp, after))
        });
        let (topic, timestamp, after) = old?;
        self.deletes_after_ms.remove(&topic);
        let store = plan.stores.iter().find(|store| store.changelog == Some(topic));
        let store = store.map_or("", |store| store.description.name.as_str());
        Some(deleted_at_once(&plan.topics[topic.0 as usize].name, store, timestamp, after))
    }
}

fn deleted_at_once(topic: &str, store: &str, timestamp: i64, after: i64) -> Problem {
    let message =
        format!("changelog {topic} deletes what is older than {after} ms, and store {store} writes older data");
    Problem::new("ChangelogDeletesAtOnce", "E0422", exit::FAILED, message)
        .field("store", store)
        .field("changelog_topic", topic)
        .field("retention_ms", after)
        .field("timestamp", timestamp)
        .why(
            "brokers delete by their own clock: the store has its windows by the time of the records, and a restore would \
             not find them",
        )
        .fix(format!(
            "while old data is fed: kafka-configs --alter --topic {topic} --add-config retention.ms=-1; or for good \
             [stores.{store}.changelog] topic_configs = {{ \"retention.ms\" = \"-1\" }} before the first start"
        ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use millstream_engine::config::Manifest;
    use millstream_engine::record::{Headers, Record, TopicPartition};
    use millstream_engine::topology::{Blueprint, Description, TopicFacts};

    use super::*;

    #[test]
    fn old_data_is_told_once_and_fresh_data_and_tombstones_are_not() {
        let description: Description = serde_json::from_str(
            r#"{"version":1,"nodes":[{"name":"in","op":"source"},{"name":"it","op":"process","inputs":["in"],"stores":["w"]}],
            "stores":[{"name":"w","kind":"window","key":"utf8","value":"utf8","window_size_ms":10,"retention_ms":10}]}"#,
        )
        .unwrap();
        let manifest = Manifest::parse("id = \"a\"", "app.toml").unwrap();
        let blueprint = Blueprint::new(manifest, &description).unwrap();
        let plan = blueprint.plan(&|name| (name == "in").then(|| TopicFacts::of_partitions(1))).unwrap();
        let topic = plan.stores[0].changelog.unwrap();
        let written = |timestamp: i64, value: Option<&[u8]>| {
            let mut out = Outgoing::default();
            let record = Record { key: Some(b"k"), value, headers: Headers(&[]), timestamp };
            out.push(TopicPartition { topic, partition: 0 }, record);
            out
        };
        let mut too_old = TooOld::new([(topic, 1_000)].into());
        assert!(too_old.look(&plan, &written(9_000, Some(b"v")), 10_000).is_none());
        assert!(too_old.look(&plan, &written(1, None), 10_000).is_none());
        let told = too_old.look(&plan, &written(8_999, Some(b"v")), 10_000).unwrap();
        assert_eq!((told.code, &told.to_json()["changelog_topic"]), ("E0422", &"a-w-changelog".into()));
        assert!(too_old.look(&plan, &written(1, Some(b"v")), 10_000).is_none(), "once");
    }
}
