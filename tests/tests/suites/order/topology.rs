//! Random topologies and random records for them.

use std::collections::BTreeMap;
use std::fmt;

use millstream_engine::topology::Description;
use millstream_engine::topology::description::{
    Input, Join, JoinWindows, Node, Punctuation, PunctuationTime, Store, Suppress, VERSION,
};
use proptest::prelude::*;

use super::code::Code;

/// A topology with what its user functions do, by node.
#[derive(Clone, Debug)]
pub struct Shape {
    pub description: Description,
    pub code: Vec<Code>,
    pub manifest: String,
    /// The application's `on_error`, and that of each source.
    pub policy: &'static str,
    pub policies: BTreeMap<String, &'static str>,
}

/// One node as drawn: numbers that mean something once the nodes in front of it are known.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    op: u8,
    parents: [u16; 2],
    salt: u8,
    /// Which stores, which topic, whether to materialise: bits.
    bits: u8,
}

/// What a topology is made from. Shown as what it becomes.
#[derive(Clone)]
pub struct Draws {
    sources: u8,
    table: u8,
    global: bool,
    nodes: Vec<Draw>,
    /// How often user functions reject, and what becomes of it.
    trouble: u8,
    policies: [u8; 4],
}

pub fn shape() -> impl Strategy<Value = Draws> {
    let draw = (any::<u8>(), any::<[u16; 2]>(), any::<u8>(), any::<u8>());
    let draw = draw.prop_map(|(op, parents, salt, bits)| Draw { op, parents, salt, bits });
    let nodes = prop::collection::vec(draw, 1..14);
    let sources = (1u8..4, 0u8..4, any::<bool>());
    (sources, nodes, 0u8..4, any::<[u8; 4]>()).prop_map(|((sources, table, global), nodes, trouble, policies)| Draws {
        sources,
        table,
        global,
        nodes,
        trouble,
        policies,
    })
}

impl fmt::Debug for Draws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = build(self);
        writeln!(f, "trouble {}\n{}", self.trouble, shape.manifest)?;
        for node in &shape.description.nodes {
            let Node { name, op, inputs, store, stores, topic, punctuations, suppress, .. } = node;
            let inputs: Vec<String> = inputs
                .iter()
                .map(|input| match input {
                    Input::Node(node) => node.clone(),
                    Input::Branch { node, branch } => format!("{node}[{branch}]"),
                })
                .collect();
            write!(f, "{name} {op} <- {}", inputs.join(" "))?;
            store.iter().chain(stores).try_for_each(|store| write!(f, " ({store})"))?;
            suppress.iter().try_for_each(|suppress| write!(f, " {suppress:?}"))?;
            topic.iter().try_for_each(|topic| write!(f, " > {topic}"))?;
            punctuations.iter().try_for_each(|every| write!(f, " {} {}", every.name, every.every_ms))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Records in the order in which they are written, and when intervals are cut.
#[derive(Clone, Debug)]
pub struct Script {
    pub records: Vec<Given>,
}

#[derive(Clone)]
pub struct Given {
    /// Modulo the number of sources.
    pub source: u8,
    pub key: Option<&'static str>,
    pub value: Option<&'static str>,
    pub timestamp: i64,
    pub header: bool,
    /// Behind this record everything is run; then the clock on the wall moves by so much, and an interval is cut.
    pub cut: Option<i64>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Given { source, key, value, timestamp, header, cut } = self;
        write!(f, "{source} {key:?} {value:?} at {timestamp} header {header} cut {cut:?}")
    }
}

/// What a draw may become: see [`Build::node`].
const OPS: u8 = 47;

const KEYS: [Option<&str>; 6] = [None, Some(""), Some("a"), Some("b"), Some("c"), Some("d")];
const VALUES: [Option<&str>; 7] = [None, Some(""), Some("u"), Some("v"), Some("w"), Some("x"), Some("y")];

pub fn script() -> impl Strategy<Value = Script> {
    let cut = prop_oneof![9 => Just(None), 1 => (0i64..40).prop_map(Some)];
    let given = (any::<u8>(), 0..KEYS.len(), 0..VALUES.len(), 0i64..60, any::<u8>(), cut);
    let given = given.prop_map(|(source, key, value, timestamp, bits, cut)| Given {
        source,
        key: KEYS[key],
        value: VALUES[value],
        timestamp: timestamp / 2,
        header: bits % 8 == 0,
        cut,
    });
    prop::collection::vec(given, 1..80).prop_map(|records| Script { records })
}

/// A place that gives elements: a node, or one of its branches.
#[derive(Clone, Copy)]
struct Port {
    node: usize,
    branch: Option<u16>,
}

