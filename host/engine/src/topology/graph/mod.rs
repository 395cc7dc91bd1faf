//! The checked graph: every name resolved, every flow of the right kind, repartition topics inserted where a key was
//! changed before something goes by it.

use std::collections::BTreeMap;

mod edge;
mod family;
mod fields;
mod join;
mod limits;
mod old_values;
mod repartition;
mod route;
mod suppress;
mod windows;

use super::description::{self, Description, Emit, Input, Join, JoinWindows, Punctuation, Window};
use super::times::SourceTimes;
use super::{Flow, Operator, chain};
use edge::link_children;
pub use edge::{Child, Edge};
pub use limits::{BRANCH_MAX, NAME_BYTES_MAX, NODES_MAX};
pub use suppress::{Suppression, WindowEnd};

/// Times of a node whose windows go downstream as they close: see `operator/windowed/given.rs`.
const GIVEN_TIMES: u16 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// In an order in which every node stands behind its inputs.
    pub nodes: Vec<Node>,
    pub stores: Vec<description::Store>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its place in the description, by which the guest knows it; an inserted repartition has that of who needs it.
    pub number: u32,
    pub name: String,
    pub operator: Operator,
    /// Parents by place in [`Graph::nodes`].
    pub inputs: Vec<Edge>,
    /// Children by place, in the order of the description: the order of their ranks.
    pub children: Vec<Child>,
    /// Sources and sinks: the topic as the component names it. Repartitions: the name behind the application's.
    pub topic: String,
    /// Sources of one of several topics: what the description calls them together.
    pub family: Option<String>,
    /// What reads a topic: which it is of those that the guest knows by the same number.
    pub topic_rank: u16,
    /// Sources: the regular expression by which their topics are found.
    pub pattern: Option<String>,
    /// Sources: when their records happened.
    pub times: SourceTimes,
    pub key: Option<String>,
    pub value: Option<String>,
    /// The store of an aggregation or a materialised table.
    pub store: Option<usize>,
    /// All stores it touches, by number: its own first, and those it looks up.
    pub stores: Vec<usize>,
    /// `process`: the stores of global tables that it reads.
    pub globals: Vec<usize>,
    /// Aggregations of windows: which.
    pub window: Option<Window>,
    /// Aggregations of windows: when an aggregate goes downstream.
    pub emit: Emit,
    pub suppression: Option<Suppression>,
    /// Joins: how.
    pub join: Option<Join>,
    /// Joins of streams: in which windows.
    pub join_windows: Option<JoinWindows>,
    /// Joins of a stream with a table: how long a record waits, see [`description::Node::grace_ms`].
    pub grace_ms: Option<i64>,
    /// Joins of streams: the codec of the right side's values.
    pub other_value: Option<String>,
    /// Joins: the tables that it looks up, by place in [`Graph::nodes`].
    pub tables: Vec<usize>,
    /// Repartitions: the enforced number of partitions.
    pub partitions: Option<i32>,
    pub punctuations: Vec<Punctuation>,
    /// `process`: whether it makes more of them while it runs.
    pub schedules: bool,
    /// `process`: whether what it forwards has the key of what it was given.
    pub fixed_key: bool,
    /// `process`: whether they go on by tokens.
    pub resumes: bool,
    /// Tables: whether changes carry the old value. See [`old_values`].
    pub sends_old: bool,
    /// Aggregations: whether the first old value is what an aggregate begins with, which the guest is asked for.
    pub tells_initial: bool,
    /// Repartitions: whether records without a key go through.
    pub keeps_null_keys: bool,
    /// The places of the stateless nodes that the guest runs in one call, this one first; empty where it is not the
    /// first of several.
    pub chain: Vec<usize>,
}

impl Node {
    /// What the description calls a source: names what stays when topics come and go.
    pub fn source_name(&self) -> &str {
        self.family.as_deref().unwrap_or(&self.name)
    }

