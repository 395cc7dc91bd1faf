//! The topics that an application uses, as they were when it started: their ids, and how many partitions its inputs have.
//! An offset and a local state belong to one topic, not to whatever is called like it (semantics.md B16).

use std::collections::{BTreeMap, BTreeSet};

use millstream_engine::error::{Problem, exit};
use millstream_engine::record::TopicId;
use millstream_engine::store::StoreKind;
use millstream_engine::topology::{Blueprint, Plan};

use super::orphans::Kept;
use crate::log::{Log, Topic};

/// The name of the problem that an input's successor is.
pub const RECREATED: &str = "TopicRecreated";

/// What an application uses, as a start found it.
#[derive(Debug, Default)]
pub struct Topics {
    found: BTreeMap<String, Topic>,
    /// Its inputs and the topics of its global tables, each with the partitions it was planned with.
    inputs: BTreeMap<String, i32>,
    changelogs: BTreeSet<String>,
    application: String,
    /// Where sources find their topics by patterns.
    blueprint: Option<Box<Blueprint>>,
}

impl Topics {
    /// All topics of a plan, once the internal ones are created.
    pub fn look(log: &dyn Log, plan: &Plan) -> Result<Topics, Problem> {
        let names: Vec<&str> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
        let found = log.describe(&names)?.into_iter().flatten().map(|topic| (topic.name.clone(), topic)).collect();
        let changelog = |topic: TopicId| plan.topics[topic.0 as usize].name.clone();
        let own = plan.stores.iter().filter(|store| !store.reuses_source);
        let changelogs = own.filter_map(|store| store.changelog.map(changelog)).collect();
        let globals = plan.globals().map(|(_, topic)| &plan.topics[topic.0 as usize]);
        let globals = globals.map(|topic| (topic.name.clone(), topic.partitions));
        let inputs = inputs(plan).into_iter().chain(globals).collect();
        Ok(Topics { found, inputs, changelogs, application: plan.application.clone(), blueprint: None })
    }

    /// With the patterns of its sources, so that it sees what comes to match them.
    pub fn and_patterns(self, blueprint: &Blueprint) -> Topics {
        let blueprint = blueprint.patterns().next().map(|_| Box::new(blueprint.clone()));
        Topics { blueprint, ..self }
    }

    /// Their ids, as far as the log tells them.
    pub fn ids(&self) -> BTreeMap<String, String> {
        self.found.values().filter_map(|topic| Some((topic.name.clone(), topic.id.clone()?))).collect()
    }

    /// How long each changelog, and each global table's topic, keeps its deletes, ms.
    pub fn delete_retention_ms(&self, plan: &Plan) -> BTreeMap<TopicId, i64> {
        let keeps = |topic: TopicId| {
            let found = self.found.get(&plan.topics[topic.0 as usize].name)?;
            Some((topic, found.configs.get("delete.retention.ms")?.parse().ok()?))
        };
        plan.stores.iter().filter_map(|store| keeps(store.changelog.or(store.global)?)).collect()
    }

    /// How old, by the clock, what windows and sessions write may be before their changelogs delete it, ms. The embedded log
    /// goes by the time of the records where that is behind the clock.
    pub fn deletes_after_ms(&self, log: &dyn Log, plan: &Plan) -> BTreeMap<TopicId, i64> {
        if log.url().starts_with("embedded:") {
            return BTreeMap::new();
        }
        let timed = plan.stores.iter().filter(|store| {
            matches!(store.kind, StoreKind::Window { .. } | StoreKind::Session { .. }) && !store.reuses_source
        });
        let after = |topic: TopicId| {
            let configs = &self.found.get(&plan.topics[topic.0 as usize].name)?.configs;
            let deletes = configs.get("cleanup.policy")?.split(',').any(|policy| policy.trim() == "delete");
            let after = configs.get("retention.ms")?.parse().ok().filter(|after| deletes && *after >= 0)?;
            Some((topic, after))
        };
        timed.filter_map(|store| after(store.changelog?)).collect()
    }

