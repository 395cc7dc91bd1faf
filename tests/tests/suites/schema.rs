//! `wit/topology.schema.json` says what the host takes: held against each other on every guest's description, and on
//! thousands of descriptions with one thing wrong.

use millstream::wasm::{Compiler, Component, Engine};
use millstream_engine::config::{Limits, Manifest};
use millstream_engine::topology::{Blueprint, Description};
use serde_json::{Value, json};
use tests::guests::{self, root};
use tests::schema::Schema;

fn schema() -> Schema {
    Schema::parse(&std::fs::read_to_string(root().join("wit/topology.schema.json")).unwrap())
}

/// What the host says of a description, under a manifest that allows everything.
fn host(description: &Value) -> Result<(), String> {
    let parsed: Description = serde_json::from_value(description.clone()).map_err(|error| error.to_string())?;
    let manifest = Manifest::parse("id = 'a'\nguarantee = 'at-least-once'", "app.toml").unwrap();
    Blueprint::new(manifest, &parsed).map(drop).map_err(|problem| problem.message)
}

/// What no schema can say: how nodes, stores and topics stand to each other.
const RELATIONS: [&str; 28] = [
    "global table",
    "beside a committed offset",
    "there are no windows in front of it",
    "keeps versions",
    "end before they begin",
    "keeps windows of",
    "keeps windows for",
    "must have a window_size_ms of",
    "may be 1 to its size",
    "a record would be in more than",
    "is of kind",
    "is not a node in front of it",
    "is not declared",
    "is declared twice",
    "is not connected to any node",
    "is bad or taken",
    "nothing flows out of",
    "it takes a stream",
    "it takes a table",
    "grouped table",
    "which has no store",
    "has no store that knows them",
    "has no branches",
    "say which branch",
    "would share the topic",
    "would be called",
    "would be in one subtopology",
    "cannot begin a topic",
];

