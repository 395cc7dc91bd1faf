//! What an operator does to keep state: plan its topics, look after it, copy it, check it, move it; on each log.

use std::collections::BTreeMap;

use millstream_engine::partitioner;
use millstream_engine::record::{Headers, Record};
use serde_json::{Value, json};
use tests::chaos::words::metric;
use tests::guests::described_as;
use tests::http::get;
use tests::logs::{Kind, TestLog, each_log, eventually};
use tests::millstream::Output;
use tests::sample::Words;

const FAILED: i32 = 1;
const BAD_PLAN: i32 = 78;

/// In LMDB, in `state` beside the manifest.
const ON_DISK: &str = "state_dir = \"state\"\n[state]\nprovider = \"lmdb\"";

/// The sample, everything fed to it counted.
fn counted(log: &TestLog, keys: &str) -> Words {
    let words = Words::on(log, keys);
    words.mill.run(&["run", ".", "--until-end"]).ok();
    words
}

fn counts(words: &Words) -> BTreeMap<String, i64> {
    counts_by(words, &[])
}

fn counts_in(words: &Words, state_dir: &str) -> BTreeMap<String, i64> {
    counts_by(words, &["--state-dir", state_dir])
}

fn counts_by(words: &Words, options: &[&str]) -> BTreeMap<String, i64> {
    let scan = [&["store", "scan", ".", "word-counts", "-o", "jsonl"], options].concat();
    let rows = words.mill.run(&scan).ok().jsonl();
    rows.iter().map(|row| (row["key"].as_str().unwrap().to_owned(), row["value"].as_i64().unwrap())).collect()
}

fn expected(more: &[(&str, i64)]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::from([("the", 2), ("mill", 2), ("turns", 1), ("stops", 1)]);
    counts.extend(more.iter().copied());
    counts.into_iter().map(|(word, count)| (word.to_owned(), count)).collect()
}

// === caches ===

#[test]
fn who_wants_a_cache_is_shown_before_a_start_and_what_it_holds_while_it_runs() {
    each_log(|log| {
        let cached = "commit_interval = \"1h\"\n[stores.word-counts]\ncache = \"1MiB\"";
        for (keys, bytes, from) in
            [("", 0, "default"), ("[stores.word-counts]\ncache = \"0B\"", 0, "manifest"), (cached, 1 << 20, "manifest")]
        {
            let valid = Words::on(log, keys).run(&["validate", ".", "-o", "json"]);
            let options = valid["stores"][0]["options"].as_array().unwrap();
            let cache = options.iter().find(|option| option["name"] == "cache_bytes").unwrap();
            assert_eq!((&cache["value"], &cache["origin"]), (&json!(bytes), &json!(from)));
        }
        let words = Words::on(log, "commit_interval = \"300ms\"\n[stores.word-counts]\ncache = \"1MiB\"");
        let mut running = words.mill.start(&["run", ".", "--http", "127.0.0.1:0"]);
        let address = running.ready();
        eventually("all words are counted", || {
            ([0, 1].iter().map(|partition| log.read(&words.counts, *partition).len()).sum::<usize>() >= 4).then_some(())
        });
        // Both tasks that count have one, and what is told of them may be some moments old.
        eventually("the caches are empty", || {
            let status = get(&address, &format!("/v1/apps/{}/status", words.id)).is(200).json();
            let entries = |task: &Value| task["stores"][0]["cache"]["entries"].as_u64();
            let entries: Vec<u64> = status["tasks"].as_array().unwrap().iter().filter_map(entries).collect();
            (entries == [0, 0]).then_some(())
        });
        assert_eq!(metric(&address, "millstream_cache_entries", "word-counts"), 0);
        running.signal(rustix::process::Signal::INT);
        running.finish().ok();
    });
}

// === validate ===

