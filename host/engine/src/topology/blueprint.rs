//! The blueprint: a graph and a manifest that agree. What a start refuses without asking a log.

use std::collections::BTreeSet;

use super::description::{Description, Emit, PunctuationTime, Store};
use super::subtopology::{self, Subtopology};
use super::{Graph, Matched, Node, Operator, Pattern, graph};
use crate::changelog::{self, StoreKind};
use crate::config::{self, ConfigError, Guarantee, Manifest, OnError, Provider, StoreChangelog};
use crate::error::{Problem, exit};
use crate::metadata;

/// A checked application: graph and manifest agree, all names are known. What is missing is the log's word on
/// partitions.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub manifest: Manifest,
    description: Description,
    pub graph: Graph,
    pub subtopologies: Vec<Subtopology>,
}

impl Blueprint {
    /// Checks a component's description against the manifest.
    pub fn new(manifest: Manifest, description: &Description) -> Result<Blueprint, Problem> {
        Blueprint::with(manifest, description, &Matched::new())
    }

    /// The same, with the topics that match the sources' patterns.
    fn with(manifest: Manifest, description: &Description, matched: &Matched) -> Result<Blueprint, Problem> {
        let graph = graph::build_with(description, matched).map_err(bad_topology)?;
        let errors = manifest_errors(&manifest, &graph);
        if !errors.is_empty() {
            return Err(config::bad_manifest(&errors));
        }
        let subtopologies = subtopology::subtopologies(&graph);
        let blueprint = Blueprint { manifest, description: description.clone(), graph, subtopologies };
        blueprint.check_stores()?;
        blueprint.check_names()?;
        blueprint.check_timers()?;
        blueprint.check_cycles()?;
        Ok(blueprint)
    }

