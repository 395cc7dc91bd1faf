//! The pictures of a topology, whole: for Mermaid and for Graphviz.

use serde_json::json;
use tests::guests;
use tests::logs::{each_log, unique};
use tests::millstream::Millstream;

/// `ID`, `LINES` and `OUT` stand for what is called otherwise in each run; Mermaid's ids have their hyphens in hex.
const MERMAID: &str = r#"flowchart TD
  topic_ID_2dcounts_2dchangelog[/"ID-counts-changelog<br>3 partitions"/]
  topic_ID_2dnames[/"ID-names<br>1 partitions"/]
  topic_ID_2dspread_2drepartition[/"ID-spread-repartition<br>3 partitions"/]
  topic_LINES[/"LINES<br>2 partitions"/]
  topic_OUT[/"OUT<br>1 partitions"/]
  subgraph sub0["subtopology 0"]
    node_lines["lines<br><i>source</i>"]
    node_spread["spread<br><i>repartition</i>"]
  end
  subgraph sub1["subtopology 1"]
    node_spread_2dsource["spread-source<br><i>repartition-source</i>"]
    node_count["count<br><i>count</i>"]
    node_changes["changes<br><i>to-stream</i>"]
    node_out["out<br><i>sink</i>"]
    store_counts[("counts")]
  end
  topic_LINES --> node_lines
  node_lines --> node_spread
  node_spread --> topic_ID_2dspread_2drepartition
  topic_ID_2dspread_2drepartition --> node_spread_2dsource
  node_spread_2dsource --> node_count
  node_count --> node_changes
  node_count -.- store_counts
  node_changes --> node_out
  node_out --> topic_OUT
"#;

const DOT: &str = r#"digraph "ID" {
  node [shape=box];
  "topic ID-counts-changelog" [label="ID-counts-changelog\n3 partitions", shape=parallelogram];
  "topic ID-names" [label="ID-names\n1 partitions", shape=parallelogram];
  "topic ID-spread-repartition" [label="ID-spread-repartition\n3 partitions", shape=parallelogram];
  "topic LINES" [label="LINES\n2 partitions", shape=parallelogram];
  "topic OUT" [label="OUT\n1 partitions", shape=parallelogram];
  subgraph cluster_0 {
    label="subtopology 0";
    "node lines" [label="lines\nsource"];
    "node spread" [label="spread\nrepartition"];
  }
  subgraph cluster_1 {
    label="subtopology 1";
    "node spread-source" [label="spread-source\nrepartition-source"];
    "node count" [label="count\ncount"];
    "node changes" [label="changes\nto-stream"];
    "node out" [label="out\nsink"];
    "store counts" [label="counts", shape=cylinder];
  }
  "topic LINES" -> "node lines";
  "node lines" -> "node spread";
  "node spread" -> "topic ID-spread-repartition";
  "topic ID-spread-repartition" -> "node spread-source";
  "node spread-source" -> "node count";
  "node count" -> "node changes";
  "node count" -> "store counts" [style=dotted, dir=none];
  "node changes" -> "node out";
  "node out" -> "topic OUT";
}
"#;

#[test]
fn a_topology_of_two_subtopologies_is_drawn_whole() {
    each_log(|log| {
        let (id, lines, out) = (unique("drawn"), log.topic("lines", 2), log.topic("out", 1));
        let described = json!({
            "version": 1,
            "nodes": [
                {"name": "lines", "op": "source", "topic": lines},
                {"name": "spread", "op": "repartition", "inputs": ["lines"], "partitions": 3},
                {"name": "count", "op": "count", "inputs": ["spread"], "store": "counts"},
                {"name": "changes", "op": "to-stream", "inputs": ["count"]},
                {"name": "out", "op": "sink", "inputs": ["changes"], "topic": out},
            ],
            "stores": [{"name": "counts", "kind": "key-value", "key": "utf8", "value": "i64"}],
        });
        let mill = Millstream::new(log.log.url());
        std::fs::write(mill.dir().join("guest.wasm"), guests::described_as(&described.to_string()).unwrap()).unwrap();
        mill.write("app.toml", &format!("id = \"{id}\"\ncomponent = \"guest.wasm\"\n"));
        let drawn = |format: &str| mill.run(&["topology", ".", "-o", format]).ok().stdout;
        let mermaid =
            [("ID", &id), ("LINES", &lines), ("OUT", &out)].iter().fold(MERMAID.to_owned(), |text, (name, own)| {
                text.replace(&format!("_{name}"), &format!("_{}", own.replace('-', "_2d"))).replace(name, own)
            });
        assert_eq!(drawn("mermaid"), mermaid);
        let dot = DOT.replace("ID", &id).replace("LINES", &lines).replace("OUT", &out);
        assert_eq!(drawn("dot"), dot);
        assert_eq!(undeclared(&dot), [""; 0], "Graphviz would make boxes of their own for these");
    });
}

/// Ends of arrows that no statement before declares.
fn undeclared(dot: &str) -> Vec<&str> {
    let mut depth = 0;
    let (mut declared, mut missing) = (Vec::new(), Vec::new());
    for line in dot.lines().map(str::trim) {
        depth += line.matches('{').count();
        depth -= line.matches('}').count();
        assert!(line.ends_with(['{', '}', ';']) && line.matches('"').count() % 2 == 0, "not a statement: {line}");
        let names: Vec<&str> = line.split(" [").next().unwrap_or_default().split(" -> ").collect();
        match names[..] {
            [from, to] => {
                let ends = [from, to].map(|end| end.trim_end_matches(';'));
                missing.extend(ends.into_iter().filter(|end| !declared.contains(end)));
            }
            _ => declared.extend(names),
        }
    }
    assert_eq!(depth, 0, "a brace is left open");
    missing
}
