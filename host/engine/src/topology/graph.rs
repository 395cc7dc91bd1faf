//! The checked graph: every name resolved, every flow of the right kind, repartition topics inserted where a key was
//! changed before something goes by it.

use std::collections::{BTreeMap, BTreeSet};

use super::description::{self, Description, Input, Punctuation};
use super::{Flow, Operator, chain};
use crate::config::check_topic_name;

/// How many nodes and stores one topology may have: far beyond what a person writes, small enough that a hostile
/// description cannot make the plan slow.
pub const NODES_MAX: usize = 1_000;
/// A result frame names a branch in two bytes, whose largest value stands for "no branch".
pub const BRANCH_MAX: u16 = u16::MAX - 1;
/// Guest-written names end up in topics, files and log lines.
pub const NAME_BYTES_MAX: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// In an order in which every node stands behind its inputs.
    pub nodes: Vec<Node>,
    pub stores: Vec<description::Store>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its place in the description, by which the guest knows it. An inserted repartition carries the number of the
    /// node that needs it.
    pub number: u32,
    pub name: String,
    pub operator: Operator,
    /// Parents by place in [`Graph::nodes`].
    pub inputs: Vec<Edge>,
    /// Children by place, in the order of the description: the order of their ranks.
    pub children: Vec<Child>,
    /// Sources and sinks: the topic as the component names it. Repartitions: the name in the middle of their topic's.
    pub topic: String,
    pub key: Option<String>,
    pub value: Option<String>,
    /// Stores connected to it, by number; an aggregation's or table's own store is the only one.
    pub stores: Vec<usize>,
    /// Repartitions: the enforced number of partitions.
    pub partitions: Option<i32>,
    pub punctuations: Vec<Punctuation>,
    /// Tables: whether changes carry the old value. See [`send_old_values`].
    pub sends_old: bool,
    /// The places of the stateless nodes that the guest runs in one call, this one first; empty where it is not the
    /// first of several.
    pub chain: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub node: usize,
    /// Which branch of a `branch` node.
    pub branch: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    pub node: usize,
    /// Rank of this parent among the child's inputs.
    pub input: u16,
    pub branch: Option<u16>,
}

impl Node {
    /// The one store of an aggregation or a materialised table.
    pub fn store(&self) -> Option<usize> {
        (self.operator != Operator::Process).then(|| self.stores.first().copied()).flatten()
    }
}

/// Checks a description and builds its graph; all errors at once, each naming its node.
pub fn build(description: &Description) -> Result<Graph, Vec<String>> {
    if description.version != description::VERSION {
        return Err(vec![format!(
            "the description has version {}; this host reads version {}: use a newer host, or an SDK of this host's \
             version",
            description.version,
            description::VERSION
        )]);
    }
    if description.nodes.len() > NODES_MAX || description.stores.len() > NODES_MAX {
        return Err(vec![format!("more than {NODES_MAX} nodes or stores")]);
    }
    let mut check = Check { errors: Vec::new(), nodes: Vec::new(), by_name: BTreeMap::new() };
    let stores = check.stores(&description.stores);
    for (number, node) in description.nodes.iter().enumerate() {
        check.node(number, node, &stores);
    }
    check.finish(description, &stores)
}

struct Check {
    errors: Vec<String>,
    nodes: Vec<Node>,
    /// Where a node's name leads as an input. A repartition's name leads to its source side.
    by_name: BTreeMap<String, usize>,
}

