//! The plan: a graph with its topics, partition counts and policies. What a start needs, and what a start refuses.

use std::collections::{BTreeMap, BTreeSet};

use super::description::{Description, Store};
use super::partitions::{self, Partitions};
use super::subtopology::{self, Subtopology, meet_in_store, reach};
use super::{Graph, Node, Operator, graph};
use crate::changelog;
use crate::config::{self, Guarantee, Manifest, OnError, Provider, Start, StoreChangelog};
use crate::error::{Problem, exit};
use crate::record::TopicId;

/// A checked application: graph and manifest agree, all names are known. What is missing is the log's word on
/// partitions.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub manifest: Manifest,
    pub graph: Graph,
    pub subtopologies: Vec<Subtopology>,
}

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
    node_topics: Vec<Option<TopicId>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    pub name: String,
    pub partitions: i32,
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
    /// Checks a component's description against the manifest.
    pub fn new(manifest: Manifest, description: &Description) -> Result<Blueprint, Problem> {
        let graph = graph::build(description).map_err(bad_topology)?;
        let errors = manifest.check_against(&component(&graph));
        if !errors.is_empty() {
            return Err(config::bad_manifest(&errors));
        }
        let subtopologies = subtopology::subtopologies(&graph);
        let blueprint = Blueprint { manifest, graph, subtopologies };
        blueprint.check_stores()?;
        blueprint.check_names()?;
        Ok(blueprint)
    }

    pub fn provider(&self, store: &Store) -> Provider {
        let declared = store.provider.as_deref().and_then(Provider::named);
        self.manifest.provider_of(&store.name, declared)
    }

    /// The changelog topic of a store; `None` = it has none.
    pub fn changelog_topic(&self, store: &Store) -> Option<String> {
        let own = self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref());
        match own {
            Some(StoreChangelog::Off) => None,
            None if store.changelog == Some(false) => None,
            Some(StoreChangelog::On(changelog)) if changelog.topic.is_some() => changelog.topic.clone(),
            _ => Some(changelog::changelog_topic(&self.manifest.id, &store.name)),
        }
    }

    /// The topic a source or sink stands for, or that a repartition makes.
    pub fn topic_name(&self, node: &Node) -> Option<String> {
        let named = config::Named { name: &node.name, topic: Some(&node.topic) };
        match node.operator {
            Operator::Source | Operator::TableSource => Some(self.manifest.source_topic(named).to_owned()),
            Operator::Sink => Some(self.manifest.sink_topic(named).to_owned()),
            Operator::Repartition | Operator::RepartitionSource => {
                Some(changelog::repartition_topic(&self.manifest.id, &node.topic))
            }
            _ => None,
        }
    }

    /// The topic the group shares out for a subtopology of several sources.
    pub fn tasks_topic(&self, subtopology: &Subtopology) -> Option<String> {
        let first = self.graph.nodes[*subtopology.sources.first()?].name.as_str();
        (subtopology.sources.len() > 1).then(|| changelog::tasks_topic(&self.manifest.id, first))
    }

    /// All topics whose partition counts [`Blueprint::plan`] asks for.
    pub fn topic_names(&self) -> BTreeSet<String> {
        let nodes = self.graph.nodes.iter().filter_map(|node| self.topic_name(node));
        let stores = self.graph.stores.iter().filter_map(|store| self.changelog_topic(store));
        let tasks = self.subtopologies.iter().filter_map(|subtopology| self.tasks_topic(subtopology));
        nodes.chain(stores).chain(tasks).chain(self.dead_letter_topics()).collect()
    }

    pub fn dead_letter_topics(&self) -> impl Iterator<Item = String> {
        let sources = self.graph.nodes.iter().filter(|node| node.operator.is_source());
        sources.filter_map(|node| match self.on_error(node) {
            OnError::DeadLetter(topic) => Some(topic.clone()),
            _ => None,
        })
    }

    fn on_error(&self, node: &Node) -> &OnError {
        match node.operator {
            Operator::RepartitionSource => &self.manifest.on_error,
            _ => self.manifest.on_error_of(&node.name),
        }
    }

    /// Works out every partition count and holds it against what exists.
    pub fn plan(&self, existing: &dyn Fn(&str) -> Option<i32>) -> Result<Plan, Problem> {
        let partitions = partitions::infer(self, existing)?;
        let mut topics = Topics { list: Vec::new(), by_name: BTreeMap::new(), existing };
        let node_topics = self.node_topics(&partitions, &mut topics)?;
        let policies = self.policies(&mut topics)?;
        let stores = self.stores(&partitions, &mut topics)?;
        let subtopologies = self.subtopology_plans(&partitions, &node_topics, &mut topics)?;
        Ok(Plan {
            application: self.manifest.id.clone(),
            guarantee: self.manifest.guarantee,
            topics: topics.list,
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
        if let Some(actual) = (topics.existing)(topic)
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

    fn check_stores(&self) -> Result<(), Problem> {
        for store in &self.graph.stores {
            if let Some(provider) = &store.provider
                && Provider::named(provider).is_none()
            {
                return Err(bad_topology(vec![format!(
                    "store `{}`: provider `{provider}` is none of {}",
                    store.name,
                    Provider::NAMES.join(", ")
                )]));
            }
            let key_bytes = self.manifest.limits.key_bytes.0;
            if self.provider(store) == Provider::Lmdb && key_bytes > config::limits::LMDB_KEY_BYTES_MAX {
                return Err(bad_topology(vec![format!(
                    "store `{}` is in LMDB, which takes keys of up to {} bytes; [limits] key_bytes is {key_bytes}",
                    store.name,
                    config::limits::LMDB_KEY_BYTES_MAX
                )]));
            }
            let allowed = matches!(
                self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref()),
                Some(StoreChangelog::Off)
            );
            let off = self.changelog_topic(store).is_none();
            if off && !allowed && self.manifest.guarantee == Guarantee::ExactlyOnce {
                return Err(no_changelog(&self.manifest, store));
            }
        }
        Ok(())
    }

    /// Derived names are legal, and no two things share a topic.
    fn check_names(&self) -> Result<(), Problem> {
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let mut own = |topic: Option<String>, owner: String| match topic {
            None => Ok(()),
            Some(topic) => {
                if let Err(why) = config::check_topic_name(&topic) {
                    return Err(bad_topology(vec![format!("{owner}: its topic `{topic}` {why}")]));
                }
                match owners.insert(topic.clone(), owner.clone()) {
                    Some(other) => {
                        Err(bad_topology(vec![format!("{owner} and {other} would share the topic `{topic}`")]))
                    }
                    None => Ok(()),
                }
            }
        };
        for node in &self.graph.nodes {
            if matches!(node.operator, Operator::Repartition | Operator::Source | Operator::TableSource) {
                own(self.topic_name(node), format!("node `{}`", node.name))?;
            }
        }
        for store in &self.graph.stores {
            own(self.changelog_topic(store), format!("the changelog of store `{}`", store.name))?;
        }
        for subtopology in &self.subtopologies {
            own(self.tasks_topic(subtopology), "the tasks of a subtopology".to_owned())?;
        }
        Ok(())
    }
}

/// Where order between nodes shows in a subtopology.
struct Order {
    entangled: BTreeSet<usize>,
    entangled_nodes: BTreeSet<usize>,
    conflicts: BTreeSet<(usize, usize)>,
    ordered: bool,
    contested: BTreeSet<TopicId>,
}

impl Order {
    fn of(graph: &Graph, subtopology: &Subtopology, node_topics: &[Option<TopicId>]) -> Order {
        let reached: BTreeMap<usize, BTreeSet<usize>> =
            subtopology.nodes.iter().map(|node| (*node, reach(graph, *node))).collect();
        let is_entangled = |node: &usize| meet_in_store(graph, &reached[node], &reached[node]);
        let entangled_nodes: BTreeSet<usize> = subtopology.nodes.iter().copied().filter(is_entangled).collect();
        let mut conflicts = BTreeSet::new();
        for a in &subtopology.sources {
            for b in &subtopology.sources {
                if a != b && meet_in_store(graph, &reached[a], &reached[b]) {
                    conflicts.insert((*a, *b));
                }
            }
        }
        let mut writers: BTreeMap<TopicId, usize> = BTreeMap::new();
        for node in &subtopology.nodes {
            if matches!(graph.nodes[*node].operator, Operator::Sink | Operator::Repartition)
                && let Some(topic) = node_topics[*node]
            {
                *writers.entry(topic).or_default() += 1;
            }
        }
        let contested: BTreeSet<TopicId> =
            writers.into_iter().filter(|(_, writers)| *writers > 1).map(|(topic, _)| topic).collect();
        let ways_meet = subtopology.nodes.iter().any(|node| graph.nodes[*node].inputs.len() > 1);
        Order {
            entangled: subtopology.sources.iter().copied().filter(|s| entangled_nodes.contains(s)).collect(),
            entangled_nodes,
            conflicts,
            ordered: ways_meet || !contested.is_empty(),
            contested,
        }
    }
}

/// The plan's list of topics while it is made.
struct Topics<'a> {
    list: Vec<TopicPlan>,
    by_name: BTreeMap<String, TopicId>,
    existing: &'a dyn Fn(&str) -> Option<i32>,
}

