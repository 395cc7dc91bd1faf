//! Topic configurations of internal topics: each kind's defaults, under what the manifest says for all, under what it
//! says for one store.

use std::collections::BTreeMap;

/// What Kafka calls a topic's `name → value` configurations.
type Configs = BTreeMap<String, String>;

/// Small segments are compacted sooner, so that a restore reads less. (Kafka Streams leaves the broker's 1 GiB for
/// changelogs and has this for repartition topics.)
const SEGMENT_BYTES: (&str, &str) = ("segment.bytes", "52428800");

/// Neither state nor a record that was not processed yet grows old.
const RETENTION: (&str, &str) = ("retention.ms", "-1");

/// Records keep the timestamps they were written with.
const TIMESTAMPS: (&str, &str) = ("message.timestamp.type", "CreateTime");

/// The changelog of a key-value store: the last value of every key. `global` is `[changelog]`, `own` the store's.
pub fn key_value_configs(global: &Configs, own: &Configs) -> Configs {
    layered(&[("cleanup.policy", "compact"), RETENTION, SEGMENT_BYTES, TIMESTAMPS], &[global, own])
}

/// A repartition topic: every record; a tasks topic has none, and the same. `global` is `[repartition]`.
pub fn repartition_configs(global: &Configs) -> Configs {
    layered(&[("cleanup.policy", "delete"), RETENTION, SEGMENT_BYTES, TIMESTAMPS], &[global])
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
        let key_value = key_value_configs(&Configs::new(), &Configs::new());
        assert_eq!(key_value["cleanup.policy"], "compact");
        assert_eq!(key_value["retention.ms"], "-1");
        assert_eq!(key_value["segment.bytes"], "52428800");
        assert_eq!(key_value["message.timestamp.type"], "CreateTime");
        let repartition = repartition_configs(&Configs::new());
        assert_eq!((repartition["cleanup.policy"].as_str(), repartition["retention.ms"].as_str()), ("delete", "-1"));
    }

    #[test]
    fn a_store_wins_over_all_stores_and_these_over_the_default() {
        let global = configs(&[("segment.bytes", "1"), ("retention.ms", "2"), ("min.insync.replicas", "2")]);
        let own = configs(&[("retention.ms", "3")]);
        let found = key_value_configs(&global, &own);
        let found: Vec<&str> = ["cleanup.policy", "segment.bytes", "retention.ms", "min.insync.replicas"]
            .map(|name| found[name].as_str())
            .into();
        assert_eq!(found, ["compact", "1", "3", "2"]);
    }
}
