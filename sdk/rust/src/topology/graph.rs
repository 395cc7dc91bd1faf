//! The topology while it is being written: nodes and stores by place, names given at the end.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::materialized::Materialized;
use crate::call::Function;
use crate::codec::{self, Data};
use crate::description::{
    Description, Emit, Input, Join, Node, Punctuation, Store, Suppress, VERSION, Window, Windows,
};
use crate::store::Buffer;

#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Draft>,
    stores: Vec<StoreDraft>,
    /// What cannot be described: shown to the user all at once.
    errors: Vec<String>,
    names: Names,
}

/// The nodes' names, known to processors from the end of `describe` on.
pub(crate) type Names = Rc<OnceCell<Vec<String>>>;

/// A processor's children by name, as ranks; known from the end of `describe` on.
pub(crate) type Children = Rc<OnceCell<HashMap<String, Vec<u16>>>>;

/// A node without its name.
#[derive(Default)]
pub(crate) struct Draft {
    pub op: &'static str,
    pub name: Option<String>,
    pub inputs: Vec<Port>,
    pub topic: Option<String>,
    pub topics: Vec<String>,
    pub pattern: Option<String>,
    pub partitioner: bool,
    pub timestamp: Option<&'static str>,
    pub invalid_timestamp: Option<&'static str>,
    pub key: Option<&'static str>,
    pub value: Option<&'static str>,
    pub store: Option<usize>,
    pub stores: Vec<usize>,
    pub partitions: Option<u32>,
    pub join: Option<Join>,
    pub window: Option<Window>,
    pub emit: Option<Emit>,
    pub suppress: Option<Suppress>,
    pub join_windows: Option<Windows>,
    pub grace_ms: Option<i64>,
    pub other_value: Option<&'static str>,
    pub punctuations: Vec<Punctuation>,
    pub schedules: bool,
    pub fixed_key: bool,
    pub resumes: bool,
    pub function: Option<Function>,
    pub children: Children,
}

struct StoreDraft {
    /// Who made it, for the name of an unnamed one.
    op: &'static str,
    kind: &'static str,
    options: Materialized,
    key: &'static str,
    value: &'static str,
    buffer: Rc<RefCell<Buffer>>,
}

/// Where a node's records come out.
#[derive(Clone)]
pub(crate) struct Port {
    pub node: usize,
    pub way: Way,
}

#[derive(Clone)]
pub(crate) enum Way {
    /// All that the node forwards.
    All,
    /// What takes this branch.
    Branch(u16),
    /// What is forwarded to all or to this name.
    Child(String),
}

/// A finished topology.
pub(crate) struct Finished {
    pub description: Description,
    /// By node; `None` for what the host runs alone.
    pub functions: Vec<Option<Function>>,
}

impl Graph {
    pub(crate) fn add(&mut self, draft: Draft) -> Port {
        self.nodes.push(draft);
        Port { node: self.nodes.len() - 1, way: Way::All }
    }

    pub(crate) fn add_store<K: Data, V: Data>(&mut self, op: &'static str, options: Materialized) -> usize {
        let may_be_versioned = !matches!(op, "process" | "global-table-source");
        let kind = if options.versioned && may_be_versioned { "versioned" } else { "key-value" };
        self.add_store_of::<K, V>(kind, op, options)
    }

    pub(crate) fn add_store_of<K: Data, V: Data>(
        &mut self,
        kind: &'static str,
        op: &'static str,
        options: Materialized,
    ) -> usize {
        let place = self.stores.len();
        let buffer = Rc::new(RefCell::new(Buffer::new(place as u32, String::new())));
        self.check_options(kind, place, &options);
        self.stores.push(StoreDraft { op, kind, options, key: codec::name::<K>(), value: codec::name::<V>(), buffer });
        place
    }

    /// A kind has the options it needs and no others.
    fn check_options(&mut self, kind: &str, place: usize, options: &Materialized) {
        let name = options.name.clone().unwrap_or_else(|| format!("number {place}"));
        let (is_window, goes_by_time) = (kind == "window", kind != "key-value");
        if options.versioned && kind != "versioned" {
            return self.error(format!("store `{name}`: a {kind} store keeps no versions; leave `versioned` out"));
        }
        for (option, given, needed) in [
            ("window_size", options.window_size.is_some(), is_window),
            ("retention", options.retention.is_some(), goes_by_time),
        ] {
            match (given, needed) {
                (false, true) => self.error(format!("store `{name}`: a {kind} store needs `{option}`")),
                (true, false) => self.error(format!("store `{name}`: a {kind} store has no `{option}`")),
                _ => {}
            }
        }
        if options.retain_duplicates && !is_window {
            self.error(format!("store `{name}`: a {kind} store has no `retain_duplicates`"));
        }
        if let (true, Some(size), Some(retention)) = (is_window, options.window_size, options.retention)
            && retention < size
        {
            self.error(format!("store `{name}`: a retention of {retention:?} is below its window size of {size:?}"));
        }
    }