    /// The sources whose topics are found by a pattern, and which.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.description.nodes.iter().filter_map(|node| Some((node.name.as_str(), node.pattern.as_deref()?)))
    }

    /// With the topics of the log that match the patterns of its sources, the application's own internal ones left out.
    pub fn matched(&self, topics: &[String]) -> Result<Blueprint, Problem> {
        let mut matched = Matched::new();
        for (source, pattern) in self.patterns() {
            let found = self.matching(pattern, topics);
            if found.is_empty() {
                return Err(nothing_matches(source, pattern));
            }
            matched.insert(source.to_owned(), found);
        }
        Blueprint::with(self.manifest.clone(), &self.description, &matched)
    }

    /// Those of the topics that a source with this pattern reads.
    pub fn matching(&self, pattern: &str, topics: &[String]) -> Vec<String> {
        // The graph was built of patterns that can be read.
        let Ok(pattern) = Pattern::new(pattern) else { return Vec::new() };
        let own = |topic: &str| changelog::is_internal(&self.manifest.id, topic);
        topics.iter().filter(|topic| pattern.matches(topic) && !own(topic)).cloned().collect()
    }

    pub fn provider(&self, store: &Store) -> Provider {
        let declared = store.provider.as_deref().and_then(|name| self.manifest.provider_named(name));
        self.manifest.provider_of(&store.name, declared)
    }

    /// What a store keeps, and for how long: the manifest's retention wins.
    pub fn kind(&self, store: &Store) -> StoreKind {
        // The graph was built of kinds that can be read.
        let declared = store.store_kind().unwrap_or_default();
        let is_own = |number: usize| self.graph.stores[number].name == store.name;
        let closes = |node: &Node| node.emit == Emit::OnWindowClose && node.store.is_some_and(is_own);
        let declared = if self.graph.nodes.iter().any(closes) { declared.with_closing() } else { declared };
        let holds = |node: &Node| node.operator == Operator::Suppress && node.store.is_some_and(is_own);
        if self.graph.nodes.iter().any(holds) {
            return StoreKind::Buffer;
        }
        match self.manifest.stores.get(&store.name).and_then(|own| own.retention) {
            Some(retention) => declared.with_retention_ms(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)),
            None => declared,
        }
    }

    /// The changelog topic of a store that is made for it; `None` = there is none. [`Blueprint::logged_topic`] is what it is
    /// restored from.
    pub fn changelog_topic(&self, store: &Store) -> Option<String> {
        if self.graph.global_table(&store.name).is_some() || self.reuses_source(store) {
            return None;
        }
        let own = self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref());
        match own {
            Some(StoreChangelog::Off) => None,
            None if store.changelog == Some(false) => None,
            Some(StoreChangelog::On(changelog)) if changelog.topic.is_some() => changelog.topic.clone(),
            _ => Some(changelog::changelog_topic(&self.manifest.id, &store.name)),
        }
    }

    /// The topic that a global table's store is a copy of; `None`: it is another store.
    pub fn global_topic(&self, store: &Store) -> Option<String> {
        self.topic_name(&self.graph.nodes[self.graph.global_table(&store.name)?])
    }

    /// Whether a start is to take the local state as it finds it.
    pub fn skips_restoration(&self, store: &Store) -> bool {
        let own = self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref());
        matches!(own, Some(StoreChangelog::On(changelog)) if changelog.skip_restoration)
    }

    /// The topic a source or sink stands for, or that a repartition makes.
    pub fn topic_name(&self, node: &Node) -> Option<String> {
        let named = config::Named { name: &node.name, topic: Some(&node.topic) };
        match node.operator {
            operator if operator.reads_external() => Some(self.manifest.source_topic(named).to_owned()),
            Operator::Sink => Some(self.manifest.sink_topic(named).to_owned()),
            operator if operator.is_repartition() || operator == Operator::RepartitionSource => {
                Some(changelog::internal_topic(&self.manifest.id, &node.topic))
            }
            _ => None,
        }
    }

    /// The topic the group shares out for a subtopology of several sources.
    pub fn tasks_topic(&self, subtopology: &Subtopology) -> Option<String> {
        let first = self.graph.nodes[*subtopology.sources.first()?].source_name();
        // What a pattern finds may be one today and two tomorrow.
        let found = subtopology.sources.iter().any(|source| self.graph.nodes[*source].pattern.is_some());
        (found || subtopology.sources.len() > 1).then(|| changelog::tasks_topic(&self.manifest.id, first))
    }

    /// The topic that records its names: of its stores, and of the topics between its subtopologies. `None`: it has nothing
    /// that could be left behind.
    pub fn names_topic(&self) -> Option<String> {
        let is_needed = self.logs_stores() || self.repartition_topics().next().is_some();
        is_needed.then(|| changelog::names_topic(&self.manifest.id))
    }

    /// Whether a store of it is restored from a topic.
    pub(super) fn logs_stores(&self) -> bool {
        self.graph.stores.iter().any(|store| self.logged_topic(store).is_some())
    }

    /// The topics between its subtopologies: those of repartitions and of foreign-key joins.
    pub fn repartition_topics(&self) -> impl Iterator<Item = String> {
        let nodes = self.graph.nodes.iter().filter(|node| node.operator.is_repartition());
        nodes.filter_map(|node| self.topic_name(node))
    }

    /// The application's own topics: repartitions, changelogs, tasks topics, and the record of its names.
    pub fn internal_topics(&self) -> impl Iterator<Item = String> {
        let changelogs = self.graph.stores.iter().filter_map(|store| self.changelog_topic(store));
        let tasks = self.subtopologies.iter().filter_map(|subtopology| self.tasks_topic(subtopology));
        self.repartition_topics().chain(changelogs).chain(tasks).chain(self.names_topic())
    }

    /// All topics whose partition counts [`Blueprint::plan`] asks for.
    pub fn topic_names(&self) -> BTreeSet<String> {
        let nodes = self.graph.nodes.iter().filter_map(|node| self.topic_name(node));
        let stores = self.graph.stores.iter().filter_map(|store| self.changelog_topic(store));
        let tasks = self.subtopologies.iter().filter_map(|subtopology| self.tasks_topic(subtopology));
        nodes.chain(stores).chain(tasks).chain(self.names_topic()).chain(self.dead_letter_topics()).collect()
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
            _ => self.sections(node).find_map(|own| own.on_error.as_ref()).unwrap_or(&self.manifest.on_error),
        }
    }

    /// What the manifest says of a source: of its one topic first, then of all that the description calls by one name.
    pub(super) fn sections(&self, node: &Node) -> impl Iterator<Item = &config::Source> {
        let names = [Some(node.name.as_str()), node.family.as_deref()];
        names.into_iter().flatten().filter_map(|name| self.manifest.sources.get(name))
    }

    fn check_stores(&self) -> Result<(), Problem> {
        let errors: Vec<String> = self.graph.stores.iter().flat_map(|store| self.store_errors(store)).collect();
        if !errors.is_empty() {
            return Err(bad_topology(errors));
        }
        if let Some(problem) = self.graph.stores.iter().find_map(|store| retention_too_short(store, self.kind(store))) {
            return Err(problem);
        }
        if let Some(problem) = self.graph.nodes.iter().find_map(|node| self.window_outlives_store(node)) {
            return Err(problem);
        }
        let exactly_once = self.manifest.guarantee == Guarantee::ExactlyOnce;
        if let Some(store) = self.graph.stores.iter().find(|store| exactly_once && self.skips_restoration(store)) {
            return Err(restoration_required(&self.manifest, store));
        }
        if let Some(problem) = self.graph.stores.iter().find_map(|store| self.unfit_source(store)) {
            return Err(problem);
        }
        let unlogged = |store: &&Store| self.changelog_topic(store).is_none() && !self.may_be_unlogged(store);
        match self.graph.stores.iter().find(unlogged) {
            Some(store) if exactly_once => Err(no_changelog(&self.manifest, store)),
            _ => Ok(()),
        }
    }

    /// A record that is not late yet must still find its window.
    fn window_outlives_store(&self, node: &Node) -> Option<Problem> {
        if let Some(grace_ms) = node.grace_ms {
            return node
                .stores
                .iter()
                .find_map(|store| grace_outlives(grace_ms, &self.graph.stores[*store], node, self));
        }
        let needed = match (node.window, node.join_windows) {
            (Some(window), _) => window.retention_ms(),
            (None, windows) => windows?.retention_ms(),
        };
        let store = &self.graph.stores[node.store?];
        let kept = self.kind(store).retention_ms()?;
        let message =
            format!("store {} keeps windows for {kept} ms, and node {} needs {needed}", store.name, node.name);
        let why = "a window that still takes records would expire";
        (kept < needed).then(|| too_short(store, kept, needed, message, why))
    }

    fn store_errors(&self, store: &Store) -> Vec<String> {
        let mut errors = Vec::new();
        if let Some(name) = store.provider.as_deref().filter(|name| self.manifest.provider_named(name).is_none()) {
            let known: Vec<&str> =
                Provider::NAMES.into_iter().chain(self.manifest.providers.keys().map(String::as_str)).collect();
            errors.push(format!(
                "store `{}`: provider `{name}` is none of {}; components are declared in [providers.NAME]",
                store.name,
                known.join(", ")
            ));
        }
        let kind = self.kind(store);
        let retention = self.manifest.stores.get(&store.name).and_then(|own| own.retention);
        if retention.is_some() && !kind.goes_by_time() {
            errors.push(format!(
                "store `{}` keeps keys for ever; [stores.{}] retention is for window, session and versioned stores",
                store.name, store.name
            ));
        }
        let own = self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref());
        if let (Some(StoreChangelog::On(_)), Some(topic)) = (own, self.global_topic(store)) {
            errors.push(format!(
                "store `{0}` is a global table's: the topic {topic} is its changelog; leave [stores.{0}] changelog out",
                store.name
            ));
        }
        if let (Some(_), Provider::Component(provider)) = (self.global_topic(store), self.provider(store)) {
            errors.push(format!(
                "store `{0}` is a global table's, which the host keeps itself: [stores.{0}] provider = \"lmdb\" or \
                 \"memory\", not `{provider}`",
                store.name
            ));
        }
        errors.extend(self.cache_errors(store));
        let (key_bytes, max) = (self.manifest.limits.key_bytes.0, lmdb_key_bytes_max(kind));
        if self.provider(store) == Provider::Lmdb && key_bytes > max {
            errors.push(format!(
                "store `{}` ({}) is in LMDB, which takes keys of up to {max} bytes there; [limits] key_bytes is \
                 {key_bytes}",
                store.name,
                kind.name(),
            ));
        }
        errors
    }

    /// Whether the manifest has said `changelog = false`, or it needs none.
    fn may_be_unlogged(&self, store: &Store) -> bool {
        let own = self.manifest.stores.get(&store.name).and_then(|own| own.changelog.as_ref());
        let has_topic = self.graph.global_table(&store.name).is_some() || self.reuses_source(store);
        matches!(own, Some(StoreChangelog::Off)) || has_topic
    }
}

