//! State that a start would leave behind because its store is called otherwise now (semantics.md B21): it is refused,
//! since the store under its new name would begin empty, and nobody would be told.
//!
//! What is known of the past: the record in the state directory, and in the log the changelogs of unnamed stores, whose
//! generated names move when an operator is put in front of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::{Blueprint, Operator};
use serde::{Deserialize, Serialize};

use crate::lmdb::StateDirectory;
use crate::log::Log;

/// What an application keeps, as its state directory remembers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Changelog topics by store.
    stores: BTreeMap<String, String>,
    /// Changelog topics that somebody has said may stay behind.
    #[serde(default)]
    abandoned: BTreeSet<String>,
    /// Ids of the changelog topics that the local state was written beside, by name. Hosts before did not keep them.
    #[serde(default)]
    pub(super) changelog_ids: BTreeMap<String, String>,
}

/// What the application keeps from this start on. `directory` is its own state directory, there or not; `allow`:
/// orphans may stay behind.
pub fn check(log: &dyn Log, blueprint: &Blueprint, directory: &Path, allow: bool) -> Result<Kept, Problem> {
    let recorded: Kept = StateDirectory::recorded(directory).unwrap_or_default();
    let mut kept =
        Kept { stores: logged(blueprint), abandoned: recorded.abandoned, changelog_ids: recorded.changelog_ids };
    kept.abandoned.retain(|topic| kept.stores.values().all(|used| used != topic));
    let topics = log.topics()?;
    let mut orphans = BTreeMap::new();
    for (store, topic) in recorded.stores {
        if topics.contains(&topic) {
            orphans.insert(store, topic);
        }
    }
    for topic in &topics {
        if let Some(store) = generated_name(&blueprint.manifest.id, topic) {
            orphans.insert(store.to_owned(), topic.clone());
        }
    }
    orphans.retain(|store, topic| !has_store(blueprint, store) && !kept.abandoned.contains(topic));
    if orphans.is_empty() {
        return Ok(kept);
    }
    if !allow {
        return Err(orphaned(blueprint, &orphans));
    }
    kept.abandoned.extend(orphans.into_values());
    Ok(kept)
}

fn logged(blueprint: &Blueprint) -> BTreeMap<String, String> {
    let stores = blueprint.graph.stores.iter();
    stores.filter_map(|store| Some((store.name.clone(), blueprint.changelog_topic(store)?))).collect()
}

fn has_store(blueprint: &Blueprint, name: &str) -> bool {
    blueprint.graph.stores.iter().any(|store| store.name == name)
}

/// The unnamed store whose changelog this is: `count-store-0` of `APP-count-store-0-changelog`. A store that somebody
/// has named may be another application's, whose id begins with this one's.
fn generated_name<'a>(application: &str, topic: &'a str) -> Option<&'a str> {
    let store = topic.strip_prefix(application)?.strip_prefix('-')?.strip_suffix("-changelog")?;
    let (operator, place) = store.rsplit_once("-store-")?;
    let is_place = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
    (is_place && Operator::parse(operator).is_some()).then_some(store)
}

fn orphaned(blueprint: &Blueprint, orphans: &BTreeMap<String, String>) -> Problem {
    let application = &blueprint.manifest.id;
    let (names, topics): (Vec<&str>, Vec<&str>) =
        orphans.iter().map(|(store, topic)| (store.as_str(), topic.as_str())).unzip();
    let stores: Vec<&str> = blueprint.graph.stores.iter().map(|store| store.name.as_str()).collect();
    let message = format!("{application} has state in stores that the component does not have: {}", names.join(", "));
    Problem::new("OrphanedState", "E0212", exit::BAD_PLAN, message)
        .field("application", application.as_str())
        .field("orphaned_stores", names)
        .field("changelog_topics", topics)
        .field("stores", stores)
        .why("a store under another name begins empty; an unnamed store is called after its operator and place")
        .fix(
            "give the stores the names they had; or, where the state may be left behind, start once with \
             --allow-orphaned-state, or delete the topics",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_generated_names_are_known_by_their_topics() {
        for (topic, store) in [
            ("a-count-store-0-changelog", Some("count-store-0")),
            ("a-table-source-store-12-changelog", Some("table-source-store-12")),
            ("a-word-counts-changelog", None),
            // Of the application `a-b`.
            ("a-b-count-store-0-changelog", None),
            ("a-count-store--changelog", None),
            ("b-count-store-0-changelog", None),
            ("a-count-store-0-repartition", None),
        ] {
            assert_eq!(generated_name("a", topic), store, "{topic}");
        }
    }
}