impl Topics<'_> {
    fn known(&mut self, name: &str, partitions: i32) -> TopicId {
        self.add(name, partitions, None)
    }

    fn add(&mut self, name: &str, partitions: i32, internal: Option<InternalTopic>) -> TopicId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = TopicId(self.list.len() as u32);
        self.list.push(TopicPlan { name: name.to_owned(), partitions, internal });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    fn external(
        &mut self,
        name: &str,
        error: &'static str,
        code: &'static str,
        node: &str,
    ) -> Result<TopicId, Problem> {
        match (self.existing)(name) {
            Some(partitions) => Ok(self.known(name, partitions)),
            None => Err(Problem::new(error, code, exit::BAD_PLAN, format!("topic {name} does not exist"))
                .field("topic", name)
                .field("node", node)
                .why("only the application's own internal topics are created for it")
                .fix(format!("millstream topics create {name} --partitions N"))),
        }
    }

    fn internal(
        &mut self,
        name: &str,
        partitions: i32,
        (own, configs): (&config::InternalTopics, BTreeMap<String, String>),
        mismatch: &'static str,
    ) -> Result<TopicId, Problem> {
        let exists = match (self.existing)(name) {
            Some(actual) if actual != partitions => return Err(wrong_count(mismatch, name, partitions, actual)),
            Some(_) => true,
            None if own.auto_create => false,
            None => return Err(not_created(name, partitions)),
        };
        let replication_factor = own.replication_factor.map(|factor| factor.get());
        Ok(self.add(name, partitions, Some(InternalTopic { exists, replication_factor, configs })))
    }
}

