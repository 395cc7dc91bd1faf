//! The command line over topics, records and groups, as scripts see it, on each log.

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::logs::{Kind, TestLog, each_log, eventually, unique};
use tests::member::{Member, at, offset, one_input, subscription};
use tests::millstream::Millstream;

fn on(log: &TestLog) -> Millstream {
    Millstream::new(log.log.url())
}

/// Runs `millstream consume TOPIC --until-end` with more flags; all records.
fn consume(mill: &Millstream, topic: &str, more: &[&str]) -> Vec<Value> {
    mill.run(&[&["consume", topic, "--until-end"], more].concat()).ok().jsonl()
}

// === topics ===

#[test]
fn topics_are_created_listed_described_and_deleted() {
    each_log(|log| {
        let (mill, name) = (on(log), unique("orders"));
        mill.run(&["topics", "create", &name, "--partitions", "3", "--config", "retention.ms=86400000"]).ok();
        let listed = mill.run(&["topics", "list"]).ok().json();
        let found = listed.as_array().and_then(|all| all.iter().find(|topic| topic["name"] == name.as_str()));
        assert_eq!(found, Some(&json!({"name": name, "partitions": 3})));
        mill.run_with(&["produce", &name], "{\"value\":\"a\",\"partition\":1}\n").ok();
        let described = mill.run(&["topics", "describe", &name, "-o", "json"]).ok().json();
        assert_eq!((&described["name"], &described["partitions"]), (&json!(name), &json!(3)));
        assert_eq!(described["configs"]["retention.ms"], "86400000");
        assert_eq!(described["offsets"][1], json!({"partition": 1, "begin": 0, "end": 1}));
        assert_eq!(described["offsets"].as_array().map(Vec::len), Some(3));
        mill.run(&["topics", "delete", &name]).ok();
        eventually("the topic is gone", || mill.run(&["topics", "describe", &name]).code.filter(|code| *code == 1));
    });
}

#[test]
fn a_sweep_compacts_an_embedded_log_and_leaves_brokers_to_themselves() {
    each_log(|log| {
        let (mill, name) = (on(log), unique("swept"));
        mill.run(&["topics", "create", &name, "--config", "cleanup.policy=compact"]).ok();
        let lines: String = (0..100).map(|i| format!("{{\"key\":\"k{}\",\"value\":\"{i}\"}}\n", i % 10)).collect();
        mill.run_with(&["produce", &name], lines).ok();
        if log.kind == Kind::Kafka {
            let problem = mill.run(&["topics", "sweep", &name, "--error-format", "json"]).fails(1).problem();
            assert_eq!(problem["error"], "LogRefused");
            return;
        }
        let swept = mill.run(&["topics", "sweep", &name, "-o", "json"]).ok().json();
        let topic = &swept["topics"][0];
        assert_eq!((&topic["name"], &topic["compacted_records"]), (&json!(name), &json!(90)));
        assert_eq!(topic["deleted_records"], 0);
        let [freed, file, free] =
            [&topic["freed_bytes"], &swept["file_bytes"], &swept["free_bytes"]].map(Value::as_u64);
        assert!(freed > Some(90 * 24) && free > Some(0) && file > free, "{swept}");
        let left: Vec<Value> = consume(&mill, &name, &[]).iter().map(|record| record["offset"].clone()).collect();
        assert_eq!(left, (90..100).map(Value::from).collect::<Vec<_>>());
        let described = mill.run(&["topics", "describe", &name, "-o", "json"]).ok().json();
        assert_eq!(described["offsets"][0], json!({"partition": 0, "begin": 0, "end": 100}));
        let text = mill.run(&["topics", "describe", &name, "-o", "text"]).ok().stdout;
        assert!(text.contains("are free for new records"), "{text}");
        let all = mill.run(&["topics", "sweep", "-o", "json"]).ok().json();
        let has = |topics: &Vec<Value>| topics.iter().any(|topic| topic["name"] == name.as_str());
        assert!(all["topics"].as_array().is_some_and(has), "{all}");
    });
}

#[test]
fn a_topic_is_not_created_twice() {
    each_log(|log| {
        let (mill, name) = (on(log), unique("twice"));
        mill.run(&["topics", "create", &name]).ok();
        let problem = mill.run(&["topics", "create", &name, "--error-format", "json"]).fails(1).problem();
        assert_eq!((&problem["error"], &problem["topic"]), (&json!("TopicExists"), &json!(name)));
    });
}

