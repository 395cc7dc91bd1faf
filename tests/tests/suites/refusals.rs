//! What a start refuses: with a typed error, the exit code that goes with it, and nothing half-applied. On each log
//! where the log has a say.

use std::path::{Path, PathBuf};

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::guests;
use tests::logs::{TestLog, compacted_topic, each_log, embedded, eventually, new_topic, pair, unique};
use tests::millstream::{CACHE, Millstream, complete, fields};

const FAILED: i32 = 1;
const LOG_UNREACHABLE: i32 = 69;
const BAD_PLAN: i32 = 78;

/// Word-count on a log, with names of its own.
struct Words<'a> {
    mill: Millstream,
    log: &'a TestLog,
    id: String,
    lines: String,
    counts: String,
}

impl<'a> Words<'a> {
    /// With both of its topics, of 8 partitions.
    fn new(log: &'a TestLog) -> Words<'a> {
        let words = Words::without_topics(log);
        words.create(&words.lines, 8);
        words.create(&words.counts, 8);
        words
    }

    fn without_topics(log: &'a TestLog) -> Words<'a> {
        let (id, lines, counts) = (unique("words"), unique("lines"), unique("counts"));
        let words = Words { mill: Millstream::new(log.log.url()), log, id, lines, counts };
        words.manifest("", "");
        words
    }

    /// The manifest with more keys at the top, and more tables behind.
    fn manifest(&self, keys: &str, tables: &str) {
        self.manifest_of(&word_count(), keys, tables);
    }

    fn manifest_of(&self, component: &Path, keys: &str, tables: &str) {
        let (id, lines, counts, component) = (&self.id, &self.lines, &self.counts, component.display());
        self.mill.write(
            "app.toml",
            &format!(
                "id = \"{id}\"\ncomponent = \"{component}\"\nstate_dir = \"state\"\n{keys}\n[sources.lines]\ntopic = \
                 \"{lines}\"\n[sinks.counts]\ntopic = \"{counts}\"\n{tables}\n"
            ),
        );
    }

    fn create(&self, topic: &str, partitions: i32) {
        self.log.log.create(&new_topic(topic, partitions)).unwrap();
    }

    fn changelog(&self) -> String {
        format!("{}-word-counts-changelog", self.id)
    }

    /// Neither `validate` nor `run` goes through, both with the same error, and neither leaves a trace.
    #[track_caller]
    fn refused(&self, code: i32) -> Value {
        let before = self.traces();
        let [validated, ran] = ["validate", "run"].map(|verb| {
            let ended = self.mill.run(&[verb, ".", "--error-format", "json"]).fails(code);
            assert_eq!(ended.stdout, "", "{verb}");
            complete(ended.problem())
        });
        assert_eq!(validated, ran);
        assert_eq!(self.traces(), before, "nothing is half-applied");
        ran
    }

    /// What a start leaves behind: topics, commits of the group, files.
    fn traces(&self) -> (Vec<String>, bool, Vec<PathBuf>) {
        let mut topics = self.log.log.topics().unwrap();
        topics.retain(|topic| [&self.id, &self.lines, &self.counts].iter().any(|name| topic.starts_with(*name)));
        let group = self.mill.run(&["groups", "describe", &self.id]).code == Some(0);
        let files = std::fs::read_dir(self.mill.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
        (topics, group, files)
    }
}

fn word_count() -> PathBuf {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process()).unwrap();
    guests::plugin(&engine, "plugins/word-count").unwrap()
}

// === topics ===

#[test]
fn a_changelog_of_another_partition_count_is_refused_with_both_counts() {
    each_log(|log| {
        let words = Words::new(log);
        words.create(&words.changelog(), 4);
        assert_eq!(
            fields(&words.refused(BAD_PLAN)),
            json!({
                "error": "ChangelogPartitionMismatch",
                "code": "E0203",
                "store": "word-counts",
                "changelog_topic": words.changelog(),
                "expected_partitions": 8,
                "actual_partitions": 4,
                "source_topics": [format!("{}-word-counts-repartition", words.id)],
            })
        );
    });
}

#[test]
fn a_missing_source_topic_is_refused() {
    each_log(|log| {
        let words = Words::without_topics(log);
        words.create(&words.counts, 8);
        let expected = json!({
            "error": "SourceTopicNotFound", "code": "E0204", "topic": words.lines, "source": "lines", "store": null
        });
        assert_eq!(fields(&words.refused(BAD_PLAN)), expected);
    });
}

#[test]
fn missing_sink_and_dead_letter_topics_are_refused() {
    each_log(|log| {
        let words = Words::without_topics(log);
        words.create(&words.lines, 8);
        let expected =
            json!({ "error": "SinkTopicNotFound", "code": "E0205", "topic": words.counts, "node": "counts" });
        assert_eq!(fields(&words.refused(BAD_PLAN)), expected);

        words.create(&words.counts, 8);
        words.manifest("on_error = \"dead-letter:no-such-letters\"", "");
        let refused = words.refused(BAD_PLAN);
        assert_eq!(
            (&refused["error"], &refused["topic"]),
            (&json!("DeadLetterTopicNotFound"), &json!("no-such-letters"))
        );
    });
}

#[test]
fn a_changelog_that_is_missing_or_not_compacted_is_refused_where_none_may_be_created() {
    each_log(|log| {
        let words = Words::new(log);
        words.manifest("", "[changelog]\nauto_create = false");
        let expected = json!({
            "error": "InternalTopicNotFound", "code": "E0209", "topic": words.changelog(), "expected_partitions": 8
        });
        assert_eq!(fields(&words.refused(BAD_PLAN)), expected);
        words.create(&words.changelog(), 8);
        // The record of its stores is the application's own, too.
        let names = format!("{}-names", words.id);
        let expected = json!({
            "error": "InternalTopicNotFound", "code": "E0209", "topic": names, "expected_partitions": 1
        });
        assert_eq!(fields(&words.refused(BAD_PLAN)), expected);
        log.log.create(&compacted_topic(&names, 1)).unwrap();
        let expected = json!({
            "error": "ChangelogNotCompacted", "code": "E0220", "application": words.id, "store": "word-counts",
            "changelog_topic": words.changelog(), "expected_cleanup_policy": "compact",
            "actual_cleanup_policy": "delete",
        });
        assert_eq!(fields(&words.refused(BAD_PLAN)), expected);
        log.log.delete(&words.changelog()).unwrap();
        log.log.create(&compacted_topic(&words.changelog(), 8)).unwrap();
        words.mill.run(&["run", ".", "--until-end"]).ok();
    });
}

#[test]
fn a_topic_that_does_not_exist_is_named_by_the_verbs_that_want_it() {
    each_log(|log| {
        let mill = Millstream::new(log.log.url());
        for verb in [&["consume", "nowhere"][..], &["produce", "nowhere"], &["topics", "describe", "nowhere"]] {
            let ended = mill.run(&[verb, &["--error-format", "json"]].concat()).fails(FAILED);
            let expected = json!({ "error": "UnknownTopicOrPartition", "code": "E0402", "topic": "nowhere" });
            assert_eq!(fields(&complete(ended.problem())), expected);
        }
        assert!(!log.log.topics().unwrap().contains(&"nowhere".to_owned()));
    });
}

/// Two topics of 4 and 8 partitions, and these nodes behind the sources `left` and `right`: the program, with their names.
fn unequal(log: &TestLog, nodes: &[Value], stores: Value) -> (Millstream, String, [String; 2]) {
    let (mill, id) = (Millstream::new(log.log.url()), unique("unequal"));
    let topics = [log.topic("left", 4), log.topic("right", 8)];
    let sources = ["left", "right"].iter().zip(&topics);
    let sources = sources.map(|(name, topic)| json!({"name": name, "op": "source", "topic": topic}));
    let nodes: Vec<Value> = sources.chain(nodes.iter().cloned()).collect();
    let described = json!({ "version": 1, "nodes": nodes, "stores": stores }).to_string();
    std::fs::write(mill.dir().join("guest.wasm"), guests::described_as(&described).unwrap()).unwrap();
    mill.write("app.toml", &format!("id = \"{id}\"\ncomponent = \"guest.wasm\"\nstate_dir = \"state\"\n"));
    (mill, id, topics)
}

/// AC-41.
#[test]
fn a_join_of_topics_of_different_partition_counts_is_refused_with_both_topics_and_counts() {
    each_log(|log| {
        let out = log.topic("out", 1);
        let join = json!({
            "name": "meet", "op": "stream-join", "inputs": ["left", "right"], "join": "inner", "key": "bytes",
            "value": "bytes", "other_value": "bytes", "join_windows": {"before_ms": 10, "after_ms": 10, "grace_ms": 0},
        });
        let sink = json!({"name": "out", "op": "sink", "inputs": ["meet"], "topic": out});
        let (mill, id, [left, right]) = unequal(log, &[join, sink], json!([]));
        for verb in ["validate", "run"] {
            let problem = complete(mill.run(&[verb, ".", "--error-format", "json"]).fails(BAD_PLAN).problem());
            let expected = json!({
                "error": "CopartitionMismatch", "code": "E0202", "partitions": {left.as_str(): 4, right.as_str(): 8},
            });
            assert_eq!(fields(&problem), expected);
            let said = mill.run(&[verb, "."]).fails(BAD_PLAN).stderr;
            for part in ["E0202", &format!("{left} (4)"), &format!("{right} (8)")] {
                assert!(said.contains(part), "no {part} in {said}");
            }
        }
        assert!(!log.log.topics().unwrap().iter().any(|topic| topic.starts_with(&id)), "nothing is half-applied");
    });
}

/// AC-41: what is merged need not be partitioned alike.
#[test]
fn a_merge_of_topics_of_different_partition_counts_has_as_many_tasks_as_the_larger_one() {
    each_log(|log| {
        let merge = json!({"name": "both", "op": "merge", "inputs": ["left", "right"]});
        let count = json!({"name": "count", "op": "count", "inputs": ["both"], "store": "counts"});
        let stores = json!([{"name": "counts", "kind": "key-value", "key": "utf8", "value": "i64"}]);
        let (mill, id, topics) = unequal(log, &[merge, count], stores);
        for (topic, partition) in topics.iter().zip([3, 7]) {
            let mut writer = log.log.writer().unwrap();
            writer.send(topic, Some(partition), pair("k", "")).unwrap();
            writer.flush().unwrap();
        }
        let view = mill.run(&["topology", ".", "-o", "json"]).ok().json();
        assert_eq!(view["subtopologies"][0]["tasks"], 8, "{view}");
        mill.run(&["run", ".", "--until-end"]).ok();
        let changelog = format!("{id}-counts-changelog");
        assert_eq!(log.log.describe(&[&changelog]).unwrap()[0].as_ref().unwrap().partitions, 8);
        let counted: Vec<usize> = (0..8).map(|partition| log.read(&changelog, partition).len()).collect();
        assert_eq!(counted, [0, 0, 0, 1, 0, 0, 0, 1]);
    });
}

// === manifests ===

/// Lines for the manifest's top or behind it, the key at fault, and a word that the message must have.
const BAD_MANIFESTS: [(&str, &str, &str, &str); 15] = [
    ("comit_interval = \"100ms\"", "", "comit_interval", "commit_interval"),
    ("guarantee = \"exactly-twice\"", "", "guarantee", "exactly-once"),
    ("commit_interval = 100", "", "commit_interval", "100ms"),
    ("commit_interval = \"100 parsecs\"", "", "commit_interval", "parsecs"),
    ("threads = 0", "", "threads", "1"),
    ("on_error = \"dead-letter:\"", "", "on_error", "empty"),
    ("retry = { attempts = -1 }", "", "retry.attempts", "attempts"),
    ("", "[state]\nprovider = \"rocksdb\"", "state.provider", "memory"),
    ("", "[state]\nmax_size = \"1 giraffe\"", "state.max_size", "giraffe"),
    ("", "[stores.word-cuonts]\nprovider = \"memory\"", "stores.word-cuonts", "word-counts"),
    ("", "[sources.line]\ntopic = \"x\"", "sources.line", "lines"),
    ("", "[kafka]\n\"group.id\" = \"mine\"", "kafka.\"group.id\"", "id"),
    ("", "[limits]\nmemory = true", "limits.memory", "GiB"),
    (
        "",
        "[stores.word-counts]\nchangelog = { topic = \"not a name\" }",
        "stores.word-counts.changelog.topic",
        "not a name",
    ),
    ("id = \"twice\"", "", "", "duplicate"),
];

#[test]
fn bad_manifests_name_file_line_and_key() {
    let log = embedded();
    let mut wrong = Vec::new();
    for (keys, tables, key, word) in BAD_MANIFESTS {
        let words = Words::new(&log);
        words.manifest(keys, tables);
        let refused = words.refused(BAD_PLAN);
        let error = &refused["errors"][0];
        let line = error["line"].as_u64().unwrap_or_default() as usize;
        let manifest = std::fs::read_to_string(words.mill.dir().join("app.toml")).unwrap();
        let last = key.rsplit('.').next().unwrap().trim_matches('"');
        let is_there = manifest.lines().nth(line.wrapping_sub(1)).is_some_and(|line| line.contains(last));
        let is_named =
            error.to_string().contains(word) && error["file"].as_str().is_some_and(|f| f.ends_with("app.toml"));
        if refused["error"] != "BadManifest" || (!key.is_empty() && error["key"] != key) || !is_there || !is_named {
            wrong.push(format!("{keys}{tables}: {refused}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_errors_of_a_manifest_come_at_once() {
    let log = embedded();
    let words = Words::new(&log);
    words.manifest("guarantee = \"perfect\"\nthraeds = 2", "[stat]\nprovider = \"lmdb\"");
    let refused = words.refused(BAD_PLAN);
    let errors = refused["errors"].as_array().unwrap();
    let found: Vec<_> = errors.iter().map(|error| (&error["key"], &error["suggestion"])).collect();
    let expected = [("guarantee", json!("exactly-once")), ("thraeds", json!("threads")), ("stat", json!("state"))];
    for (key, suggestion) in &expected {
        let found = found.iter().find(|(found, _)| **found == json!(key));
        let (_, suggested) = found.unwrap_or_else(|| panic!("{key} in {refused}"));
        assert!(*suggested == suggestion || *key == "guarantee", "{refused}");
    }
    assert_eq!(errors.len(), expected.len(), "{refused}");
}

#[test]
fn names_that_the_component_lacks_come_with_everything_else() {
    let log = embedded();
    let words = Words::new(&log);
    words.manifest("thraeds = 2", "[stores.word-cuonts]\nprovider = \"lmdb\"\n[sources.line]\nstart = \"latest\"");
    let refused = words.refused(BAD_PLAN);
    let errors = refused["errors"].as_array().unwrap();
    let found: Vec<_> = errors.iter().map(|error| (&error["key"], &error["suggestion"])).collect();
    let expected = [("thraeds", "threads"), ("stores.word-cuonts", "word-counts"), ("sources.line", "lines")];
    let expected = expected.map(|(key, suggestion)| (json!(key), json!(suggestion)));
    assert_eq!(found, expected.iter().map(|(key, suggestion)| (key, suggestion)).collect::<Vec<_>>());
    let lines: Vec<u64> = errors.iter().map(|error| error["line"].as_u64().unwrap()).collect();
    assert!(lines.is_sorted(), "{refused}");
}

/// T18: looking at the component for more errors must not let it at the host.
#[test]
fn a_bad_manifests_component_is_compiled_in_the_child_like_any_other() {
    let log = embedded();
    let words = Words::new(&log);
    words.manifest("thraeds = 2", "[stores.word-cuonts]\nprovider = \"lmdb\"");
    for verb in ["validate", "run", "topology"] {
        let cache = words.mill.dir().join(format!("cache-of-{verb}"));
        let ended = words.mill.start_with(&[verb, ".", "--error-format", "json"], |command| {
            command.env(CACHE, &cache);
        });
        let problem = ended.finish().fails(BAD_PLAN).problem();
        assert_eq!(problem["errors"].as_array().unwrap().len(), 2, "{problem}");
        // The child's work is kept: its machine code, beside the key of all entries.
        let kept = std::fs::read_dir(cache.join("components")).map_or(0, Iterator::count);
        assert_eq!(kept, 2, "{verb}");
    }
}

#[test]
fn a_manifest_that_is_not_there_is_one_error_of_the_list() {
    let mill = Millstream::without_log();
    let problem = mill.run(&["validate", "nowhere.toml", "--error-format", "json"]).fails(BAD_PLAN).problem();
    assert_eq!((&problem["error"], &problem["errors"][0]["file"]), (&json!("BadManifest"), &json!("nowhere.toml")));
}

// === state ===

/// A topology that counts in a store of this name.
fn counting(store: &str) -> Vec<u8> {
    let description = json!({
        "version": 1,
        "nodes": [
            {"name": "lines", "op": "source"},
            {"name": "count", "op": "count", "inputs": ["lines"], "store": store},
        ],
        "stores": [{"name": store, "kind": "key-value", "key": "utf8", "value": "i64"}],
    });
    guests::described_as(&description.to_string()).unwrap()
}

#[test]
fn a_start_that_would_leave_state_behind_is_refused_until_it_is_allowed() {
    each_log(|log| {
        // The record in the state directory; without one that in the log; without both a generated name there.
        for (first, second, keeps_record, keeps_names) in [
            ("clicks", "visits", true, true),
            ("clicks", "visits", true, false),
            ("clicks", "visits", false, true),
            ("count-store-0", "count-store-1", true, true),
            ("count-store-0", "clicks", false, false),
        ] {
            let mill = Millstream::new(log.log.url());
            let (id, lines) = (unique("orphans"), log.topic("lines", 1));
            let manifest = format!("id = \"{id}\"\ncomponent = \"guest.wasm\"\n[sources.lines]\ntopic = \"{lines}\"\n");
            mill.write("app.toml", &manifest);
            let component = |store: &str| std::fs::write(mill.dir().join("guest.wasm"), counting(store)).unwrap();
            let run =
                |more: &[&str]| mill.run(&[&["run", ".", "--until-end", "--error-format", "json"], more].concat());
            mill.run_with(&["produce", &lines, "--format", "kv"], "a\tb\n").ok();
            component(first);
            run(&[]).ok();
            run(&[]).ok();
            if !keeps_record {
                std::fs::remove_dir_all(mill.dir().join(".millstream")).unwrap();
            }
            let names = format!("{id}-names");
            let said = log.read(&names, 0);
            let expected = json!({"stores": {first: format!("{id}-{first}-changelog")}, "abandoned": []});
            assert_eq!(said.len(), 1, "a start that knows nothing new says nothing");
            assert_eq!(serde_json::from_slice::<Value>(said[0].value.as_ref().unwrap()).unwrap(), expected);
            if !keeps_names {
                log.log.delete(&names).unwrap();
            }
            component(second);
            let problem = run(&[]).fails(BAD_PLAN).problem();
            let expected = json!({
                "error": "OrphanedState", "code": "E0212", "application": id, "orphaned_stores": [first],
                "changelog_topics": [format!("{id}-{first}-changelog")], "stores": [second],
            });
            assert_eq!(fields(&problem), expected);
            assert!(problem["fix"].to_string().contains("--allow-orphaned-state"));
            let validated = mill.run(&["validate", ".", "--error-format", "json"]).fails(BAD_PLAN).problem();
            assert_eq!(validated, problem);
            // The old name again: nothing was lost.
            component(first);
            assert_eq!(mill.run(&["store", "get", ".", first, "a"]).ok().json()["value"], 1);
            // Said once, it holds.
            component(second);
            run(&["--allow-orphaned-state"]).ok();
            run(&[]).ok();
            std::fs::remove_dir_all(mill.dir().join(".millstream")).unwrap();
            run(&[]).ok();
        }
    });
}

// === cycles ===

/// Sources that each write what they read into a sink's topic: names of source, its topic, sink, its topic.
fn pipes(pipes: &[[&str; 4]]) -> Vec<u8> {
    let node = |[source, from, sink, to]: &[&str; 4]| {
        [
            json!({"name": source, "op": "source", "topic": from}),
            json!({"name": sink, "op": "sink", "inputs": [source], "topic": to}),
        ]
    };
    let nodes: Vec<Value> = pipes.iter().flat_map(node).collect();
    guests::described_as(&json!({ "version": 1, "nodes": nodes, "stores": [] }).to_string()).unwrap()
}

#[test]
fn an_application_that_reads_what_it_writes_is_refused_unless_its_manifest_says_so() {
    each_log(|log| {
        let (a, b) = (log.topic("a", 1), log.topic("b", 1));
        let (a, b) = (a.as_str(), b.as_str());
        for (graph, way) in [
            (pipes(&[["one", a, "back", a]]), vec![a]),
            (pipes(&[["one", a, "back", b], ["other", b, "again", a]]), vec![b, a]),
        ] {
            let mill = Millstream::new(log.log.url());
            let manifest = |tables: &str| {
                let id = unique("cycle");
                mill.write("app.toml", &format!("id = \"{id}\"\ncomponent = \"guest.wasm\"\n{tables}"));
            };
            std::fs::write(mill.dir().join("guest.wasm"), graph).unwrap();
            manifest("");
            for verb in ["validate", "run"] {
                let problem = complete(mill.run(&[verb, ".", "--error-format", "json"]).fails(BAD_PLAN).problem());
                let expected = json!({
                    "error": "UndeclaredCycle", "code": "E0213", "sink": "back", "topics": way,
                });
                assert_eq!(fields(&problem), expected);
                assert!(problem["fix"].to_string().contains("cycle = true"), "{problem}");
            }
            manifest("[sinks.back]\ncycle = true\n");
            let validated = mill.run(&["validate", "."]);
            match way.len() {
                1 => drop(validated.ok()),
                // Its other sink closes the circle too.
                _ => drop(validated.fails(BAD_PLAN)),
            }
            if way.len() > 1 {
                manifest("[sinks.back]\ncycle = true\n[sinks.again]\ncycle = true\n");
                mill.run(&["validate", "."]).ok();
            }
        }
    });
}

#[test]
fn an_application_that_goes_on_from_what_it_wrote_is_no_cycle() {
    let log = embedded();
    let [a, b, c] = ["a", "b", "c"].map(|topic| log.topic(topic, 1));
    let mill = Millstream::new(log.log.url());
    std::fs::write(mill.dir().join("guest.wasm"), pipes(&[["one", &a, "on", &b], ["other", &b, "out", &c]])).unwrap();
    mill.write("app.toml", "id = \"no-cycle\"\ncomponent = \"guest.wasm\"\n");
    mill.run(&["validate", "."]).ok();
}

// === topics by a pattern ===

#[test]
fn a_topic_that_comes_to_match_a_pattern_stops_the_application_and_is_read_by_the_next_start() {
    each_log(|log| {
        let (family, out) = (unique("family"), log.topic("out", 1));
        let described = json!({"version": 1, "nodes": [
            {"name": "all", "op": "source", "pattern": format!("{family}-.*")},
            {"name": "out", "op": "sink", "inputs": ["all"], "topic": out},
        ]});
        let mill = Millstream::new(log.log.url());
        let id = unique("pattern");
        std::fs::write(mill.dir().join("guest.wasm"), guests::described_as(&described.to_string()).unwrap()).unwrap();
        mill.write("app.toml", &format!("id = \"{id}\"\ncomponent = \"guest.wasm\"\nstate_dir = \"state\"\n"));
        let problem = mill.run(&["run", ".", "--error-format", "json"]).fails(BAD_PLAN).problem();
        assert_eq!(
            (&problem["error"], &problem["topic"]),
            (&json!("SourceTopicNotFound"), &json!(format!("{family}-.*")))
        );

        let made = |name: &str, partitions| {
            let topic = format!("{family}-{name}");
            log.log.create(&new_topic(&topic, partitions)).unwrap();
            log.produce(&topic, 0, &[name]);
            topic
        };
        made("one", 1);
        mill.run(&["run", ".", "--until-end"]).ok();
        assert_eq!(log.read(&out, 0).len(), 1);
        let mut running = mill.start(&["run", ".", "--http", "0", "--error-format", "json"]);
        running.ready();
        let two = made("two", 1);
        let problem = running.finish().fails(FAILED).problem();
        let expected = json!({"error": "SourceTopicAdded", "code": "E0223", "application": id, "topic": two, "source": "all",
            "pattern": format!("{family}-.*")});
        assert_eq!(fields(&problem), expected);
        mill.run(&["run", ".", "--until-end"]).ok();
        assert_eq!(log.read(&out, 0).len(), 2, "nothing is read twice, and the new one is read");
    });
}

// === components ===

#[test]
fn components_that_ask_for_more_than_the_contract_are_refused_by_what_they_ask() {
    let log = embedded();
    for (guest, error, code, field, value) in [
        ("wants-wasi", "ForbiddenImport", "E0303", "imports", "wasi:"),
        ("newer-contract", "ContractVersion", "E0304", "found", "millstream:plugin"),
        ("core-module", "NotAComponent", "E0302", "component", "guest.wasm"),
    ] {
        let words = Words::new(&log);
        let file = words.mill.dir().join("guest.wasm");
        std::fs::write(&file, guests::wat(guest).unwrap()).unwrap();
        words.manifest_of(&file, "", "");
        let refused = words.refused(BAD_PLAN);
        assert_eq!((&refused["error"], &refused["code"]), (&json!(error), &json!(code)), "{refused}");
        assert!(refused[field].to_string().contains(value), "{field} in {refused}");
    }
}

#[test]
fn a_component_that_is_not_there_is_refused() {
    let log = embedded();
    let words = Words::new(&log);
    words.manifest_of(&words.mill.dir().join("nowhere.wasm"), "", "");
    assert_eq!(words.refused(BAD_PLAN)["error"], "ComponentNotFound");
}

// === who else runs ===

#[test]
fn a_state_directory_in_use_is_refused_with_the_process_that_has_it() {
    each_log(|log| {
        let words = Words::new(log);
        let mut first = words.mill.start(&["run", ".", "--http", "0"]);
        first.ready();
        let second = words.mill.run(&["run", ".", "--error-format", "json"]).fails(FAILED);
        let problem = complete(second.problem());
        assert_eq!(problem["error"], "StateDirectoryLocked");
        assert_eq!(problem["pid"], first.id());
        first.signal(Signal::TERM);
        first.finish().ok();
    });
}

#[test]
fn on_the_embedded_log_an_application_runs_once() {
    let log = embedded();
    let words = Words::new(&log);
    let mut first = words.mill.start(&["run", ".", "--http", "0"]);
    first.ready();
    let second = words.mill.run(&["run", ".", "--state-dir", "other", "--error-format", "json"]).fails(FAILED);
    let problem = complete(second.problem());
    assert_eq!((&problem["error"], &problem["application"]), (&json!("AlreadyRunning"), &json!(words.id)));
    // The first one does not notice.
    words.log.produce(&words.lines, 0, &["still here"]);
    let counted = || words.mill.run(&["store", "get", ".", "word-counts", "here"]).code == Some(0);
    eventually("the first goes on", || counted().then_some(()));
    first.signal(Signal::TERM);
    first.finish().ok();
    assert_eq!(words.mill.run(&["store", "get", ".", "word-counts", "here"]).ok().json()["value"], 1);
}

#[test]
fn a_log_that_is_away_is_69() {
    let log = embedded();
    let words = Words::new(&log);
    for verb in ["run", "validate"] {
        let ended = words.mill.run(&[verb, ".", "--log", "kafka://127.0.0.1:1", "--error-format", "json"]);
        assert_eq!(complete(ended.fails(LOG_UNREACHABLE).problem())["error"], "LogUnreachable");
    }
}