#[derive(Default)]
struct Build {
    nodes: Vec<Node>,
    stores: Vec<Store>,
    streams: Vec<Port>,
    tables: Vec<Port>,
    /// Tables that can be looked up and know what a row was before.
    kept: Vec<Port>,
    counts: Vec<String>,
    /// The global table.
    global: Option<Port>,
    /// Stores of suppressions, which are nobody else's.
    held: Vec<String>,
}

/// Makes a description that the engine accepts.
pub fn build(draws: &Draws) -> Shape {
    let mut build = Build::default();
    for source in 0..draws.sources {
        let at = build.push(Node { op: "source".into(), ..named(format!("s{source}")) });
        build.streams.push(Port { node: at, branch: None });
    }
    if draws.table > 0 {
        let store = (draws.table > 1).then(|| build.store("t".into()));
        let is_kept = store.is_some();
        let at = build.push(Node { op: "table-source".into(), store, ..named("t".into()) });
        build.add_table(at, is_kept);
    }
    if draws.global {
        let store = Some(build.store("g".into()));
        let at = build.push(Node { op: "global-table-source".into(), store, ..named("g".into()) });
        build.global = Some(Port { node: at, branch: None });
    }
    for draw in &draws.nodes {
        build.node(*draw);
    }
    build.sinks();
    let code = build.nodes.iter().enumerate().map(|(at, _)| {
        let salt = draws.nodes.get(at % draws.nodes.len()).map_or(0, |draw| draw.salt);
        Code { salt: u32::from(salt) ^ (at as u32 * 7919), trouble: draws.trouble }
    });
    let code = code.collect();
    let policy = if draws.policies[3].is_multiple_of(16) { "fail" } else { "skip" };
    let policies = policies(&build.nodes, draws);
    let manifest = manifest(policy, &policies);
    let description = Description {
        version: VERSION,
        chains: draws.policies[0].is_multiple_of(2),
        nodes: build.nodes,
        stores: build.stores,
    };
    Shape { description, code, manifest, policy, policies }
}

fn named(name: String) -> Node {
    Node { name, ..Node::default() }
}

impl Build {
    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn store(&mut self, name: String) -> String {
        if !self.stores.iter().any(|store| store.name == name) {
            self.stores.push(Store {
                reuse_source_topic: false,
                name: name.clone(),
                kind: "key-value".into(),
                key: "bytes".into(),
                value: "bytes".into(),
                window_size_ms: None,
                retention_ms: None,
                retain_duplicates: false,
                cache_bytes: None,
                provider: None,
                changelog: None,
            });
        }
        name
    }

    fn input(&self, port: Port) -> Input {
        let node = self.nodes[port.node].name.clone();
        match port.branch {
            None => Input::Node(node),
            Some(branch) => Input::Branch { node, branch },
        }
    }

    fn node(&mut self, draw: Draw) {
        let at = self.nodes.len();
        let pick = |ports: &[Port], by: u16| ports[usize::from(by) % ports.len()];
        let stream = pick(&self.streams, draw.parents[0]);
        let other = pick(&self.streams, draw.parents[1]);
        let table = (!self.tables.is_empty()).then(|| pick(&self.tables, draw.parents[0]));
        let kept = |by: usize| (!self.kept.is_empty()).then(|| pick(&self.kept, draw.parents[by]));
        let (one, two) = (kept(0), kept(1));
        let stateless =
            ["filter", "filter-not", "map", "map-values", "flat-map", "flat-map-values", "select-key", "peek"];
        match (draw.op % OPS, one, two, self.global) {
            (24..36, Some(one), Some(two), _) => return self.joins(draw, (stream, other), (one, two)),
            (38..41, ..) => return self.join_streams(draw, stream, other),
            (41..44, Some(one), ..) => return self.suppress(draw, one),
            (44.., _, _, Some(global)) => return self.join_global(draw, stream, global),
            _ => {}
        }
        match (draw.op % 24, table) {
            (op @ 0..8, _) => self.stream(stateless[usize::from(op)], &[stream], |_| {}),
            (8, _) => {
                self.stream("branch", &[stream], |_| {});
                self.streams.pop();
                self.streams.extend((0..2).map(|branch| Port { node: at, branch: Some(branch) }));
            }
            (9 | 10, _) => self.stream("merge", &[stream, other], |_| {}),
            (op @ 11..14, _) => {
                let op = ["count", "reduce", "aggregate"][usize::from(op) - 11];
                let store = self.store(format!("a{at}"));
                if op == "count" {
                    self.counts.push(store.clone());
                }
                self.table(op, &[stream], Some(store));
            }
            (14, _) => self.stream("repartition", &[stream], |_| {}),
            (15, Some(table)) => {
                let input = self.input(table);
                let at = self.push(Node { op: "to-stream".into(), inputs: vec![input], ..named(format!("n{at}")) });
                self.streams.push(Port { node: at, branch: None });
            }
            (op @ 16..19, Some(table)) => {
                let op = ["table-filter", "table-filter-not", "table-map-values"][usize::from(op) - 16];
                let store = draw.bits.is_multiple_of(2).then(|| self.store(format!("m{at}")));
                self.table(op, &[table], store);
            }
            _ => self.process(draw, stream, other),
        }
    }

