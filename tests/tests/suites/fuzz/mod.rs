//! Whatever bytes a guest, a file or a broker hands over, a decoder answers; it does not panic and does not take more
//! memory than the bytes could stand for.
//!
//! bolero gives each decoder what is kept in `__fuzz__/NAME/corpus`, which once broke one, then bytes at random, then
//! well-formed inputs with something wrong, for a bounded time. Longer, ten minutes of each:
//!
//! ```text
//! BOLERO_RANDOM_TEST_TIME_MS=600000 tests/run --no-kafka -- -p tests fuzz::
//! ```
//!
//! What a failure has printed, `BOLERO_RANDOM_SEED=…` in front of the same command, is drawn first. `cargo bolero` with its
//! engines that look at coverage does not link here: they want a package that has this test and no other program.

mod mutated;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use millstream_engine::config::Manifest;
use millstream_engine::frame::{Context, Element, Kind, ResultFrame, Writer};
use millstream_engine::functions::{Fault, FaultKind, Functions};
use millstream_engine::record::Headers;
use millstream_engine::store::TaskStores;
use millstream_engine::task::Metadata;
use millstream_engine::topology::{Blueprint, Description, TopicFacts};
use tests::guests;

use mutated::{BYTES_MAX, Input, Mutated};

/// For bytes at random, which seldom get far.
const RANDOM: Duration = Duration::from_millis(500);

/// For mutations.
const MUTATED: Duration = Duration::from_secs(2);

/// Runs a decoder on its corpus, on bytes at random, and on mutations of its seeds and of its corpus.
fn fuzz(name: &str, seeds: Vec<Vec<u8>>, decode: impl Fn(&[u8])) {
    let seeds: Vec<Vec<u8>> = seeds.into_iter().chain(kept(name)).collect();
    let decode = AssertUnwindSafe(|bytes: &[u8]| check(name, bytes, &decode));
    seeds.iter().for_each(|seed| decode(seed));
    bolero::check!(name = name).with_test_time(RANDOM).with_max_len(BYTES_MAX).for_each(|bytes: &[u8]| decode(bytes));
    // Under a name without a corpus, whose files would be taken for what is drawn.
    bolero::check!(name = format!("{name}-mutated"))
        .with_generator(Mutated { seeds })
        .with_test_time(MUTATED)
        .for_each(|input: &Input| decode(&input.0));
}

/// bolero would not miss a corpus that is not there.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let corpus = guests::root().join(CORPORA).join(name).join("corpus");
    let files = fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let kept: Vec<_> = files.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!kept.is_empty(), "{} is empty", corpus.display());
    kept
}

/// Where bolero looks: beside this file.
const CORPORA: &str = "tests/tests/suites/fuzz/__fuzz__";

/// Leaves the input that broke it in a file: of one that bolero makes smaller, the last.
fn check(name: &str, input: &[u8], decode: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| decode(input))) {
        let file = std::env::temp_dir().join(format!("millstream-fuzz-{name}"));
        fs::write(&file, input).unwrap();
        eprintln!("{name}: the input is in {}; once mended, keep it in {CORPORA}/{name}/corpus", file.display());
        std::panic::resume_unwind(panic);
    }
}

/// Frames as the host writes them.
fn frames() -> Vec<Vec<u8>> {
    let context = Context { source: 0, topic: 0, partition: 1, offset: 7, timestamp: 5, stream_time: 5, seed: 3 };
    let element = Element {
        context: 0,
        input: 0,
        group: 0,
        timestamp: 5,
        key: Some(b"key"),
        value: Some(br#"{"carrier":"AA","dep_delay":3}"#),
        headers: Headers(b"\x01\0\0\0\xff\xff\xff\xffh"),
    };
    let frame = |kind, groups: &[(&[u8], Option<&[u8]>)], elements: usize| {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, kind);
        writer.context(&context);
        groups.iter().for_each(|(key, aggregate)| writer.group(key, *aggregate));
        if kind == Kind::Chain {
            writer.chain(1_000, 8 << 20);
            (1..=3).for_each(|node| writer.link(node));
        }
        (0..elements).for_each(|_| writer.element(&element));
        writer.finish();
        bytes
    };
    vec![
        frame(Kind::Records, &[], 3),
        frame(Kind::Fold, &[(b"key", None), (b"k", Some(b"{}"))], 2),
        frame(Kind::Punctuation, &[], 1),
        frame(Kind::Result, &[], 2),
        frame(Kind::Chain, &[], 2),
    ]
}

/// Result frames: the elements point at what was asked, and an outcome stands behind them.
fn results() -> Vec<Vec<u8>> {
    let mut results = frames();
    for frame in frames() {
        let mut frame = frame;
        frame[6] = Kind::Result as u8;
        frame[8..12].fill(0);
        frame.drain(32..72);
        frame[20] = 1;
        frame.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, b'n', b'o']);
        let len = frame.len() as u32;
        frame[24..28].copy_from_slice(&len.to_le_bytes());
        results.push(frame);
    }
    results
}

#[test]
fn a_result_frame_of_a_guest() {
    fuzz("result-frame", results(), |bytes| {
        let Ok(mut frame) = ResultFrame::parse(bytes, 3) else { return };
        let mut elements = 0;
        while let Ok(Some(element)) = frame.next_element() {
            elements += 1;
            assert!(element.input < 3);
        }
        assert!(elements <= bytes.len() / 32);
        let _ = frame.outcomes();
    });
}

