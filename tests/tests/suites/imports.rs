//! What `store export` writes of stores that go by time goes in again by `store import`, and what they would forget does
//! not; on each log.

use rustix::process::Signal;
use serde_json::json;
use tests::logs::{Kind, TestLog, each_log};
use tests::providers;
use tests::timed::{MINUTE, STORES, Timed};

/// In memory, in LMDB, in a component.
fn each_provider(test: impl Fn(&str)) {
    let component = providers::file("plugins/map-store").unwrap();
    let map = format!("[providers.map]\ncomponent = {component:?}\n[state]\nprovider = \"map\"");
    for keys in ["", "[state]\nprovider = \"lmdb\"", &map] {
        test(keys);
    }
}

#[test]
fn windows_sessions_and_versions_that_are_exported_go_in_again_after_a_reset() {
    each_log(|log| each_provider(|keys| round_trip(log, keys)));
}

fn round_trip(log: &TestLog, keys: &str) {
    let timed = Timed::on(log, keys);
    let then = timed.then;
    // The keys lie where their hashes would not put all of them, and the versions are not in the order of the keys.
    timed.process(&[
        (0, "b", "b1", 0),
        (1, "a", "a1", 1_000),
        (1, "a", "a2", 2_000),
        (0, "c", "c1", 30_000),
        (0, "b", "b2", 61_000),
        (1, "a", "a3", 61_000),
    ]);
    let repeat = |value: &str| json!({"key": "r", "start": then, "end": then + MINUTE, "value": value, "task": "1_0"});
    let repeats = [repeat("x"), repeat("y"), repeat("x")];
    assert_eq!(timed.import("repeats", &repeats).0["entries"], 3, "{keys}");
    timed.run();
    let exported = STORES.map(|store| timed.export(store));
    assert_eq!(timed.rows("windows"), ["a@0=2", "a@60000=1", "b@0=1", "b@60000=1", "c@0=1"], "{keys}");
    assert_eq!(timed.rows("sessions"), ["a@1000=2", "a@61000=1", "b@0=1", "b@61000=1", "c@30000=1"], "{keys}");
    assert_eq!(timed.rows("versions"), [r#"a="a3""#, r#"b="b2""#, r#"c="c1""#], "{keys}");
    assert_eq!(timed.rows("repeats"), [r#"r@0="x""#, r#"r@0="y""#, r#"r@0="x""#], "{keys}");

    timed.reset();
    for (store, lines) in STORES.iter().zip(&exported) {
        assert_eq!(timed.rows(store), [""; 0], "{keys}");
        timed.mill.write("exported.jsonl", lines);
        let report = timed.mill.run(&["store", "import", ".", store, "exported.jsonl", "-o", "json"]).ok().json();
        let topic = format!("{}-{store}-changelog", timed.id);
        assert_eq!((&report["changelog_topic"], &report["too_old"]), (&json!(topic), &json!(0)), "{keys}");
        assert_eq!(report["entries"], lines.lines().count(), "{keys}");
    }
    timed.run();
    assert_eq!(STORES.map(|store| timed.export(store)), exported, "{keys}");

    // What is there again is gone on with: windows are counted on, sessions grow, duplicates come behind the others.
    timed.process(&[(1, "a", "a4", 62_000)]);
    assert_eq!(timed.rows("windows")[1], "a@60000=2", "{keys}");
    assert_eq!(timed.rows("sessions")[1], "a@61000=2", "{keys}");
    assert_eq!(timed.rows("versions")[0], r#"a="a4""#, "{keys}");
    timed.import("repeats", &[repeat("z")]);
    timed.run();
    assert_eq!(timed.rows("repeats"), [r#"r@0="x""#, r#"r@0="y""#, r#"r@0="x""#, r#"r@0="z""#], "{keys}");
}

#[test]
fn what_a_store_would_forget_at_once_is_left_out_and_told() {
    each_log(|log| {
        for keys in ["", "[state]\nprovider = \"lmdb\""] {
            let timed = Timed::on(log, keys);
            let then = timed.then;
            timed.process(&[(0, "k", "new", 0)]);
            let window = |key: &str, start: i64| json!({"key": key, "start": then + start, "value": 7, "task": "0_0"});
            // The store keeps what starts within two minutes of the latest start that it has seen.
            let (report, said) = timed.import("windows", &[window("old", -2 * MINUTE), window("kept", 1 - 2 * MINUTE)]);
            assert_eq!((&report["entries"], &report["too_old"]), (&json!(1), &json!(1)), "{said}");
            assert!(said.contains("line 1 is a window that starts at") && said.contains("left out"), "{said}");
            // The file's own entries count too.
            let (report, said) = timed.import("windows", &[window("older", 0), window("newest", 2 * MINUTE)]);
            assert_eq!((&report["entries"], &report["too_old"]), (&json!(1), &json!(1)), "{said}");

            let session = |key: &str, start: i64, end: i64| json!({"key": key, "start": then + start, "end": then + end, "value": 7, "task": "0_0"});
            let sessions = [session("old", -5 * MINUTE, -2 * MINUTE), session("long", -5 * MINUTE, -MINUTE)];
            let (report, said) = timed.import("sessions", &sessions);
            assert_eq!((&report["entries"], &report["too_old"]), (&json!(1), &json!(1)), "{said}");
            assert!(said.contains("line 1 is a session that ends at"), "{said}");

            let version = |key: &str, at: i64| json!({"key": key, "value": "v", "timestamp": then + at, "task": "0_0"});
            // Beyond what is kept; earlier than what its key has; and one that may come late.
            let versions = [version("old", -2 * MINUTE - 1), version("k", -1), version("late", -2 * MINUTE)];
            let (report, said) = timed.import("versions", &versions);
            assert_eq!((&report["entries"], &report["too_old"]), (&json!(1), &json!(2)), "{said}");
            assert!(said.contains("line 1 is a version of"), "{said}");

            timed.run();
            assert_eq!(timed.rows("windows"), ["newest@120000=7"], "{keys}");
            assert_eq!(timed.rows("sessions"), ["k@0=1", "long@-300000=7"], "{keys}");
            assert_eq!(timed.rows("versions"), [r#"k="new""#, r#"late="v""#], "{keys}");
        }
    });
}

#[test]
fn a_line_that_is_none_of_its_stores_kind_is_named_and_nothing_is_imported() {
    each_log(|log| {
        let timed = Timed::on(log, "");
        let then = timed.then;
        for (store, line, part) in [
            ("windows", json!({"key": "a", "value": 1}), "`start` is missing"),
            ("windows", json!({"key": "a", "start": then, "end": then + 1, "value": 1}), "`end`"),
            ("windows", json!({"key": "a", "start": "then", "value": 1}), "line 2"),
            ("windows", json!({"key": "a", "start": then, "value": "one"}), "`value`"),
            ("windows", json!({"key": "a", "start": then, "value": 1, "task": "0_2"}), "task 0_2"),
            ("sessions", json!({"key": "a", "start": then, "value": 1}), "`end` is missing"),
            ("sessions", json!({"key": "a", "start": then + 1, "end": then, "value": 1}), "is behind"),
            ("versions", json!({"key": "a", "start": then, "value": "v"}), "the store is versioned"),
            ("repeats", json!({"key": "a", "start": then, "value": null}), "deletes nothing"),
        ] {
            let good = match store {
                "sessions" => json!({"key": "good", "start": then, "end": then, "value": 1}),
                "windows" => json!({"key": "good", "start": then, "value": 1}),
                "versions" => json!({"key": "good", "value": "v"}),
                _ => json!({"key": "good", "start": then, "value": "v"}),
            };
            let problem = timed.refused(store, &[good, line]);
            assert_eq!((&problem["error"], &problem["line"]), (&json!("InvalidRecord"), &json!(2)), "{problem}");
            assert!(problem["message"].as_str().unwrap().contains(part), "{problem}");
            assert_eq!(timed.rows(store), [""; 0]);
        }
    });
}

/// Windows and sessions without a time of their own are as old as they say, and a null deletes.
#[test]
fn a_window_is_imported_by_key_and_start_alone_or_deleted() {
    each_log(|log| {
        let timed = Timed::on(log, "");
        let then = timed.then;
        timed.process(&[(0, "gone", "x", 0), (0, "stays", "x", 0)]);
        let windows = [
            json!({"key": "gone", "start": then, "value": null, "task": "0_0"}),
            json!({"key": "new", "start": then, "value": 5}),
        ];
        timed.import("windows", &windows);
        let session = json!({"key": "gone", "start": then, "end": then, "value": null, "task": "0_0"});
        timed.import("sessions", &[session]);
        timed.run();
        assert_eq!(timed.rows("windows"), ["new@0=5", "stays@0=1"]);
        assert_eq!(timed.rows("sessions"), ["stays@0=1"]);
    });
}

/// A broker goes by its clock, and would delete them before the next start.
#[test]
fn what_the_changelog_would_delete_is_refused_before_anything_is_sent() {
    each_log(|log| {
        let timed = Timed::on(log, "");
        let day = 24 * 60 * MINUTE;
        let old = json!({"key": "old", "start": timed.then - 2 * day, "value": 1});
        if log.kind == Kind::Embedded {
            assert_eq!(timed.import("windows", &[old]).0["entries"], 1);
            timed.run();
            assert_eq!(timed.rows("windows"), [format!("old@-{}=1", 2 * day)]);
            return;
        }
        let problem = timed.refused("windows", &[old]);
        assert_eq!((&problem["error"], &problem["code"]), (&json!("ImportRefused"), &json!("E0620")));
        assert!(problem["message"].as_str().unwrap().contains("line 1 is"), "{problem}");
        assert!(problem["fix"].as_str().unwrap().contains("retention.ms=-1"), "{problem}");
        assert_eq!(timed.rows("windows"), [""; 0]);
    });
}

/// Its store would never have what was written into the changelog beside it.
#[test]
fn a_process_on_another_state_is_noticed_before_anything_is_sent() {
    each_log(|log| {
        let timed = Timed::on(log, "");
        let mut running = timed.mill.start(&["run", ".", "--state-dir", "elsewhere", "--http", "0"]);
        running.ready();
        let line = json!({"key": "k", "start": timed.then, "value": 1});
        let problem = timed.refused("windows", std::slice::from_ref(&line));
        assert_eq!((&problem["error"], &problem["code"]), (&json!("ImportRefused"), &json!("E0620")));
        assert!(problem["message"].as_str().unwrap().contains("runs elsewhere"), "{problem}");
        running.signal(Signal::TERM);
        running.finish().ok();
        assert_eq!(timed.import("windows", &[line]).0["entries"], 1);
    });
}

#[test]
fn what_a_start_would_pass_over_is_not_taken() {
    each_log(|log| {
        let keys = "guarantee = \"at-least-once\"\n[stores.windows.changelog]\nskip_restoration = true";
        let timed = Timed::on(log, keys);
        let problem = timed.refused("windows", &[json!({"key": "k", "start": timed.then, "value": 1})]);
        assert_eq!((&problem["error"], &problem["code"]), (&json!("ImportRefused"), &json!("E0620")));
        assert!(problem["message"].as_str().unwrap().contains("skip_restoration"), "{problem}");
    });
}
