//! The plan: a blueprint with its topics, partition counts and policies. What a start needs, and what a log's topics
//! refuse.

use std::collections::{BTreeMap, BTreeSet};

use super::description::{Emit, Store};
use super::order::Order;
use super::partitions::{self, Partitions};
use super::topics::{TopicFacts, Topics};
use super::{Blueprint, Node, Operator, SourceTimes};
use crate::changelog::{self, StoreKind};
use crate::config::{self, Guarantee, Idle, OnError, Provider, Start, StoreChangelog};
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
    pub idle: Idle,
    pub(super) node_topics: Vec<Option<TopicId>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    pub name: String,
    pub partitions: i32,
    /// The largest record, key and value and headers, that it takes. What is larger is its maker's failure, before the
    /// log refuses a whole interval for it.
    pub record_bytes_max: usize,
    /// How far ahead of the wall clock it takes timestamps, ms. What is further ahead is its maker's failure too.
    pub timestamp_ahead_max_ms: i64,
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
    /// Stores of global tables that its tasks look up.
    pub globals: Vec<usize>,
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
    /// Whether a node of it makes schedules while it runs, so that each record is a batch of its own.
    pub schedules: bool,
    /// Nodes behind which two nodes share a store.
    pub entangled_nodes: BTreeSet<usize>,
    /// Stores whose windows go downstream in portions as they close.
    pub closes_in_portions: BTreeSet<usize>,
}

