//! What an application reads, in which order and by which time: inputs that have nothing now (`max_idle`), a source of
//! several topics, a topic whose broker writes the times. By the program, on applications without code of a user's.

use millstream::log::NewTopic;
use millstream_engine::record::Record;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::guests;
use tests::logs::{Kind, THEN, TestLog, each_log, eventually, new_topic, text, unique};
use tests::millstream::{Millstream, complete, fields};

const BAD_PLAN: i32 = 78;

/// So many records of each input that they come in several fetches.
const MANY: i64 = 3_000;

/// An application of these nodes, with more in its manifest.
fn application(log: &TestLog, nodes: &Value, manifest: &str) -> Millstream {
    let mill = Millstream::new(log.log.url());
    let described = json!({"version": 1, "nodes": nodes}).to_string();
    std::fs::write(mill.dir().join("guest.wasm"), guests::described_as(&described).unwrap()).unwrap();
    let id = unique("inputs");
    mill.write(
        "app.toml",
        &format!(
            "id = \"{id}\"\ncomponent = \"guest.wasm\"\nstate_dir = \"state\"\ncommit_interval = \"20ms\"\n{manifest}"
        ),
    );
    mill
}

/// Two topics into one, by time.
fn merged(log: &TestLog, [a, b]: [&str; 2], out: &str, max_idle: &str) -> Millstream {
    let nodes = json!([
        {"name": "a", "op": "source", "topic": a},
        {"name": "b", "op": "source", "topic": b},
        {"name": "both", "op": "merge", "inputs": ["a", "b"]},
        {"name": "out", "op": "sink", "inputs": ["both"], "topic": out},
    ]);
    application(log, &nodes, &format!("[task]\nmax_idle = \"{max_idle}\"\n"))
}

/// Records of these values, each at so many ms after [`THEN`].
fn write<V: AsRef<str>>(log: &TestLog, topic: &str, partition: i32, records: &[(V, i64)]) {
    let mut writer = log.log.writer().unwrap();
    for (value, at) in records {
        let record = Record { timestamp: THEN + at, ..text(value.as_ref()) };
        writer.send(topic, Some(partition), record).unwrap();
    }
    writer.flush().unwrap();
}

/// Waits until a topic of one partition has as many records, and compares their values.
#[track_caller]
fn comes(log: &TestLog, topic: &str, expected: &[&str]) {
    let found = eventually(&format!("{} records", expected.len()), || {
        Some(log.values(topic, 0)).filter(|found| found.len() >= expected.len())
    });
    assert_eq!(found, expected);
}

// === max_idle ===

#[test]
fn inputs_are_taken_by_time_while_the_log_has_more_of_each() {
    each_log(|log| {
        let [a, b, out] = ["a", "b", "out"].map(|topic| log.topic(topic, 1));
        let every_second = |from: i64| (from..2 * MANY).step_by(2).map(|at| (at.to_string(), at)).collect::<Vec<_>>();
        write(log, &a, 0, &every_second(0));
        write(log, &b, 0, &every_second(1));
        merged(log, [&a, &b], &out, "0ms").run(&["run", ".", "--until-end"]).ok();
        let expected: Vec<String> = (0..2 * MANY).map(|at| at.to_string()).collect();
        assert!(log.values(&out, 0) == expected, "not in the order of their times");
    });
}

#[test]
fn an_input_at_its_end_is_waited_for_as_long_as_the_manifest_says() {
    each_log(|log| {
        for (max_idle, waits) in [("off", false), ("0ms", false), ("50ms", false), ("1h", true)] {
            let [a, b, out] = ["a", "b", "out"].map(|topic| log.topic(topic, 1));
            let mill = merged(log, [&a, &b], &out, max_idle);
            let mut running = mill.start(&["run", ".", "--http", "0"]);
            running.ready();
            write(log, &a, 0, &[("30", 30)]);
            if !waits {
                comes(log, &out, &["30"]);
            }
            write(log, &b, 0, &[("20", 20)]);
            comes(log, &out, if waits { &["20"] } else { &["30", "20"] });
            // Where it waits, the first input's record goes once the other one has a later one, which then waits itself.
            write(log, &b, 0, &[("40", 40)]);
            comes(log, &out, if waits { &["20", "30"] } else { &["30", "20", "40"] });
            running.signal(Signal::TERM);
            running.finish().ok();
            assert_eq!(log.values(&out, 0).len(), if waits { 2 } else { 3 }, "{max_idle}");
        }
    });
}

// === several topics ===