#[test]
fn validate_says_of_each_option_of_a_store_who_has_chosen_it() {
    each_log(|log| {
        let keys = "state_dir = \"state\"\n[state]\nprovider = \"lmdb\"\n\
                    [changelog]\ntopic_configs = { \"segment.bytes\" = \"1048576\" }\n\
                    [stores.word-counts]\nmax_size = \"2GiB\"\n\
                    [stores.word-counts.changelog]\ntopic_configs = { \"delete.retention.ms\" = \"5\" }";
        let words = Words::on(log, keys);
        let stores = words.run(&["validate", "."])["stores"].clone();
        assert_eq!((&stores[0]["name"], &stores[0]["kind"]), (&json!("word-counts"), &json!("key-value")));
        let options = stores[0]["options"].as_array().unwrap().iter();
        let shown = options.map(|option| {
            let text = |name: &str| option[name].as_str().map_or_else(|| option[name].to_string(), str::to_owned);
            format!("{} {} {} {}", text("name"), text("value"), text("origin"), option["table"].as_str().unwrap_or("-"))
        });
        let expected = [
            "key utf8 code -".to_owned(),
            "value i64 code -".to_owned(),
            "provider lmdb manifest [state]".to_owned(),
            "max_size 2.0 GiB manifest [stores.word-counts]".to_owned(),
            "cache_bytes 0 default -".to_owned(),
            format!("changelog {} default -", words.changelog()),
            "replication_factor null default -".to_owned(),
            "topic_configs.cleanup.policy compact default -".to_owned(),
            "topic_configs.delete.retention.ms 5 manifest [stores.word-counts.changelog]".to_owned(),
            "topic_configs.message.timestamp.type CreateTime default -".to_owned(),
            "topic_configs.retention.ms -1 default -".to_owned(),
            "topic_configs.segment.bytes 1048576 manifest [changelog]".to_owned(),
            "skip_restoration false default -".to_owned(),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    });
}

// === changelogs plan ===

#[test]
fn the_internal_topics_of_a_start_can_be_created_before_it() {
    each_log(|log| {
        let words = Words::on(log, "[changelog]\nauto_create = false\n[repartition]\nauto_create = false");
        let problem = words.mill.run(&["run", ".", "--until-end", "--error-format", "json"]).fails(BAD_PLAN).problem();
        assert_eq!(problem["error"], "InternalTopicNotFound");
        let planned = words.run(&["changelogs", "plan", ".", "-o", "json"]);
        let planned = planned.as_array().unwrap();
        let kinds: Vec<_> = planned.iter().map(|topic| topic["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "changelog").count(), 1, "{planned:?}");
        assert_eq!(kinds.iter().filter(|kind| **kind == "repartition").count(), 1, "{planned:?}");
        assert_eq!(kinds.iter().filter(|kind| **kind == "names").count(), 1, "{planned:?}");
        let changelog = planned.iter().find(|topic| topic["kind"] == "changelog").unwrap();
        assert_eq!(changelog["topic"], words.changelog());
        assert_eq!((&changelog["store"], &changelog["partitions"]), (&json!("word-counts"), &json!(2)));
        assert_eq!((&changelog["configs"]["cleanup.policy"], &changelog["exists"]), (&json!("compact"), &json!(false)));
        for topic in planned {
            let configs = topic["configs"].as_object().unwrap().iter();
            let configs: Vec<String> =
                configs.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
            let partitions = topic["partitions"].to_string();
            let mut create = vec!["topics", "create", topic["topic"].as_str().unwrap(), "--partitions", &partitions];
            configs.iter().for_each(|config| create.extend(["--config", config]));
            words.mill.run(&create).ok();
        }
        words.mill.run(&["run", ".", "--until-end"]).ok();
        assert_eq!(counts(&words), expected(&[]));
        let planned = words.run(&["changelogs", "plan", ".", "-o", "json"]);
        assert!(planned.as_array().unwrap().iter().all(|topic| topic["exists"] == true), "{planned}");
        assert_eq!(words.mill.run(&["changelogs", "plan", ".", "-o", "kafka-topics"]).ok().stdout, "");
    });
}

#[test]
fn kafkas_own_tool_is_told_what_is_missing() {
    each_log(|log| {
        let words =
            Words::on(log, "[changelog]\nreplication_factor = 2\ntopic_configs = { \"segment.bytes\" = \"1048576\" }");
        let commands = words.mill.run(&["changelogs", "plan", ".", "-o", "kafka-topics"]).ok().stdout;
        let line = commands.lines().find(|line| line.contains(&words.changelog())).unwrap();
        for part in [
            "kafka-topics.sh --bootstrap-server \"$BROKERS\" --create ",
            " --partitions 2 ",
            " --replication-factor 2 ",
            " --config cleanup.policy=compact",
            " --config segment.bytes=1048576",
        ] {
            assert!(line.contains(part), "no `{part}` in {line}");
        }
        // The third records the stores.
        assert_eq!(commands.lines().count(), 3, "{commands}");
    });
}

#[test]
fn a_changelog_with_other_configs_than_are_asked_for_is_found_with_the_command_that_mends_it() {
    each_log(|log| {
        let words = counted(log, "");
        let planned = |words: &Words| {
            let planned = words.run(&["changelogs", "plan", ".", "-o", "json"]);
            let topics = planned.as_array().unwrap();
            topics.iter().find(|topic| topic["topic"] == words.changelog()).unwrap()["differs"].clone()
        };
        assert_eq!(planned(&words), Value::Null);
        let manifest = std::fs::read_to_string(words.mill.dir().join("app.toml")).unwrap();
        let asked = "[stores.word-counts.changelog]\ntopic_configs = { \"segment.bytes\" = \"1048576\" }\n";
        words.mill.write("app.toml", &format!("{manifest}{asked}"));
        assert_eq!(planned(&words), json!({"segment.bytes": "52428800"}));
        finds(&words, "pre-create-changelogs", "segment.bytes=52428800 and not 1048576");
        let commands = words.mill.run(&["changelogs", "plan", ".", "-o", "kafka-topics"]).ok().stdout;
        let expected = format!("--alter --topic {} --add-config segment.bytes=1048576\n", words.changelog());
        assert!(commands.starts_with("kafka-configs.sh ") && commands.ends_with(&expected), "{commands}");
        assert_eq!(commands.lines().count(), 1, "{commands}");
    });
}

// === skip_restoration ===

/// What is counted of one more line, and what the process said.
fn counted_on(log: &TestLog, words: &Words) -> (Vec<(String, i64)>, String) {
    let outputs = || {
        let consume = ["consume", &words.counts, "--key", "utf8", "--value", "i64", "--until-end"];
        let rows = words.mill.run(&consume).ok().jsonl();
        let pair = |row: &Value| (row["key"].as_str().unwrap().to_owned(), row["value"].as_i64().unwrap());
        rows.iter().map(pair).collect::<Vec<_>>()
    };
    let mut before = outputs();
    log.produce(&words.lines, 0, &["the mill"]);
    let said = words.mill.run(&["run", ".", "--until-end"]).ok().stderr;
    let mut counted = outputs();
    counted.retain(|one| match before.iter().position(|other| other == one) {
        Some(known) => {
            before.swap_remove(known);
            false
        }
        None => true,
    });
    counted.sort();
    (counted, said)
}

#[test]
fn a_store_that_skips_its_restoration_goes_on_with_what_it_finds() {
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            let keys = format!(
                "guarantee = \"at-least-once\"\nstate_dir = \"state\"\n[state]\nprovider = \"{provider}\"\n\
                 [stores.word-counts.changelog]\nskip_restoration = true"
            );
            let words = counted(log, &keys);
            let of_each = |count| vec![("mill".to_owned(), count), ("the".to_owned(), count)];
            let next = |expected, skipped| {
                let (counted, said) = counted_on(log, &words);
                assert_eq!(counted, of_each(expected), "{provider}: {said}");
                assert_eq!(said.contains("E0421"), skipped, "{provider}: {said}");
            };
            if provider == "lmdb" {
                next(3, true);
                // Somebody else's record is in the changelog, and is not read.
                let mut writer = log.log.writer().unwrap();
                for key in ["the", "mill"] {
                    let value = 100_i64.to_be_bytes();
                    let record =
                        Record { key: Some(key.as_bytes()), value: Some(&value), headers: Headers(b""), timestamp: 0 };
                    let partition = partitioner::partition(key.as_bytes(), 2);
                    writer.send(&words.changelog(), Some(partition), record).unwrap();
                }
                writer.flush().unwrap();
                next(4, true);
                std::fs::remove_dir_all(words.mill.dir().join("state")).unwrap();
            }
            next(1, true);
            let manifest = std::fs::read_to_string(words.mill.dir().join("app.toml")).unwrap();
            words.mill.write("app.toml", &manifest.replace("skip_restoration = true", "skip_restoration = false"));
            next(2, false);
        }
    });
}