impl SubtopologyPlan {
    pub fn is_entangled_below(&self, node: usize) -> bool {
        self.entangled_nodes.contains(&node)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlan {
    pub description: Store,
    /// With the retention that the manifest gives.
    pub kind: StoreKind,
    pub subtopology: u32,
    pub provider: Provider,
    pub changelog: Option<TopicId>,
    /// Its changelog is the topic that its table is read from: nothing is written there, and what it holds ends where the
    /// input is committed.
    pub reuses_source: bool,
    /// A global table's: the topic that it is a copy of. It is in no subtopology.
    pub global: Option<TopicId>,
    /// A start takes what it finds for what the changelog adds up to.
    pub skips_restoration: bool,
    pub cache: Option<CachePlan>,
}

/// The cache of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePlan {
    /// Of each task.
    pub bytes: usize,
    /// Whether what its operator gives away waits in it. Where nothing does, it only spares the changelog.
    pub holds_back: bool,
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

    /// Whether what a node gives away comes to another one in the same batch.
    pub fn leads_to(&self, from: usize, to: usize) -> bool {
        let (mut open, mut seen) = (vec![from], BTreeSet::new());
        while let Some(at) = open.pop() {
            for child in &self.nodes[at].children {
                if child.node == to {
                    return true;
                }
                if seen.insert(child.node) {
                    open.push(child.node);
                }
            }
        }
        false
    }

    /// The names of the topics that are read, each under the number by which the guest knows its source, in order of
    /// [`Node::topic_rank`].
    pub fn topics_read(&self) -> BTreeMap<u32, Vec<String>> {
        let mut read: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (node, topic) in self.nodes.iter().zip(&self.node_topics) {
            if let Some(topic) = topic.filter(|_| node.operator.is_source()) {
                read.entry(node.number).or_default().push(self.topics[topic.0 as usize].name.clone());
            }
        }
        read
    }

    /// The source that the guest knows by this number.
    pub fn source_of(&self, number: u32) -> Option<usize> {
        let reads = |node: &Node| node.number == number && node.operator.is_source();
        self.nodes.iter().position(reads)
    }

    /// The largest entry, key and value, that a store's changelog takes.
    pub fn entry_bytes_max(&self, store: usize) -> usize {
        let written = self.stores.get(store).filter(|store| !store.reuses_source);
        let changelog = written.and_then(|store| store.changelog);
        changelog.map_or(usize::MAX, |topic| self.topics[topic.0 as usize].record_bytes_max)
    }

    /// How far ahead of the wall clock the timestamps of a node's inputs may be, ms: by the topic that it writes and the
    /// changelogs of its stores.
    pub fn timestamp_ahead_max_ms(&self, node: usize) -> i64 {
        let written = self.topic_of(node).filter(|_| !self.nodes[node].operator.is_source());
        let of_topic = written.map_or(i64::MAX, |topic| self.topics[topic.0 as usize].timestamp_ahead_max_ms);
        of_topic.min(self.entries_ahead_max_ms(&self.nodes[node]))
    }

    /// The same of what a node writes into its stores.
    pub fn entries_ahead_max_ms(&self, node: &Node) -> i64 {
        let written = |store: &usize| self.stores.get(*store).filter(|store| !store.reuses_source);
        let changelogs = node.stores.iter().filter_map(|store| written(store)?.changelog);
        changelogs.map(|topic| self.topics[topic.0 as usize].timestamp_ahead_max_ms).min().unwrap_or(i64::MAX)
    }

    /// The stores of global tables by number, each with its topic.
    pub fn globals(&self) -> impl Iterator<Item = (usize, TopicId)> {
        self.stores.iter().enumerate().filter_map(|(number, store)| Some((number, store.global?)))
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
        // What only records names is nothing to agree on.
        let names = changelog::names_topic(&self.application);
        let topics = self.topics.iter().filter(|topic| topic.name != names);
        let topics: Vec<_> = topics.map(|topic| (&topic.name, topic.partitions)).collect();
        let nodes =
            self.nodes.iter().map(|node| (&node.name, node.operator.name(), node.join, node.window, &node.stores));
        let nodes: Vec<_> = nodes.collect();
        let windows: Vec<_> = self.nodes.iter().filter_map(|node| node.join_windows).collect();
        let windows = if windows.is_empty() { String::new() } else { format!(" {windows:?}") };
        let closing = self.nodes.iter().filter(|node| node.emit == Emit::OnWindowClose);
        let closing: Vec<_> = closing.map(|node| &node.name).collect();
        let closing = if closing.is_empty() { String::new() } else { format!(" closing {closing:?}") };
        let graces: Vec<_> = self.nodes.iter().filter_map(|node| Some((&node.name, node.grace_ms?))).collect();
        let graces = if graces.is_empty() { String::new() } else { format!(" {graces:?}") };
        let times = self.nodes.iter().filter(|node| node.times != SourceTimes::default());
        let times: String = times.map(|node| format!(" {}: {:?}", node.name, node.times)).collect();
        let suppressions: Vec<_> = self.nodes.iter().filter_map(|node| node.suppression).collect();
        let suppressions = if suppressions.is_empty() { String::new() } else { format!(" {suppressions:?}") };
        let readers = self.nodes.iter().filter(|node| !node.globals.is_empty());
        let read: String = readers.map(|node| format!(" {} reads {:?}", node.name, node.globals)).collect();
        let reused = self.stores.iter().filter(|store| store.reuses_source);
        let reused: String = reused.map(|store| format!(" reuses {}", store.description.name)).collect();
        format!(
            "{:?} {topics:?} {nodes:?}{windows}{closing}{graces}{times}{suppressions}{reused}{read}",
            self.guarantee
        )
    }
}

impl Blueprint {
    /// Works out every partition count and holds it against what exists.
    pub fn plan(&self, existing: &dyn Fn(&str) -> Option<TopicFacts>) -> Result<Plan, Problem> {
        let partitions = partitions::infer(self, &|topic| existing(topic).map(|facts| facts.partitions))?;
        let mut topics = Topics::new(existing);
        let node_topics = self.node_topics(&partitions, &mut topics)?;
        let policies = self.policies(&mut topics)?;
        let stores = self.stores(&partitions, &node_topics, &mut topics)?;
        let subtopologies = self.subtopology_plans(&partitions, &node_topics, &mut topics)?;
        self.plan_names(&mut topics)?;
        Ok(Plan {
            application: self.manifest.id.clone(),
            guarantee: self.manifest.guarantee,
            topics: topics.into_list(),
            nodes: self.graph.nodes.clone(),
            subtopologies,
            stores,
            policies,
            punctuation_policy: self.manifest.on_error.clone(),
            idle: self.manifest.task,
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
                (Some(name), operator) if operator.is_repartition() || operator == Operator::RepartitionSource => {
                    let internal = self.repartition_configs();
                    Some(topics.internal(&name, partitions.of_topic(at), internal, "RepartitionPartitionMismatch")?)
                }
                (Some(name), _) => Some(topics.source(&name, partitions.of_topic(at), node)?),
            };
            ids.push(id);
        }
        Ok(ids)
    }