    fn stream(&mut self, op: &str, parents: &[Port], change: impl FnOnce(&mut Node)) {
        let name = format!("n{}", self.nodes.len());
        let inputs = parents.iter().map(|port| self.input(*port)).collect();
        let mut node = Node { op: op.into(), inputs, ..named(name) };
        change(&mut node);
        let at = self.push(node);
        self.streams.push(Port { node: at, branch: None });
    }

    fn table(&mut self, op: &str, parents: &[Port], store: Option<String>) -> usize {
        let inputs = parents.iter().map(|port| self.input(*port)).collect();
        let name = format!("n{}", self.nodes.len());
        let by_parent = op.starts_with("table-") && self.kept.iter().any(|kept| kept.node == parents[0].node);
        let is_kept = store.is_some() || (by_parent && op != "table-group-by");
        let at = self.push(Node { op: op.into(), inputs, store, ..named(name) });
        self.add_table(at, is_kept);
        at
    }

    fn add_table(&mut self, at: usize, is_kept: bool) {
        let port = Port { node: at, branch: None };
        self.tables.push(port);
        self.kept.extend(is_kept.then_some(port));
    }

    /// Joins, grouped tables, cogroups and streams read as tables.
    fn joins(&mut self, draw: Draw, (stream, other): (Port, Port), (one, two): (Port, Port)) {
        let at = self.nodes.len();
        let joins = [Join::Inner, Join::Left, Join::Outer];
        let (op, by) = (draw.op % OPS, usize::from(draw.salt));
        let store = |build: &mut Build| draw.bits.is_multiple_of(2).then(|| build.store(format!("j{at}")));
        match op {
            24 | 25 => {
                let store = self.store(format!("t{at}"));
                self.table("to-table", &[stream], Some(store));
            }
            26 | 27 => {
                let op = ["table-count", "table-reduce", "table-aggregate"][by % 3];
                let grouped = self.table("table-group-by", &[one], None);
                self.tables.pop();
                let store = self.store(format!("g{at}"));
                if op == "table-count" {
                    self.counts.push(store.clone());
                }
                self.table(op, &[Port { node: grouped, branch: None }], Some(store));
            }
            28 => {
                let store = self.store(format!("c{at}"));
                self.table("cogroup", &[stream, other], Some(store));
            }
            29 | 30 => {
                self.stream("stream-table-join", &[stream, one], |node| node.join = Some(joins[by % 2]));
            }
            31..34 => {
                let store = store(self);
                let at = self.table("table-join", &[one, two], store);
                self.nodes[at].join = Some(joins[by % 3]);
            }
            _ => {
                let store = store(self);
                let at = self.table("foreign-key-join", &[one, two], store);
                self.nodes[at].join = Some(joins[by % 2]);
            }
        }
    }

    fn suppress(&mut self, draw: Draw, table: Port) {
        let store = self.store(format!("h{}", self.nodes.len()));
        self.held.push(store.clone());
        let at = self.table("suppress", &[table], Some(store));
        let (ms, bits) = (i64::from(draw.salt % 16), draw.bits);
        let max_records = (bits & 3 == 0).then_some(u64::from(bits >> 2 & 3));
        let max_bytes = (bits & 3 == 1).then_some(100 * u64::from(bits >> 2 & 7));
        self.nodes[at].suppress = Some(Suppress::TimeLimit { ms, max_records, max_bytes, when_full: None });
    }

    fn join_global(&mut self, draw: Draw, stream: Port, global: Port) {
        let join = [Join::Inner, Join::Left][usize::from(draw.salt) % 2];
        self.stream("stream-global-join", &[stream, global], |node| node.join = Some(join));
    }

    fn join_streams(&mut self, draw: Draw, stream: Port, other: Port) {
        let by = i64::from(draw.salt);
        let windows = JoinWindows { before_ms: by % 7, after_ms: by / 7 % 5, grace_ms: i64::from(draw.bits % 4) };
        self.stream("stream-join", &[stream, other], |node| {
            node.join = Some([Join::Inner, Join::Left, Join::Outer][usize::from(draw.salt) % 3]);
            node.join_windows = Some(windows);
        });
    }

