//! What a start would leave behind because it is called otherwise now (semantics.md B21): it is refused, since a store under
//! its new name would begin empty, and what is unread in a topic between subtopologies would stay so ([`Left`]), and nobody
//! would be told.
//!
//! What is known of the past: the record in the state directory, that in the log ([`names`]), and in the log the topics of
//! unnamed stores and operators, whose generated names move when an operator is put in front of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::{Blueprint, Operator};
use serde::{Deserialize, Serialize};

use super::left_topics::Left;
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
    /// Of which kind each store is. Hosts before did not keep it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    kinds: BTreeMap<String, String>,
    /// The stores of which the local state is of no use from this start on: they were restored from another topic before, or
    /// were of another kind.
    #[serde(skip)]
    pub(super) moved: BTreeSet<String>,
    /// The topics between its subtopologies.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    internal: BTreeSet<String>,
    /// Those that it had before, with the ends of their partitions up to which nothing of them is missed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    left: BTreeMap<String, Vec<i64>>,
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
        let names = self.names();
        let is_there = blueprint.names_topic().is_some() || self.in_log != Names::default();
        if is_there && names != self.in_log { names::write(log, &blueprint.manifest.id, &names) } else { Ok(()) }
    }

    /// The topics of its own that it has, or once had.
    pub fn topics(&self) -> impl Iterator<Item = String> {
        self.names().topics()
    }

    fn names(&self) -> Names {
        Names {
            stores: self.stores.clone(),
            sources: self.sources.clone(),
            internal: self.internal.clone(),
            left: self.left.clone(),
            abandoned: self.abandoned.clone(),
        }
    }

    /// What is known of the application; the log knows best.
    fn known(log: &dyn Log, application: &str, directory: &Path) -> Result<Kept, Problem> {
        let recorded = StateDirectory::recorded(directory).map_err(|error| error.problem())?;
        let mut known: Kept = recorded.unwrap_or_default();
        if known.reset {
            return Err(reset_unfinished(application));
        }
        let in_log = names::read(log, application)?;
        known.stores.extend(in_log.stores.clone());
        known.sources.extend(in_log.sources.clone());
        known.internal.extend(in_log.internal.iter().cloned());
        // What is in use again since this machine saw it was read from where that was.
        known.left.retain(|topic, _| !in_log.internal.contains(topic));
        known.left.extend(in_log.left.clone());
        known.abandoned.extend(in_log.abandoned.iter().cloned());
        Ok(Kept { in_log, ..known })
    }

    /// What it keeps under this blueprint, beside what that leaves behind.
    fn under(blueprint: &Blueprint, known: &Kept) -> Kept {
        let (stores, sources, kinds) = (logged(blueprint), reused(blueprint), kinds(blueprint));
        let mut moved = moved(known, &stores, &sources);
        moved.extend(changed(known, &kinds).map(|(store, ..)| store.to_owned()));
        let mut abandoned = known.abandoned.clone();
        abandoned.retain(|topic| stores.values().all(|used| used != topic));
        // The table is in its source topic now; a reset takes the changelog that it had.
        let replaced = known.stores.iter().filter(|(store, _)| sources.contains_key(*store));
        abandoned.extend(replaced.map(|(_, topic)| topic.clone()));
        let internal = blueprint.repartition_topics().collect();
        let (topic_ids, in_log) = (known.topic_ids.clone(), known.in_log.clone());
        let (left, reset) = (BTreeMap::new(), false);
        Kept { stores, sources, kinds, moved, internal, left, abandoned, topic_ids, reset, in_log }
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
    let application = &blueprint.manifest.id;
    let known = Kept::known(log, application, directory)?;
    let mut kept = Kept::under(blueprint, &known);
    let topics = log.topics()?;
    if let Some(problem) = misread(application, &known, &kept, &topics) {
        return Err(problem);
    }
    let left = Left::look(log, blueprint, &known.internal, &known.left, &topics)?;
    let orphans = left_stores(blueprint, &known, &kept.abandoned, &topics);
    let in_source = known.sources.iter().find(|(store, _)| kept.stores.contains_key(*store));
    let of_stores = match in_source {
        Some((store, source)) => Some(left_in_source(application, store, source)),
        None => (!orphans.is_empty()).then(|| orphaned(blueprint, &orphans)),
    };
    if let (Some(problem), false) = (left.refuse(of_stores, blueprint), allow) {
        return Err(problem);
    }
    left.warn();
    kept.abandoned.extend(orphans.into_values());
    kept.left = left.ends;
    Ok(kept)
}

/// The changelogs that are there of stores that it does not have any more, by store.
fn left_stores(
    blueprint: &Blueprint,
    known: &Kept,
    abandoned: &BTreeSet<String>,
    topics: &[String],
) -> BTreeMap<String, String> {
    let recorded = known.stores.iter().filter(|(_, topic)| topics.contains(topic));
    let recorded = recorded.map(|(store, topic)| (store.clone(), topic.clone()));
    let generated = topics
        .iter()
        .filter_map(|topic| Some((generated_name(&blueprint.manifest.id, topic)?.to_owned(), topic.clone())));
    let mut left: BTreeMap<String, String> = recorded.chain(generated).collect();
    left.retain(|store, topic| !has_store(blueprint, store) && !abandoned.contains(topic));
    left
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

fn kinds(blueprint: &Blueprint) -> BTreeMap<String, String> {
    let stores = blueprint.graph.stores.iter();
    stores.map(|store| (store.name.clone(), blueprint.kind(store).name().to_owned())).collect()
}

/// The stores that were of another kind before: name, kind before, kind now.
fn changed<'k>(
    known: &'k Kept,
    kinds: &'k BTreeMap<String, String>,
) -> impl Iterator<Item = (&'k str, &'k str, &'k str)> {
    let before =
        |(store, is): (&'k String, &'k String)| Some((store.as_str(), known.kinds.get(store)?.as_str(), is.as_str()));
    kinds.iter().filter_map(before).filter(|(_, was, is)| was != is)
}

/// A store that would be restored from what another kind has written.
fn misread(application: &str, known: &Kept, kept: &Kept, topics: &[String]) -> Option<Problem> {
    changed(known, &kept.kinds).filter(|(_, was, is)| !has_bytes_of(was, is)).find_map(|(store, was, is)| {
        let topic = kept.stores.get(store).filter(|topic| topics.contains(topic))?;
        let is_the_same = known.stores.get(store) == Some(topic);
        is_the_same.then(|| kind_changed(application, store, was, is, topic))
    })
}

/// Whether a store of one kind is restored from a changelog of the other: rows and versions have the same bytes there.
fn has_bytes_of(was: &str, is: &str) -> bool {
    const OF_KEYS: [&str; 2] = ["key-value", "versioned"];
    OF_KEYS.contains(&was) && OF_KEYS.contains(&is)
}

fn kind_changed(application: &str, store: &str, was: &str, is: &str, topic: &str) -> Problem {
    let message = format!("the store {store} of {application} was a {was} store, and is a {is} store now");
    Problem::new("StoreKindChanged", "E0216", exit::BAD_PLAN, message)
        .field("application", application)
        .field("store", store)
        .field("kind_before", was)
        .field("kind", is)
        .field("changelog_topic", topic)
        .why("its changelog has another kind's keys: nothing of it would be found, and what is written now would lie among it")
        .fix("another name for the store, and the old one may stay behind with --allow-orphaned-state; or `millstream app reset`")
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
