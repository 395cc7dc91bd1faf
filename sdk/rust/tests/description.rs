//! What a plugin says of itself, held against the host's reader of it.
#![allow(clippy::unwrap_used)]

use millstream_engine::topology::{Description, build};
use millstream_sdk::Plugin;
use millstream_sdk::prelude::*;
use serde_json::{Value, json};

fn describe<Args: 'static>(topology: impl millstream_sdk::Define<Args> + Send + Sync + 'static, config: &str) -> Value {
    let plugin = Plugin::new(topology, config).unwrap();
    let description: Description = serde_json::from_str(plugin.description()).unwrap();
    build(&description).unwrap();
    serde_json::from_str(plugin.description()).unwrap()
}

fn word_count(app: &mut Topology) {
    app.stream::<(), String>("lines")
        .flat_map_values(|line| line.split(' ').map(str::to_string).collect::<Vec<_>>())
        .group_by(|_, word| word.clone())
        .count(Materialized::named("word-counts").provider("lmdb").changelog(false))
        .to_stream()
        .to("counts");
}

#[test]
fn a_topology_is_described_node_by_node() {
    let expected = json!({
        "version": 1,
        "chains": true,
        "nodes": [
            {"name": "lines", "op": "source", "key": "bytes", "value": "utf8"},
            {"name": "flat-map-values-1", "op": "flat-map-values", "inputs": ["lines"]},
            {"name": "select-key-2", "op": "select-key", "inputs": ["flat-map-values-1"]},
            {"name": "count-3", "op": "count", "inputs": ["select-key-2"], "store": "word-counts"},
            {"name": "to-stream-4", "op": "to-stream", "inputs": ["count-3"]},
            {"name": "counts", "op": "sink", "inputs": ["to-stream-4"], "key": "utf8", "value": "i64"},
        ],
        "stores": [
            {"name": "word-counts", "kind": "key-value", "key": "utf8", "value": "i64", "provider": "lmdb", "changelog": false},
        ],
    });
    assert_eq!(describe(word_count, "{}"), expected);
}

struct Nothing;

impl Processor<String, i64, String, i64> for Nothing {
    fn process(&mut self, _: Record<String, i64>, _: &mut Context<String, i64>) -> Result<(), Failure> {
        Ok(())
    }
}

fn processors(app: &mut Topology) {
    let store = app.store::<i32, serde_json::Value>("state");
    let table = app.table::<String, f64>("rates", "rates-store");
    let mut split = app.stream::<String, i64>("in").split().named("split");
    let small = split.branch(|_, n| *n < 10).repartition(Repartitioned::named("again").partitions(3));
    let rest = split.default();
    rest.merge(&small).process("processor", |init| {
        init.store(&store);
        init.store(&table.store());
        init.store(&store);
        init.every_stream_time(Duration::from_secs(1), "tick");
        init.every_wall_clock_time(Duration::ZERO, "tock");
        Nothing
    });
}

#[test]
fn processors_say_what_they_need() {
    let described = describe(processors, "{}");
    let node = |name: &str| {
        let nodes = described["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["name"] == name).unwrap().clone()
    };
    let expected = json!({
        "name": "processor", "op": "process", "inputs": ["merge-4"], "stores": ["state", "rates-store"],
        "punctuations": [
            {"name": "tick", "time": "stream", "every_ms": 1000},
            {"name": "tock", "time": "wall-clock", "every_ms": 1},
        ],
    });
    assert_eq!(node("processor"), expected);
    let expected = json!({
        "name": "again", "op": "repartition", "inputs": [{"node": "split", "branch": 0}],
        "key": "utf8", "value": "i64", "partitions": 3,
    });
    assert_eq!(node("again"), expected);
    assert_eq!(node("merge-4")["inputs"], json!([{"node": "split", "branch": 1}, "again"]));
    let codecs = json!({"name": "rates", "op": "table-source", "key": "utf8", "value": "f64", "store": "rates-store"});
    assert_eq!(node("rates"), codecs);
}

#[test]
fn the_configuration_reaches_the_topology() {
    let topology = |app: &mut Topology, config: &Config| -> Result<(), String> {
        let topic: String = config.get("topic")?.unwrap_or("in".to_string());
        app.stream::<String, i64>(&topic).to("out");
        Ok(())
    };
    assert_eq!(describe(topology, "{}")["nodes"][0]["name"], "in");
    assert_eq!(describe(topology, r#"{"topic":"orders"}"#)["nodes"][0]["name"], "orders");
    let refused = Plugin::new(topology, r#"{"topic":7}"#).err().unwrap();
    assert!(refused.starts_with("[config] topic = 7: "), "{refused}");
}

#[test]
fn what_cannot_be_described_is_said_all_at_once() {
    let topology = |app: &mut Topology| {
        let counts = app.stream::<String, i64>("in").group_by_key().count("counts");
        counts.clone().materialized("twice");
        counts.filter(|_, n| *n > 1).store();
    };
    let refused = Plugin::new(topology, "{}").err().unwrap();
    let expected = "a `count` has its store already; leave `materialized` out\n\
                    a `table-filter` has no store; give it one with `materialized`";
    assert_eq!(refused, expected);
}

/// A codec of one's own: minutes since midnight as `hh:mm`.
#[derive(Debug, PartialEq)]
struct Clock(u32);

struct HhMm;

impl Codec for HhMm {
    type Data = Clock;
    const NAME: &'static str = "hh:mm";

    fn encode(data: &Clock, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{:02}:{:02}", data.0 / 60, data.0 % 60).as_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Clock, DecodeError> {
        let text = std::str::from_utf8(bytes).map_err(|error| DecodeError::new(error.to_string()))?;
        let (hours, minutes) = text.split_once(':').ok_or_else(|| DecodeError::new(format!("no colon in {text}")))?;
        let number = |text: &str| text.parse::<u32>().map_err(|error| DecodeError::new(error.to_string()));
        Ok(Clock(number(hours)? * 60 + number(minutes)?))
    }
}

impl Data for Clock {
    type Codec = HhMm;
}

#[test]
fn a_codec_of_ones_own_travels_by_its_name() {
    let topology = |app: &mut Topology| {
        app.stream::<String, Clock>("in").map_values(|clock| Clock(clock.0 + 90)).to("out");
    };
    assert_eq!(describe(topology, "{}")["nodes"][0]["value"], "hh:mm");
    let mut driver = millstream_sdk::testing::Driver::new(topology).unwrap();
    driver.pipe("in", Record::new("k".to_string(), b"07:45".to_vec(), 0)).unwrap();
    let out = driver.read_pairs::<String, Clock>("out").unwrap();
    assert_eq!(out, [("k".to_string(), Clock(555))]);
    let error = driver.pipe("in", Record::new("k".to_string(), b"noon".to_vec(), 0)).unwrap_err().to_string();
    assert!(error.ends_with("fail: the value does not decode as hh:mm: no colon in noon"), "{error}");
}