    /// Half of them share stores, with each other or with an operator's own; some have punctuations.
    fn process(&mut self, draw: Draw, stream: Port, other: Port) {
        let mut stores = Vec::new();
        if draw.bits & 1 != 0 {
            stores.push(self.store(format!("p{}", draw.bits >> 1 & 1)));
        }
        let names = self.stores.iter().map(|store| &store.name).filter(|name| !self.held.contains(name));
        let open: Vec<&String> = names.collect();
        if draw.bits & 4 != 0 && !open.is_empty() {
            let store = open[usize::from(draw.salt) % open.len()].clone();
            if !stores.contains(&store) {
                stores.push(store);
            }
        }
        if draw.bits & 18 == 18 && self.global.is_some() && !stores.iter().any(|store| store == "g") {
            stores.push("g".into());
        }
        let mut punctuations = Vec::new();
        if draw.bits & 8 != 0 {
            let every_ms = 1 + i64::from(draw.salt % 9);
            punctuations.push(Punctuation { name: "tick".into(), time: PunctuationTime::Stream, every_ms });
        }
        if draw.bits & 48 == 48 {
            punctuations.push(Punctuation { name: "tock".into(), time: PunctuationTime::WallClock, every_ms: 25 });
        }
        let parents = if draw.bits & 64 != 0 { vec![stream, other] } else { vec![stream] };
        self.stream("process", &parents, |node| (node.stores, node.punctuations) = (stores, punctuations));
    }

    /// Everything ends in one of two topics; the first node behind a port counts its children from here.
    fn sinks(&mut self) {
        let used: Vec<(String, Option<u16>)> = self
            .nodes
            .iter()
            .flat_map(|node| &node.inputs)
            .map(|input| match input {
                Input::Node(node) => (node.clone(), None),
                Input::Branch { node, branch } => (node.clone(), Some(*branch)),
            })
            .collect();
        let ends = self.streams.clone().into_iter().enumerate();
        for (at, port) in ends {
            let is_used = used.contains(&(self.nodes[port.node].name.clone(), port.branch));
            // Some that are used get a sink too, so that ways part there.
            if !is_used || at % 3 == 0 {
                let (inputs, name) = (vec![self.input(port)], format!("k{}", self.nodes.len()));
                let topic = Some(format!("out{}", at % 2));
                self.push(Node { op: "sink".into(), inputs, topic, ..named(name) });
            }
        }
    }
}

/// To fail ends a test early, so it is rare.
fn policy(by: u8) -> &'static str {
    match by % 16 {
        0 => "fail",
        1..=8 => "skip",
        _ => "dead-letter:dead",
    }
}

fn policies(nodes: &[Node], draws: &Draws) -> BTreeMap<String, &'static str> {
    let sources = nodes.iter().filter(|node| ["source", "table-source"].contains(&node.op.as_str()));
    sources.zip(draws.policies).map(|(source, by)| (source.name.clone(), policy(by))).collect()
}

fn manifest(on_error: &str, policies: &BTreeMap<String, &'static str>) -> String {
    let mut manifest =
        format!("id = \"app\"\non_error = \"{on_error}\"\nretry = {{ attempts = 2, backoff = \"5ms\" }}\n");
    for (source, on_error) in policies {
        manifest += &format!("[sources.{source}]\non_error = \"{on_error}\"\n");
    }
    manifest
}

/// The topics of the sources, in order of their nodes, and of the global table.
pub fn source_topics(description: &Description) -> Vec<String> {
    let reads = ["source", "table-source", "global-table-source"];
    let sources = description.nodes.iter().filter(|node| reads.contains(&node.op.as_str()));
    sources.map(|node| node.name.clone()).collect()
}

/// The store of what waits for a partner in a join of streams.
pub fn shared_store(node: &Node) -> Option<String> {
    match node.join.filter(|_| node.op == "stream-join")? {
        Join::Inner => None,
        Join::Left => Some(format!("{}-left-shared-join-store", node.name)),
        Join::Outer => Some(format!("{}-outer-shared-join-store", node.name)),
    }
}

/// Whether what a store holds is a suppression's.
fn holds_back(description: &Description, store: &str) -> bool {
    description.nodes.iter().any(|node| node.op == "suppress" && node.store.as_deref() == Some(store))
}

/// The stores of a description, and those that foreign-key joins and joins of streams bring along. Of what the latter
/// keep in windows, and suppressions hold back, the changelogs tell.
pub fn store_names(description: &Description) -> Vec<String> {
    let joins = description.nodes.iter().filter(|node| node.op == "foreign-key-join");
    let own = joins.map(|node| format!("{}-subscription-store", node.name));
    let shared = description.nodes.iter().filter_map(shared_store);
    let named = description.stores.iter().map(|store| store.name.clone());
    named.filter(|store| !holds_back(description, store)).chain(own).chain(shared).collect()
}

/// How many children a node has: inputs that name it.
pub fn children(description: &Description) -> BTreeMap<String, u16> {
    let mut children = BTreeMap::new();
    for input in description.nodes.iter().flat_map(|node| &node.inputs) {
        *children.entry(input.node().to_owned()).or_default() += 1;
    }
    children
}