    /// Whether it may change a record's key, so that what goes by the key behind it needs a repartition topic.
    pub fn rekeys(&self) -> bool {
        self.operator.rekeys() && !self.fixed_key
    }

    /// Whether one element in can become several elements out, for one child.
    pub fn multiplies(&self) -> bool {
        self.operator.multiplies() || self.window.is_some() || self.grace_ms.is_some()
    }

    /// How many times of it travel beside the committed offsets.
    pub fn times(&self) -> u16 {
        match self.operator {
            Operator::Suppress => 1,
            Operator::Cogroup if self.window.is_some() => self.inputs.len() as u16,
            _ if self.emit == Emit::OnWindowClose => GIVEN_TIMES,
            _ => 0,
        }
    }

    /// A node that the graph adds for `of`, with its number.
    fn added(of: &Node, suffix: &str, operator: Operator) -> Node {
        Node {
            name: format!("{}-{suffix}", of.name),
            operator,
            inputs: Vec::new(),
            topic: String::new(),
            family: None,
            pattern: None,
            key: None,
            value: None,
            store: None,
            stores: Vec::new(),
            globals: Vec::new(),
            window: None,
            emit: Emit::default(),
            grace_ms: None,
            suppression: None,
            tells_initial: false,
            keeps_null_keys: false,
            partitions: None,
            punctuations: Vec::new(),
            ..of.clone()
        }
    }
}

/// By the names of sources that have a pattern: the topics that match it.
pub type Matched = BTreeMap<String, Vec<String>>;

/// Checks a description and builds its graph; all errors at once, each naming its node. A source with a pattern stands for
/// itself.
pub fn build(description: &Description) -> Result<Graph, Vec<String>> {
    build_with(description, &Matched::new())
}

/// The same, with a source for each topic that matches a pattern.
pub(super) fn build_with(description: &Description, matched: &Matched) -> Result<Graph, Vec<String>> {
    if description.version != description::VERSION {
        return Err(vec![format!(
            "the description has version {}; this host reads version {}: use a newer host, or an SDK of this host's \
             version",
            description.version,
            description::VERSION
        )]);
    }
    limits::check(description, matched).map_err(|why| vec![why])?;
    let mut check = Check { matched: matched.clone(), ..Check::default() };
    check.stores(&description.stores);
    for (number, node) in description.nodes.iter().enumerate() {
        check.node(number, node);
    }
    check.finish(description.chains)
}

#[derive(Default)]
struct Check {
    errors: Vec<String>,
    nodes: Vec<Node>,
    stores: Vec<description::Store>,
    /// Where a node's name leads as an input. A repartition's name leads to its source side.
    by_name: BTreeMap<String, usize>,
    matched: Matched,
}

