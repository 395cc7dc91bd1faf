//! The outside contract, verb by verb: every flag, shape, default and exit code as a script meets them, on each log.
//! What single suites show in depth is here only as a row.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use millstream_engine::record::{Headers, Record};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::guests;
use tests::http::{get, request};
use tests::logs::{Kind, TestLog, compacted_topic, each_log, embedded, eventually, new_topic, pair, unique};
use tests::millstream::{Millstream, binary};
use tests::sample::Words;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const BAD_PLAN: i32 = 78;
const INTERRUPTED: i32 = 130;

/// An object has these fields and no others.
#[track_caller]
fn has_fields(value: &Value, names: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let found: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    assert_eq!(found, names.iter().copied().collect(), "{value}");
}

// === shapes ===

#[test]
fn every_verb_prints_the_shape_that_scripts_read() {
    each_log(|log| {
        let words = Words::on(log, "");
        let mill = &words.mill;
        let name = unique("made");
        let created = words.run(&["topics", "create", &name, "--partitions", "2", "--config", "retention.ms=1000"]);
        has_fields(&created, &["name", "partitions", "configs"]);
        let described = words.run(&["topics", "describe", &name]);
        has_fields(&described, &["name", "partitions", "configs", "offsets"]);
        has_fields(&described["offsets"][1], &["partition", "begin", "end"]);
        has_fields(&words.run(&["topics", "list"])[0], &["name", "partitions"]);
        assert_eq!(words.run(&["topics", "delete", &name]), json!({ "name": name }));
        has_fields(&words.run(&["version"]), &["millstream", "contract", "wasmtime", "librdkafka"]);

        let valid = words.run(&["validate", "."]);
        has_fields(&valid, &["id", "log", "guarantee", "component", "kafka", "internal_topics", "stores", "limits"]);
        has_fields(&valid["limits"][0], &["name", "value", "default", "reason"]);
        let topology = words.run(&["topology", "."]);
        for part in ["subtopologies", "stores"] {
            assert!(topology[part].is_array(), "{topology}");
        }

        mill.run(&["run", ".", "--until-end"]).ok();
        let group = words.run(&["groups", "describe", &words.id]);
        has_fields(&group, &["id", "partitions", "lag"]);
        has_fields(&group["partitions"][0], &["topic", "partition", "committed", "end", "lag"]);
        assert_eq!(group["lag"], 0);
        let line =
            mill.run(&["consume", &words.counts, "--until-end", "--key", "utf8", "--value", "i64", "--max", "1"]);
        let line = line.ok().stdout;
        assert!(line.starts_with(&format!("{{\"topic\":\"{}\",\"partition\":", words.counts)), "{line}");
        has_fields(
            &serde_json::from_str(&line).unwrap(),
            &["topic", "partition", "offset", "timestamp", "key", "value", "headers"],
        );
        let mut listed = words.run(&["store", "list", "."]);
        assert!(listed[0]["bytes"].take().as_u64().is_some_and(|bytes| bytes > 0), "four words take up room");
        let parts = listed[0]["tasks"].take();
        parts.as_array().unwrap().iter().for_each(|part| has_fields(part, &["task", "entries", "bytes"]));
        let held: u64 = parts.as_array().unwrap().iter().map(|part| part["entries"].as_u64().unwrap()).sum();
        assert_eq!(held, 4, "{parts}");
        let store = json!({"name": "word-counts", "kind": "key-value", "provider": "memory",
            "codecs": {"key": "utf8", "value": "i64"}, "changelog_topic": words.changelog(), "entries": 4, "bytes": null,
            "tasks": null, "of": 2});
        assert_eq!(listed, json!([store]));
        has_fields(&words.run(&["store", "get", ".", "word-counts", "mill"]), &["key", "value", "timestamp", "task"]);
        let scanned = mill.run(&["store", "scan", ".", "word-counts", "-o", "jsonl"]).ok();
        assert!(scanned.stdout.starts_with("{\"key\":\"mill\",\"value\":2,\"timestamp\":"), "{}", scanned.stdout);
        has_fields(&scanned.jsonl()[0], &["key", "value", "timestamp", "task"]);
    });
}