    /// Holds inputs and changelogs against what they are now.
    pub fn look_again(&self, log: &dyn Log) -> Result<Look, Problem> {
        let names: Vec<&str> = self.inputs.keys().chain(&self.changelogs).map(String::as_str).collect();
        let described = log.describe(&names)?;
        let gone = names.iter().zip(&described).find_map(|(name, topic)| topic.is_none().then(|| (*name).to_owned()));
        let problem = match self.compare(described.into_iter().flatten()) {
            None => self.matching_now(log)?,
            problem => problem,
        };
        Ok(Look { problem, gone })
    }

    /// What has come to match a pattern since the start.
    fn matching_now(&self, log: &dyn Log) -> Result<Option<Problem>, Problem> {
        let Some(blueprint) = &self.blueprint else { return Ok(None) };
        let topics = log.topics()?;
        let added = blueprint.patterns().find_map(|(source, pattern)| {
            let matching = blueprint.matching(pattern, &topics);
            let new = matching.into_iter().find(|topic| !self.inputs.contains_key(topic))?;
            Some(topic_added(&self.application, source, pattern, &new))
        });
        Ok(added)
    }

    fn compare(&self, topics: impl Iterator<Item = Topic>) -> Option<Problem> {
        for now in topics {
            let before = self.found.get(&now.name).and_then(|topic| topic.id.as_ref());
            if let (Some(before), Some(id)) = (before, &now.id)
                && before != id
            {
                let problem = recreated(&self.application, &now.name, before, id);
                let is_input = self.inputs.contains_key(&now.name);
                return Some(if is_input { problem } else { as_changelog(problem) });
            }
            if let Some(planned) = self.inputs.get(&now.name).filter(|planned| **planned < now.partitions) {
                return Some(partitions_added(&self.application, &now.name, *planned, now.partitions));
            }
        }
        None
    }
}

/// What a look at the topics has found.
#[derive(Debug, Default)]
pub struct Look {
    /// What the application cannot go on with.
    pub problem: Option<Problem>,
    /// A topic that is not there: deleted, or about to be created anew.
    pub gone: Option<String>,
}

/// Refuses inputs that were deleted and created anew since the application ran last; `allow`: they are begun as their
/// `start` says, and are the answer.
pub fn check_recreated(log: &dyn Log, plan: &Plan, kept: &Kept, allow: bool) -> Result<BTreeSet<String>, Problem> {
    let inputs = inputs(plan);
    let names: Vec<&str> =
        inputs.keys().map(String::as_str).filter(|name| kept.topic_ids.contains_key(*name)).collect();
    let mut recreated_ones = BTreeSet::new();
    for topic in log.describe(&names)?.into_iter().flatten() {
        let (Some(before), Some(now)) = (kept.topic_ids.get(&topic.name), &topic.id) else { continue };
        if before == now {
            continue;
        }
        let problem = recreated(&plan.application, &topic.name, before, now);
        if !allow {
            return Err(problem);
        }
        tracing::warn!(topic = topic.name, before, now, "{problem}; it is begun as its `start` says");
        recreated_ones.insert(topic.name);
    }
    Ok(recreated_ones)
}

/// Refuses changelogs that forget what they should keep, those that are there and those that would be made.
pub fn check_compacted(plan: &Plan, found: &BTreeMap<&str, &Topic>) -> Result<(), Problem> {
    const POLICY: &str = "cleanup.policy";
    for store in &plan.stores {
        let Some(topic) = store.changelog.map(|topic| &plan.topics[topic.0 as usize]) else { continue };
        let configs = match found.get(topic.name.as_str()) {
            Some(topic) => &topic.configs,
            None => match &topic.internal {
                Some(internal) => &internal.configs,
                None => continue,
            },
        };
        let policy = configs.get(POLICY).map_or("", String::as_str);
        if !policy.is_empty() && policy.split(',').all(|policy| policy.trim() != "compact") {
            let problem = not_compacted(&plan.application, &store.description.name, &topic.name, policy);
            return Err(if store.reuses_source { source_not_compacted(problem, &topic.name) } else { problem });
        }
    }
    Ok(())
}

