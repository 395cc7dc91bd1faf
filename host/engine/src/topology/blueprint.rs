//! The blueprint: a graph and a manifest that agree. What a start refuses without asking a log.

use std::collections::{BTreeMap, BTreeSet};

use super::description::{Description, PunctuationTime, Store};
use super::subtopology::{self, Subtopology};
use super::{Graph, Node, Operator, graph};
use crate::changelog;
use crate::config::{self, ConfigError, Guarantee, Manifest, OnError, Provider, StoreChangelog};
use crate::error::{Problem, exit};
use crate::metadata;

/// A checked application: graph and manifest agree, all names are known. What is missing is the log's word on
/// partitions.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub manifest: Manifest,
    pub graph: Graph,
    pub subtopologies: Vec<Subtopology>,
}

impl Blueprint {
    /// Checks a component's description against the manifest.
    pub fn new(manifest: Manifest, description: &Description) -> Result<Blueprint, Problem> {
        let graph = graph::build(description).map_err(bad_topology)?;
        let errors = manifest_errors(&manifest, &graph);
        if !errors.is_empty() {
            return Err(config::bad_manifest(&errors));
        }
        let subtopologies = subtopology::subtopologies(&graph);
        let blueprint = Blueprint { manifest, graph, subtopologies };
        blueprint.check_stores()?;
        blueprint.check_names()?;
        blueprint.check_timers()?;
        blueprint.check_cycles()?;
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

    pub(super) fn on_error(&self, node: &Node) -> &OnError {
        match node.operator {
            Operator::RepartitionSource => &self.manifest.on_error,
            _ => self.manifest.on_error_of(&node.name),
        }
    }

    fn check_stores(&self) -> Result<(), Problem> {
        let errors: Vec<String> = self.graph.stores.iter().flat_map(|store| self.store_errors(store)).collect();
        if !errors.is_empty() {
            return Err(bad_topology(errors));
        }
        let unlogged = |store: &&Store| self.changelog_topic(store).is_none() && !self.may_be_unlogged(store);
        match self.graph.stores.iter().find(unlogged) {
            Some(store) if self.manifest.guarantee == Guarantee::ExactlyOnce => {
                Err(no_changelog(&self.manifest, store))
            }
            _ => Ok(()),
        }
    }

    fn store_errors(&self, store: &Store) -> Vec<String> {
        let mut errors = Vec::new();
        if let Some(provider) = store.provider.as_deref().filter(|provider| Provider::named(provider).is_none()) {
            let known = Provider::NAMES.join(", ");
            errors.push(format!("store `{}`: provider `{provider}` is none of {known}", store.name));
        }
        let (key_bytes, max) = (self.manifest.limits.key_bytes.0, config::limits::LMDB_KEY_BYTES_MAX);
        if self.provider(store) == Provider::Lmdb && key_bytes > max {
            errors.push(format!(
                "store `{}` is in LMDB, which takes keys of up to {max} bytes; [limits] key_bytes is {key_bytes}",
                store.name,
            ));
        }
        errors
    }

    /// Whether the manifest has said `changelog = false`.
    fn may_be_unlogged(&self, store: &Store) -> bool {
        let own = self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref());
        matches!(own, Some(StoreChangelog::Off))
    }

    /// Derived names are legal, and no two things share a topic.
    fn check_names(&self) -> Result<(), Problem> {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.graph.nodes.iter().find(|node| !names.insert(node.name.as_str())) {
            // The reading side of a repartition is called after it; subtopologies and their directories after sources.
            return Err(bad_topology(vec![format!("two nodes would be called `{}`", twice.name)]));
        }
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

impl Blueprint {
    /// Timers travel in the text beside an offset, which a broker bounds.
    fn check_timers(&self) -> Result<(), Problem> {
        for subtopology in &self.subtopologies {
            let nodes = subtopology.nodes.iter().map(|node| &self.graph.nodes[*node]);
            let timers = nodes.flat_map(|node| {
                let stream = node.punctuations.iter().filter(|timer| timer.time == PunctuationTime::Stream);
                stream.map(|timer| (node.name.as_str(), timer.name.as_str()))
            });
            let timers: Vec<(&str, &str)> = timers.collect();
            let len = metadata::encoded_len(timers.iter().map(|(node, timer)| metadata::timer_name(node, timer)));
            if len > metadata::ENCODED_LEN_MAX {
                return Err(too_many_timers(&timers, len));
            }
        }
        Ok(())
    }
}

fn too_many_timers(timers: &[(&str, &str)], len: usize) -> Problem {
    let max = metadata::ENCODED_LEN_MAX;
    let names: Vec<String> = timers.iter().map(|(node, timer)| format!("{node}:{timer}")).collect();
    let list = names.join(", ");
    Problem::new(
        "OffsetMetadataTooLarge",
        "E0210",
        exit::BAD_PLAN,
        format!(
            "{} stream-time punctuations need {len} bytes beside a committed offset, {max} fit: {list}",
            names.len()
        ),
    )
    .field("punctuations", names)
    .field("bytes", len)
    .field("bytes_max", max)
    .why("when each of them fires next is committed with the offsets, and a broker takes 4,096 bytes there")
    .fix("give nodes and punctuations shorter names, or let one punctuation do the work of several")
}

/// What of a manifest does not fit a component's graph.
pub fn manifest_errors(manifest: &Manifest, graph: &Graph) -> Vec<ConfigError> {
    manifest.check_against(&component(graph))
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