/// Every operator and every key.
fn whole() -> Value {
    let node = |name: &str, op: &str, input: &str| json!({"name": name, "op": op, "inputs": [input]});
    json!({
        "version": 1,
        "nodes": [
            {"name": "in", "op": "source", "topic": "in-topic", "key": "utf8", "value": "json", "timestamp": "function"},
            {"name": "rows", "op": "table-source", "store": "rows-store", "key": "utf8", "value": "own-codec",
             "timestamp": "log-append", "invalid_timestamp": "skip"},
            {"name": "several", "op": "source", "topics": ["this", "that"], "invalid_timestamp": "partition-time"},
            {"name": "matching", "op": "source", "pattern": "these|those", "timestamp": "wall-clock"},
            node("filter", "filter", "in"),
            node("filter-not", "filter-not", "filter"),
            node("peek", "peek", "filter-not"),
            node("map-values", "map-values", "peek"),
            node("flat-map-values", "flat-map-values", "map-values"),
            node("split", "branch", "flat-map-values"),
            {"name": "map", "op": "map", "inputs": [{"node": "split", "branch": 0}]},
            {"name": "flat-map", "op": "flat-map", "inputs": [{"node": "split", "branch": 1}]},
            {"name": "both", "op": "merge", "inputs": ["map", "flat-map"]},
            node("select-key", "select-key", "both"),
            {"name": "spread", "op": "repartition", "inputs": ["select-key"], "partitions": 4, "key": "i64"},
            {"name": "count", "op": "count", "inputs": ["spread"], "store": "counts"},
            {"name": "reduce", "op": "reduce", "inputs": ["spread"], "store": "sums"},
            {"name": "aggregate", "op": "aggregate", "inputs": ["spread"], "store": "folds"},
            {"name": "some", "op": "table-filter", "inputs": ["count"], "store": "some-rows"},
            node("others", "table-filter-not", "reduce"),
            node("mapped", "table-map-values", "rows"),
            node("stream", "to-stream", "some"),
            {"name": "again", "op": "to-table", "inputs": ["spread"], "store": "again-rows"},
            node("grouped", "table-group-by", "rows"),
            {"name": "group-count", "op": "table-count", "inputs": ["grouped"], "store": "group-counts"},
            {"name": "group-reduce", "op": "table-reduce", "inputs": ["grouped"], "store": "group-sums"},
            {"name": "group-fold", "op": "table-aggregate", "inputs": ["grouped"], "store": "group-folds"},
            {"name": "together", "op": "cogroup", "inputs": ["spread", "in"], "store": "togethers"},
            {"name": "together-hops", "op": "cogroup", "inputs": ["spread", "in"], "store": "together-hops-rows",
             "window": {"type": "time", "size_ms": 10, "advance_ms": 10, "grace_ms": 3}},
            {"name": "hops", "op": "count", "inputs": ["spread"], "store": "hops-rows",
             "window": {"type": "time", "size_ms": 10, "advance_ms": 5, "grace_ms": 3}, "emit": "on-window-close"},
            {"name": "slides", "op": "reduce", "inputs": ["spread"], "store": "slides-rows",
             "window": {"type": "sliding", "difference_ms": 10, "grace_ms": 3}},
            {"name": "visits", "op": "aggregate", "inputs": ["spread"], "store": "visits-rows",
             "window": {"type": "session", "gap_ms": 10, "grace_ms": 3}},
            {"name": "held", "op": "suppress", "inputs": ["count"], "store": "held-rows",
             "suppress": {"until": "time-limit", "ms": 5, "max_records": 3, "max_bytes": 7, "when_full": "emit-early"}},
            {"name": "final", "op": "suppress", "inputs": ["visits"], "store": "final-rows",
             "suppress": {"until": "window-close", "max_records": 3, "max_bytes": 7}},
            {"name": "near", "op": "stream-join", "inputs": ["spread", "in"], "join": "outer", "key": "utf8", "value": "json",
             "other_value": "i64", "join_windows": {"before_ms": 0, "after_ms": 2, "grace_ms": 0}},
            {"name": "met", "op": "stream-table-join", "inputs": ["spread", "again"], "join": "left"},
            {"name": "places", "op": "global-table-source", "store": "places-rows", "topic": "places-topic", "key": "utf8", "value": "json"},
            {"name": "placed", "op": "stream-global-join", "inputs": ["spread", "places"], "join": "left"},
            {"name": "history", "op": "to-table", "inputs": ["spread"], "store": "history-rows"},
            {"name": "met-then", "op": "stream-table-join", "inputs": ["spread", "history"], "join": "inner", "grace_ms": 5},
            {"name": "joined", "op": "table-join", "inputs": ["rows", "again"], "join": "outer", "store": "joined-rows"},
            {"name": "by-foreign-key", "op": "foreign-key-join", "inputs": ["rows", "again"], "join": "inner"},
            {"name": "own", "op": "process", "inputs": ["spread"], "schedules": true, "resumes": true, "fixed_key": true, "stores": ["kept", "folds", "windows", "more-windows", "sessions", "versions"],
             "punctuations": [{"name": "tick", "time": "stream", "every_ms": 1000},
                              {"name": "tock", "time": "wall-clock", "every_ms": 1}]},
            {"name": "out", "op": "sink", "inputs": ["stream"], "topic": "out-topic", "key": "utf8", "value": "i64"},
            {"name": "somewhere", "op": "sink", "inputs": ["in"], "topics": ["here", "there"], "partitioner": true},
        ],
        "stores": [
            {"name": "rows-store", "kind": "key-value", "key": "utf8", "value": "own-codec", "provider": "lmdb"},
            {"name": "counts", "kind": "key-value", "key": "utf8", "value": "i64", "changelog": true, "cache_bytes": 0},
            {"name": "sums", "kind": "key-value", "key": "utf8", "value": "f64", "changelog": false},
            {"name": "folds", "kind": "key-value", "key": "utf8", "value": "bytes"},
            {"name": "some-rows", "kind": "key-value", "key": "utf8", "value": "i64", "provider": "memory"},
            {"name": "kept", "kind": "key-value", "key": "i32", "value": "json"},
            {"name": "again-rows", "kind": "key-value", "key": "utf8", "value": "json"},
            {"name": "group-counts", "kind": "key-value", "key": "utf8", "value": "i64"},
            {"name": "group-sums", "kind": "key-value", "key": "utf8", "value": "i64"},
            {"name": "group-folds", "kind": "key-value", "key": "utf8", "value": "i64", "cache_bytes": 33554432},
            {"name": "togethers", "kind": "key-value", "key": "utf8", "value": "i64"},
            {"name": "held-rows", "kind": "key-value", "key": "utf8", "value": "bytes"},
            {"name": "final-rows", "kind": "key-value", "key": "session-windowed", "value": "bytes"},
            {"name": "joined-rows", "kind": "key-value", "key": "utf8", "value": "json"},
            {"name": "hops-rows", "kind": "window", "key": "utf8", "value": "i64", "window_size_ms": 10, "retention_ms": 13},
            {"name": "together-hops-rows", "kind": "window", "key": "utf8", "value": "i64", "window_size_ms": 10,
             "retention_ms": 13},
            {"name": "slides-rows", "kind": "window", "key": "utf8", "value": "i64", "window_size_ms": 10, "retention_ms": 23},
            {"name": "visits-rows", "kind": "session", "key": "utf8", "value": "i64", "retention_ms": 13},
            {"name": "places-rows", "kind": "key-value", "key": "utf8", "value": "json", "changelog": false},
            {"name": "history-rows", "kind": "versioned", "key": "utf8", "value": "json", "retention_ms": 100},
            {"name": "windows", "kind": "window", "key": "utf8", "value": "i64", "window_size_ms": 10, "retention_ms": 60},
            {"name": "more-windows", "kind": "window", "key": "utf8", "value": "i64", "window_size_ms": 1,
             "retention_ms": i64::MAX, "retain_duplicates": true, "changelog": false},
            {"name": "sessions", "kind": "session", "key": "utf8", "value": "i64", "retention_ms": 1},
            {"name": "versions", "kind": "versioned", "key": "utf8", "value": "i64", "retention_ms": 0, "provider": "lmdb"},
        ],
    })
}

