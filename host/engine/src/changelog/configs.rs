//! Topic configurations of internal topics: each kind's defaults, under what the manifest says for all, under what it
//! says for one store.

use std::collections::BTreeMap;

use super::StoreKind;

/// What Kafka calls a topic's `name → value` configurations.
type Configs = BTreeMap<String, String>;

/// Small segments are compacted sooner, so that a restore reads less. (Kafka Streams leaves the broker's 1 GiB for
/// changelogs and has this for repartition topics.)
const SEGMENT_BYTES: (&str, &str) = ("segment.bytes", "52428800");

/// Neither state nor a record that was not processed yet grows old.
const RETENTION: (&str, &str) = ("retention.ms", "-1");

/// Records keep the timestamps they were written with.
const TIMESTAMPS: (&str, &str) = ("message.timestamp.type", "CreateTime");

/// Beyond a store's own retention: clocks of machines differ, and a log cleans up by its own clock (semantics.md A1).
const ADDITIONAL_RETENTION_MS: i64 = 24 * 60 * 60 * 1_000;

/// The changelog of a store. Of a key-value store the last value of every key is kept for ever; windows and sessions go
/// when they have expired; versions of a key are not compacted as long as one may be asked for. `global` is
/// `[changelog]`, `own` the store's.
pub fn changelog_configs(kind: StoreKind, global: &Configs, own: &Configs) -> Configs {
    let longer = kind.retention_ms().unwrap_or_default().saturating_add(ADDITIONAL_RETENTION_MS).to_string();
    let of_kind: &[(&str, &str)] = match kind {
        StoreKind::KeyValue | StoreKind::Buffer => &[("cleanup.policy", "compact"), RETENTION],
        StoreKind::Window { .. } | StoreKind::Session { .. } => {
            &[("cleanup.policy", "compact,delete"), ("retention.ms", &longer)]
        }
        StoreKind::Versioned { .. } => &[("cleanup.policy", "compact"), RETENTION, ("min.compaction.lag.ms", &longer)],
    };
    layered(&[of_kind, &[SEGMENT_BYTES, TIMESTAMPS]].concat(), &[global, own])
}

/// A repartition topic: every record; a tasks topic has none, and the same. `global` is `[repartition]`.
pub fn repartition_configs(global: &Configs) -> Configs {
    layered(&[("cleanup.policy", "delete"), RETENTION, SEGMENT_BYTES, TIMESTAMPS], &[global])
}

/// The record of an application's names: the last one of it is kept for ever, whatever holds for the topics beside it.
/// `global` is `[changelog]`, or `[repartition]` where there are no changelogs.
pub fn names_configs(global: &Configs) -> Configs {
    let mut configs = layered(&[SEGMENT_BYTES, TIMESTAMPS], &[global]);
    configs.extend([("cleanup.policy", "compact"), RETENTION].map(|(name, value)| (name.to_owned(), value.to_owned())));
    configs
}

fn layered(defaults: &[(&str, &str)], over: &[&Configs]) -> Configs {
    let mut configs: Configs = defaults.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for layer in over {
        configs.extend(layer.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    configs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(rows: &[(&str, &str)]) -> Configs {
        layered(rows, &[])
    }

    #[test]
    fn each_kind_has_its_defaults() {
        let key_value = changelog_configs(StoreKind::KeyValue, &Configs::new(), &Configs::new());
        assert_eq!(key_value["cleanup.policy"], "compact");
        assert_eq!(key_value["retention.ms"], "-1");
        assert_eq!(key_value["segment.bytes"], "52428800");
        assert_eq!(key_value["message.timestamp.type"], "CreateTime");
        let window = StoreKind::Window { size_ms: 10, retention_ms: 120_000, duplicates: false, closing: false };
        for kind in [window, StoreKind::Session { retention_ms: 120_000, closing: false }] {
            let timed = changelog_configs(kind, &Configs::new(), &Configs::new());
            assert_eq!(
                (timed["cleanup.policy"].as_str(), timed["retention.ms"].as_str()),
                ("compact,delete", "86520000")
            );
        }
        let versioned = changelog_configs(StoreKind::Versioned { history_ms: 100 }, &Configs::new(), &Configs::new());
        assert_eq!((versioned["cleanup.policy"].as_str(), versioned["retention.ms"].as_str()), ("compact", "-1"));
        assert_eq!(versioned["min.compaction.lag.ms"], "86400100");
        let repartition = repartition_configs(&Configs::new());
        assert_eq!((repartition["cleanup.policy"].as_str(), repartition["retention.ms"].as_str()), ("delete", "-1"));
    }

    #[test]
    fn a_store_wins_over_all_stores_and_these_over_the_default() {
        let global = configs(&[("segment.bytes", "1"), ("retention.ms", "2"), ("min.insync.replicas", "2")]);
        let own = configs(&[("retention.ms", "3")]);
        let found = changelog_configs(StoreKind::KeyValue, &global, &own);
        let found: Vec<&str> = ["cleanup.policy", "segment.bytes", "retention.ms", "min.insync.replicas"]
            .map(|name| found[name].as_str())
            .into();
        assert_eq!(found, ["compact", "1", "3", "2"]);
    }
}