impl Blueprint {
    /// Timers and times of operators travel in the text beside an offset, which a broker bounds.
    fn check_timers(&self) -> Result<(), Problem> {
        for subtopology in &self.subtopologies {
            let nodes = subtopology.nodes.iter().map(|node| &self.graph.nodes[*node]);
            let timers = nodes.flat_map(|node| {
                let stream = node.punctuations.iter().filter(|timer| timer.time == PunctuationTime::Stream);
                stream.map(|timer| (node.name.as_str(), timer.name.as_str()))
            });
            let timers: Vec<(&str, &str)> = timers.collect();
            let nodes = subtopology.nodes.iter().map(|node| &self.graph.nodes[*node]);
            let times = nodes.flat_map(|node| (0..node.times()).filter_map(move |input| Some((node.store?, input))));
            let times: Vec<String> =
                times.map(|(store, input)| metadata::reached_name(&self.graph.stores[store].name, input)).collect();
            let of_timers = timers.iter().map(|(node, timer)| metadata::timer_name(node, timer));
            let advanced = self.manifest.task.idle_advance.map(|_| metadata::ADVANCED.to_owned());
            let schedules = subtopology.nodes.iter().map(|node| &self.graph.nodes[*node]).filter(|node| node.schedules);
            let longest = schedules.max_by_key(|node| node.name.len());
            let longest = longest.map(|node| metadata::Schedule::longest(&node.name)).into_iter().flatten();
            let token = subtopology.nodes.iter().map(|node| longest_resumption(&self.graph.nodes[*node]));
            let token = token.flatten().max_by_key(String::len);
            let times_and_timers = of_timers.chain(times.iter().cloned()).chain(advanced);
            let len = metadata::encoded_len(times_and_timers.chain(longest).chain(token));
            if len > metadata::ENCODED_LEN_MAX {
                return Err(too_many_times(&timers, &times, len));
            }
        }
        Ok(())
    }
}

