//! What a new component changes of a running application, and whether it may.
//!
//! Nodes, stores and topics are matched by name: a renamed one is one that went and one that came.

use std::collections::BTreeSet;

use millstream_engine::store::StoreKind;
use millstream_engine::topology::description::Store;
use millstream_engine::topology::{Blueprint, Node, Operator};
use serde::Serialize;

/// Whether a difference stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// State and topics stay what they are.
    Safe,
    /// Somebody must say that it is meant: `allow` names the word.
    NeedsAllow,
    /// What lies in state or topics could not be read any more.
    Refused,
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `node`, `store`, `limit`
    pub kind: &'static str,
    pub name: String,
    pub change: String,
    pub class: Class,
    /// What to allow: `sources`, `sinks`, `codecs`, `stores`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
}

/// All differences, nodes first, each kind in order of names.
pub fn compare(old: &Blueprint, new: &Blueprint) -> Vec<Difference> {
    let mut found = Vec::new();
    let nodes = |of: &Blueprint| of.graph.nodes.iter().map(|node| node.name.clone()).collect::<BTreeSet<_>>();
    for name in nodes(old).union(&nodes(new)) {
        let find = |of: &Blueprint| of.graph.nodes.iter().position(|node| node.name == *name);
        match (find(old), find(new)) {
            (Some(before), Some(after)) => nodes_differ((old, before), (new, after), &mut found),
            (Some(gone), None) => found.push(gone_node(&old.graph.nodes[gone])),
            (None, Some(come)) => found.push(new_node(&new.graph.nodes[come])),
            (None, None) => {}
        }
    }
    let stores = |of: &Blueprint| of.graph.stores.iter().map(|store| store.name.clone()).collect::<BTreeSet<_>>();
    for name in stores(old).union(&stores(new)) {
        let find = |of: &'_ Blueprint| of.graph.stores.iter().find(|store| store.name == *name).cloned();
        match (find(old), find(new)) {
            (Some(before), Some(after)) => stores_differ((old, &before), (new, &after), &mut found),
            (Some(_), None) => found.push(store(name, "is gone", needs("stores"), "its state is left behind, unused")),
            (None, Some(_)) => found.push(store(name, "is new", SAFE, "")),
            (None, None) => {}
        }
    }
    found
}

