//! A topology as it is shown.

use millstream_engine::topology::{Blueprint, Graph, Node, Operator, Plan, Subtopology, SubtopologyPlan};
use serde::Serialize;

use crate::app::status::StoreInfo;

#[derive(Debug, Serialize)]
pub struct View {
    pub id: String,
    pub subtopologies: Vec<SubtopologyView>,
    /// What reads global tables: in no subtopology, and no task.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub global_tables: Vec<NodeView>,
    pub stores: Vec<StoreView>,
    pub topics: Vec<TopicView>,
}

#[derive(Debug, Serialize)]
pub struct SubtopologyView {
    pub id: usize,
    /// Names its task directories; its first source's.
    pub name: String,
    /// `None`: the log was not asked.
    pub tasks: Option<i32>,
    pub nodes: Vec<NodeView>,
    /// Sources that never share a batch, because what is behind them meets in a store.
    pub never_together: Vec<[String; 2]>,
}

#[derive(Debug, Serialize)]
pub struct NodeView {
    pub name: String,
    pub operator: &'static str,
    pub inputs: Vec<String>,
    pub children: Vec<String>,
    /// Sources, sinks and repartitions.
    pub topic: Option<String>,
    pub stores: Vec<String>,
    /// Whether it takes a whole batch at once.
    pub batched: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    #[serde(skip)]
    pub role: Role,
}

/// Kafka Streams' three kinds of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Source,
    Processor,
    Sink,
}

#[derive(Debug, Serialize)]
pub struct StoreView {
    pub name: String,
    pub kind: String,
    pub provider: String,
    pub changelog_topic: Option<String>,
    /// It is the topic that the store's table is read from.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reuses_source_topic: bool,
    /// `None`: a global table's.
    pub subtopology: Option<usize>,
}

#[derive(Debug, Serialize)]
pub struct TopicView {
    pub name: String,
    pub partitions: Option<i32>,
    /// Created by the application itself.
    pub internal: bool,
}

impl View {
    pub fn of(blueprint: &Blueprint, plan: Option<&Plan>) -> View {
        let subtopologies = blueprint.subtopologies.iter().enumerate();
        let planned = |id: usize| plan.and_then(|plan| plan.subtopologies.get(id));
        View {
            id: blueprint.manifest.id.clone(),
            subtopologies: subtopologies.map(|(id, one)| subtopology(blueprint, id, one, planned(id))).collect(),
            global_tables: globals(blueprint),
            stores: stores(blueprint),
            topics: topics(blueprint, plan),
        }
    }
}

fn subtopology(
    blueprint: &Blueprint,
    id: usize,
    subtopology: &Subtopology,
    plan: Option<&SubtopologyPlan>,
) -> SubtopologyView {
    let name = |node: usize| blueprint.graph.nodes[node].name.clone();
    let conflicts = plan.into_iter().flat_map(|plan| &plan.conflicts);
    SubtopologyView {
        id,
        name: subtopology.sources.first().map(|first| name(*first)).unwrap_or_default(),
        tasks: plan.map(|plan| plan.partitions),
        nodes: subtopology.nodes.iter().map(|node| self::node(blueprint, *node, plan)).collect(),
        never_together: conflicts.map(|(a, b)| [name(*a), name(*b)]).collect(),
    }
}

fn node(blueprint: &Blueprint, place: usize, plan: Option<&SubtopologyPlan>) -> NodeView {
    let Blueprint { graph, .. } = blueprint;
    let node: &Node = &graph.nodes[place];
    let name = |node: usize| graph.nodes[node].name.clone();
    let entangled = plan.is_some_and(|plan| plan.is_entangled_below(place));
    NodeView {
        name: node.name.clone(),
        operator: node.operator.name(),
        inputs: node.inputs.iter().map(|edge| name(edge.node)).collect(),
        children: node.children.iter().map(|child| name(child.node)).collect(),
        topic: blueprint.topic_name(node),
        stores: node
            .stores
            .iter()
            .chain(&looked_up(graph, node))
            .map(|store| graph.stores[*store].name.clone())
            .collect(),
        batched: !entangled,
        why: entangled.then_some("two nodes behind it share a store, so their order shows"),
        role: match node.operator {
            operator if operator.takes(0).is_none() => Role::Source,
            operator if operator.is_sink() => Role::Sink,
            _ => Role::Processor,
        },
    }
}

/// The stores of the global tables that a node looks up or reads.
fn looked_up(graph: &Graph, node: &Node) -> Vec<usize> {
    let tables = node.tables.iter().map(|table| &graph.nodes[*table]);
    let joined = tables.filter(|table| table.operator == Operator::GlobalTableSource).filter_map(|table| table.store);
    joined.chain(node.globals.iter().copied()).collect()
}

fn globals(blueprint: &Blueprint) -> Vec<NodeView> {
    let nodes = &blueprint.graph.nodes;
    let globals = (0..nodes.len()).filter(|at| nodes[*at].operator == Operator::GlobalTableSource);
    globals.map(|at| node(blueprint, at, None)).collect()
}

fn stores(blueprint: &Blueprint) -> Vec<StoreView> {
    let of = |number: usize| blueprint.subtopologies.iter().position(|one| one.stores.contains(&number));
    let view = |(number, store)| {
        let StoreInfo { name, kind, provider, changelog_topic, reuses_source_topic, .. } =
            StoreInfo::of(blueprint, store);
        StoreView { name, kind, provider, changelog_topic, reuses_source_topic, subtopology: of(number) }
    };
    blueprint.graph.stores.iter().enumerate().map(view).collect()
}

fn topics(blueprint: &Blueprint, plan: Option<&Plan>) -> Vec<TopicView> {
    let planned = |name: &str| plan.and_then(|plan| plan.topics.iter().find(|topic| topic.name == name));
    let own = format!("{}-", blueprint.manifest.id);
    let view = |name: String| {
        let planned = planned(&name);
        TopicView {
            partitions: planned.map(|topic| topic.partitions),
            internal: planned.map_or(name.starts_with(&own), |topic| topic.internal.is_some()),
            name,
        }
    };
    blueprint.topic_names().into_iter().map(view).collect()
}

/// A kind of thing and its name.
pub type Place<'a> = (&'static str, &'a str);

/// What a picture connects: nodes with nodes and topics, and (`true`) nodes with their stores.
pub fn edges(view: &View) -> Vec<(Place<'_>, Place<'_>, bool)> {
    let mut edges = Vec::new();
    let nodes = view.subtopologies.iter().flat_map(|subtopology| &subtopology.nodes);
    for node in nodes.chain(&view.global_tables) {
        let own = ("node", node.name.as_str());
        match (&node.topic, node.role) {
            (Some(topic), Role::Source) => edges.push((("topic", topic.as_str()), own, false)),
            (Some(topic), _) => edges.push((own, ("topic", topic.as_str()), false)),
            (None, _) => {}
        }
        edges.extend(node.children.iter().map(|child| (own, ("node", child.as_str()), false)));
        edges.extend(node.stores.iter().map(|store| (own, ("store", store.as_str()), true)));
    }
    edges
}
