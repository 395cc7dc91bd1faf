//! A Mermaid flow chart.

use std::fmt::Write as _;

use super::view::{View, edges};

pub fn mermaid(view: &View) -> String {
    let mut out = "flowchart TD\n".to_owned();
    for topic in &view.topics {
        let partitions = topic.partitions.map(|partitions| format!("<br>{partitions} partitions")).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = writeln!(out, "  {}[/\"{}{partitions}\"/]", id("topic", &topic.name), quoted(&topic.name));
    }
    for subtopology in &view.subtopologies {
        let _ = writeln!(out, "  subgraph sub{0}[\"subtopology {0}\"]", subtopology.id);
        for node in &subtopology.nodes {
            let (name, operator) = (quoted(&node.name), node.operator);
            let _ = writeln!(out, "    {}[\"{name}<br><i>{operator}</i>\"]", id("node", &node.name));
        }
        for store in view.stores.iter().filter(|store| store.subtopology == Some(subtopology.id)) {
            let _ = writeln!(out, "    {}[(\"{}\")]", id("store", &store.name), quoted(&store.name));
        }
        out += "  end\n";
    }
    for node in &view.global_tables {
        let (name, operator) = (quoted(&node.name), node.operator);
        let _ = writeln!(out, "  {}[\"{name}<br><i>{operator}</i>\"]", id("node", &node.name));
    }
    for store in view.stores.iter().filter(|store| store.subtopology.is_none()) {
        let _ = writeln!(out, "  {}[(\"{}\")]", id("store", &store.name), quoted(&store.name));
    }
    for (from, to, dotted) in edges(view) {
        let arrow = if dotted { "-.-" } else { "-->" };
        let _ = writeln!(out, "  {} {arrow} {}", id(from.0, from.1), id(to.0, to.1));
    }
    out
}

/// Letters and digits; every other byte is written in hex, so that names stay apart.
fn id(kind: &str, name: &str) -> String {
    let byte =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("_{byte:02x}") };
    format!("{kind}_{}", name.bytes().map(byte).collect::<String>())
}

fn quoted(name: &str) -> String {
    name.replace('&', "#amp;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}