#[test]
fn a_restoration_is_not_skipped_under_exactly_once() {
    each_log(|log| {
        let words = Words::on(log, "[stores.word-counts.changelog]\nskip_restoration = true");
        for verb in [&["validate", "."][..], &["run", ".", "--until-end"]] {
            let problem = words.mill.run(&[verb, &["--error-format", "json"]].concat()).fails(BAD_PLAN).problem();
            let found = (&problem["error"], &problem["code"], &problem["store"]);
            assert_eq!(found, (&json!("RestorationRequired"), &json!("E0240"), &json!("word-counts")));
            assert!(problem["fix"].as_str().unwrap().contains("at-least-once"), "{problem}");
        }
    });
}

// === export and import ===

#[test]
fn what_is_exported_is_imported_elsewhere() {
    each_log(|log| {
        for keys in ["", ON_DISK] {
            let (from, to) = (counted(log, keys), Words::on(log, keys));
            let file = to.mill.dir().join("counts.jsonl");
            let report = from.run(&["store", "export", ".", "word-counts", file.to_str().unwrap(), "-o", "json"]);
            assert_eq!((&report["store"], &report["entries"]), (&json!("word-counts"), &json!(4)));
            let lines = std::fs::read_to_string(&file).unwrap();
            let shown = from.mill.run(&["store", "export", ".", "word-counts", "-"]).ok().stdout;
            assert_eq!(shown, lines);
            let report = to.run(&["store", "import", ".", "word-counts", "counts.jsonl", "-o", "json"]);
            assert_eq!((&report["entries"], &report["changelog_topic"]), (&json!(4), &json!(to.changelog())));
            to.mill.run(&["run", ".", "--until-end"]).ok();
            let twice = expected(&[]).into_iter().map(|(word, count)| (word, 2 * count)).collect();
            assert_eq!(counts(&to), twice, "{keys}: what was imported, and counted on");
        }
    });
}