/// The longest text of a punctuation of a node that is to go on; of a task there is one at a time.
fn longest_resumption(node: &Node) -> Option<String> {
    let declared = node.punctuations.iter().map(|punctuation| punctuation.name.len());
    let scheduled = node.schedules.then_some(metadata::SCHEDULE_NAME_BYTES_MAX);
    let name_bytes = declared.chain(scheduled).max()?;
    node.resumes.then(|| metadata::Resumption::longest(&node.name, name_bytes))
}

fn too_many_times(timers: &[(&str, &str)], times: &[String], len: usize) -> Problem {
    let max = metadata::ENCODED_LEN_MAX;
    let names: Vec<String> = timers.iter().map(|(node, timer)| format!("{node}:{timer}")).collect();
    let list = names.iter().chain(times).cloned().collect::<Vec<_>>().join(", ");
    Problem::new(
        "OffsetMetadataTooLarge",
        "E0210",
        exit::BAD_PLAN,
        format!(
            "{} stream-time punctuations and {} times of operators need {len} bytes beside a committed offset, {max} \
             fit: {list}",
            names.len(),
            times.len()
        ),
    )
    .field("punctuations", names)
    .field("times", times.to_vec())
    .field("bytes", len)
    .field("bytes_max", max)
    .why(
        "when each punctuation fires next, and how far closing windows, suppressions and cogroups of windows have come, is \
         committed with the offsets, beside schedules made at run time and the token of a punctuation that goes on, and a \
         broker takes 4,096 bytes there",
    )
    .fix("give nodes, punctuations and stores shorter names, or let one punctuation do the work of several")
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
        sources: named(Operator::reads_external),
        families: graph.nodes.iter().filter_map(|node| Some((node.family.as_deref()?, node.name.as_str()))).collect(),
        sinks: named(|operator| operator == Operator::Sink),
        stores: graph.stores.iter().map(|store| store.name.as_str()).collect(),
    }
}

