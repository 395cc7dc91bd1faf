//! Kafka Streams' own text, so that what reads it reads ours, with tables of stores and topics behind it.

use std::fmt::Write as _;

use super::view::{NodeView, Role, StoreView, View};
use crate::cli::output::table;

pub fn text(view: &View) -> String {
    let mut out = "Topologies:\n".to_owned();
    for subtopology in &view.subtopologies {
        let tasks = subtopology.tasks.map(|tasks| format!(" ({tasks} tasks)")).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = writeln!(out, "   Sub-topology: {}{tasks}", subtopology.id);
        subtopology.nodes.iter().for_each(|node| write_node(&mut out, node));
        out.push('\n');
    }
    for (place, node) in view.global_tables.iter().enumerate() {
        let id = view.subtopologies.len() + place;
        let _ = writeln!(out, "   Sub-topology: {id} for global store (will not generate tasks)");
        write_node(&mut out, node);
        out.push('\n');
    }
    if !view.stores.is_empty() {
        let changelog = |store: &StoreView| match (&store.changelog_topic, store.reuses_source_topic) {
            (None, _) => "none".to_owned(),
            (Some(topic), false) => topic.clone(),
            (Some(topic), true) => format!("{topic} (source)"),
        };
        let rows = view
            .stores
            .iter()
            .map(|store| [store.name.clone(), store.kind.clone(), store.provider.clone(), changelog(store)]);
        out += &table(["store", "kind", "provider", "changelog"], &[], rows);
        out.push('\n');
    }
    let rows = view.topics.iter().map(|topic| {
        let partitions = topic.partitions.map_or("?".to_owned(), |partitions| partitions.to_string());
        [topic.name.clone(), partitions, if topic.internal { "internal" } else { "" }.to_owned()]
    });
    out + &table(["topic", "partitions", ""], &[1], rows)
}

fn write_node(out: &mut String, node: &NodeView) {
    let (name, topic) = (&node.name, node.topic.as_deref().unwrap_or_default());
    let head = match node.role {
        Role::Source => format!("Source: {name} (topics: [{topic}])"),
        Role::Processor => format!("Processor: {name} (stores: [{}])", node.stores.join(", ")),
        Role::Sink => format!("Sink: {name} (topic: {topic})"),
    };
    let _ = writeln!(out, "    {head}");
    if node.role != Role::Sink {
        let _ = writeln!(out, "      --> {}", names(&node.children));
    }
    if node.role != Role::Source {
        let _ = writeln!(out, "      <-- {}", names(&node.inputs));
    }
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
