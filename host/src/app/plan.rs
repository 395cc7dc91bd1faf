//! Holding a blueprint against a log: what its topics are in, internal topics out.

use std::collections::BTreeMap;

use millstream_engine::error::Problem;
use millstream_engine::topology::{Blueprint, Plan, TopicFacts};

use super::topics;
use crate::log::{self, Log, NewTopic};

/// Plans without changing anything: what `validate` does, and the first half of a start.
pub fn plan(log: &dyn Log, blueprint: &Blueprint) -> Result<Plan, Problem> {
    let matched = match blueprint.patterns().next() {
        Some(_) => Some(blueprint.matched(&log.topics()?)?),
        None => None,
    };
    let blueprint = matched.as_ref().unwrap_or(blueprint);
    let names: Vec<String> = blueprint.topic_names().into_iter().collect();
    let described = log.describe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let facts = |topic: &log::Topic| {
        let config = |name: &str| topic.configs.get(name);
        let appended = config("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime");
        TopicFacts {
            partitions: topic.partitions,
            max_message_bytes: config("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
            timestamp_ahead_max_ms: config("message.timestamp.after.max.ms")
                .filter(|_| !appended)
                .and_then(|max| max.parse().ok()),
            is_appended: appended,
        }
    };
    let existing: BTreeMap<&str, TopicFacts> = names
        .iter()
        .zip(&described)
        .filter_map(|(name, topic)| topic.as_ref().map(|topic| (name.as_str(), facts(topic))))
        .collect();
    let plan = blueprint.plan(&|name| existing.get(name).copied())?;
    let found = described.iter().flatten().map(|topic| (topic.name.as_str(), topic)).collect();
    topics::check_compacted(&plan, &found)?;
    Ok(plan)
}

/// Creates the internal topics that are missing. Another member of the group may do the same at this moment. Whether any
/// was: then the plan does not know yet what they take.
pub fn create_internal_topics(log: &dyn Log, plan: &Plan) -> Result<bool, Problem> {
    let mut missing = false;
    for topic in &plan.topics {
        let Some(internal) = topic.internal.as_ref().filter(|internal| !internal.exists) else { continue };
        missing = true;
        let new = NewTopic {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication_factor: internal.replication_factor,
            configs: internal.configs.clone(),
        };
        match log.create(&new) {
            Ok(()) => tracing::info!(topic = topic.name, partitions = topic.partitions, "created internal topic"),
            Err(log::Error::TopicExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(missing)
}