impl Check {
    fn error(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    fn stores(&mut self, stores: &[description::Store]) {
        for store in stores {
            if let Err(why) = check_name(&store.name) {
                self.error(format!("store `{}`: {why}", store.name));
            }
            if let Err(why) = store.store_kind() {
                self.error(format!("store `{}`: {why}", store.name));
            }
            if store.key.is_empty() || store.value.is_empty() {
                self.error(format!("store `{}`: a codec has no name", store.name));
            }
            self.add_store(store.clone());
        }
    }

    fn add_store(&mut self, store: description::Store) -> usize {
        if self.store_number(&store.name).is_some() {
            self.error(format!("store `{}` is declared twice", store.name));
        }
        self.stores.push(store);
        self.stores.len() - 1
    }

    fn store_number(&self, name: &str) -> Option<usize> {
        self.stores.iter().position(|store| store.name == name)
    }

    fn node(&mut self, number: usize, node: &description::Node) {
        if let Err(why) = check_name(&node.name) {
            self.error(format!("node `{}`: {why}", node.name));
        }
        let Some(operator) = Operator::parse(&node.op) else {
            self.error(unknown_operator(&node.name, &node.op));
            return;
        };
        let inputs = self.inputs(node, operator);
        let suppression = self.suppression(node, operator, &inputs);
        let stores = self.node_stores(node, operator);
        self.fields(node, operator);
        let built = Node {
            number: number as u32,
            name: node.name.clone(),
            operator,
            inputs,
            children: Vec::new(),
            topic: node.topic.clone().unwrap_or_else(|| node.name.clone()),
            family: None,
            pattern: node.pattern.clone(),
            times: SourceTimes {
                extractor: node.timestamp.unwrap_or_default(),
                invalid: node.invalid_timestamp.unwrap_or_default(),
            },
            key: node.key.clone(),
            value: node.value.clone(),
            store: node.store.as_ref().and_then(|_| stores.first().copied()),
            stores,
            globals: Vec::new(),
            window: node.window,
            emit: node.emit.unwrap_or_default(),
            suppression,
            join: node.join,
            join_windows: node.join_windows,
            grace_ms: node.grace_ms,
            other_value: node.other_value.clone(),
            tables: Vec::new(),
            partitions: node.partitions,
            punctuations: node.punctuations.clone(),
            schedules: node.schedules,
            fixed_key: node.fixed_key,
            resumes: node.resumes,
            sends_old: false,
            tells_initial: false,
            keeps_null_keys: false,
            chain: Vec::new(),
            topic_rank: 0,
        };
        let place = match (self.family(node, operator), self.is_routed(node, operator)) {
            (Some(topics), _) => self.sources(built, &topics),
            (None, true) => self.route(built, &node.topics),
            (None, false) => self.expand(built),
        };
        if self.by_name.insert(node.name.clone(), place).is_some() {
            self.twice(&node.name, operator);
        }
    }

    /// Sources and sinks are called like their topics where nothing else is said, so that one topic used twice comes here.
    fn twice(&mut self, name: &str, operator: Operator) {
        let fix = match operator {
            Operator::Sink => ": merge the streams that go there, or give this sink another name and say its `topic`",
            operator if operator.reads_external() => {
                ": a topic has one source, which may have many children; or give this one another name and say its `topic`"
            }
            _ => "",
        };
        self.error(format!("node `{name}` is declared twice{fix}"));
    }

    fn inputs(&mut self, node: &description::Node, operator: Operator) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (rank, input) in node.inputs.iter().enumerate() {
            let Some(&parent) = self.by_name.get(input.node()) else {
                self.error(format!("node `{}`: its input `{}` is not a node in front of it", node.name, input.node()));
                continue;
            };
            let branch = match input {
                Input::Node(_) => None,
                Input::Branch { branch, .. } => Some(*branch),
            };
            let (gives, is_branch) = (self.nodes[parent].operator.gives(), self.nodes[parent].operator);
            if is_branch == Operator::Branch && branch.is_none() {
                self.error(format!("node `{}`: say which branch of `{}` it takes", node.name, input.node()));
            }
            if branch.is_some_and(|branch| branch > BRANCH_MAX) {
                self.error(format!("node `{}`: a branch is at most {BRANCH_MAX}", node.name));
            }
            if is_branch != Operator::Branch && branch.is_some() {
                self.error(format!("node `{}`: `{}` has no branches", node.name, input.node()));
            }
            if operator.takes(rank) != Some(gives) {
                let why = wrong_flow(operator.takes(rank), gives, input.node());
                self.error(format!("node `{}` ({}): {why}", node.name, operator.name()));
            }
            edges.push(Edge { node: parent, branch });
        }
        self.count_inputs(node, operator);
        edges
    }

    fn count_inputs(&mut self, node: &description::Node, operator: Operator) {
        let n = node.inputs.len();
        if operator.takes(0).is_none() || operator.inputs().contains(&n) {
            return;
        }
        let what = format!("node `{}` ({})", node.name, operator.name());
        self.error(match *operator.inputs().end() {
            _ if n == 0 => format!("{what} has no input"),
            1 => format!("{what} takes one input and has {n}: merge them"),
            wanted => format!("{what} takes {wanted} inputs and has {n}"),
        });
    }