#[test]
fn a_topic_that_does_not_exist_is_named_with_a_fix() {
    each_log(|log| {
        let (mill, name) = (on(log), unique("nowhere"));
        for verb in
            [&["topics", "describe", &name][..], &["topics", "delete", &name], &["consume", &name], &["produce", &name]]
        {
            let output = mill.run(verb).fails(1);
            assert!(output.stderr.starts_with("error[E0402] "), "{}", output.stderr);
            assert!(output.stderr.contains(&name) && output.stderr.contains("\n  fix "), "{}", output.stderr);
            assert_eq!(output.stdout, "");
        }
        let problem = mill.run(&["consume", &name, "--error-format", "json"]).fails(1).problem();
        assert_eq!((&problem["error"], &problem["code"]), (&json!("UnknownTopicOrPartition"), &json!("E0402")));
    });
}

// === records ===

#[test]
fn records_go_in_and_come_out_as_the_same_text() {
    each_log(|log| {
        let (mill, from, to) = (on(log), log.topic("from", 2), log.topic("to", 2));
        let lines = [
            r#"{"topic":"x","partition":1,"offset":9,"timestamp":1700000000000,"key":"a","value":null,"headers":[["h","v"],["n",null]]}"#,
            r#"{"partition":1,"timestamp":0,"key":{"base64":"/wA="},"value":"grün","headers":[["b",{"base64":"/w=="}]]}"#,
            r#"{"partition":1,"timestamp":5,"value":""}"#,
        ];
        let report = mill.run_with(&["produce", &from], lines.join("\n")).ok().json();
        assert_eq!(report, json!({"topic": from, "sent": 3}));
        let out = mill.run(&["consume", &from, "--until-end"]).ok();
        let records = out.jsonl();
        let first = r#""partition":1,"offset":0,"timestamp":1700000000000,"key":"a","value":null,"headers":[["h","v"],["n",null]]}"#;
        assert_eq!(out.stdout.lines().next(), Some(&*format!("{{\"topic\":\"{from}\",{first}")));
        assert_eq!(records[1]["key"], json!({"base64": "/wA="}));
        assert_eq!(records[1]["headers"], json!([["b", {"base64": "/w=="}]]));
        assert_eq!((&records[2]["key"], &records[2]["value"]), (&Value::Null, &json!("")));
        // What came out goes in again.
        mill.run_with(&["produce", &to], &out.stdout).ok();
        let again = mill.run(&["consume", &to, "--until-end"]).ok().stdout;
        assert_eq!(again.replace(&to, &from), out.stdout);
    });
}

#[test]
fn a_record_without_a_timestamp_gets_now() {
    each_log(|log| {
        let (mill, topic) = (on(log), log.topic("now", 1));
        let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis() as i64;
        let before = now();
        mill.run_with(&["produce", &topic], "{\"value\":\"v\"}").ok();
        let timestamp = consume(&mill, &topic, &[])[0]["timestamp"].as_i64().expect("a timestamp is a number");
        assert!((before..=now()).contains(&timestamp), "{timestamp}");
    });
}

#[test]
fn keys_choose_the_partition_as_javas_murmur2_does() {
    each_log(|log| {
        let (mill, topic) = (on(log), log.topic("keyed", 8));
        // From Apache Kafka's own Utils.murmur2, positive, modulo 8.
        let expected = [("a", 4), ("21", 4), ("foobar", 6)];
        let lines = expected.map(|(key, _)| format!("{key}\tv\n")).concat();
        mill.run_with(&["produce", &topic, "--format", "kv"], lines).ok();
        for (key, partition) in expected {
            let found = consume(&mill, &topic, &[]).into_iter().find(|record| record["key"] == key);
            assert_eq!(found.map(|record| record["partition"].clone()), Some(json!(partition)), "{key}");
        }
    });
}