fn component(graph: &Graph) -> config::Component<'_> {
    let named = |wanted: fn(Operator) -> bool| {
        let nodes = graph.nodes.iter().filter(move |node| wanted(node.operator));
        nodes.map(|node| config::Named { name: &node.name, topic: Some(&node.topic) }).collect()
    };
    config::Component {
        sources: named(|operator| matches!(operator, Operator::Source | Operator::TableSource)),
        sinks: named(|operator| operator == Operator::Sink),
        stores: graph.stores.iter().map(|store| store.name.as_str()).collect(),
    }
}

fn bad_topology(errors: Vec<String>) -> Problem {
    Problem::new("BadTopology", "E0201", exit::BAD_PLAN, errors.join("\n"))
        .field("errors", errors)
        .why("the component's describe() does not give a topology this host can run")
        .fix("mend the component; wit/topology.schema.json is the description's schema")
}

fn no_changelog(manifest: &Manifest, store: &Store) -> Problem {
    let line = format!("[stores.{}]\nchangelog = false", store.name);
    Problem::new(
        "ChangelogRequired",
        "E0207",
        exit::BAD_PLAN,
        format!("store {} has no changelog, and {} needs one", store.name, manifest.guarantee),
    )
    .field("store", store.name.as_str())
    .why("without a changelog a crash loses what the store held, so its results are not exactly-once")
    .fix(format!("allow it in the manifest:\n{line}"))
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

fn wrong_count(name: &'static str, topic: &str, expected: i32, actual: i32) -> Problem {
    Problem::new(
        name,
        "E0208",
        exit::BAD_PLAN,
        format!("internal topic {topic} has {actual} partitions and needs {expected}"),
    )
    .field("topic", topic)
    .field("expected_partitions", expected)
    .field("actual_partitions", actual)
    .why("its partitions are the tasks that read it")
    .fix(format!("recreate {topic} with {expected} partitions"))
}

fn not_created(topic: &str, partitions: i32) -> Problem {
    Problem::new(
        "InternalTopicNotFound",
        "E0209",
        exit::BAD_PLAN,
        format!("internal topic {topic} does not exist and auto_create is false"),
    )
    .field("topic", topic)
    .field("expected_partitions", partitions)
    .why("the manifest says that internal topics are created by hand")
    .fix(format!("millstream topics create {topic} --partitions {partitions}"))
}
