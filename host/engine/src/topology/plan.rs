//! The plan: a blueprint with its topics, partition counts and policies. What a start needs, and what a log's topics
//! refuse.

use std::collections::{BTreeMap, BTreeSet};

use super::description::Store;
use super::order::Order;
use super::partitions::{self, Partitions};
use super::topics::{TopicFacts, Topics};
use super::{Blueprint, Node, Operator};
use crate::changelog;
use crate::config::{self, Guarantee, OnError, Provider, Start, StoreChangelog};
use crate::error::{Problem, exit};
use crate::record::TopicId;

/// Everything a task has to know; the same for every member of the group.
#[derive(Clone, Debug)]
pub struct Plan {
    pub application: String,
    pub guarantee: Guarantee,
    /// [`TopicId`] is a place in this list.
    pub topics: Vec<TopicPlan>,
    pub nodes: Vec<Node>,
    pub subtopologies: Vec<SubtopologyPlan>,
    /// By store number.
    pub stores: Vec<StorePlan>,
    /// By node; only sources have one that is used.
    pub policies: Vec<Policy>,
    pub punctuation_policy: OnError,
    pub(super) node_topics: Vec<Option<TopicId>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    pub name: String,
    pub partitions: i32,
    /// The largest record, key and value and headers, that it takes. What is larger is its maker's failure, before the
    /// log refuses a whole interval for it.
    pub record_bytes_max: usize,
    /// Internal topics are the application's own: created when missing, where the manifest allows it.
    pub internal: Option<InternalTopic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    pub exists: bool,
    pub replication_factor: Option<i32>,
    pub configs: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubtopologyPlan {
    pub id: u32,
    /// Its first source's name, stable under changes elsewhere: names task directories and tasks topics.
    pub name: String,
    pub nodes: Vec<usize>,
    pub sources: Vec<usize>,
    pub stores: Vec<usize>,
    /// Number of tasks: the largest count of its sources.
    pub partitions: i32,
    /// What the group shares out: the only source's topic, or an empty topic of this subtopology's own.
    pub subscribe: TopicId,
    /// Sources behind which two nodes share a store: the order between nodes shows, so they run deep.
    pub entangled: BTreeSet<usize>,
    /// Pairs of sources whose nodes meet in a store: they never share a batch.
    pub conflicts: BTreeSet<(usize, usize)>,
    /// Whether ways meet again, so that elements must know theirs.
    pub ordered: bool,
    /// Topics that several of its nodes write.
    pub contested: BTreeSet<TopicId>,
    /// Nodes behind which two nodes share a store.
    pub entangled_nodes: BTreeSet<usize>,
}

impl SubtopologyPlan {
    pub fn is_entangled_below(&self, node: usize) -> bool {
        self.entangled_nodes.contains(&node)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlan {
    pub description: Store,
    pub subtopology: u32,
    pub provider: Provider,
    pub changelog: Option<TopicId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub on_error: OnError,
    pub dead_letter: Option<TopicId>,
    /// How often a record is tried again after `retry`.
    pub retry_attempts: u32,
    pub retry_backoff_ms: i64,
    pub start: Start,
}

impl Plan {
    /// What a source reads, a sink or a repartition writes.
    pub fn topic_of(&self, node: usize) -> Option<TopicId> {
        self.node_topics[node]
    }

    /// The largest entry, key and value, that a store's changelog takes.
    pub fn entry_bytes_max(&self, store: usize) -> usize {
        let changelog = self.stores.get(store).and_then(|store| store.changelog);
        changelog.map_or(usize::MAX, |topic| self.topics[topic.0 as usize].record_bytes_max)
    }

    /// The inputs of a subtopology's tasks, in order of topics: source node, topic, partitions.
    pub fn inputs(&self, subtopology: &SubtopologyPlan) -> Vec<(usize, TopicId, i32)> {
        let mut inputs: Vec<_> = subtopology
            .sources
            .iter()
            .filter_map(|source| self.node_topics[*source].map(|topic| (*source, topic)))
            .map(|(source, topic)| (source, topic, self.topics[topic.0 as usize].partitions))
            .collect();
        inputs.sort_by(|a, b| self.topics[a.1.0 as usize].name.cmp(&self.topics[b.1.0 as usize].name));
        inputs
    }

    /// What members of one group must agree on, as text to be hashed: everything but paths, limits and timing.
    pub fn fingerprint(&self) -> String {
        let topics: Vec<_> = self.topics.iter().map(|topic| (&topic.name, topic.partitions)).collect();
        let nodes: Vec<_> = self.nodes.iter().map(|node| (&node.name, node.operator.name(), &node.stores)).collect();
        format!("{:?} {topics:?} {nodes:?}", self.guarantee)
    }
}

impl Blueprint {
    /// Works out every partition count and holds it against what exists.
    pub fn plan(&self, existing: &dyn Fn(&str) -> Option<TopicFacts>) -> Result<Plan, Problem> {
        let partitions = partitions::infer(self, &|topic| existing(topic).map(|facts| facts.partitions))?;
        let mut topics = Topics::new(existing);
        let node_topics = self.node_topics(&partitions, &mut topics)?;
        let policies = self.policies(&mut topics)?;
        let stores = self.stores(&partitions, &mut topics)?;
        let subtopologies = self.subtopology_plans(&partitions, &node_topics, &mut topics)?;
        Ok(Plan {
            application: self.manifest.id.clone(),
            guarantee: self.manifest.guarantee,
            topics: topics.into_list(),
            nodes: self.graph.nodes.clone(),
            subtopologies,
            stores,
            policies,
            punctuation_policy: self.manifest.on_error.clone(),
            node_topics,
        })
    }

    fn node_topics(&self, partitions: &Partitions, topics: &mut Topics<'_>) -> Result<Vec<Option<TopicId>>, Problem> {
        let mut ids = Vec::with_capacity(self.graph.nodes.len());
        for (at, node) in self.graph.nodes.iter().enumerate() {
            let id = match (self.topic_name(node), node.operator) {
                (None, _) => None,
                (Some(name), Operator::Sink) => {
                    Some(topics.external(&name, "SinkTopicNotFound", "E0205", &node.name)?)
                }
                (Some(name), Operator::Repartition | Operator::RepartitionSource) => {
                    let internal = self.repartition_configs();
                    Some(topics.internal(&name, partitions.of_topic(at), internal, "RepartitionPartitionMismatch")?)
                }
                (Some(name), _) => Some(topics.known(&name, partitions.of_topic(at))),
            };
            ids.push(id);
        }
        Ok(ids)
    }

    fn repartition_configs(&self) -> (&config::InternalTopics, BTreeMap<String, String>) {
        let own = &self.manifest.repartition;
        (own, changelog::repartition_configs(&own.topic_configs))
    }

    fn policies(&self, topics: &mut Topics<'_>) -> Result<Vec<Policy>, Problem> {
        let policy = |node: &Node| {
            let on_error = self.on_error(node).clone();
            let dead_letter = match (&on_error, node.operator.is_source()) {
                (OnError::DeadLetter(topic), true) => {
                    Some(topics.external(topic, "DeadLetterTopicNotFound", "E0206", &node.name)?)
                }
                _ => None,
            };
            let retry = self.manifest.retry_of(&node.name);
            Ok(Policy {
                on_error,
                dead_letter,
                retry_attempts: retry.attempts,
                retry_backoff_ms: i64::try_from(retry.backoff.as_millis()).unwrap_or(i64::MAX),
                start: self.manifest.sources.get(&node.name).map(|source| source.start).unwrap_or_default(),
            })
        };
        self.graph.nodes.iter().map(policy).collect()
    }

    fn stores(&self, partitions: &Partitions, topics: &mut Topics<'_>) -> Result<Vec<StorePlan>, Problem> {
        let mut plans = Vec::new();
        for (number, store) in self.graph.stores.iter().enumerate() {
            let subtopology =
                self.subtopologies.iter().position(|subtopology| subtopology.stores.contains(&number)).unwrap_or(0);
            let expected = partitions.of_subtopology(subtopology);
            let changelog = match self.changelog_topic(store) {
                None => None,
                Some(topic) => Some(self.changelog(store, &topic, subtopology, expected, topics)?),
            };
            plans.push(StorePlan {
                description: store.clone(),
                subtopology: subtopology as u32,
                provider: self.provider(store),
                changelog,
            });
        }
        Ok(plans)
    }

    fn changelog(
        &self,
        store: &Store,
        topic: &str,
        subtopology: usize,
        expected: i32,
        topics: &mut Topics<'_>,
    ) -> Result<TopicId, Problem> {
        if let Some(actual) = topics.partitions(topic)
            && actual != expected
        {
            let sources = self.source_topics(subtopology);
            return Err(mismatch(store, topic, expected, actual, sources));
        }
        let global = &self.manifest.changelog.topics;
        let own = match self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref()) {
            Some(StoreChangelog::On(changelog)) => changelog.clone(),
            _ => Default::default(),
        };
        let internal = config::InternalTopics {
            replication_factor: own.replication_factor.or(global.replication_factor),
            ..global.clone()
        };
        let configs = changelog::key_value_configs(&global.topic_configs, &own.topic_configs);
        topics.internal(topic, expected, (&internal, configs), "ChangelogPartitionMismatch")
    }

    fn source_topics(&self, subtopology: usize) -> Vec<String> {
        let sources = self.subtopologies[subtopology].sources.iter();
        sources.filter_map(|source| self.topic_name(&self.graph.nodes[*source])).collect()
    }

    fn subtopology_plans(
        &self,
        partitions: &Partitions,
        node_topics: &[Option<TopicId>],
        topics: &mut Topics<'_>,
    ) -> Result<Vec<SubtopologyPlan>, Problem> {
        let mut plans = Vec::new();
        for (id, subtopology) in self.subtopologies.iter().enumerate() {
            let count = partitions.of_subtopology(id);
            let first = subtopology.sources.first().copied().unwrap_or_default();
            let subscribe = match self.tasks_topic(subtopology) {
                Some(topic) => topics.internal(&topic, count, self.repartition_configs(), "TasksPartitionMismatch")?,
                None => node_topics[first].unwrap_or(TopicId(0)),
            };
            let order = Order::of(&self.graph, subtopology, node_topics);
            plans.push(SubtopologyPlan {
                id: id as u32,
                name: self.graph.nodes[first].name.clone(),
                nodes: subtopology.nodes.clone(),
                sources: subtopology.sources.clone(),
                stores: subtopology.stores.clone(),
                partitions: count,
                subscribe,
                entangled: order.entangled,
                conflicts: order.conflicts,
                ordered: order.ordered,
                contested: order.contested,
                entangled_nodes: order.entangled_nodes,
            });
        }
        Ok(plans)
    }
}

fn mismatch(store: &Store, topic: &str, expected: i32, actual: i32, sources: Vec<String>) -> Problem {
    Problem::new(
        "ChangelogPartitionMismatch",
        "E0203",
        exit::BAD_PLAN,
        format!("changelog {topic} has {actual} partitions and needs {expected}"),
    )
    .field("store", store.name.as_str())
    .field("changelog_topic", topic)
    .field("expected_partitions", expected)
    .field("actual_partitions", actual)
    .field("source_topics", sources)
    .why("task N writes partition N of the changelog, and restores from it")
    .fix(format!("delete the topic and start again, or recreate it with {expected} partitions, or rename the store"))
}
