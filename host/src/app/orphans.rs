//! State that a start would leave behind because its store is called otherwise now (semantics.md B21): it is refused,
//! since the store under its new name would begin empty, and nobody would be told.
//!
//! What is known of the past: the record in the state directory, that in the log ([`names`]), and in the log the changelogs
//! of unnamed stores, whose generated names move when an operator is put in front of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::{Blueprint, Operator};
use serde::{Deserialize, Serialize};

use super::names::{self, Names};
use crate::lmdb::StateDirectory;
use crate::log::Log;

/// What an application keeps, as its state directory remembers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Changelog topics by store.
    stores: BTreeMap<String, String>,
    /// The source topics that are changelogs, by store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sources: BTreeMap<String, String>,
    /// What each store was restored from before this start, where that was another topic.
    #[serde(skip)]
    pub(super) moved: BTreeSet<String>,
    /// Changelog topics that somebody has said may stay behind.
    #[serde(default)]
    abandoned: BTreeSet<String>,
    /// Ids of the topics that offsets and local state came of, by name. Hosts before kept those of the changelogs, or none.
    #[serde(default, alias = "changelog_ids")]
    pub(super) topic_ids: BTreeMap<String, String>,
    /// A reset has begun and has not come to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reset: bool,
    /// What the log knows of it.
    #[serde(skip)]
    in_log: Names,
}

impl Kept {
    /// Lets the log know it, where that knows something else. Before anything is processed.
    pub fn tell(&self, log: &dyn Log, blueprint: &Blueprint) -> Result<(), Problem> {
        let (stores, sources) = (self.stores.clone(), self.sources.clone());
        let names = Names { stores, sources, abandoned: self.abandoned.clone() };
        let is_there = blueprint.names_topic().is_some() || self.in_log != Names::default();
        if is_there && names != self.in_log { names::write(log, &blueprint.manifest.id, &names) } else { Ok(()) }
    }

    /// The changelogs that it has, or once had.
    pub fn changelogs(self) -> impl Iterator<Item = String> {
        self.stores.into_values().chain(self.abandoned)
    }
}

/// Says that a reset has begun: until the record is gone no start is let by.
pub fn mark_reset(directory: &StateDirectory) -> Result<(), Problem> {
    let recorded: Option<Kept> = StateDirectory::recorded(directory.path()).map_err(|error| error.problem())?;
    directory.record(&Kept { reset: true, ..recorded.unwrap_or_default() }).map_err(|error| error.problem())
}

/// What the application keeps from this start on. `directory` is its own state directory, there or not; `allow`:
/// orphans may stay behind.
pub fn check(log: &dyn Log, blueprint: &Blueprint, directory: &Path, allow: bool) -> Result<Kept, Problem> {
    let recorded = StateDirectory::recorded(directory).map_err(|error| error.problem())?;
    let mut recorded: Kept = recorded.unwrap_or_default();
    if recorded.reset {
        return Err(reset_unfinished(&blueprint.manifest.id));
    }
    let in_log = names::read(log, &blueprint.manifest.id)?;
    recorded.stores.extend(in_log.stores.clone());
    recorded.sources.extend(in_log.sources.clone());
    recorded.abandoned.extend(in_log.abandoned.iter().cloned());
    let (stores, sources) = (logged(blueprint), reused(blueprint));
    let moved = moved(&recorded, &stores, &sources);
    let (abandoned, topic_ids) = (recorded.abandoned, recorded.topic_ids);
    let mut kept = Kept { stores, sources, moved, abandoned, topic_ids, reset: false, in_log };
    kept.abandoned.retain(|topic| kept.stores.values().all(|used| used != topic));
    let topics = log.topics()?;
    let left: Vec<(&String, &String)> =
        recorded.sources.iter().filter(|(store, _)| kept.stores.contains_key(*store)).collect();
    if let (Some((store, source)), false) = (left.first(), allow) {
        return Err(left_in_source(&blueprint.manifest.id, store, source));
    }
    let mut orphans = BTreeMap::new();
    // The table is in its source topic now; a reset takes the changelog that it had.
    let replaced = recorded.stores.iter().filter(|(store, _)| kept.sources.contains_key(*store));
    kept.abandoned.extend(replaced.map(|(_, topic)| topic.clone()));
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

fn reset_unfinished(application: &str) -> Problem {
    Problem::new(
        "ResetUnfinished",
        "E0214",
        exit::BAD_PLAN,
        format!("a reset of {application} did not come to its end"),
    )
    .field("application", application)
    .why("some of its offsets, topics and state are gone and some are not: what it would go on with fits nothing")
    .fix("millstream app reset APP: it takes away what is left")
}

fn logged(blueprint: &Blueprint) -> BTreeMap<String, String> {
    let stores = blueprint.graph.stores.iter();
    stores.filter_map(|store| Some((store.name.clone(), blueprint.changelog_topic(store)?))).collect()
}

fn reused(blueprint: &Blueprint) -> BTreeMap<String, String> {
    let stores = blueprint.graph.stores.iter().filter(|store| blueprint.reuses_source(store));
    stores.filter_map(|store| Some((store.name.clone(), blueprint.logged_topic(store)?))).collect()
}

/// The stores that were restored from another topic before: their positions say nothing of the one they have now.
fn moved(recorded: &Kept, stores: &BTreeMap<String, String>, sources: &BTreeMap<String, String>) -> BTreeSet<String> {
    let before = |store: &String| recorded.stores.get(store).or(recorded.sources.get(store));
    let now = stores.iter().chain(sources);
    let others = now.filter(|(store, topic)| before(store).is_some_and(|before| before != *topic));
    others.map(|(store, _)| store.clone()).collect()
}

fn left_in_source(application: &str, store: &str, source: &str) -> Problem {
    let message = format!("the table in store {store} is in its source topic {source}, and would begin empty");
    Problem::new("OrphanedState", "E0212", exit::BAD_PLAN, message)
        .field("application", application)
        .field("orphaned_stores", vec![store])
        .field("changelog_topics", vec![source])
        .why("a changelog of its own has nothing of what was processed while the source topic was its changelog")
        .fix(
            "reuse_source_topic = true, as before; or, where the table may begin empty, start once with \
             --allow-orphaned-state",
        )
}

fn has_store(blueprint: &Blueprint, name: &str) -> bool {
    blueprint.graph.stores.iter().any(|store| store.name == name)
}

/// The unnamed store whose changelog this is: `count-store-0` of `APP-count-store-0-changelog`. A store that somebody
/// has named may be another application's, whose id begins with this one's.
fn generated_name<'a>(application: &str, topic: &'a str) -> Option<&'a str> {
    let store = topic.strip_prefix(application)?.strip_prefix('-')?.strip_suffix("-changelog")?;
    is_generated(store).then_some(store)
}

/// Whether nobody has named this store: it is called after its operator and place, `count-store-0`.
pub fn is_generated(store: &str) -> bool {
    let Some((operator, place)) = store.rsplit_once("-store-") else { return false };
    let is_place = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
    is_place && Operator::parse(operator).is_some()
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