#[test]
fn an_import_with_a_bad_line_changes_nothing() {
    each_log(|log| {
        let words = counted(log, "");
        for (line, part) in [
            (r#"{"key":"a","value":"b"}"#, "`value`"),
            (r#"{"key":"a","value":1,"task":"1_7"}"#, "task 1_7"),
            (r#"{"key":"a","value":1,"task":"0_0"}"#, "task 0_0"),
            (&format!(r#"{{"key":"{}","value":1}}"#, "k".repeat(1025)), "1025 bytes"),
            (r#"{"value":1}"#, "`key`"),
        ] {
            words.mill.write("bad.jsonl", &format!("{{\"key\":\"a\",\"value\":7}}\n\n{line}\n"));
            let import = ["store", "import", ".", "word-counts", "bad.jsonl", "--error-format", "json"];
            let problem = words.mill.run(&import).fails(FAILED).problem();
            assert_eq!((&problem["error"], &problem["line"]), (&json!("InvalidRecord"), &json!(3)), "{line}");
            assert!(problem["message"].as_str().unwrap().contains(part), "{problem}");
            assert_eq!(counts(&words), expected(&[]));
        }
    });
}

/// It is read twice.
#[test]
fn what_is_no_file_is_not_imported() {
    each_log(|log| {
        let words = counted(log, "");
        let import = ["store", "import", ".", "word-counts", "/dev/null", "--error-format", "json"];
        let problem = words.mill.run(&import).fails(FAILED).problem();
        assert_eq!(problem["code"], "E0005", "{problem}");
        assert!(problem["message"].as_str().unwrap().contains("no regular file"), "{problem}");
    });
}

#[test]
fn an_entry_is_imported_by_its_key_or_deleted() {
    each_log(|log| {
        let words = counted(log, "");
        words.mill.write("more.jsonl", "{\"key\":\"stone\",\"value\":41}\n{\"key\":\"turns\",\"value\":null}\n");
        words.mill.run(&["store", "import", ".", "word-counts", "more.jsonl"]).ok();
        log.produce(&words.lines, 0, &["stone"]);
        words.mill.run(&["run", ".", "--until-end"]).ok();
        let mut all = expected(&[("stone", 42)]);
        all.remove("turns");
        assert_eq!(counts(&words), all);
    });
}

#[test]
fn nothing_is_imported_where_it_would_be_lost() {
    each_log(|log| {
        let words = counted(log, "");
        words.mill.write("counts.jsonl", "{\"key\":\"a\",\"value\":7}\n");
        let import = ["store", "import", ".", "word-counts", "counts.jsonl", "--error-format", "json"];
        let mut running = words.mill.start(&["run", ".", "--http", "0"]);
        running.ready();
        let problem = words.mill.run(&import).fails(FAILED).problem();
        assert_eq!((&problem["error"], &problem["code"]), (&json!("ImportRefused"), &json!("E0620")));
        running.kill();
        drop(running);
        let unlogged = Words::on(log, "[stores.word-counts]\nchangelog = false");
        unlogged.mill.write("counts.jsonl", "{\"key\":\"a\",\"value\":7}\n");
        let problem = unlogged.mill.run(&import).fails(FAILED).problem();
        assert!(problem["message"].as_str().unwrap().contains("no changelog"), "{problem}");
    });
}

// === verify ===

#[test]
fn a_store_that_holds_what_its_changelog_says_is_verified_running_or_not() {
    each_log(|log| {
        for keys in ["", ON_DISK] {
            let words = counted(log, keys);
            let verified = |output: Output| {
                let rows = output.ok().json();
                let rows = rows.as_array().unwrap();
                let sum = |name: &str| rows.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();
                assert_eq!((rows.len(), sum("entries"), sum("changelog_entries")), (2, 4, 4), "{rows:?}");
            };
            if keys == ON_DISK {
                verified(words.mill.run(&["store", "verify", ".", "-o", "json"]));
            } else {
                // Only the changelog is there, which is not held against itself.
                let output = words.mill.run(&["store", "verify", ".", "-o", "json"]).ok();
                assert_eq!(output.json(), json!([]));
                assert!(output.stderr.contains("word-counts is not compared"), "{}", output.stderr);
                let asked = ["store", "verify", ".", "word-counts", "--error-format", "json"];
                assert_eq!(words.mill.run(&asked).fails(FAILED).problem()["code"], "E0611");
            }
            let mut running = words.mill.start(&["run", ".", "--http", "0"]);
            running.ready();
            verified(words.mill.run(&["store", "verify", ".", "word-counts", "-o", "json"]));
        }
    });
}

#[test]
fn a_store_under_load_is_verified() {
    each_log(|log| {
        let words = counted(log, ON_DISK);
        let mut running = words.mill.start(&["run", ".", "--http", "0"]);
        running.ready();
        std::thread::scope(|scope| {
            let feeder = scope.spawn(|| {
                for round in 0..200 {
                    log.produce(&words.lines, round % 2, &["the mill turns the wheel", "the stone stops"]);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            });
            while !feeder.is_finished() {
                words.mill.run(&["store", "verify", "."]).ok();
            }
        });
    });
}

#[test]
fn what_a_store_and_its_changelog_disagree_about_is_named() {
    each_log(|log| {
        let words = counted(log, ON_DISK);
        // Somebody else writes into the changelog while the application runs: nobody restores it.
        let mut running = words.mill.start(&["run", ".", "--http", "0"]);
        running.ready();
        let mut writer = log.log.writer().unwrap();
        let count = 9i64.to_be_bytes();
        let record = Record { key: Some(b"ghost"), value: Some(&count), headers: Headers(&[]), timestamp: 0 };
        writer.send(&words.changelog(), Some(0), record).unwrap();
        writer.flush().unwrap();
        let output = words.mill.run(&["store", "verify", ".", "-o", "json", "--error-format", "json"]).fails(FAILED);
        let rows = output.json();
        assert_eq!(rows[0]["differences"], json!([{"key": "ghost", "store": null, "changelog": 9}]), "{rows}");
        assert_eq!((&rows[0]["ok"], &rows[1]["ok"]), (&json!(false), &json!(true)));
        let problem = output.problem();
        assert_eq!((&problem["error"], &problem["partitions"]), (&json!("StoreMismatch"), &json!(["word-counts 0"])));
    });
}

// === damage ===

#[test]
fn a_store_without_a_changelog_whose_state_is_damaged_is_named_as_gone_at_the_next_start() {
    each_log(|log| {
        for logged in [false, true] {
            let words = counted(log, &format!("{ON_DISK}\n[stores.word-counts]\nchangelog = {logged}"));
            for task in std::fs::read_dir(words.mill.dir().join("state").join(&words.id)).unwrap() {
                let data = task.unwrap().path().join("data.mdb");
                if data.exists() {
                    std::fs::write(data, "no state").unwrap();
                }
            }
            // Told once: what begins empty then is whole.
            for lost in [!logged, false] {
                let mut running = words.mill.start(&["run", ".", "--http", "0"]);
                let address = running.ready();
                let status = get(&address, &format!("/v1/apps/{}/status", words.id)).is(200).json();
                let mut warnings: Vec<&str> = status["warnings"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|warning| warning.as_str().unwrap())
                    .collect();
                assert_eq!(warnings.len(), if lost { 2 } else { 0 }, "{warnings:?}");
                warnings.sort_unstable();
                for (task, warning) in ["1_0", "1_1"].iter().zip(&warnings) {
                    assert!(warning.starts_with("E0809 StoreEmptied"), "{warning}");
                    assert!(warning.contains(&format!("store word-counts of task {task}")), "{warning}");
                    assert!(warning.contains("is gone and cannot be restored"), "{warning}");
                }
                running.signal(rustix::process::Signal::INT);
                running.finish().ok();
            }
            assert_eq!(counts(&words), if logged { expected(&[]) } else { BTreeMap::new() });
        }
    });
}

// === backup ===

#[test]
fn a_backup_of_a_running_application_is_a_state_to_start_from() {
    each_log(|log| {
        let words = counted(log, ON_DISK);
        let mut running = words.mill.start(&["run", ".", "--http", "0"]);
        running.ready();
        let backup = words.run(&["store", "backup", ".", "saved", "-o", "json"]);
        assert_eq!(backup["tasks"], 2, "{backup}");
        running.kill();
        drop(running);
        log.produce(&words.lines, 0, &["stone"]);
        // The state that was is gone, and what is restored is what came after the backup.
        std::fs::remove_dir_all(words.mill.dir().join("state")).unwrap();
        let ended = words.mill.run(&["run", ".", "--until-end", "--state-dir", "saved", "-v"]).ok();
        let begin = |line: &str| line.split_once(" from=").map(|(_, rest)| rest.starts_with('0'));
        let restores: Vec<_> =
            ended.stderr.lines().filter(|line| line.contains("restoring")).filter_map(begin).collect();
        assert!(restores.iter().all(|from_begin| !from_begin), "{}", ended.stderr);
        assert_eq!(counts_in(&words, "saved"), expected(&[("stone", 1)]));
        words.mill.run(&["store", "verify", ".", "--state-dir", "saved"]).ok();
    });
}

#[test]
fn a_backup_is_not_made_of_nothing_or_over_another() {
    each_log(|log| {
        let words = counted(log, "state_dir = \"state\"");
        let problem =
            words.mill.run(&["store", "backup", ".", "saved", "--error-format", "json"]).fails(FAILED).problem();
        assert_eq!((&problem["error"], &problem["code"]), (&json!("BackupFailed"), &json!("E0621")));
        let words = counted(log, ON_DISK);
        words.run(&["store", "backup", ".", "saved", "-o", "json"]);
        let problem =
            words.mill.run(&["store", "backup", ".", "saved", "--error-format", "json"]).fails(FAILED).problem();
        assert!(problem["message"].as_str().unwrap().contains("a backup is there already"), "{problem}");
    });
}

// === sizes ===

#[test]
fn stores_say_how_much_they_take_up() {
    each_log(|log| {
        for (keys, least) in [("", 4 * 8), (ON_DISK, 4096)] {
            let words = counted(log, keys);
            let bytes = |stores: &Value| stores[0]["bytes"].as_u64().unwrap();
            assert!(bytes(&words.run(&["store", "list", ".", "-o", "json"])) >= least, "{keys}");
            let mut running = words.mill.start(&["run", ".", "--http", "0"]);
            let address = running.ready();
            assert!(bytes(&words.run(&["store", "list", ".", "-o", "json"])) >= least, "{keys}");
            let metrics = tests::http::get(&address, "/metrics").is(200).body;
            let series = format!("millstream_store_bytes{{app=\"{}\",store=\"word-counts\"}} ", words.id);
            let shown = metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok());
            assert!(shown.is_some_and(|bytes| bytes >= least), "{metrics}");
            let status = tests::http::get(&address, &format!("/v1/apps/{}/status", words.id)).is(200).json();
            let tasks = status["tasks"].as_array().unwrap();
            let held = tasks.iter().flat_map(|task| task["stores"].as_array().unwrap());
            assert!(held.filter_map(|store| store["bytes"].as_u64()).sum::<u64>() >= least, "{status}");
        }
    });
}

/// More than a megabyte of them, for each of two tasks.
const LONG_WORDS: usize = 20_000;

#[test]
fn a_run_to_the_end_that_meets_a_full_store_ends_by_name_and_goes_on_with_a_larger_one() {
    each_log(|log| {
        let words = Words::on(log, &format!("{ON_DISK}\nmax_size = \"1MiB\""));
        let long: Vec<String> = (0..LONG_WORDS).map(|word| format!("{word}{}", "x".repeat(200))).collect();
        let lines: Vec<String> = long.chunks(100).map(|line| line.join(" ")).collect();
        log.produce(&words.lines, 0, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let run = ["run", ".", "--until-end"];
        let problem = words.mill.run(&[&run[..], &["--error-format", "json"]].concat()).fails(FAILED).problem();
        assert_eq!((&problem["error"], &problem["code"]), (&json!("StateFull"), &json!("E0705")), "{problem}");
        assert_eq!(problem["max_size_bytes"], json!(1 << 20), "{problem}");
        assert!(problem["fix"].as_str().unwrap().contains("max_size"), "{problem}");
        let manifest = std::fs::read_to_string(words.mill.dir().join("app.toml")).unwrap();
        words.mill.write("app.toml", &manifest.replace("1MiB", "64MiB"));
        words.mill.run(&run).ok();
        // Each long word once, and what the sample has: `the` and `mill` twice, two others.
        let counted = [0, 1].map(|partition| log.read(&words.counts, partition).len());
        assert_eq!(counted.iter().sum::<usize>(), LONG_WORDS + 6);
        let stores = words.run(&["store", "list", ".", "-o", "json"]);
        assert!(stores.to_string().contains(&format!("\"entries\":{}", LONG_WORDS + 4)), "{stores}");
    });
}

// === doctor ===

/// By practice: whether it is kept, and what was found.
fn doctor(words: &Words, code: i32) -> BTreeMap<String, (bool, String)> {
    let output = words.mill.run(&["doctor", ".", "-o", "json", "--error-format", "json"]).fails(code);
    if code != 0 {
        assert_eq!(output.problem()["error"], "Findings");
    }
    let rows = output.json();
    let row = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let ok = row["ok"].as_bool().unwrap();
        assert_eq!(ok, row["fix"].is_null(), "a finding has a fix: {row}");
        (text("practice"), (ok, text("found")))
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

#[track_caller]
fn finds(words: &Words, practice: &str, part: &str) {
    let checks = doctor(words, FAILED);
    let (ok, found) = &checks[practice];
    assert!(!ok && found.contains(part), "{practice}: {found}");
}

#[test]
fn a_doctor_finds_nothing_where_all_practices_are_kept() {
    let log = tests::logs::embedded();
    let words = counted(&log, ON_DISK);
    words.run(&["store", "backup", ".", "saved", "-o", "json"]);
    let manifest = std::fs::read_to_string(words.mill.dir().join("app.toml")).unwrap();
    words.mill.write("app.toml", &format!("{manifest}[changelog]\nauto_create = false\n"));
    let checks = doctor(&words, 0);
    assert_eq!(checks.len(), 9, "{checks:?}");
    assert!(checks.values().all(|(ok, _)| *ok), "{checks:?}");
}

#[test]
fn a_doctor_finds_each_practice_that_is_not_kept() {
    each_log(|log| {
        let words = counted(log, "");
        finds(&words, "persistent-stores", "in memory: word-counts");
        finds(&words, "pre-create-changelogs", "a start would create");
        let component = tests::providers::file("plugins/map-store").unwrap();
        let map = format!("[providers.map]\ncomponent = {component:?}\n[state]\nprovider = \"map\"");
        finds(
            &counted(log, &map),
            "persistent-stores",
            "word-counts: provider map keeps them for as long as its process",
        );
        let words = counted(log, ON_DISK);
        finds(&words, "backup", "never backed up");
        if log.kind == Kind::Kafka {
            // The broker of the tests is alone.
            finds(&words, "replication-factor", &format!("{} (1)", words.changelog()));
        }
        let words = Words::on(log, "");
        words.mill.run(&["topics", "create", &words.changelog(), "--partitions", "3"]).ok();
        finds(&words, "match-partitions", "has 3 partitions and needs 2");
        finds(&words, "retention", "cleanup.policy=delete");
        let words = Words::on(log, "");
        words.mill.run(&["topics", "delete", &words.counts]).ok();
        finds(&words, "startup-errors", "[E0205]");
        let words = counted(log, ON_DISK);
        words.mill.run(&["topics", "delete", &words.lines]).ok();
        eventually("it is created anew", || {
            words.mill.run(&["topics", "create", &words.lines, "--partitions", "2"]).code.filter(|code| *code == 0)
        });
        finds(&words, "startup-errors", "[E0221]");
        let words = counted(log, "state_dir = \"state\"\n[state]\nprovider = \"lmdb\"\nmax_size = \"1MiB\"");
        let data = std::fs::read_dir(words.mill.dir().join("state").join(&words.id)).unwrap();
        let data = data.map(|entry| entry.unwrap().path().join("data.mdb")).find(|file| file.exists()).unwrap();
        // As large as a file of a full store; what stands behind LMDB's pages means nothing to it.
        let mut bytes = std::fs::read(&data).unwrap();
        bytes.resize(900 << 10, 1);
        std::fs::write(&data, bytes).unwrap();
        finds(&words, "state-size", "of max_size 1.0 MiB");
    });
}

#[test]
fn a_doctor_asks_providers_whether_they_keep_what_they_are_given() {
    let log = tests::logs::embedded();
    let redis = tests::redis::Redis::start();
    let words = counted(&log, &redis.manifest(""));
    let kept = |checks: BTreeMap<String, (bool, String)>| checks["persistent-stores"].clone();
    let (ok, found) = kept(doctor(&words, FAILED));
    assert!(ok && found.contains("persistent providers: word-counts"), "{found}");
    // Of what it was asked by the owner's mark stays, once.
    let rows = || redis.ask(&["DBSIZE"]);
    let before = rows();
    doctor(&words, FAILED);
    assert_eq!(rows(), before);
    redis.kill();
    finds(&words, "persistent-stores", "provider redis does not answer");
}

#[test]
fn a_doctor_finds_changelogs_of_windows_that_keep_everything() {
    const WINDOWS: &str = r#"{"version":1,"nodes":[{"name":"lines","op":"source"},
        {"name":"count","op":"count","inputs":["lines"],"store":"counted","window":{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":0}}],
        "stores":[{"name":"counted","kind":"window","key":"utf8","value":"i64","window_size_ms":10,"retention_ms":100}]}"#;
    each_log(|log| {
        for (configs, found) in [
            (["cleanup.policy=compact,delete", "retention.ms=-1"], Some("keep for ever")),
            (["cleanup.policy=compact", "retention.ms=86400100"], Some("keep for ever")),
            (["cleanup.policy=compact,delete", "retention.ms=99"], Some("forget what their store still holds")),
            (["cleanup.policy=compact,delete", "retention.ms=86400100"], None),
        ] {
            let words = Words::on(log, "");
            std::fs::write(words.mill.dir().join("windows.wasm"), described_as(WINDOWS).unwrap()).unwrap();
            let manifest = format!(
                "id = \"{}\"\ncomponent = \"windows.wasm\"\n[sources.lines]\ntopic = \"{}\"\n",
                words.id, words.lines
            );
            words.mill.write("app.toml", &manifest);
            let changelog = format!("{}-counted-changelog", words.id);
            let [policy, retention] = configs;
            let create =
                ["topics", "create", &changelog, "--partitions", "2", "--config", policy, "--config", retention];
            words.mill.run(&create).ok();
            match found {
                Some(found) => finds(&words, "retention", found),
                None => assert!(doctor(&words, FAILED)["retention"].0, "{configs:?}"),
            }
        }
    });
}

#[test]
fn a_doctor_finds_stores_without_a_name() {
    each_log(|log| {
        let words = Words::on(log, "");
        let description = r#"{"version":1,"nodes":[{"name":"lines","op":"source"},{"name":"counted","op":"count","inputs":["lines"],"store":"count-store-0"}],"stores":[{"name":"count-store-0","kind":"key-value","key":"utf8","value":"i64"}]}"#;
        std::fs::write(words.mill.dir().join("unnamed.wasm"), described_as(description).unwrap()).unwrap();
        let manifest = "component = \"unnamed.wasm\"\n[sources.lines]\ntopic =";
        words.mill.write("app.toml", &format!("id = \"{}\"\n{manifest} \"{}\"\n", words.id, words.lines));
        finds(&words, "name-stores", "count-store-0");
    });
}