#[test]
fn formats_are_what_was_asked_for_or_fit_who_reads() {
    each_log(|log| {
        let words = Words::on(log, "");
        words.mill.run(&["run", ".", "--until-end"]).ok();
        // Verb, then what it prints by default: an object or a list, records, or text.
        for (verb, is_stream) in [
            (&["topics", "describe", &words.lines][..], false),
            (&["groups", "describe", &words.id], false),
            (&["store", "list", "."], false),
            (&["store", "get", ".", "word-counts", "the"], false),
            (&["store", "scan", ".", "word-counts"], true),
            (&["consume", &words.lines, "--until-end"], true),
            (&["validate", "."], false),
            (&["version"], false),
        ] {
            let print = |format: &[&str]| words.mill.run(&[verb, format].concat()).ok().stdout;
            let (default, json, jsonl, text) =
                (print(&[]), print(&["-o", "json"]), print(&["--output", "jsonl"]), print(&["-o", "text"]));
            assert_eq!(default, if is_stream { &*jsonl } else { &*json }, "{verb:?}");
            serde_json::from_str::<Value>(&json).unwrap_or_else(|error| panic!("{verb:?}: {error}: {json}"));
            for line in jsonl.lines() {
                serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{verb:?}: {error}: {line}"));
            }
            assert!(!text.starts_with(['{', '[']) && text.ends_with('\n'), "{verb:?}: {text}");
        }
        let report = |format: &str| {
            words.mill.run_with(&["produce", &words.lines, "-o", format], "{\"value\":\"x\"}").ok().stdout
        };
        assert_eq!(report("text"), format!("sent 1 records to {}\n", words.lines));
        assert_eq!(report("json"), format!("{{\"topic\":\"{}\",\"sent\":1}}\n", words.lines));
    });
}

#[test]
fn on_a_terminal_text_is_printed_and_errors_are_coloured() {
    let log = embedded();
    let topic = log.topic("seen", 1);
    log.produce(&topic, 0, &["a value"]);
    let (program, url) = (binary().display(), log.log.url());
    // `script` gives a program a terminal.
    let on_terminal = |args: &str| {
        let command = format!("{program} {args} --log {url}");
        let output = Command::new("script").args(["-qec", &command, "/dev/null"]).output().unwrap();
        (String::from_utf8_lossy(&output.stdout).replace('\r', ""), output.status.code())
    };
    let (records, code) = on_terminal(&format!("consume {topic} --until-end"));
    assert!(records.contains("0:0\t") && records.contains("\tnull\ta value") && code == Some(0), "{records}");
    let (topics, _) = on_terminal("topics list");
    assert!(topics.contains("NAME") && topics.contains(&topic), "{topics}");
    let (error, code) = on_terminal("consume nowhere");
    assert!(error.contains("\u{1b}[") && error.contains("error[E0402]") && code == Some(FAILED), "{error}");
}

// === exit codes ===