#[test]
fn every_guests_description_is_valid() {
    let (engine, schema) = (Engine::new(Limits::default().stack, Compiler::in_process()).unwrap(), schema());
    let valid = |name: &str, bytes: &[u8]| {
        let component = Component::load(&engine, bytes, Limits::default()).unwrap();
        let described = serde_json::to_value(component.describe("a", "{}").unwrap()).unwrap();
        assert_eq!(schema.errors(&described), [""; 0], "{name}");
        assert_eq!(host(&described), Ok(()), "{name}");
    };
    for dir in [
        "plugins/word-count",
        "plugins/flights",
        "plugins/flights-weather",
        "plugins/nexmark",
        "tests/guests/operators",
        "tests/guests/js-orders",
    ] {
        valid(dir, &std::fs::read(guests::plugin(&engine, dir).unwrap()).unwrap());
    }
}

#[test]
fn the_host_and_the_schema_take_the_same() {
    let (schema, whole) = (schema(), whole());
    assert_eq!(schema.errors(&whole), [""; 0]);
    assert_eq!(host(&whole), Ok(()));
    let mut wrong = Vec::new();
    let mutations = mutations(&whole);
    for (what, document) in &mutations {
        let (by_schema, by_host) = (schema.errors(document), host(document));
        let may_differ = by_host.as_ref().is_err_and(|why| why.lines().all(is_relation));
        if by_schema.is_empty() != by_host.is_ok() && !(by_schema.is_empty() && may_differ) {
            wrong.push(format!("{what}\n    schema: {by_schema:?}\n    host: {by_host:?}"));
        }
    }
    assert!(mutations.len() > 1_000, "{}", mutations.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), mutations.len(), wrong.join("\n"));
}

fn is_relation(line: &str) -> bool {
    RELATIONS.iter().any(|relation| line.contains(relation))
}

/// A document with one place changed, for every place and every change.
fn mutations(whole: &Value) -> Vec<(String, Value)> {
    let long = "n".repeat(201);
    let mut others = vec![Value::Null, json!(true), json!(false), json!([]), json!({}), json!(["x"]), json!({"x": 1})];
    others.extend([-1, 0, 1, 2, 65_534, 65_535, i64::MAX].map(Value::from));
    others.extend([u64::from(u32::MAX), u64::MAX].map(Value::from));
    others.extend(["", ".", "..", "x", "no name", "grün", "memory", "redis", "stream", &long].map(Value::from));
    others.push(json!("t".repeat(250)));
    let operators = whole["nodes"].as_array().unwrap().iter().map(|node| node["op"].clone());
    let operators: Vec<Value> = operators.chain(["repartition-source", "window"].map(Value::from)).collect();
    let mut all = Vec::new();
    for place in places(whole, String::new()) {
        let mut change = |what: String, change: &dyn Fn(&mut Value)| {
            let mut document = whole.clone();
            change(document.pointer_mut(&place).unwrap());
            all.push((format!("{place}: {what}"), document));
        };
        for other in others.iter().chain(operators.iter().filter(|_| place.ends_with("/op"))) {
            change(other.to_string(), &|value| *value = other.clone());
        }
        let Some(found) = whole.pointer(&place) else { continue };
        for name in found.as_object().into_iter().flat_map(|object| object.keys()) {
            change(format!("without {name}"), &|value| drop(value.as_object_mut().unwrap().remove(name)));
        }
        if found.is_object() {
            let keys = ["more", "topic", "store", "key", "provider", "branch"].map(|key| (key, json!("counts")));
            let keys = keys.into_iter().chain([("partitions", json!(2)), ("changelog", json!(true))]);
            let lists = ["stores", "punctuations", "inputs"].map(|key| (key, json!([])));
            for (key, with) in keys.chain(lists) {
                change(format!("with {key}"), &|value| {
                    drop(value.as_object_mut().unwrap().insert(key.into(), with.clone()))
                });
            }
        }
        if let Some(last) = found.as_array().and_then(|items| items.last()) {
            change("without the last".to_owned(), &|value| drop(value.as_array_mut().unwrap().pop()));
            change("the last twice".to_owned(), &|value| value.as_array_mut().unwrap().push(last.clone()));
            change("a thousand".to_owned(), &|value| value.as_array_mut().unwrap().resize(1_001, last.clone()));
        }
    }
    all
}

/// The pointers to all values of a document.
fn places(value: &Value, at: String) -> Vec<String> {
    let inside: Vec<String> = match value {
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(n, item)| places(item, format!("{at}/{n}"))).collect()
        }
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, field)| places(field, format!("{at}/{name}"))).collect()
        }
        _ => Vec::new(),
    };
    [vec![at], inside].concat()
}
