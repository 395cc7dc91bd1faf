//! From topic to topic, in process: the shortest way through all rooms, on each log and each kind of store.

use std::collections::BTreeMap;
use std::path::Path;

use millstream::app::{App, Application, Loaded, Options};
use millstream::wasm::{Component, Engine};
use millstream_engine::config::{Limits, Manifest};
use tests::guests;
use tests::logs::{TestLog, each_log, eventually, new_topic, unique};

const LINES: [&str; 4] = ["the mill turns", "The wheel, the stone", "the mill", "turns turns"];

/// A component with its manifest, in a state directory of its own.
fn load(engine: &Engine, manifest: &str, state: &Path) -> Loaded {
    let mut manifest = Manifest::parse(manifest, "app.toml").expect("the test's manifest is good");
    manifest.state_dir = state.display().to_string();
    let bytes =
        std::fs::read(guests::plugin(engine, "plugins/word-count").expect("word-count builds")).expect("it is there");
    let component = Component::load(engine, &bytes, manifest.limits.clone()).expect("word-count is a component");
    Loaded::with(Application { manifest, dir: ".".into() }, component).expect("word-count is described")
}

fn run_to_end(loaded: &Loaded, log: &TestLog) {
    let app = App::start(loaded, log.log.clone(), &Options::default()).expect("the application starts");
    eventually("the end", || (app.is_at_end().expect("the log answers") || app.has_ended()).then_some(()));
    app.stop(false).expect("it stops well");
}

/// The newest count of each word, after checking that the counts of each went 1, 2, 3….
fn counts(log: &TestLog, topic: &str, partitions: i32) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for partition in 0..partitions {
        for record in log.read(topic, partition) {
            let word = String::from_utf8(record.key.expect("a count has its word")).expect("words are text");
            let count = i64::from_be_bytes(record.value.expect("no tombstones").try_into().expect("eight bytes"));
            let before = counts.insert(word.clone(), count).unwrap_or(0);
            assert_eq!(count, before + 1, "{word}");
        }
    }
    counts
}

#[test]
fn every_word_is_counted_once_and_counting_goes_on_after_a_restart() {
    let engine = Engine::new(Limits::default().stack).expect("the engine starts");
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            for guarantee in ["exactly-once", "at-least-once"] {
                let (id, lines, out) = (unique("words"), unique("lines"), unique("counts"));
                log.log.create(&new_topic(&lines, 3)).expect("created");
                log.log.create(&new_topic(&out, 2)).expect("created");
                let manifest = format!(
                    "id = \"{id}\"\nguarantee = \"{guarantee}\"\n[state]\nprovider = \"{provider}\"\n\
                     [sources.lines]\ntopic = \"{lines}\"\n[sinks.counts]\ntopic = \"{out}\"\n"
                );
                let state = tempfile::tempdir().expect("a directory");
                let loaded = load(&engine, &manifest, state.path());
                for (partition, line) in LINES.iter().enumerate() {
                    log.produce(&lines, partition as i32 % 3, &[line]);
                }
                run_to_end(&loaded, log);
                let expected = [("the", 4), ("mill", 2), ("turns", 3), ("wheel", 1), ("stone", 1)];
                let expected: BTreeMap<String, i64> = expected.map(|(word, n)| (word.to_owned(), n)).into();
                assert_eq!(counts(log, &out, 2), expected, "{provider} {guarantee}");

                log.produce(&lines, 0, &["stone stone"]);
                run_to_end(&loaded, log);
                assert_eq!(counts(log, &out, 2)["stone"], 3, "{provider} {guarantee}");
            }
        }
    });
}