#[test]
fn exit_codes_and_errors_are_those_of_the_contract() {
    each_log(|log| {
        let words = Words::on(log, "");
        let mill = &words.mill;
        mill.write("bad.toml", "id = \"x\"\nthraeds = 1\n");
        mill.write("elsewhere.toml", "id = \"x\"\nlog = \"redis://x\"\n");
        let manifest = std::fs::read_to_string(mill.dir().join("app.toml")).unwrap();
        mill.write("secret.toml", &format!("{manifest}[kafka]\n\"sasl.password\" = {{ env = \"NO_SUCH_SECRET\" }}\n"));
        mill.write("bare.toml", "id = \"x\"\n");
        mill.write("gone.toml", "id = \"x\"\ncomponent = \"gone.wasm\"\n");
        mill.write("empty-token", "\n");
        let lines = words.lines.as_str();
        for (code, error, args) in [
            (USAGE, "Usage", &["nonsense"][..]),
            (USAGE, "Usage", &["topics", "create"]),
            (USAGE, "Usage", &["topics", "create", "t", "--partitions", "0"]),
            (USAGE, "Usage", &["topics", "create", "t", "--config", "novalue"]),
            (USAGE, "Usage", &["consume", lines, "--from", "never"]),
            (USAGE, "Usage", &["consume", lines, "--partition", "9"]),
            (USAGE, "Usage", &["consume", lines, "--isolation", "serial"]),
            (USAGE, "Usage", &["consume", lines, "--key", "i128"]),
            (USAGE, "Usage", &["produce", lines, "--format", "csv"]),
            (USAGE, "Usage", &["run"]),
            (USAGE, "Usage", &["run", ".", "--threads", "0"]),
            (USAGE, "Usage", &["run", ".", "--http", "0.0.0.0:0"]),
            (USAGE, "Usage", &["run", ".", "--http", "0", "--http-token", "empty-token"]),
            (USAGE, "Usage", &["run", ".", "."]),
            (USAGE, "Usage", &["topology", ".", "-o", "svg"]),
            (USAGE, "Usage", &["store", "get", ".", "word-counts", "base64:*"]),
            (USAGE, "Usage", &["completion", "tcsh"]),
            (USAGE, "BadLogUrl", &["topics", "list", "--log", "redis://x"]),
            (FAILED, "UnknownTopicOrPartition", &["consume", "nowhere"]),
            (FAILED, "UnknownTopicOrPartition", &["topics", "delete", "nowhere"]),
            (FAILED, "TopicExists", &["topics", "create", lines]),
            (FAILED, "LogRefused", &["topics", "create", "no name"]),
            (FAILED, "GroupIdNotFound", &["groups", "describe", "nobody"]),
            (FAILED, "UnknownStateStore", &["store", "get", ".", "nowhere", "x"]),
            (FAILED, "KeyNotFound", &["store", "get", ".", "word-counts", "x"]),
            (FAILED, "NoProject", &["build", ".millstream"]),
            (BAD_PLAN, "BadManifest", &["run", "bad.toml"]),
            (BAD_PLAN, "BadManifest", &["validate", "nowhere.toml"]),
            (BAD_PLAN, "SecretNotFound", &["validate", "secret.toml"]),
            (BAD_PLAN, "BadManifest", &["topology", "elsewhere.toml"]),
            (BAD_PLAN, "ComponentNotFound", &["validate", "gone.toml"]),
            (BAD_PLAN, "ComponentNotFound", &["run", "bare.toml"]),
        ] {
            std::fs::create_dir_all(mill.dir().join(".millstream")).unwrap();
            let ended = mill.run(&[args, &["--error-format", "json"]].concat());
            assert_eq!(ended.stdout, "", "{args:?}");
            let problem = ended.fails(code).problem();
            assert_eq!(problem["error"], error, "{args:?}: {problem}");
            assert!(mill.run(args).fails(code).stderr.contains("error"), "{args:?}");
        }
        for args in [&["--help"][..], &["--version"], &["version"], &["help", "run"], &["completion", "bash"]] {
            let ended = mill.run(args).ok();
            assert_ne!(ended.stdout, "", "{args:?}");
            assert_eq!(ended.stderr, "", "{args:?}");
        }
    });
}

/// A guest that describes itself so, under a manifest of its own.
fn described(mill: &Millstream, id: &str, description: &str, tables: &str) {
    std::fs::write(mill.dir().join("guest.wasm"), guests::described_as(description).unwrap()).unwrap();
    mill.write("app.toml", &format!("id = \"{id}\"\ncomponent = \"guest.wasm\"\n{tables}"));
}