    /// One partition of it is used, however many there are. It is made as changelogs are, or where there are none, as
    /// repartition topics: who may not create these may not create it either.
    fn plan_names(&self, topics: &mut Topics<'_>) -> Result<(), Problem> {
        let Some(names) = self.names_topic() else { return Ok(()) };
        let own = if self.logs_stores() { &self.manifest.changelog.topics } else { &self.manifest.repartition };
        let partitions = topics.partitions(&names).unwrap_or(1);
        let configs = (own, changelog::names_configs(&own.topic_configs));
        topics.internal(&names, partitions, configs, "NamesPartitionMismatch").map(drop)
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
            let retry = self.sections(node).find_map(|own| own.retry).unwrap_or(self.manifest.retry);
            Ok(Policy {
                on_error,
                dead_letter,
                retry_attempts: retry.attempts,
                retry_backoff_ms: i64::try_from(retry.backoff.as_millis()).unwrap_or(i64::MAX),
                start: self.sections(node).next().map(|source| source.start).unwrap_or_default(),
            })
        };
        self.graph.nodes.iter().map(policy).collect()
    }

    fn stores(
        &self,
        partitions: &Partitions,
        node_topics: &[Option<TopicId>],
        topics: &mut Topics<'_>,
    ) -> Result<Vec<StorePlan>, Problem> {
        let mut plans = Vec::new();
        for (number, store) in self.graph.stores.iter().enumerate() {
            let subtopology =
                self.subtopologies.iter().position(|subtopology| subtopology.stores.contains(&number)).unwrap_or(0);
            let expected = partitions.of_subtopology(subtopology);
            let source = self.source_changelog(store);
            let changelog = match self.changelog_topic(store) {
                None => source.and_then(|node| node_topics[node]),
                Some(topic) => Some(self.changelog(store, &topic, subtopology, expected, topics)?),
            };
            plans.push(StorePlan {
                description: store.clone(),
                kind: self.kind(store),
                subtopology: subtopology as u32,
                provider: self.provider(store),
                changelog,
                reuses_source: source.is_some(),
                global: self.graph.global_table(&store.name).and_then(|node| node_topics[node]),
                skips_restoration: self.skips_restoration(store),
                cache: self.cache(store).map(|bytes| CachePlan { bytes, holds_back: self.holds_back(store) }),
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
        let configs = changelog::changelog_configs(self.kind(store), &global.topic_configs, &own.topic_configs);
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
                name: self.graph.nodes[first].source_name().to_owned(),
                nodes: subtopology.nodes.clone(),
                sources: subtopology.sources.clone(),
                stores: subtopology.stores.clone(),
                globals: subtopology.globals.clone(),
                partitions: count,
                subscribe,
                entangled: order.entangled,
                conflicts: order.conflicts,
                ordered: order.ordered,
                contested: order.contested,
                schedules: subtopology.nodes.iter().any(|node| self.graph.nodes[*node].schedules),
                entangled_nodes: order.entangled_nodes,
                closes_in_portions: order.closes_in_portions,
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
