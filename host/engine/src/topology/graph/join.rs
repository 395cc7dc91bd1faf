//! Joins: one node in a description, several in the graph; and the tables that they look up.

use super::windows::{self, Windows};
use super::{Check, Edge, Node, description};
use crate::topology::Operator;
use crate::topology::description::{Join, JoinWindows};

impl Check {
    /// Adds what stands for a node of the description; answers where its elements come out. A node with the wrong inputs
    /// is added as it is: the graph is refused.
    pub(super) fn expand(&mut self, node: Node) -> usize {
        match (node.operator, &node.inputs[..]) {
            (Operator::Repartition, _) => {
                let topic = crate::changelog::repartition_name(&node.name);
                self.repartition(Node { topic, ..node })
            }
            (Operator::StreamTableJoin, &[stream, table]) => {
                let stores: Vec<usize> = node.grace_ms.map(|_| self.waiting_store(&node)).into_iter().collect();
                self.push(Node { inputs: vec![stream], tables: vec![table.node], stores, ..node })
            }
            (Operator::StreamGlobalJoin, &[stream, table]) => {
                self.push(Node { inputs: vec![stream], tables: vec![table.node], ..node })
            }
            (Operator::StreamJoin, &[left, right]) => self.stream_join(node, left, right),
            (Operator::TableJoin, &[left, right]) => self.table_join(node, left, right),
            (Operator::ForeignKeyJoin, &[left, right]) => self.foreign_key_join(node, left, right),
            _ => self.push(node),
        }
    }

    /// Only joins of streams have windows, and they need them.
    pub(super) fn join_windows(&mut self, node: &description::Node, operator: Operator) {
        let what = format!("node `{}` ({})", node.name, operator.name());
        match (&node.join_windows, operator == Operator::StreamJoin) {
            (None, true) => self.error(format!("{what}: say in which `join_windows` it joins")),
            (Some(_), false) => self.error(format!("{what}: only stream-join takes `join_windows`")),
            (Some(windows), true) => {
                if let Err(why) = windows.check() {
                    self.error(format!("{what}: {why}"));
                }
            }
            (None, false) => {}
        }
        match node.other_value.as_deref() {
            Some(_) if operator != Operator::StreamJoin => {
                self.error(format!("{what}: only stream-join takes `other_value`"));
            }
            Some("") => self.error(format!("{what}: a codec has no name")),
            _ => {}
        }
    }

    /// Only joins of a stream with a table let records wait.
    pub(super) fn grace(&mut self, node: &description::Node, operator: Operator) {
        let Some(ms) = node.grace_ms else { return };
        let what = format!("node `{}` ({})", node.name, operator.name());
        if operator != Operator::StreamTableJoin {
            self.error(format!("{what}: only stream-table-join takes `grace_ms`"));
        }
        if !(0..=JoinWindows::MS_MAX).contains(&ms) {
            self.error(format!("{what}: `grace_ms` is {ms}, and may be 0 to {}", JoinWindows::MS_MAX));
        }
    }

    /// Whoever writes a global table's store is in no task, so no node of a task may; a processor may read it.
    pub(super) fn global_stores(&mut self) {
        let globals: Vec<usize> = self
            .nodes
            .iter()
            .filter(|node| node.operator == Operator::GlobalTableSource)
            .filter_map(|n| n.store)
            .collect();
        for node in self.nodes.iter_mut().filter(|node| node.operator == Operator::Process) {
            let connected = std::mem::take(&mut node.stores).into_iter();
            (node.globals, node.stores) = connected.partition(|store| globals.contains(store));
        }
        for (at, global) in globals.iter().enumerate() {
            let users = self.nodes.iter().filter(|node| node.stores.contains(global)).count();
            let store = &self.stores[*global];
            if users > 1 && !globals[..at].contains(global) {
                self.errors.push(format!("store `{}` is a global table's: no other node may have it", store.name));
            } else if store.changelog == Some(true) {
                let why = "its topic is its changelog";
                self.errors.push(format!("store `{}` is a global table's: {why}", store.name));
            }
        }
    }

    /// The records that wait for their table, in the order of time; called as Kafka Streams calls it.
    fn waiting_store(&mut self, node: &Node) -> usize {
        let name = format!("{}-Buffer", node.name);
        self.add_store(internal_store(name))
    }

    /// A node for each side, and one where their results meet (StreamStreamJoinNode). The stores of the records of either
    /// side, and of those that wait for a partner, are called as Kafka Streams calls them for a named join. What refuses
    /// the graph makes no stores.
    fn stream_join(&mut self, node: Node, left: Edge, right: Edge) -> usize {
        let stores = match (node.join, node.join_windows.filter(|windows| windows.check().is_ok())) {
            (Some(join), Some(windows)) => self.join_stores(&node, join, windows),
            _ => Vec::new(),
        };
        let mut sides = [(left, "this", "left", 0), (right, "other", "right", 1)].map(|(edge, suffix, side, own)| {
            let operator = if own == 0 { Operator::StreamJoinThis } else { Operator::StreamJoinOther };
            let topic = format!("{}-{side}", node.name);
            let (key, store) = (node.key.clone(), stores.get(own).copied());
            let added = Node::added(&node, suffix, operator);
            Some(Node { inputs: vec![edge], topic, key, store, stores: stores.clone(), ..added })
        });
        let inputs = sides.iter_mut().filter_map(Option::take).map(|side| Edge { node: self.push(side), branch: None });
        let inputs = inputs.collect();
        self.push(Node { inputs, store: None, ..node })
    }