#[test]
fn topologies_and_components_that_cannot_run_are_78_and_named() {
    let log = embedded();
    let mill = Millstream::new(log.log.url());
    let refused = |error: &str| {
        for verb in ["validate", "run", "topology"] {
            let problem = mill.run(&[verb, ".", "--error-format", "json"]);
            if verb == "topology" && problem.code == Some(0) {
                continue;
            }
            assert_eq!(problem.fails(BAD_PLAN).problem()["error"], error, "{verb}");
        }
    };
    for (error, description) in [
        ("BadDescription", "{".to_owned()),
        ("DescriptionVersion", json!({"version": 2, "nodes": []}).to_string()),
        ("BadTopology", json!({"version": 1, "nodes": [{"name": "x", "op": "window"}]}).to_string()),
        (
            "ChangelogRequired",
            json!({"version": 1, "nodes": [{"name": "in", "op": "source"},
                {"name": "n", "op": "count", "inputs": ["in"], "store": "s"}],
                "stores": [{"name": "s", "kind": "key-value", "key": "utf8", "value": "i64", "changelog": false}]})
            .to_string(),
        ),
        (
            "RetentionTooShort",
            json!({"version": 1, "nodes": [{"name": "in", "op": "source"},
                {"name": "n", "op": "process", "inputs": ["in"], "stores": ["s"]}],
                "stores": [{"name": "s", "kind": "window", "key": "utf8", "value": "i64", "window_size_ms": 60_000,
                    "retention_ms": 59_999}]})
            .to_string(),
        ),
    ] {
        described(&mill, "bad", &description, "");
        refused(error);
    }
    // A stream that looks up a table of another partition count.
    log.log.create(&new_topic("left", 2)).unwrap();
    log.log.create(&new_topic("right", 3)).unwrap();
    let meet = json!({"version": 1, "nodes": [{"name": "left", "op": "source"},
        {"name": "right", "op": "table-source", "store": "s"},
        {"name": "look", "op": "process", "inputs": ["left"], "stores": ["s"]}],
        "stores": [{"name": "s", "kind": "key-value", "key": "utf8", "value": "i64"}]});
    described(&mill, "meet", &meet.to_string(), "");
    refused("CopartitionMismatch");
    for (error, guest) in
        [("UnknownImport", "unknown-interface"), ("BadExport", "no-exports"), ("DescribeFailed", "fails-to-describe")]
    {
        std::fs::write(mill.dir().join("guest.wasm"), guests::wat(guest).unwrap()).unwrap();
        refused(error);
    }
    let mut broken = guests::wat("quiet").unwrap();
    let middle = broken.len() / 2;
    broken.truncate(middle);
    std::fs::write(mill.dir().join("guest.wasm"), broken).unwrap();
    refused("BadComponent");
    std::fs::File::create(mill.dir().join("guest.wasm")).unwrap().set_len((64 << 20) + 1).unwrap();
    refused("ComponentTooLarge");
}

#[test]
fn an_internal_topic_of_another_width_is_78_and_named() {
    each_log(|log| {
        let words = Words::on(log, "");
        log.log.create(&new_topic(&format!("{}-word-counts-repartition", words.id), 5)).unwrap();
        let problem = words.mill.run(&["validate", ".", "--error-format", "json"]).fails(BAD_PLAN).problem();
        assert_eq!(problem["error"], "RepartitionPartitionMismatch", "{problem}");
    });
}

#[test]
fn what_the_machine_does_not_give_is_1_and_named() {
    let log = embedded();
    let words = Words::on(&log, "[state]\nprovider = \"lmdb\"\n[stores.word-counts]\nchangelog = true\n");
    let mill = &words.mill;
    let refused = |args: &[&str], error: &str| {
        let problem = mill.run(&[args, &["--error-format", "json"]].concat()).fails(FAILED).problem();
        assert_eq!(problem["error"], error, "{args:?}: {problem}");
    };
    // A state directory that is a file; an address that is taken.
    mill.write("a-file", "");
    refused(&["run", ".", "--state-dir", "a-file"], "StateDirectoryUnusable");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    refused(&["run", ".", "--http", &taken.local_addr().unwrap().to_string()], "NotAvailable");
    // Local state that is damaged, and nothing runs that could mend it.
    mill.run(&["run", ".", "--until-end"]).ok();
    let state = mill.dir().join(".millstream/state").join(&words.id);
    for entry in std::fs::read_dir(&state).unwrap() {
        let data = entry.unwrap().path().join("data.mdb");
        if data.exists() {
            std::fs::write(data, vec![7; 16 << 10]).unwrap();
        }
    }
    refused(&["store", "scan", ".", "word-counts"], "StateNotReadable");
    // Somebody else listens where the application would.
    let socket = UnixListener::bind(state.join("query.sock")).unwrap();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let _ = stream.unwrap().write_all(b"nonsense\r\n\r\n");
        }
    });
    refused(&["store", "list", "."], "NotAvailable");
    // stdout and stdin.
    let (program, url) = (binary().display(), log.log.url());
    for (command, error) in [
        (format!("{program} version > /dev/full"), "OutputFailed"),
        (format!("{program} produce {} --log {url} < /", words.lines), "InputFailed"),
    ] {
        let output = Command::new("bash").args(["-c", &format!("{command} --error-format json")]).output().unwrap();
        assert_eq!(output.status.code(), Some(FAILED), "{command}: {output:?}");
        let problem: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(problem["error"], error);
    }
}