fn nothing_matches(source: &str, pattern: &str) -> Problem {
    let message = format!("source {source} reads the topics that match {pattern}, and there is none");
    Problem::new("SourceTopicNotFound", "E0204", exit::BAD_PLAN, message)
        .field("topic", pattern)
        .field("source", source)
        .field("store", serde_json::Value::Null)
        .why("an application does not create what it reads")
        .fix("create one with millstream topics create, or change the pattern")
}

pub(super) fn bad_topology(errors: Vec<String>) -> Problem {
    Problem::new("BadTopology", "E0201", exit::BAD_PLAN, errors.join("\n"))
        .field("errors", errors)
        .why("the component's describe() does not give a topology this host can run")
        .fix("mend the component; wit/topology.schema.json is the description's schema")
}

/// Kinds that go by time have rows with more than the key in them.
fn lmdb_key_bytes_max(kind: StoreKind) -> u64 {
    let max = config::limits::LMDB_KEY_BYTES_MAX;
    match kind {
        StoreKind::KeyValue | StoreKind::Buffer => max,
        _ => (1..=max).rev().find(|key| changelog::row_len_max(*key as usize) as u64 <= max).unwrap_or_default(),
    }
}

fn retention_too_short(store: &Store, kind: StoreKind) -> Option<Problem> {
    let StoreKind::Window { size_ms, retention_ms, .. } = kind else { return None };
    let message = format!("store {} keeps windows of {size_ms} ms for {retention_ms} ms", store.name);
    let why = "a window would expire before it ends";
    (retention_ms < size_ms)
        .then(|| too_short(store, retention_ms, size_ms, message, why).field("window_size_ms", size_ms))
}

fn too_short(store: &Store, retention_ms: i64, needed_ms: i64, message: String, why: &str) -> Problem {
    Problem::new("RetentionTooShort", "E0230", exit::BAD_PLAN, message)
        .field("store", store.name.as_str())
        .field("retention_ms", retention_ms)
        .why(why)
        .fix(format!(
            "give it a retention of {needed_ms} ms or more, in the component or in the manifest:\n\
             [stores.{}]\nretention = \"{needed_ms}ms\"",
            store.name
        ))
}

/// A record that waits must still find the row of its time.
fn grace_outlives(grace_ms: i64, store: &Store, node: &Node, blueprint: &Blueprint) -> Option<Problem> {
    let kept = blueprint.kind(store).retention_ms()?;
    let message = format!("store {} keeps versions for {kept} ms, and node {} waits {grace_ms}", store.name, node.name);
    let why = "a record that waits would not find the row of its time any more";
    (kept < grace_ms).then(|| too_short(store, kept, grace_ms, message, why))
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

fn restoration_required(manifest: &Manifest, store: &Store) -> Problem {
    let message = format!("store {} skips its restoration, and {} needs it", store.name, manifest.guarantee);
    Problem::new("RestorationRequired", "E0240", exit::BAD_PLAN, message)
        .field("store", store.name.as_str())
        .why("a start that does not read what the store misses goes on from another state than the one it committed")
        .fix(format!(
            "leave skip_restoration out of [stores.{}] changelog; or say guarantee = \"at-least-once\", where results \
             may be wrong",
            store.name
        ))
}