    fn node_stores(&mut self, node: &description::Node, operator: Operator) -> Vec<usize> {
        if (operator.needs_store() || operator == Operator::GlobalTableSource) && node.store.is_none() {
            self.error(format!("node `{}` ({}) needs a store", node.name, operator.name()));
        }
        let may_have = matches!(operator.gives(), Flow::Table | Flow::Global);
        if node.store.is_some() && !may_have {
            self.error(format!("node `{}` ({}) has no store of its own", node.name, operator.name()));
        }
        if !node.stores.is_empty() && operator != Operator::Process {
            self.error(format!("node `{}` ({}): only process takes `stores`", node.name, operator.name()));
        }
        let keeps = |kind: &str| match node.window {
            Some(window) => kind == window.store_kind(),
            None => operator.keeps(kind),
        };
        let mut numbers = Vec::new();
        for name in node.store.iter().chain(&node.stores) {
            match self.store_number(name) {
                Some(number) if !keeps(&self.stores[number].kind) => {
                    let (operator, kind) = (operator.name(), &self.stores[number].kind);
                    self.error(format!("node `{}` ({operator}): its store `{name}` is of kind {kind}", node.name));
                }
                Some(number) if !numbers.contains(&number) => numbers.push(number),
                Some(_) => {}
                None => self.error(format!("node `{}`: its store `{name}` is not declared", node.name)),
            }
        }
        numbers
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn finish(mut self, chains: bool) -> Result<Graph, Vec<String>> {
        if !self.nodes.iter().any(|node| node.operator.is_source()) {
            self.error("the topology has no source");
        }
        for number in 0..self.stores.len() {
            if !self.nodes.iter().any(|node| node.stores.contains(&number)) {
                self.error(format!("store `{}` is not connected to any node", self.stores[number].name));
            }
        }
        self.global_stores();
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let mut graph = Graph { nodes: repartition::insert(self.nodes, &self.stores), stores: self.stores };
        let mut errors = join::connect_tables(&mut graph.nodes, &graph.stores);
        link_children(&mut graph.nodes);
        family::rank_topics(&mut graph.nodes);
        errors.extend(suppress::of_versions(&graph));
        errors.extend(old_values::send(&mut graph.nodes));
        if !errors.is_empty() {
            return Err(errors);
        }
        if chains {
            chain::link(&mut graph.nodes);
        }
        Ok(graph)
    }
}

fn wrong_flow(takes: Option<Flow>, gives: Flow, input: &str) -> String {
    match (takes, gives) {
        (None, _) => "a source has no inputs".to_owned(),
        (_, Flow::Global) => {
            format!("`{input}` is a global table, which only stream-global-join takes; `process` reads its store")
        }
        (Some(Flow::Global), _) => format!("it takes a global table and `{input}` is none: global-table-source"),
        (_, Flow::Nothing) => format!("nothing flows out of `{input}`"),
        (Some(Flow::Stream), Flow::Table) => format!("it takes a stream and `{input}` is a table: to-stream"),
        (Some(Flow::Table), Flow::Stream) => format!("it takes a table and `{input}` is a stream"),
        (Some(Flow::Grouped), _) => format!("it takes a grouped table and `{input}` is none: table-group-by"),
        (_, _) => {
            format!("`{input}` is a grouped table, which only table-count, table-reduce and table-aggregate take")
        }
    }
}

fn unknown_operator(node: &str, op: &str) -> String {
    let known: Vec<_> = Operator::names().collect();
    format!(
        "node `{node}`: operator `{op}` needs a newer host; this one ({}) knows {}",
        env!("CARGO_PKG_VERSION"),
        known.join(", ")
    )
}

fn check_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(legal) || name == "." || name == ".." {
        return Err(format!("a name is 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`"));
    }
    Ok(())
}