#[test]
fn a_log_whose_file_is_damaged_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mill = Millstream::new(format!("embedded:{}", dir.path().display()));
    mill.run(&["topics", "create", "t"]).ok();
    std::fs::write(dir.path().join("data.mdb"), vec![7; 64 << 10]).unwrap();
    let problem = mill.run(&["topics", "list", "--error-format", "json"]).fails(FAILED).problem();
    assert_eq!(problem["error"], "LogCorrupted", "{problem}");
}

#[test]
fn a_store_that_nobody_keeps_is_not_running() {
    let log = embedded();
    let words = Words::on(&log, "[stores.word-counts]\nchangelog = false\n");
    words.mill.run(&["run", ".", "--until-end"]).ok();
    let problem =
        words.mill.run(&["store", "scan", ".", "word-counts", "--error-format", "json"]).fails(FAILED).problem();
    assert_eq!(problem["error"], "NotRunning");
    let listed = words.run(&["store", "list", "."]);
    assert_eq!((&listed[0]["changelog_topic"], &listed[0]["entries"]), (&Value::Null, &json!(0)));
}

#[test]
fn what_does_not_decode_is_counted_at_the_end() {
    each_log(|log| {
        let (mill, topic) = (Millstream::new(log.log.url()), log.topic("text", 1));
        log.produce(&topic, 0, &["a", "12345678"]);
        let ended = mill.run(&["consume", &topic, "--until-end", "--value", "i64", "--error-format", "json"]);
        let problem = ended.fails(FAILED).problem();
        assert_eq!((&problem["error"], &problem["undecodable"]), (&json!("RecordDeserialization"), &json!(1)));
    });
}

// === HTTP ===