    pub(crate) fn node(&mut self, place: usize) -> &mut Draft {
        &mut self.nodes[place]
    }

    pub(crate) fn buffer(&self, store: usize) -> Rc<RefCell<Buffer>> {
        self.stores[store].buffer.clone()
    }

    /// What a store keeps: `key-value`, `window`, `session`, `versioned`.
    pub(crate) fn kind(&self, store: usize) -> &'static str {
        self.stores[store].kind
    }

    pub(crate) fn names(&self) -> Names {
        self.names.clone()
    }

    pub(crate) fn error(&mut self, message: impl Into<String>) {
        self.errors.push(message.into());
    }

    /// Gives the names, tells them to those who ask for them while they run, and describes it all.
    pub(crate) fn finish(self) -> Result<Finished, String> {
        if !self.errors.is_empty() {
            return Err(self.errors.join("\n"));
        }
        let names: Vec<String> = self.nodes.iter().enumerate().map(|(place, node)| node.name(place)).collect();
        for (place, node) in self.nodes.iter().enumerate() {
            // Set nowhere else.
            let _ = node.children.set(children(place, &self.nodes));
        }
        let stores: Vec<Store> =
            self.stores.into_iter().enumerate().map(|(place, store)| store.describe(place)).collect();
        let (nodes, functions) =
            self.nodes.into_iter().enumerate().map(|(place, node)| node.describe(place, &names, &stores)).unzip();
        let _ = self.names.set(names);
        Ok(Finished { description: Description { version: VERSION, chains: true, nodes, stores }, functions })
    }
}

/// The ranks of a node's named children: among the inputs of all nodes that are this node, in their order.
fn children(parent: usize, nodes: &[Draft]) -> HashMap<String, Vec<u16>> {
    let mut children: HashMap<String, Vec<u16>> = HashMap::new();
    let ports = nodes.iter().flat_map(|node| &node.inputs).filter(|port| port.node == parent);
    for (rank, port) in ports.enumerate() {
        if let Way::Child(name) = &port.way {
            children.entry(name.clone()).or_default().push(rank as u16);
        }
    }
    children
}

impl Draft {
    fn name(&self, place: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}-{place}", self.op))
    }

    fn describe(self, place: usize, names: &[String], stores: &[Store]) -> (Node, Option<Function>) {
        let store_name = |store: usize| stores[store].name.clone();
        let node = Node {
            name: names[place].clone(),
            op: self.op,
            inputs: self.inputs.iter().map(|port| port.describe(names)).collect(),
            topic: self.topic,
            topics: self.topics,
            pattern: self.pattern,
            partitioner: self.partitioner,
            timestamp: self.timestamp,
            invalid_timestamp: self.invalid_timestamp,
            key: self.key,
            value: self.value,
            store: self.store.map(store_name),
            stores: self.stores.iter().copied().map(store_name).collect(),
            partitions: self.partitions,
            join: self.join,
            window: self.window,
            emit: self.emit,
            suppress: self.suppress,
            join_windows: self.join_windows,
            grace_ms: self.grace_ms,
            other_value: self.other_value,
            punctuations: self.punctuations,
            schedules: self.schedules,
            fixed_key: self.fixed_key,
            resumes: self.resumes,
        };
        (node, self.function)
    }
}

impl Port {
    fn describe(&self, names: &[String]) -> Input {
        let node = names[self.node].clone();
        match self.way {
            Way::Branch(branch) => Input::Branch { node, branch },
            Way::All | Way::Child(_) => Input::Node(node),
        }
    }
}

impl StoreDraft {
    fn describe(self, place: usize) -> Store {
        let Materialized {
            name,
            provider,
            changelog,
            window_size,
            retention,
            versioned: _,
            retain_duplicates,
            cache_bytes,
            reuse_source_topic,
        } = self.options;
        let name = name.unwrap_or_else(|| format!("{}-store-{place}", self.op));
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.buffer.borrow_mut().rename(&name);
        Store {
            name,
            kind: self.kind,
            key: self.key,
            value: self.value,
            window_size_ms: window_size.map(ms),
            retention_ms: retention.map(ms),
            retain_duplicates,
            provider,
            changelog,
            cache_bytes,
            reuse_source_topic,
        }
    }
}