type Judged = (Class, Option<&'static str>);

const SAFE: Judged = (Class::Safe, None);

fn needs(allow: &'static str) -> Judged {
    (Class::NeedsAllow, Some(allow))
}

fn node(name: &str, change: impl Into<String>, (class, allow): Judged, why: &'static str) -> Difference {
    Difference { kind: "node", name: name.to_owned(), change: change.into(), class, allow, why }
}

fn store(name: &str, change: impl Into<String>, (class, allow): Judged, why: &'static str) -> Difference {
    Difference { kind: "store", name: name.to_owned(), change: change.into(), class, allow, why }
}

/// What a component wants beyond a key of the manifest's `[limits]`, found before it could be asked for its topology.
pub fn limit(key: &str, change: &str) -> Difference {
    let why = "the manifest's limits hold for every component that runs under it";
    Difference {
        kind: "limit",
        name: key.to_owned(),
        change: change.to_owned(),
        class: Class::Refused,
        allow: None,
        why,
    }
}

/// Whether it stands for a topic that is read: by tasks, or whole into a global table.
fn reads(operator: Operator) -> bool {
    operator.is_source() || operator.reads_external()
}

fn gone_node(gone: &Node) -> Difference {
    match gone.operator {
        Operator::RepartitionSource => {
            let why = "its topic is not read any more; what is in it unread would stay behind";
            node(&gone.name, "is gone", needs("sources"), why)
        }
        operator if reads(operator) => {
            node(&gone.name, "is gone", needs("sources"), "its topic is not read any more; its committed offset stays")
        }
        Operator::Sink => node(&gone.name, "is gone", needs("sinks"), "its topic gets no more records"),
        _ => node(&gone.name, "is gone", SAFE, ""),
    }
}

fn new_node(come: &Node) -> Difference {
    match come.operator {
        operator if reads(operator) => {
            node(&come.name, "is new", needs("sources"), "it reads a topic that the one before it did not")
        }
        Operator::Sink => {
            node(&come.name, "is new", needs("sinks"), "it writes a topic that the one before it did not")
        }
        operator => node(&come.name, format!("is new: {}", operator.name()), SAFE, ""),
    }
}

fn nodes_differ((old, before): (&Blueprint, usize), (new, after): (&Blueprint, usize), found: &mut Vec<Difference>) {
    let (a, b) = (&old.graph.nodes[before], &new.graph.nodes[after]);
    if a.operator != b.operator {
        let change = format!("is {}, was {}", b.operator.name(), a.operator.name());
        let judged = match (reads(a.operator) || reads(b.operator), a.operator, b.operator) {
            (true, ..) | (_, Operator::RepartitionSource, _) => needs("sources"),
            (_, Operator::Sink, _) | (_, _, Operator::Sink) => needs("sinks"),
            _ => SAFE,
        };
        found.push(node(&a.name, change, judged, ""));
    }
    let topics = (old.topic_name(a), new.topic_name(b));
    if let ((Some(was), Some(is)), true) = (&topics, topics.0 != topics.1) {
        let allow = if b.operator == Operator::Sink { "sinks" } else { "sources" };
        found.push(node(&a.name, format!("topic {is}, was {was}"), needs(allow), ""));
    }
    let (was, is) = ((&a.key, &a.value), (&b.key, &b.value));
    if was != is {
        let names = |(key, value): (&Option<String>, &Option<String>)| {
            format!("{}/{}", key.as_deref().unwrap_or("-"), value.as_deref().unwrap_or("-"))
        };
        let change = format!("codecs {}, were {}", names(is), names(was));
        let why = "records that are in the topic already were written with the other codecs";
        found.push(node(&a.name, change, needs("codecs"), why));
    }
    let parents = |of: &Blueprint, at: &Node| {
        at.inputs.iter().map(|edge| (of.graph.nodes[edge.node].name.clone(), edge.branch)).collect::<Vec<_>>()
    };
    if parents(old, a) != parents(new, b) {
        found.push(node(&a.name, "has other parents", SAFE, ""));
    }
    if a.pattern != b.pattern {
        found.push(node(&a.name, "has its topics by another pattern", needs("sources"), ""));
    }
    if a.times != b.times {
        let change = "has its records' times from elsewhere";
        found.push(node(&a.name, change, needs("sources"), "what it has in windows and versions has the other times"));
    }
    if a.schedules != b.schedules {
        found.push(node(&a.name, "makes schedules while it runs, or does no more", SAFE, ""));
    }
    if a.fixed_key != b.fixed_key {
        found.push(node(&a.name, "keeps its records' keys, or does no more", SAFE, ""));
    }
    if a.resumes != b.resumes {
        found.push(node(&a.name, "has punctuations that go on by tokens, or has none any more", SAFE, ""));
    }
    if a.punctuations != b.punctuations {
        found.push(node(&a.name, "has other punctuations", SAFE, ""));
    }
    let stores = |of: &Blueprint, at: &Node| {
        let connected = at.stores.iter().chain(&at.globals);
        connected.map(|number| of.graph.stores[*number].name.clone()).collect::<BTreeSet<_>>()
    };
    let (was, is) = (stores(old, a), stores(new, b));
    if was != is {
        let names = |of: BTreeSet<String>| of.into_iter().collect::<Vec<_>>().join(", ");
        let change = format!("works on stores [{}], was [{}]", names(is), names(was));
        found.push(node(&a.name, change, needs("stores"), "it goes on with what the others have kept"));
    }
    let joined = |of: &Blueprint, at: &Node| {
        at.tables.iter().map(|table| of.graph.nodes[*table].name.clone()).collect::<Vec<_>>()
    };
    let computes = |of: &Node| (of.window, of.emit, of.join, of.join_windows, of.grace_ms);
    if computes(a) != computes(b) || joined(old, a) != joined(new, b) {
        let why = "its state goes on with what was computed the other way";
        found.push(node(&a.name, "has other windows, or joins otherwise", needs("stores"), why));
    }
    if a.partitions != b.partitions {
        let why = "a repartition topic keeps its number of partitions";
        found.push(node(&a.name, "has another number of partitions", (Class::Refused, None), why));
    }
}

fn stores_differ((old, a): (&Blueprint, &Store), (new, b): (&Blueprint, &Store), found: &mut Vec<Difference>) {
    if (&a.kind, &a.key, &a.value) != (&b.kind, &b.key, &b.value) {
        let change = format!("{} of {}/{}, was {} of {}/{}", b.kind, b.key, b.value, a.kind, a.key, a.value);
        let why = "its state and its changelog hold the other bytes";
        found.push(store(&a.name, change, (Class::Refused, None), why));
    }
    let (was, is) = (old.kind(a), new.kind(b));
    if was != is && was.name() == is.name() {
        let sizes = |kind| match kind {
            StoreKind::Window { size_ms, duplicates, .. } => (size_ms, duplicates),
            _ => (0, false),
        };
        if (was == StoreKind::Buffer) != (is == StoreKind::Buffer) {
            let shown =
                |kind: StoreKind| if kind == StoreKind::Buffer { "a suppression's" } else { "no suppression's" };
            let change = format!("is {}, was {}", shown(is), shown(was));
            found.push(store(
                &a.name,
                change,
                (Class::Refused, None),
                "its state and its changelog hold the other bytes",
            ));
        } else if was.is_closing() != is.is_closing() {
            let shown = |kind: StoreKind| if kind.is_closing() { "when they close" } else { "as they change" };
            let change = format!("gives windows away {}, was {}", shown(is), shown(was));
            found.push(store(&a.name, change, (Class::Refused, None), "its rows stand in another order"));
        } else if sizes(was) != sizes(is) {
            let change = format!("windows of {:?}, were {:?} (ms, duplicates)", sizes(is), sizes(was));
            found.push(store(&a.name, change, (Class::Refused, None), "its state holds other windows"));
        } else {
            let ms = |kind: StoreKind| kind.retention_ms().unwrap_or_default();
            let change = format!("retention {} ms, was {} ms", ms(is), ms(was));
            let why = "its rows lie in segments of the old length";
            found.push(store(&a.name, change, (Class::Refused, None), why));
        }
    }
    let (was, is) = (old.provider(a), new.provider(b));
    if was != is {
        let judged = if new.logged_topic(b).is_some() { SAFE } else { needs("stores") };
        let why = "it begins with what its changelog holds";
        found.push(store(&a.name, format!("provider {is}, was {was}"), judged, why));
    }
    let (was, is) = (old.cache(a), new.cache(b));
    if was != is {
        let shown = |bytes: Option<usize>| bytes.map_or("none".to_owned(), |bytes| format!("{bytes} bytes"));
        found.push(store(&a.name, format!("cache {}, was {}", shown(is), shown(was)), SAFE, ""));
    }
    if old.logged_topic(a) != new.logged_topic(b) {
        let shown = |topic: Option<String>| topic.unwrap_or_else(|| "none".to_owned());
        let change = format!("changelog {}, was {}", shown(new.logged_topic(b)), shown(old.logged_topic(a)));
        found.push(store(&a.name, change, needs("stores"), "what the old changelog holds is left behind"));
    }
}

#[cfg(test)]
mod tests;