#[test]
fn http_has_the_shapes_and_errors_of_the_contract() {
    each_log(|log| {
        let words = Words::on(log, "");
        let mut running = words.mill.start(&["run", ".", "--http", "127.0.0.1:0", "--threads", "2"]);
        let address = running.ready();
        let app = format!("/v1/apps/{}", words.id);
        eventually("all four words are counted", || {
            let entries = get(&address, &format!("{app}/stores/word-counts/entries"));
            (entries.status == 200 && entries.json()["entries"].as_array()?.len() == 4).then_some(())
        });
        let json = |path: &str| get(&address, path).is(200).json();
        has_fields(&json("/v1/apps"), &["apps", "next"]);
        let status = json(&format!("{app}/status"));
        has_fields(&status, &["id", "state", "component", "tasks"]);
        has_fields(&status["component"], &["digest"]);
        assert_eq!(json("/v1/apps")["apps"][0]["id"], status["id"]);
        let task = status["tasks"].as_array().unwrap().iter().find(|task| task["id"] == "1_0").unwrap();
        has_fields(task, &["id", "state", "inputs", "stores"]);
        has_fields(&task["inputs"][0], &["topic", "partition", "committed", "end"]);
        has_fields(&task["stores"][0], &["name", "restored", "restore_end", "bytes"]);
        let stores = json(&format!("{app}/stores?limit=1"));
        has_fields(&stores, &["stores", "next", "address"]);
        has_fields(
            &stores["stores"][0],
            &["name", "kind", "provider", "codecs", "changelog_topic", "entries", "bytes", "tasks", "of"],
        );
        let entries = json(&format!("{app}/stores/word-counts/entries?from=a&to=z&limit=3"));
        has_fields(&entries, &["entries", "next"]);
        assert!(entries["next"].is_string(), "{entries}");
        has_fields(&entries["entries"][0], &["key", "value", "timestamp", "task"]);
        assert!(
            get(&address, "/metrics")
                .is(200)
                .header("content-type")
                .unwrap()
                .starts_with("application/openmetrics-text")
        );
        get(&address, "/livez").is(200);
        get(&address, "/readyz").is(200);
        let refused = |method: &str, path: &str, headers: &[(&str, &str)], status: u16| {
            request(&address, method, path, headers).is(status).json()["error"].clone()
        };
        let host = ("host", address.as_str());
        assert_eq!(refused("GET", "/v1/apps", &[host, ("origin", "http://evil.example")], 403), "OriginRefused");
        assert_eq!(refused("GET", "/v1/apps", &[("host", "evil.example")], 403), "OriginRefused");
        assert_eq!(refused("DELETE", "/v1/apps", &[host], 405), "MethodNotAllowed");
        assert_eq!(refused("GET", "/v2", &[host], 404), "NotFound");
        // A second application's address is taken; a reader with a token.
        running.signal(Signal::TERM);
        let begun = Instant::now();
        running.finish().ok();
        assert!(begun.elapsed() < Duration::from_secs(10), "SIGTERM took {:?}", begun.elapsed());

        words.mill.write("token", "secret\n");
        let mut running = words.mill.start(&["run", ".", "--http", "0", "--http-token", "token"]);
        let address = running.address();
        let answer = request(&address, "GET", "/v1/apps", &[("host", &address)]).is(401);
        assert_eq!(
            (answer.header("www-authenticate"), &answer.json()["error"]),
            (Some("Bearer"), &json!("Unauthorized"))
        );
        running.signal(Signal::INT);
        running.finish().ok();
    });
}

/// Puts this many entries into the changelog of a store that nobody has written yet.
fn fill_changelog(log: &TestLog, topic: &str, entries: u32) {
    log.log.create(&compacted_topic(topic, 2)).unwrap();
    let mut writer = log.log.writer().unwrap();
    for n in 0..entries {
        let (key, value) = (format!("word-{n:07}"), 1i64.to_be_bytes());
        let record = Record { key: Some(key.as_bytes()), value: Some(&value), headers: Headers(&[]), timestamp: 1 };
        writer.send(topic, Some((n % 2) as i32), record).unwrap();
    }
    writer.flush().unwrap();
}

#[test]
fn a_restore_shows_how_far_it_is_and_answers_nothing_before_it_is_whole() {
    each_log(|log| {
        // Enough that it is still under way when it is looked at.
        const ENTRIES: u32 = 1_000_000;
        let words = Words::on(log, "[state]\nprovider = \"lmdb\"\n");
        fill_changelog(log, &words.changelog(), ENTRIES);
        let mut running = words.mill.start(&["run", ".", "--http", "0"]);
        let address = running.address();
        running.until_it_says(|said| said.contains(&format!("restoring {} word-counts: ", words.id)).then_some(()));
        // All tasks have to answer.
        let path = format!("/v1/apps/{}/stores/word-counts/entries?limit=1", words.id);
        let answer = get(&address, &path).is(503);
        assert_eq!((answer.header("retry-after"), &answer.json()["error"]), (Some("1"), &json!("NotReady")));
        get(&address, "/readyz").is(503);
        get(&address, "/livez").is(200);
        let status = get(&address, &format!("/v1/apps/{}/status", words.id)).json();
        let stores = status["tasks"].as_array().unwrap().iter().flat_map(|task| task["stores"].as_array().unwrap());
        assert!(stores.clone().any(|store| store["restored"].as_i64() < store["restore_end"].as_i64()), "{status}");
        let metrics = get(&address, "/metrics").body;
        assert!(metrics.contains(&format!("millstream_restore_remaining_records{{app=\"{}\"", words.id)), "{metrics}");
        running.until_it_says(|said| said.contains(&format!("restored {} word-counts: ", words.id)).then_some(()));
        eventually("an answer", || (get(&address, &path).status == 200).then_some(()));
        running.signal(Signal::INT);
        running.finish().ok();
        // On a terminal the same as bars.
        let command = format!(
            "{} run {} --until-end --state-dir fresh --log {}",
            binary().display(),
            words.mill.dir().display(),
            log.log.url()
        );
        let seen = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .current_dir(words.mill.dir())
            .output()
            .unwrap();
        let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
        assert!(seen.contains(&format!("restoring {} word-counts", words.id)) && seen.contains("/s"), "{seen}");
    });
}