impl Check {
    fn error(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    fn stores(&mut self, stores: &[description::Store]) -> BTreeMap<String, usize> {
        let mut by_name = BTreeMap::new();
        for (number, store) in stores.iter().enumerate() {
            if let Err(why) = check_name(&store.name) {
                self.error(format!("store `{}`: {why}", store.name));
            }
            if store.kind != "key-value" {
                self.error(format!(
                    "store `{}`: kind `{}` needs a newer host; this one ({}) knows key-value",
                    store.name,
                    store.kind,
                    env!("CARGO_PKG_VERSION")
                ));
            }
            if store.key.is_empty() || store.value.is_empty() {
                self.error(format!("store `{}`: a codec has no name", store.name));
            }
            if by_name.insert(store.name.clone(), number).is_some() {
                self.error(format!("store `{}` is declared twice", store.name));
            }
        }
        by_name
    }

    fn node(&mut self, number: usize, node: &description::Node, stores: &BTreeMap<String, usize>) {
        if let Err(why) = check_name(&node.name) {
            self.error(format!("node `{}`: {why}", node.name));
        }
        let Some(operator) = Operator::parse(&node.op) else {
            self.error(unknown_operator(&node.name, &node.op));
            return;
        };
        let inputs = self.inputs(node, operator);
        let stores = self.node_stores(node, operator, stores);
        self.fields(node, operator);
        let built = Node {
            number: number as u32,
            name: node.name.clone(),
            operator,
            inputs,
            children: Vec::new(),
            topic: node.topic.clone().unwrap_or_else(|| node.name.clone()),
            key: node.key.clone(),
            value: node.value.clone(),
            stores,
            partitions: node.partitions,
            punctuations: node.punctuations.clone(),
            sends_old: false,
            chain: Vec::new(),
        };
        let place = if operator == Operator::Repartition { self.repartition(built) } else { self.push(built) };
        if self.by_name.insert(node.name.clone(), place).is_some() {
            self.error(format!("node `{}` is declared twice", node.name));
        }
    }

    fn inputs(&mut self, node: &description::Node, operator: Operator) -> Vec<Edge> {
        let mut edges = Vec::new();
        for input in &node.inputs {
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
            if operator.takes() != Some(gives) {
                let why = match (operator.takes(), gives) {
                    (None, _) => "a source has no inputs".to_owned(),
                    (_, Flow::Nothing) => format!("nothing flows out of `{}`", input.node()),
                    (Some(Flow::Stream), _) => {
                        format!("it takes a stream and `{}` is a table: to-stream", input.node())
                    }
                    (Some(_), _) => format!("it takes a table and `{}` is a stream", input.node()),
                };
                self.error(format!("node `{}` ({}): {why}", node.name, operator.name()));
            }
            edges.push(Edge { node: parent, branch });
        }
        let many = matches!(operator, Operator::Merge);
        match (operator.is_source(), node.inputs.len()) {
            (true, 0) | (false, 1) => {}
            (false, 0) => self.error(format!("node `{}` ({}) has no input", node.name, operator.name())),
            (false, _) if many || operator == Operator::Process => {}
            (true, _) => {}
            (false, n) => self.error(format!(
                "node `{}` ({}) takes one input and has {n}: merge them",
                node.name,
                operator.name()
            )),
        }
        edges
    }

    fn node_stores(
        &mut self,
        node: &description::Node,
        operator: Operator,
        stores: &BTreeMap<String, usize>,
    ) -> Vec<usize> {
        if operator.groups() && node.store.is_none() {
            self.error(format!("node `{}` ({}) needs a store", node.name, operator.name()));
        }
        let may_have = matches!(operator.gives(), Flow::Table);
        if node.store.is_some() && !may_have {
            self.error(format!("node `{}` ({}) has no store of its own", node.name, operator.name()));
        }
        if !node.stores.is_empty() && operator != Operator::Process {
            self.error(format!("node `{}` ({}): only process takes `stores`", node.name, operator.name()));
        }
        let mut numbers = Vec::new();
        for name in node.store.iter().chain(&node.stores) {
            match stores.get(name) {
                Some(&number) if !numbers.contains(&number) => numbers.push(number),
                Some(_) => {}
                None => self.error(format!("node `{}`: its store `{name}` is not declared", node.name)),
            }
        }
        numbers
    }

    fn fields(&mut self, node: &description::Node, operator: Operator) {
        let has_topic = matches!(operator, Operator::Source | Operator::TableSource | Operator::Sink);
        match &node.topic {
            Some(_) if !has_topic => {
                self.error(format!("node `{}` ({}): only sources and sinks take `topic`", node.name, operator.name()))
            }
            Some(topic) => {
                if let Err(why) = check_topic_name(topic) {
                    self.error(format!("node `{}`: its topic {why}", node.name));
                }
            }
            None => {}
        }
        if [&node.key, &node.value].into_iter().flatten().any(String::is_empty) {
            self.error(format!("node `{}`: a codec has no name", node.name));
        }
        if node.partitions.is_some_and(|n| n < 1) {
            self.error(format!("node `{}`: partitions must be at least 1", node.name));
        }
        if node.partitions.is_some() && operator != Operator::Repartition {
            self.error(format!("node `{}` ({}): only repartition takes `partitions`", node.name, operator.name()));
        }
        if !node.punctuations.is_empty() && operator != Operator::Process {
            self.error(format!("node `{}` ({}): only process takes `punctuations`", node.name, operator.name()));
        }
        let mut names = BTreeSet::new();
        for punctuation in &node.punctuations {
            if punctuation.every_ms < 1 {
                self.error(format!("node `{}`: punctuation `{}` every 0 ms", node.name, punctuation.name));
            }
            if check_name(&punctuation.name).is_err() || !names.insert(&punctuation.name) {
                self.error(format!("node `{}`: punctuation name `{}` is bad or taken", node.name, punctuation.name));
            }
        }
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Both sides of a repartition topic; answers the side that reads.
    fn repartition(&mut self, writes: Node) -> usize {
        let reads = Node {
            name: format!("{}-source", writes.name),
            operator: Operator::RepartitionSource,
            inputs: Vec::new(),
            stores: Vec::new(),
            punctuations: Vec::new(),
            ..writes.clone()
        };
        self.push(writes);
        self.push(reads)
    }

    fn finish(mut self, description: &Description, stores: &BTreeMap<String, usize>) -> Result<Graph, Vec<String>> {
        if !self.nodes.iter().any(|node| node.operator.is_source()) {
            self.error("the topology has no source");
        }
        for (name, &number) in stores {
            if !self.nodes.iter().any(|node| node.stores.contains(&number)) {
                self.error(format!("store `{name}` is not connected to any node"));
            }
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let nodes = insert_repartitions(self.nodes, &description.stores);
        let mut graph = Graph { nodes, stores: description.stores.clone() };
        link_children(&mut graph.nodes);
        send_old_values(&mut graph.nodes);
        if description.chains {
            chain::link(&mut graph.nodes);
        }
        Ok(graph)
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

/// Puts a repartition topic in front of everything that goes by a key which was changed since the last topic
/// (semantics.md B21). It is called after the store of the node that needs it.
fn insert_repartitions(nodes: Vec<Node>, stores: &[description::Store]) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut place = Vec::with_capacity(nodes.len());
    let mut rekeyed: Vec<bool> = Vec::with_capacity(nodes.len());
    for mut node in nodes {
        for edge in &mut node.inputs {
            edge.node = place[edge.node];
        }
        let by_parents = node.inputs.iter().any(|edge| rekeyed[edge.node]);
        if let (true, true, Some(store)) = (node.operator.groups(), by_parents, node.store()) {
            let name = stores[store].name.clone();
            let writes = Node {
                number: node.number,
                name: format!("{name}-repartition"),
                operator: Operator::Repartition,
                inputs: std::mem::take(&mut node.inputs),
                children: Vec::new(),
                topic: name.clone(),
                key: Some(stores[store].key.clone()),
                value: None,
                stores: Vec::new(),
                partitions: None,
                punctuations: Vec::new(),
                sends_old: false,
                chain: Vec::new(),
            };
            let reads = Node {
                name: format!("{name}-repartition-source"),
                operator: Operator::RepartitionSource,
                inputs: Vec::new(),
                ..writes.clone()
            };
            out.extend([writes, reads]);
            rekeyed.extend([false, false]);
            node.inputs.push(Edge { node: out.len() - 1, branch: None });
        }
        let fresh = node.operator.is_source() || node.operator.gives() == Flow::Table;
        rekeyed.push(node.operator.rekeys() || (by_parents && !fresh));
        place.push(out.len());
        out.push(node);
    }
    out
}

fn link_children(nodes: &mut [Node]) {
    for child in 0..nodes.len() {
        for (input, edge) in nodes[child].inputs.clone().into_iter().enumerate() {
            nodes[edge.node].children.push(Child { node: child, input: input as u16, branch: edge.branch });
        }
    }
}

/// A table filter asks its parent for old values, so that it need not send a tombstone for a row that never passed.
/// A parent has them when it is materialised, or can compute them from its own parent's (KTableFilter,
/// KTableMapValues, KTableSource in Kafka Streams; cases `tb-filter-*`).
fn send_old_values(nodes: &mut [Node]) {
    for node in nodes.iter_mut() {
        node.sends_old = node.operator.groups();
    }
    for at in 0..nodes.len() {
        if matches!(nodes[at].operator, Operator::TableFilter | Operator::TableFilterNot) {
            let parent = nodes[at].inputs[0].node;
            nodes[at].sends_old |= ask_old_values(nodes, parent);
        }
    }
}

fn ask_old_values(nodes: &mut [Node], at: usize) -> bool {
    let has = match nodes[at].operator {
        Operator::TableFilter | Operator::TableFilterNot | Operator::TableMapValues => {
            nodes[at].store().is_some() || {
                let parent = nodes[at].inputs[0].node;
                ask_old_values(nodes, parent)
            }
        }
        Operator::TableSource => nodes[at].store().is_some(),
        operator => operator.groups(),
    };
    nodes[at].sends_old |= has;
    has
}