#[test]
fn codecs_read_and_print_typed_values() {
    each_log(|log| {
        let (mill, topic) = (on(log), log.topic("typed", 1));
        let lines = "{\"key\":\"k\",\"value\":9007199254740993}\n{\"key\":\"k\",\"value\":-1}\n{\"value\":null}\n";
        mill.run_with(&["produce", &topic, "--value", "i64"], lines).ok();
        let values = |codec: &str| -> Vec<Value> {
            let records = consume(&mill, &topic, &["--value", codec]);
            records.into_iter().map(|record| record["value"].clone()).collect()
        };
        assert_eq!(values("i64"), [json!(9007199254740993i64), json!(-1), Value::Null]);
        assert_eq!(values("bytes")[1], json!({"base64": "//////////8="}));
        let topic = log.topic("json", 1);
        mill.run_with(&["produce", &topic, "--value", "json"], "{\"value\":{\"b\":1.10,\"a\":[9007199254740993]}}\n")
            .ok();
        let out = mill.run(&["consume", &topic, "--until-end", "--value", "json"]).ok().stdout;
        assert!(out.contains(r#""value":{"b":1.10,"a":[9007199254740993]},"#), "{out}");
    });
}

#[test]
fn what_does_not_decode_prints_as_base64_and_fails_with_the_count() {
    each_log(|log| {
        let (mill, topic) = (on(log), log.topic("broken", 1));
        mill.run_with(&["produce", &topic, "--format", "kv"], "a\nbb\n").ok();
        let output = mill.run(&["consume", &topic, "--until-end", "--value", "i64", "--error-format", "json"]).fails(1);
        assert_eq!(output.jsonl()[1]["value"], json!({"base64": "YmI="}));
        assert_eq!(output.problem()["undecodable"], 2);
    });
}

#[test]
fn a_bad_line_names_its_number_and_nothing_after_it_is_sent() {
    each_log(|log| {
        let (mill, topic) = (on(log), log.topic("bad", 1));
        let lines = "{\"value\":\"a\"}\n\n{\"value\":\"b\"}\n{\"vlaue\":\"c\"}\n{\"value\":\"d\"}\n";
        let output = mill.run_with(&["produce", &topic, "--error-format", "json"], lines).fails(1);
        let problem = output.problem();
        assert_eq!(
            (&problem["error"], &problem["line"], &problem["sent"]),
            (&json!("InvalidRecord"), &json!(4), &json!(2))
        );
        assert!(problem["message"].as_str().is_some_and(|text| text.starts_with("line 4: ")), "{problem}");
        let values: Vec<_> = consume(&mill, &topic, &[]).into_iter().map(|record| record["value"].clone()).collect();
        assert_eq!(values, ["a", "b"]);
        for (line, part) in [("{\"value\":1}", "--value json"), ("{\"value\":\"v\",\"partition\":1}", "no partition 1")]
        {
            let stderr = mill.run_with(&["produce", &topic], line).fails(1).stderr;
            assert!(stderr.contains("line 1: ") && stderr.contains(part), "{stderr}");
        }
    });
}

#[test]
fn consuming_begins_and_stops_where_it_was_told() {
    each_log(|log| {
        let (mill, topic) = (on(log), log.topic("range", 2));
        log.produce(&topic, 0, &["a", "b", "c"]);
        log.produce(&topic, 1, &["x"]);
        let values = |more: &[&str]| -> Vec<String> {
            let records = consume(&mill, &topic, more);
            records.iter().map(|record| record["value"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(values(&["--partition", "0"]), ["a", "b", "c"]);
        assert_eq!(values(&["--partition", "0", "--from", "1"]), ["b", "c"]);
        assert_eq!(values(&["--partition", "0", "--max", "2"]), ["a", "b"]);
        assert_eq!(values(&["--from", "end"]), [""; 0]);
        assert_eq!(values(&["--max", "0"]), [""; 0]);
        assert_eq!(values(&[]).len(), 4);
        mill.run(&["consume", &topic, "--partition", "2"]).fails(2);
        let array = mill.run(&["consume", &topic, "--until-end", "-o", "json"]).ok().json();
        assert_eq!(array.as_array().map(Vec::len), Some(4));
        let text = mill.run(&["consume", &topic, "--partition", "1", "--until-end", "-o", "text"]).ok().stdout;
        assert_eq!(text, "1:0\t2023-11-14T22:13:20.000Z\tnull\tx\n");
    });
}

#[test]
fn an_offset_behind_a_partitions_end_is_where_it_has_nothing_yet() {
    each_log(|log| {
        let (mill, topic) = (on(log), log.topic("uneven", 3));
        log.produce(&topic, 0, &["a", "b", "c"]);
        log.produce(&topic, 1, &["x"]);
        let values = |records: &[Value]| -> Vec<String> {
            records.iter().map(|record| record["value"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(values(&consume(&mill, &topic, &["--from", "2"])), ["c"]);
        assert_eq!(values(&consume(&mill, &topic, &["--from", "1000000"])), [""; 0]);
        // Who waits gets what comes from that offset on, not what comes before it.
        let mut following = mill.start(&["consume", &topic, "--partition", "1", "--from", "2", "--max", "1", "-vv"]);
        following.until_it_says(|_| Some(()));
        std::thread::sleep(std::time::Duration::from_millis(500));
        log.produce(&topic, 1, &["y", "z"]);
        assert_eq!(values(&following.finish().ok().jsonl()), ["z"]);
    });
}

#[test]
fn a_consumer_that_follows_prints_what_comes_until_it_is_interrupted() {
    each_log(|log| {
        let (mill, topic) = (on(log), log.topic("follow", 1));
        let max = mill.start(&["consume", &topic, "--max", "2"]);
        let forever = mill.start(&["consume", &topic]);
        // Typed records are acknowledged before stdin ends.
        let mut producer = mill.start(&["produce", &topic, "--format", "kv"]);
        for value in ["one\n", "two\n"] {
            std::io::Write::write_all(producer.stdin(), value.as_bytes()).expect("the producer reads");
        }
        assert_eq!(max.finish().ok().jsonl().len(), 2);
        producer.finish().ok();
        std::thread::sleep(std::time::Duration::from_millis(500));
        forever.signal(Signal::INT);
        let output = forever.finish().fails(130);
        assert_eq!(output.jsonl().len(), 2);
        assert_eq!(output.stderr, "");
    });
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    each_log(|log| {
        let topic = log.topic("head", 1);
        let lines: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        log.produce(&topic, 0, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let program = tests::millstream::binary().display();
        let url = log.log.url();
        let script = format!("set -o pipefail; {program} consume {topic} --log {url} --until-end | head -n 1");
        let output = std::process::Command::new("bash").args(["-c", &script]).output().expect("a shell runs");
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    });
}

// === groups ===

#[test]
fn a_group_is_described_by_its_committed_offsets_and_lag() {
    each_log(|log| {
        let (mill, id, topic) = (on(log), unique("mill"), log.topic("in", 2));
        log.produce(&topic, 0, &["a", "b", "c"]);
        let problem = mill.run(&["groups", "describe", &id, "--error-format", "json"]).fails(1).problem();
        assert_eq!(problem["error"], "GroupIdNotFound");
        let mut member = Member::owning(log, subscription(&id, &[&topic], one_input(2)), 2);
        let offsets = vec![offset(at(0, 0), 2, ""), offset(at(0, 1), 0, "")];
        member.commit(millstream::log::Interval { offsets, ..Default::default() });
        let group = mill.run(&["groups", "describe", &id]).ok().json();
        let partition = |partition: i32, committed: i64, end: i64| json!({"topic": topic, "partition": partition, "committed": committed, "end": end, "lag": end - committed});
        assert_eq!(group, json!({"id": id, "partitions": [partition(0, 2, 3), partition(1, 0, 0)], "lag": 1}));
        member.leave();
    });
}

// === the program itself ===

#[test]
fn a_wrong_argument_ends_with_2_and_says_so_as_text_or_json() {
    let mill = Millstream::without_log();
    assert!(mill.run(&["topics", "lisst"]).fails(2).stderr.contains("'list'"));
    let problem = mill.run(&["topics", "lisst", "--error-format", "json"]).fails(2).problem();
    assert_eq!(problem["error"], "Usage");
    assert!(problem["fix"].as_str().is_some_and(|fix| fix.contains("'list'")), "{problem}");
    let problem = mill.run(&["topics", "list", "--log", "redis://x", "--error-format", "json"]).fails(2).problem();
    assert_eq!(problem["error"], "BadLogUrl");
    mill.run(&["--help"]).ok();
}

#[test]
fn no_broker_is_69_and_named() {
    let mill = Millstream::new("kafka://127.0.0.1:1");
    let problem = mill.run(&["topics", "list", "--error-format", "json"]).fails(69).problem();
    assert_eq!(problem["error"], "LogUnreachable");
    assert!(problem["message"].as_str().is_some_and(|text| text.contains("127.0.0.1:1")), "{problem}");
}

#[test]
fn the_log_is_the_flags_else_the_environments_else_the_manifests_else_in_the_directory() {
    let mill = Millstream::without_log();
    let exists = |path: &str| mill.dir().join(path).exists();
    mill.run(&["topics", "create", "a"]).ok();
    assert!(exists(".millstream/log"));
    mill.write("app.toml", "id = \"mill\"\nlog = \"embedded:named\"\n");
    mill.run(&["topics", "create", "b"]).ok();
    assert!(exists("named"));
    mill.run(&["topics", "create", "c", "--log", "embedded:flag"]).ok();
    assert!(exists("flag"));
    assert_eq!(mill.run(&["topics", "list"]).ok().json(), json!([{"name": "b", "partitions": 1}]));
    mill.write("app.toml", "idd = \"mill\"\n");
    let problem = mill.run(&["topics", "list", "--error-format", "json"]).fails(78).problem();
    assert_eq!(problem["error"], "BadManifest");
    assert!(problem["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{problem}");
}

#[test]
fn nothing_on_stderr_is_coloured_away_from_a_terminal() {
    let output = Millstream::without_log().run(&["consume", "nowhere"]).fails(1);
    assert!(!output.stderr.contains('\x1b'), "{}", output.stderr);
}

#[test]
fn the_versions_and_completions_are_printed() {
    let mill = Millstream::without_log();
    let versions = mill.run(&["version", "-o", "json"]).ok().json();
    for part in ["millstream", "contract", "wasmtime", "librdkafka"] {
        assert!(versions[part].as_str().is_some_and(|version| version.contains('.')), "{versions}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(mill.run(&["completion", shell]).ok().stdout.contains("millstream"));
    }
}
