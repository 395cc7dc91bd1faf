//! Putting one plan in the place of another under running tasks.

use std::collections::BTreeSet;

use super::plan::{Plan, SubtopologyPlan};
use crate::record::TopicId;

impl Plan {
    /// This plan with the topic numbers of the one it is to replace, or why it cannot take its place while tasks run:
    /// their inputs, their stores and their log's topics must be the same. Nodes may differ.
    pub fn in_place_of(mut self, old: &Plan) -> Result<Plan, String> {
        let ids = self.topic_ids(old)?;
        self.compare_subtopologies(old)?;
        if self.global_outline() != old.global_outline() {
            return Err("it has other global tables".to_owned());
        }
        let id = |topic: TopicId| ids[topic.0 as usize];
        self.node_topics.iter_mut().flatten().for_each(|topic| *topic = id(*topic));
        for policy in &mut self.policies {
            policy.dead_letter = policy.dead_letter.map(id);
        }
        for store in &mut self.stores {
            store.changelog = store.changelog.map(id);
            store.global = store.global.map(id);
        }
        for subtopology in &mut self.subtopologies {
            subtopology.subscribe = id(subtopology.subscribe);
            subtopology.contested = subtopology.contested.iter().copied().map(id).collect();
        }
        self.topics = old.topics.clone();
        Ok(self)
    }

    /// By this plan's numbers, those of the old one.
    fn topic_ids(&self, old: &Plan) -> Result<Vec<TopicId>, String> {
        let find = |topic: &super::TopicPlan| {
            let same = |other: &super::TopicPlan| other.name == topic.name && other.partitions == topic.partitions;
            let place = old.topics.iter().position(same);
            place.map(|place| TopicId(place as u32)).ok_or_else(|| format!("topic {} is new", topic.name))
        };
        self.topics.iter().map(find).collect()
    }

    fn compare_subtopologies(&self, old: &Plan) -> Result<(), String> {
        if self.subtopologies.len() != old.subtopologies.len() {
            return Err(format!("{} subtopologies become {}", old.subtopologies.len(), self.subtopologies.len()));
        }
        for (new, old_one) in self.subtopologies.iter().zip(&old.subtopologies) {
            if self.outline(new) != old.outline(old_one) {
                return Err(format!("subtopology {} has other inputs or other stores", old_one.name));
            }
        }
        Ok(())
    }

    /// The global tables, by the names of their stores.
    fn global_outline(&self) -> BTreeSet<(&str, &str, String)> {
        let outline = |(number, topic): (usize, TopicId)| {
            let (store, topic) = (&self.stores[number], &self.topics[topic.0 as usize]);
            (store.description.name.as_str(), topic.name.as_str(), store.provider.to_string())
        };
        self.globals().map(outline).collect()
    }

    /// What running tasks of a subtopology stand on.
    fn outline(&self, subtopology: &SubtopologyPlan) -> Outline<'_> {
        let topic = |id: TopicId| self.topics[id.0 as usize].name.as_str();
        let inputs = self.inputs(subtopology).into_iter().map(|(_, id, partitions)| (topic(id), partitions));
        let stores = subtopology.stores.iter().map(|number| {
            let store = &self.stores[*number];
            let description = &store.description;
            let codecs = (description.kind.as_str(), description.key.as_str(), description.value.as_str());
            (description.name.as_str(), codecs, store.provider.to_string(), store.changelog.map(topic))
        });
        Outline {
            partitions: subtopology.partitions,
            subscribe: topic(subtopology.subscribe),
            inputs: inputs.collect(),
            stores: stores.collect(),
            globals: subtopology.globals.iter().map(|number| self.stores[*number].description.name.as_str()).collect(),
        }
    }
}

#[derive(PartialEq, Eq)]
struct Outline<'a> {
    partitions: i32,
    subscribe: &'a str,
    inputs: BTreeSet<(&'a str, i32)>,
    stores: BTreeSet<(&'a str, (&'a str, &'a str, &'a str), String, Option<&'a str>)>,
    globals: BTreeSet<&'a str>,
}