    fn join_stores(&mut self, node: &Node, join: Join, windows: JoinWindows) -> Vec<usize> {
        let bytes = || "bytes".to_owned();
        let store = |name: &str, value: &Option<String>| description::Store {
            name: format!("{}-{name}-store", node.name),
            kind: "window".to_owned(),
            key: node.key.clone().unwrap_or_else(bytes),
            value: value.clone().unwrap_or_else(bytes),
            window_size_ms: Some(windows.size_ms()),
            retention_ms: Some(windows.retention_ms()),
            retain_duplicates: true,
            cache_bytes: None,
            provider: None,
            changelog: None,
            reuse_source_topic: false,
        };
        let (this, other, shared) = match join {
            Join::Inner => ("this-join", "other-join", None),
            Join::Left => ("this-join", "outer-other-join", Some("left-shared-join")),
            Join::Outer => ("outer-this-join", "outer-other-join", Some("outer-shared-join")),
        };
        let mut stores = vec![store(this, &node.value), store(other, &node.other_value)];
        stores.extend(shared.map(|name| description::Store {
            kind: "key-value".to_owned(),
            key: bytes(),
            window_size_ms: None,
            retention_ms: None,
            retain_duplicates: false,
            cache_bytes: None,
            ..store(name, &None)
        }));
        stores.into_iter().map(|store| self.add_store(store)).collect()
    }

    /// A node for the changes of each side, and one where they meet (KTableKTableJoinMerger).
    fn table_join(&mut self, node: Node, left: Edge, right: Edge) -> usize {
        let this = Node::added(&node, "this", Operator::TableJoinThis);
        let other = Node::added(&node, "other", Operator::TableJoinOther);
        let this = self.push(Node { inputs: vec![left], tables: vec![right.node], ..this });
        let other = self.push(Node { inputs: vec![right], tables: vec![left.node], ..other });
        let inputs = vec![Edge { node: this, branch: None }, Edge { node: other, branch: None }];
        self.push(Node { inputs, ..node })
    }

    /// Left rows go to the partition of their foreign key, answers come back to theirs (KIP-213). Topics and store are
    /// called as Kafka Streams calls them for a named join.
    fn foreign_key_join(&mut self, node: Node, left: Edge, right: Edge) -> usize {
        let store = self.add_store(internal_store(format!("{}-subscription-store", node.name)));
        let behind = |node: usize| vec![Edge { node, branch: None }];
        let topic = |of: &str| format!("{}-subscription-{of}-topic", node.name);
        let send = Node::added(&node, "subscription-send", Operator::ForeignKeySend);
        let send = self.push(Node { inputs: vec![left], ..send });
        let asks = Node::added(&node, "subscription-registration", Operator::Subscription);
        let asks = self.repartition(Node { inputs: behind(send), topic: topic("registration"), ..asks });
        let receive = Node::added(&node, "subscription-receive", Operator::ForeignKeyReceive);
        let (inputs, tables) = (behind(asks), vec![right.node]);
        let receive = self.push(Node { inputs, tables, store: Some(store), stores: vec![store], ..receive });
        let change = Node::added(&node, "foreign-change", Operator::ForeignKeyChange);
        let change = self.push(Node { inputs: vec![right], stores: vec![store], ..change });
        let answers = Node::added(&node, "subscription-response", Operator::Response);
        let inputs = [receive, change].map(|node| Edge { node, branch: None }).to_vec();
        let answers = self.repartition(Node { inputs, topic: topic("response"), ..answers });
        let resolve = Node::added(&node, "response-join", Operator::ForeignKeyResolve);
        let resolve = self.push(Node { inputs: behind(answers), tables: vec![left.node], ..resolve });
        self.push(Node { inputs: behind(resolve), ..node })
    }
}

/// A store of an operator's own bytes.
fn internal_store(name: String) -> description::Store {
    description::Store {
        name,
        kind: "key-value".to_owned(),
        key: "bytes".to_owned(),
        value: "bytes".to_owned(),
        window_size_ms: None,
        retention_ms: None,
        retain_duplicates: false,
        cache_bytes: None,
        provider: None,
        changelog: None,
        reuse_source_topic: false,
    }
}

/// Tables that one look-up may be worked out of, one that is used twice counted twice: each costs a call of the guest
/// for every batch, and of a join of joins there are twice as many with every step.
const LOOKED_UP_MAX: usize = 64;