/// What a topic has in the place of what is wanted of it. The effective values count, whoever set them; what the log does
/// not know of, it does not have otherwise.
pub fn differing(wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    // `cleanup.policy` is a list in any order.
    let parts = |value: &str| value.split(',').map(|part| part.trim().to_owned()).collect::<BTreeSet<_>>();
    let differs = |(name, value): &(&String, &String)| found.get(*name).is_some_and(|is| parts(is) != parts(value));
    wanted.iter().filter(differs).map(|(name, _)| (name.clone(), found[name].clone())).collect()
}

fn inputs(plan: &Plan) -> BTreeMap<String, i32> {
    let inputs = plan.subtopologies.iter().flat_map(|subtopology| plan.inputs(subtopology));
    inputs.map(|(_, topic, partitions)| (plan.topics[topic.0 as usize].name.clone(), partitions)).collect()
}

fn not_compacted(application: &str, store: &str, topic: &str, policy: &str) -> Problem {
    let message = format!("changelog {topic} has cleanup.policy {policy} and needs compact");
    Problem::new("ChangelogNotCompacted", "E0220", exit::BAD_PLAN, message)
        .field("application", application)
        .field("store", store)
        .field("changelog_topic", topic)
        .field("expected_cleanup_policy", "compact")
        .field("actual_cleanup_policy", policy)
        .why("its oldest records will be deleted, and with them the entries of keys that were not written since")
        .fix(format!(
            "kafka-configs --alter --topic {topic} --add-config cleanup.policy=compact; or delete the topic and start \
             again, and the store begins empty"
        ))
}

fn source_not_compacted(problem: Problem, topic: &str) -> Problem {
    problem
        .why(
            "it is the changelog of the table that is read from it (reuse_source_topic), and forgets the rows of keys that \
             were not written since",
        )
        .fix(format!(
            "kafka-configs --alter --topic {topic} --add-config cleanup.policy=compact; or reuse_source_topic = false, and \
             the table has a changelog of its own"
        ))
}

fn recreated(application: &str, topic: &str, before: &str, now: &str) -> Problem {
    let message = format!("topic {topic} was deleted and created anew: its id was {before} and is {now}");
    Problem::new(RECREATED, "E0221", exit::FAILED, message)
        .field("application", application)
        .field("topic", topic)
        .field("expected_topic_id", before)
        .field("actual_topic_id", now)
        .why("committed offsets and stores came of the old topic's records, and its offsets say nothing of the new one")
        .fix(
            "start once with --allow-recreated-topics: the topic is read as its `start` says, and stores stay as they \
             are; or begin under another id",
        )
}

fn as_changelog(problem: Problem) -> Problem {
    problem
        .why("it was the changelog of a store, and nothing of what the store holds is in the new one")
        .fix("start again: the store begins with what its new changelog has")
}

fn topic_added(application: &str, source: &str, pattern: &str, topic: &str) -> Problem {
    let message = format!("topic {topic} matches {pattern}, and was not there when {application} started");
    Problem::new("SourceTopicAdded", "E0223", exit::FAILED, message)
        .field("application", application)
        .field("topic", topic)
        .field("source", source)
        .field("pattern", pattern)
        .why(
            "which tasks there are, and what they read, is settled at the start, for all members of the group together",
        )
        .fix("start again: the topic is read as the source's `start` says")
}

fn partitions_added(application: &str, topic: &str, expected: i32, actual: i32) -> Problem {
    let message = format!("topic {topic} has {actual} partitions, and had {expected} when {application} started");
    Problem::new("PartitionsAdded", "E0222", exit::FAILED, message)
        .field("application", application)
        .field("topic", topic)
        .field("expected_partitions", expected)
        .field("actual_partitions", actual)
        .why("no task reads the new partitions, and a key may come in another one than before, where its state is not")
        .fix(
            "without stores: start again. With stores: start under another id from the beginning, or repartition what is \
             read into a topic of its own",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_differs_in_what_it_has_otherwise_and_not_in_what_nobody_asks_for() {
        let configs = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let wanted = configs(&[("cleanup.policy", "compact,delete"), ("retention.ms", "-1"), ("unknown", "x")]);
        let found = configs(&[("cleanup.policy", "delete, compact"), ("retention.ms", "5"), ("segment.bytes", "1")]);
        assert_eq!(differing(&wanted, &found), configs(&[("retention.ms", "5")]));
    }
}