/// The SDK's side: whatever the frame, a plugin answers or says what is wrong with it.
#[test]
fn a_frame_for_a_plugin() {
    let plugin = flights::plugin("{}").unwrap();
    let description: Description = serde_json::from_str(plugin.description()).unwrap();
    let nodes = description.nodes.len() as u32;
    fuzz("plugin-frame", frames(), |bytes| {
        let mut plugin = plugin.clone();
        for node in 0..nodes {
            let called = plugin.call(node, bytes, &mut TaskStores::default(), &mut Vec::new());
            if let Err(Fault::Guest(fault)) = called {
                assert_ne!(fault.kind, FaultKind::Trap, "node {node}: {}", fault.message);
            }
        }
    });
}

#[test]
fn keys_and_writes_of_a_guest() {
    let keys = [&2u32.to_le_bytes()[..], &1u32.to_le_bytes(), b"k", &0u32.to_le_bytes()].concat();
    let write =
        [&1u32.to_le_bytes()[..], &0u32.to_le_bytes(), &1u32.to_le_bytes(), &2i32.to_le_bytes(), b"kvv"].concat();
    fuzz("store-calls", vec![keys, write], |bytes| {
        let mut stores = tests::stores::stores(&[0], tests::stores::Read::Nothing);
        stores.enter(&[0], [5].into_iter());
        let mut out = Vec::new();
        let _ = stores.get_many(0, bytes, &mut out);
        let _ = stores.apply_writes(0, bytes);
        assert!(out.len() <= 4 + 3 * bytes.len(), "an absent key takes 12 bytes, and 4 to ask for");
    });
}

#[test]
fn committed_metadata() {
    let values = [("stream-time", 5), ("sequence", i64::MAX)].map(|(name, value)| (name.to_owned(), value));
    let some = Metadata { partition_time: 7, values: values.into_iter().collect() };
    let none = Metadata { partition_time: -1, values: Default::default() };
    fuzz("metadata", vec![some.encode().into_bytes(), none.encode().into_bytes(), b"AQ==".to_vec()], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Some(metadata) = Metadata::decode(text) {
            let again = Metadata::decode(&metadata.encode()).expect("what was read can be written and read again");
            assert_eq!((again.partition_time, again.values), (metadata.partition_time, metadata.values));
        }
    });
}

const MANIFEST: &str = r#"id = "flights"
component = "flights.wasm"
log = "kafka://localhost:9092"
guarantee = "at-least-once"
commit_interval = "100ms"
threads = 2
on_error = "dead-letter:letters"
retry = { attempts = 3, backoff = "100ms" }
[config]
top = 10
[kafka]
"sasl.password" = { env = "KAFKA_PASSWORD" }
[state]
provider = "lmdb"
max_size = "1GiB"
[changelog]
topic_configs = { "min.insync.replicas" = "2" }
coalesce = false
[stores.counts]
changelog = { topic = "mine", replication_factor = 2 }
[stores.scratch]
changelog = false
[sources.orders]
topic = "orders-v2"
start = "latest"
[sinks.totals]
topic = "order-totals"
[limits]
memory = "128MiB"
call = "5s"
outputs = 10
[dev.topics.flights]
partitions = 4
file = "flights.jsonl.gz"
"#;

#[test]
fn a_manifest() {
    let seeds = [MANIFEST, "id = \"a\"", include_str!("../../../../plugins/flights/app.toml")];
    fuzz("manifest", seeds.map(|text| text.as_bytes().to_vec()).to_vec(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match Manifest::parse(&text, "app.toml") {
            Ok(manifest) => drop(manifest.limits.rows()),
            Err(errors) => assert!(!errors.is_empty(), "a refusal has a reason"),
        }
    });
}

/// From a guest's JSON to a blueprint.
#[test]
fn a_description() {
    let flights = flights::plugin("{}").unwrap().description().as_bytes().to_vec();
    let small = br#"{"version":1,"nodes":[{"name":"in","op":"source"},{"name":"n","op":"process","inputs":["in"],"stores":["s"],"punctuations":[{"name":"p","time":"stream","every_ms":5}]},{"name":"b","op":"branch","inputs":["n"]},{"name":"out","op":"sink","inputs":[{"node":"b","branch":0}]},{"name":"c","op":"count","inputs":["in"],"store":"t"}],"stores":[{"name":"s","kind":"key-value","key":"utf8","value":"json"},{"name":"t","kind":"key-value","key":"utf8","value":"i64"}]}"#;
    fuzz("description", vec![flights, small.to_vec()], |bytes| {
        let Ok(description) = serde_json::from_slice::<Description>(bytes) else { return };
        let manifest = Manifest::parse("id = \"a\"", "app.toml").unwrap();
        if let Ok(blueprint) = Blueprint::new(manifest, &description) {
            let _ = blueprint.plan(&|_| Some(TopicFacts::of_partitions(3)));
        }
    });
}

/// A component's door, which is read in the host's own process.
#[test]
fn a_component() {
    let seeds = ["quiet", "handle-flood", "wants-wasi", "core-module"].map(|name| guests::wat(name).unwrap());
    fuzz("component", seeds.to_vec(), |bytes| {
        let _ = millstream::wasm::imports::check(bytes, &millstream_engine::config::Limits::default());
    });
}
