//! Holding a blueprint against a log: what its topics are in, internal topics out.

use std::collections::BTreeMap;

use millstream_engine::error::Problem;
use millstream_engine::topology::{Blueprint, Plan, TopicFacts};

use crate::log::{self, Log, NewTopic};

/// Plans without changing anything: what `validate` does, and the first half of a start.
pub fn plan(log: &dyn Log, blueprint: &Blueprint) -> Result<Plan, Problem> {
    let names: Vec<String> = blueprint.topic_names().into_iter().collect();
    let described = log.describe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let facts = |topic: &log::Topic| TopicFacts {
        partitions: topic.partitions,
        max_message_bytes: topic.configs.get("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
    };
    let existing: BTreeMap<&str, TopicFacts> = names
        .iter()
        .zip(&described)
        .filter_map(|(name, topic)| topic.as_ref().map(|topic| (name.as_str(), facts(topic))))
        .collect();
    blueprint.plan(&|name| existing.get(name).copied())
}

/// Creates the internal topics that are missing. Another member of the group may do the same at this moment.
pub fn create_internal_topics(log: &dyn Log, plan: &Plan) -> Result<(), Problem> {
    for topic in &plan.topics {
        let Some(internal) = topic.internal.as_ref().filter(|internal| !internal.exists) else { continue };
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
    Ok(())
}
