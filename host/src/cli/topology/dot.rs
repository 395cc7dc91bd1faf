//! A graph for Graphviz.

use std::fmt::Write as _;

use super::view::{View, edges};

pub fn dot(view: &View) -> String {
    let mut out = format!("digraph {} {{\n  node [shape=box];\n", quoted(&view.id));
    for topic in &view.topics {
        let partitions = topic.partitions.map(|partitions| format!("\\n{partitions} partitions")).unwrap_or_default();
        let label = format!("{}{partitions}", escaped(&topic.name));
        // Writing into a String cannot fail.
        let _ = writeln!(out, "  {} [label=\"{label}\", shape=parallelogram];", id("topic", &topic.name));
    }
    for subtopology in &view.subtopologies {
        let _ = writeln!(out, "  subgraph cluster_{0} {{\n    label=\"subtopology {0}\";", subtopology.id);
        for node in &subtopology.nodes {
            let label = format!("{}\\n{}", escaped(&node.name), node.operator);
            let _ = writeln!(out, "    {} [label=\"{label}\"];", id("node", &node.name));
        }
        for store in view.stores.iter().filter(|store| store.subtopology == Some(subtopology.id)) {
            let label = escaped(&store.name);
            let _ = writeln!(out, "    {} [label=\"{label}\", shape=cylinder];", id("store", &store.name));
        }
        out += "  }\n";
    }
    for node in &view.global_tables {
        let label = format!("{}\\n{}", escaped(&node.name), node.operator);
        let _ = writeln!(out, "  {} [label=\"{label}\"];", id("node", &node.name));
    }
    for store in view.stores.iter().filter(|store| store.subtopology.is_none()) {
        let label = escaped(&store.name);
        let _ = writeln!(out, "  {} [label=\"{label}\", shape=cylinder];", id("store", &store.name));
    }
    for (from, to, dotted) in edges(view) {
        let style = if dotted { " [style=dotted, dir=none]" } else { "" };
        let _ = writeln!(out, "  {} -> {}{style};", id(from.0, from.1), id(to.0, to.1));
    }
    out + "}\n"
}

fn id(kind: &str, name: &str) -> String {
    quoted(&format!("{kind} {name}"))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