/// Everything of both topics into one of one partition.
fn gathered(eu: &str, us: &str, out: &str) -> Value {
    json!([
        {"name": "all", "op": "source", "topics": [eu, us]},
        {"name": "out", "op": "sink", "inputs": ["all"], "topic": out},
    ])
}

#[test]
fn a_source_of_several_topics_is_one_stream_of_as_many_tasks_as_its_widest_one_has_partitions() {
    each_log(|log| {
        let (eu, us, out) = (log.topic("eu", 1), log.topic("us", 2), log.topic("out", 1));
        let mill = application(log, &gathered(&eu, &us, &out), "");
        write(log, &eu, 0, &[("e1", 10), ("e2", 30)]);
        write(log, &us, 0, &[("u1", 20)]);
        write(log, &us, 1, &[("w1", 15)]);
        let view = mill.run(&["topology", ".", "-o", "json"]).ok().json();
        assert_eq!(view["subtopologies"].as_array().map(Vec::len), Some(1), "{view}");
        assert_eq!(view["subtopologies"][0]["tasks"], 2, "{view}");
        mill.run(&["run", ".", "--until-end"]).ok();
        let (of_second, of_first): (Vec<_>, Vec<_>) =
            log.values(&out, 0).into_iter().partition(|it| it.starts_with('w'));
        assert_eq!((of_first, of_second), (vec!["e1".into(), "u1".into(), "e2".into()], vec!["w1".into()]));

        write(log, &us, 1, &[("w2", 40)]);
        mill.run(&["run", ".", "--until-end"]).ok();
        let found = log.values(&out, 0);
        assert_eq!(
            (found.len(), found.last().map(String::as_str)),
            (5, Some("w2")),
            "nothing is read twice: {found:?}"
        );
    });
}

#[test]
fn a_manifest_speaks_to_one_of_several_topics_by_its_name() {
    each_log(|log| {
        let (eu, us, out) = (log.topic("eu", 1), log.topic("us", 1), log.topic("out", 1));
        let mill = application(log, &gathered(&eu, &us, &out), &format!("[sources.{us}]\nstart = \"latest\"\n"));
        write(log, &us, 0, &[("old", 1)]);
        write(log, &eu, 0, &[("e1", 10)]);
        let mut running = mill.start(&["run", ".", "--http", "0"]);
        running.ready();
        comes(log, &out, &["e1"]);
        write(log, &us, 0, &[("new", 20)]);
        comes(log, &out, &["e1", "new"]);
        running.signal(Signal::TERM);
        running.finish().ok();
    });
}

// === times that the broker writes ===

#[test]
fn a_source_goes_by_when_the_broker_took_a_record_where_its_topic_tells() {
    each_log(|log| {
        let out = log.topic("out", 1);
        let by_append = |topic: &str| {
            let source = json!({"name": "in", "op": "source", "topic": topic, "timestamp": "log-append"});
            let sink = json!({"name": "out", "op": "sink", "inputs": ["in"], "topic": out});
            application(log, &json!([source, sink]), "")
        };
        let told = log.topic("told", 1);
        let mill = by_append(&told);
        for verb in ["validate", "run"] {
            let problem = complete(mill.run(&[verb, ".", "--error-format", "json"]).fails(BAD_PLAN).problem());
            let expected = json!({
                "error": "TimestampTypeMismatch", "code": "E0215", "topic": told, "source": "in",
                "expected_timestamp_type": "LogAppendTime", "actual_timestamp_type": "CreateTime",
            });
            assert_eq!(fields(&problem), expected);
        }

        let configs = [("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())].into();
        let appended = unique("appended");
        let created = log.log.create(&NewTopic { configs, ..new_topic(&appended, 1) });
        if log.kind == Kind::Embedded {
            assert!(created.is_err(), "the embedded log keeps what the producer says");
            return;
        }
        created.unwrap();
        // By what their producer says they go back.
        write(log, &appended, 0, &[("one", 5_000), ("two", 1), ("three", 3_000)]);
        by_append(&appended).run(&["run", ".", "--until-end"]).ok();
        let of = |topic: &str| log.read(topic, 0).iter().map(|it| (it.text(), it.timestamp)).collect::<Vec<_>>();
        let taken = of(&appended);
        assert_eq!(taken.iter().map(|(value, _)| value.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
        assert!(taken.is_sorted_by_key(|(_, time)| *time) && taken[0].1 > THEN + 10_000, "{taken:?}");
        assert_eq!(of(&out), taken);
    });
}