/// Connects the stores that joins look up: those of their tables, or of what these are made of. Answers what cannot be
/// looked up, or not by these keys, or not as of the time that is asked for.
pub(super) fn connect_tables(nodes: &mut [Node], stores: &[description::Store]) -> Vec<String> {
    let mut errors = Vec::new();
    let of_keys = windows::of_keys(nodes);
    for at in 0..nodes.len() {
        let mut look = LookUp { nodes, stores: nodes[at].stores.clone(), left: LOOKED_UP_MAX, windows: None };
        for &table in &nodes[at].tables {
            let Err(why) = look.up(table).and_then(|()| look.fits(&of_keys, at)) else { continue };
            let what = format!("node `{}` ({}) looks up the table", nodes[at].name, nodes[at].operator.name());
            errors.push(match why {
                Unfit::NoStore(without) => {
                    format!("{what} `{}`, which has no store of keys and values", nodes[without].name)
                }
                Unfit::Windows(own, found) => {
                    let (table, asks) = (&nodes[table].name, &nodes[nodes[at].inputs[0].node].name);
                    let own = own.map_or("of no windows, or in other partitions".to_owned(), |own| format!("of {own}"));
                    format!("{what} `{table}` by keys of {found}, and those of `{asks}` are {own}")
                }
                Unfit::TooMany => format!(
                    "{what} `{}`, which is worked out of more than {LOOKED_UP_MAX} others: give one of them a store",
                    nodes[table].name
                ),
            });
        }
        nodes[at].stores = look.stores;
        if nodes[at].grace_ms.is_some() && !nodes[at].tables.iter().all(|table| keeps_versions(nodes, stores, *table)) {
            let (node, operator) = (&nodes[at].name, nodes[at].operator.name());
            errors.push(format!("node `{node}` ({operator}): `grace_ms` needs a table that keeps versions"));
        }
    }
    errors
}

/// Whether a table knows its rows as of another time.
pub(super) fn keeps_versions(nodes: &[Node], stores: &[description::Store], table: usize) -> bool {
    let node = &nodes[table];
    match (node.store, node.operator) {
        (Some(store), _) => stores[store].kind == "versioned",
        (None, Operator::TableFilter | Operator::TableFilterNot | Operator::TableMapValues) => {
            keeps_versions(nodes, stores, node.inputs[0].node)
        }
        (None, _) => false,
    }
}

/// Why a table cannot be looked up.
enum Unfit {
    /// This one, which it is made of.
    NoStore(usize),
    /// It is looked up by keys of these windows, and those of the node that asks are of the former, or of none.
    Windows(Option<Windows>, Windows),
    TooMany,
}

struct LookUp<'n> {
    nodes: &'n [Node],
    /// Found so far.
    stores: Vec<usize>,
    /// Tables that it may still be worked out of.
    left: usize,
    /// Those of an aggregation whose own store is looked into.
    windows: Option<usize>,
}

impl LookUp<'_> {
    fn up(&mut self, table: usize) -> Result<(), Unfit> {
        let node = &self.nodes[table];
        self.left = self.left.checked_sub(1).ok_or(Unfit::TooMany)?;
        match node.operator {
            _ if node.window.is_some() => {
                self.windows = Some(table);
                self.stores.extend(node.store.filter(|store| !self.stores.contains(store)));
            }
            // Every task has it, so it connects nothing.
            Operator::GlobalTableSource => {}
            Operator::Suppress => {
                self.stores.extend(node.store.filter(|store| !self.stores.contains(store)));
                self.up(node.inputs[0].node)?;
            }
            _ if node.store.is_some() => self.stores.extend(node.store.filter(|store| !self.stores.contains(store))),
            Operator::TableFilter | Operator::TableFilterNot | Operator::TableMapValues => {
                self.up(node.inputs[0].node)?;
            }
            Operator::TableJoin => {
                for side in &node.inputs {
                    self.up(self.nodes[side.node].inputs[0].node)?;
                }
            }
            _ => return Err(Unfit::NoStore(table)),
        }
        Ok(())
    }

    /// Whether the keys of the node that asks are those of the windows that were found. Only joins by the key have such: a
    /// foreign-key join sends its keys through topics.
    fn fits(&self, of_keys: &[Option<Windows>], asks: usize) -> Result<(), Unfit> {
        let Some((table, found)) = self.windows.and_then(|table| Some((table, of_keys[table]?))) else { return Ok(()) };
        let node = &self.nodes[asks];
        match node.operator {
            Operator::StreamTableJoin | Operator::TableJoinThis | Operator::TableJoinOther => {}
            _ => return Err(Unfit::NoStore(table)),
        }
        let own = node.inputs.first().and_then(|edge| of_keys[edge.node]);
        if own.is_some_and(|own| own.fits(found)) { Ok(()) } else { Err(Unfit::Windows(own, found)) }
    }
}