// === signals ===

/// How many members the group has, whatever they do.
fn members(broker: &str, group: &str) -> usize {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = rdkafka::ClientConfig::new().set("bootstrap.servers", broker).create().unwrap();
    let groups = consumer.fetch_group_list(Some(group), Duration::from_secs(30)).unwrap();
    groups.groups().iter().find(|found| found.name() == group).map_or(0, |found| found.members().len())
}

#[test]
fn whoever_stays_keeps_its_membership_for_the_next_start() {
    let Some(log) = tests::logs::kafka() else { return };
    assert_eq!(log.kind, Kind::Kafka);
    let broker = log.log.url().trim_start_matches("kafka://").to_owned();
    let words = Words::on(&log, "");
    let stop = |more: &[&str]| {
        let mut running = words.mill.start(&[&["run", ".", "--http", "0"], more].concat());
        running.ready();
        let begun = Instant::now();
        running.signal(Signal::TERM);
        running.finish().ok();
        assert!(begun.elapsed() < Duration::from_secs(10), "{more:?}: {:?}", begun.elapsed());
        members(&broker, &words.id)
    };
    assert_eq!(stop(&["--stay"]), 1, "it is still a member");
    assert_eq!(stop(&["--stay"]), 1, "and took its own place again");
    assert_eq!(stop(&[]), 0, "it has left");
    // Nothing was lost on the way, and nothing counted twice.
    words.mill.run(&["run", ".", "--until-end"]).ok();
    assert_eq!(words.run(&["groups", "describe", &words.id])["lag"], 0);
    assert_eq!(words.run(&["store", "get", ".", "word-counts", "mill"])["value"], 2);
}

#[test]
fn a_second_signal_ends_at_once() {
    each_log(|log| {
        for (first, second) in [(Signal::TERM, Signal::INT), (Signal::INT, Signal::TERM)] {
            let words = Words::on(log, "");
            let mut running = words.mill.start(&["run", ".", "--http", "0"]);
            running.ready();
            // Held between the two, so that the second one comes before the first is through.
            for signal in [Signal::STOP, first, second, Signal::CONT] {
                running.signal(signal);
            }
            let begun = Instant::now();
            running.finish().fails(INTERRUPTED);
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    });
}

#[test]
fn a_store_that_another_program_has_filled_is_named() {
    each_log(|log| {
        let words = Words::on(log, "");
        log.log.create(&compacted_topic(&words.changelog(), 2)).unwrap();
        let mut writer = log.log.writer().unwrap();
        for (partition, word) in [0, 1].into_iter().flat_map(|at| ["the", "mill", "turns"].map(|word| (at, word))) {
            writer.send(&words.changelog(), Some(partition), pair(word, "not eight bytes")).unwrap();
        }
        writer.flush().unwrap();
        let run = words.mill.run(&["run", ".", "--until-end", "--error-format", "json"]).fails(1);
        let problem = run.problem();
        assert_eq!((&problem["error"], &problem["code"]), (&json!("StateUnreadable"), &json!("E0806")));
        assert_eq!(problem["store"], "word-counts");
    });
}
