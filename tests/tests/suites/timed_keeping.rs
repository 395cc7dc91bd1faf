//! What an operator does to keep state that goes by time: check it, copy it, move it; on each log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use millstream_engine::changelog::{push_session_key, push_window_key};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::chaos::gap;
use tests::http::get;
use tests::logs::{TestLog, each_log, eventually};
use tests::millstream::{Output, Running};
use tests::timed::{Entry, MINUTE, STORES, Timed};

const FAILED: i32 = 1;
const SECOND: i64 = 1_000;

/// `state_dir` is there already.
const ON_DISK: &str = "[state]\nprovider = \"lmdb\"";

const PARTITIONS: i32 = 2;

/// Windows and sessions of each partition, a session that grows, and more than one version of a key within an interval.
const FIRST: [(i32, &str, &str, i64); 6] = [
    (0, "b", "b1", 0),
    (1, "a", "a1", SECOND),
    (1, "a", "a2", 2 * SECOND),
    (0, "c", "c1", 30 * SECOND),
    (0, "b", "b2", 61 * SECOND),
    (1, "a", "a3", 61 * SECOND),
];

/// Windows are counted on, a session of the ones before grows, versions get a next one; and the second partition
/// forgets its first window and its first session.
const SECOND_HALF: [(i32, &str, &str, i64); 3] =
    [(0, "b", "b3", 62 * SECOND), (1, "a", "a4", 125 * SECOND), (1, "d", "d1", 126 * SECOND)];

/// What is there after both.
const WINDOWS: &str = "a 60 120=1, a 120 180=1, b 0 60=1, b 60 120=2, c 0 60=1, d 120 180=1";
const SESSIONS: &str = "a 61 61=1, a 125 125=1, b 0 0=1, b 61 62=2, c 30 30=1, d 126 126=1";
const VERSIONS: &str = r#"a="a4", b="b3", c="c1", d="d1""#;

/// How many visible entries that is, and how many the changelog adds up to, which does not forget by itself.
const ENTRIES: [(&str, u64, u64); 4] = [("windows", 6, 7), ("sessions", 6, 7), ("versions", 4, 4), ("repeats", 3, 3)];

/// An application that has processed both, with duplicates beside them. It does not run.
fn kept<'l>(log: &'l TestLog, keys: &str) -> Timed<'l> {
    let timed = Timed::on(log, keys);
    let (start, end) = (timed.then, timed.then + MINUTE);
    let repeat = |value: &str| json!({"key": "r", "start": start, "end": end, "value": value, "task": "1_0"});
    timed.import("repeats", &[repeat("x"), repeat("y"), repeat("x")]);
    timed.process(&FIRST);
    timed.process(&SECOND_HALF);
    timed
}

fn stop(running: Running) -> String {
    running.signal(Signal::TERM);
    running.finish().ok().stderr
}

// === verify ===

/// Every partition of every store is equal, and these are their entries.
#[track_caller]
fn equal(output: Output) {
    let rows = output.ok().json();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), STORES.len() * PARTITIONS as usize, "{rows:?}");
    assert!(rows.iter().all(|row| row["ok"] == true && row["differences"] == json!([])), "{rows:?}");
    let sum = |store: &str, of: &str| {
        let numbers = rows.iter().filter(|row| row["store"] == store).map(|row| row[of].as_u64().unwrap());
        numbers.sum::<u64>()
    };
    let found = ENTRIES.map(|(store, _, _)| (store, sum(store, "entries"), sum(store, "changelog_entries")));
    assert_eq!(found, ENTRIES, "{rows:?}");
}

const VERIFY: [&str; 7] = ["store", "verify", ".", "-o", "json", "--error-format", "json"];

#[test]
fn each_store_that_goes_by_time_equals_its_changelog_but_for_what_it_has_forgotten() {
    each_log(|log| {
        for keys in ["", ON_DISK] {
            let timed = kept(log, keys);
            if keys == ON_DISK {
                equal(timed.mill.run(&VERIFY));
            } else {
                // Only the changelogs are there, which are not held against themselves.
                let output = timed.mill.run(&VERIFY).ok();
                assert_eq!(output.json(), json!([]));
                for store in STORES {
                    assert!(output.stderr.contains(&format!("{store} is not compared")), "{}", output.stderr);
                }
            }
            let mut running = timed.mill.start(&["run", ".", "--http", "0"]);
            running.ready();
            equal(timed.mill.run(&VERIFY));
            stop(running);
        }
    });
}

/// Sessions begin and end, and time goes on by 400 s, of which the stores keep 120 s.
const ROUNDS: i64 = 200;

#[test]
fn stores_that_go_by_time_are_verified_under_load_while_they_forget() {
    each_log(|log| {
        let timed = Timed::on(log, ON_DISK);
        let mut running = timed.mill.start(&["run", ".", "--http", "0"]);
        running.ready();
        std::thread::scope(|scope| {
            let feeder = scope.spawn(|| {
                for round in 0..ROUNDS {
                    let (key, value, at) =
                        (["a", "b"][(round / 10 % 2) as usize], round.to_string(), 2 * round * SECOND);
                    timed.send(&[(0, key, &value, at), (1, key, &value, at), (1, "c", &value, at)]);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            while !feeder.is_finished() {
                timed.mill.run(&VERIFY).ok();
            }
        });
        until_latest(&timed, &running.address(), "c", &(ROUNDS - 1).to_string());
        let rows = timed.mill.run(&VERIFY).ok().json();
        for row in rows.as_array().unwrap().iter().filter(|row| row["store"] == "windows" || row["store"] == "sessions")
        {
            let number = |of: &str| row[of].as_u64().unwrap();
            assert!((1..number("changelog_entries")).contains(&number("entries")), "nothing was forgotten: {row}");
        }
        stop(running);
    });
}

/// One entry of each store says something else, one is missing, and one is there that nobody wrote.
fn tamper(timed: &Timed<'_>) {
    let then = timed.then;
    let (flipped, other) = (99i64.to_be_bytes(), 7i64.to_be_bytes());
    let window = |key: &str, value| {
        let mut row = Vec::new();
        push_window_key(key.as_bytes(), then, 0, &mut row);
        Entry { key: row, value, timestamp: then }
    };
    timed.tamper("windows", 0, &[window("b", Some(&flipped)), window("c", None), window("ghost", Some(&other))]);
    let session = |key: &str, at: i64, value| {
        let mut row = Vec::new();
        push_session_key(key.as_bytes(), then + at, then + at, &mut row);
        Entry { key: row, value, timestamp: then + at }
    };
    let sessions = [
        session("b", 0, Some(&flipped[..])),
        session("c", 30 * SECOND, None),
        session("ghost", 40 * SECOND, Some(&other)),
    ];
    timed.tamper("sessions", 0, &sessions);
    let version = |key: &str, at: i64, value| Entry { key: key.into(), value, timestamp: then + at };
    let versions = [
        version("b", 62 * SECOND, Some(&b"other"[..])),
        version("c", 30 * SECOND, None),
        version("ghost", 40 * SECOND, Some(b"boo")),
    ];
    timed.tamper("versions", 0, &versions);
    // Which of the duplicates it is, its changelog alone says.
    let second = timed.log.read(&timed.changelog("repeats"), 0)[1].key.clone().unwrap();
    timed.tamper("repeats", 0, &[Entry { key: second, value: Some(b"other"), timestamp: then }]);
}

/// What [`tamper`] did, by its store.
fn differences(timed: &Timed<'_>) -> BTreeMap<&'static str, Value> {
    let time = |at: i64| timed.then + at;
    let windows = json!([
        {"key": "b", "time": time(0), "store": 99, "changelog": 1},
        {"key": "c", "time": time(0), "store": null, "changelog": 1},
        {"key": "ghost", "time": time(0), "store": 7, "changelog": null},
    ]);
    let sessions = json!([
        {"key": "b", "time": time(0), "store": 99, "changelog": 1},
        {"key": "c", "time": time(30 * SECOND), "store": null, "changelog": 1},
        {"key": "ghost", "time": time(40 * SECOND), "store": 7, "changelog": null},
    ]);
    let versions = json!([
        {"key": "b", "store": "other", "changelog": "b3"},
        {"key": "c", "store": null, "changelog": "c1"},
        {"key": "ghost", "store": "boo", "changelog": null},
    ]);
    let repeats = json!([{"key": "r", "time": time(0), "store": "other", "changelog": "y"}]);
    [("windows", windows), ("sessions", sessions), ("versions", versions), ("repeats", repeats)].into()
}

/// In any order.
fn names(of: &Value) -> BTreeSet<String> {
    of.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_store_that_goes_by_time_and_its_changelog_disagree_about_is_named_and_mended_by_a_restore() {
    each_log(|log| {
        let timed = kept(log, ON_DISK);
        equal(timed.mill.run(&VERIFY));
        tamper(&timed);
        let expected = differences(&timed);
        let found = || {
            let output = timed.mill.run(&VERIFY).fails(FAILED);
            let problem = output.problem();
            assert_eq!((&problem["error"], &problem["code"]), (&json!("StoreMismatch"), &json!("E0622")), "{problem}");
            assert_eq!(names(&problem["stores"]), STORES.map(str::to_owned).into(), "{problem}");
            let hurt = STORES.map(|store| format!("{store} 0"));
            assert_eq!(names(&problem["partitions"]), hurt.into(), "{problem}");
            for row in output.json().as_array().unwrap() {
                let (store, is_hurt) = (row["store"].as_str().unwrap(), row["partition"] == 0);
                assert_eq!((row["ok"] == true, row["more_differences"] == 0), (!is_hurt, true), "{row}");
                let named = if is_hurt { expected[store].clone() } else { json!([]) };
                assert_eq!(row["differences"], named, "{row}");
            }
        };
        found();
        // Asked for one, it says nothing of the others.
        for store in STORES {
            let asked = ["store", "verify", ".", store, "-o", "json", "--error-format", "json"];
            let problem = timed.mill.run(&asked).fails(FAILED).problem();
            assert_eq!((&problem["code"], &problem["stores"]), (&json!("E0622"), &json!([store])), "{problem}");
        }
        // A start believes what stands where its changelog ends; who looks finds it there too.
        let mut running = timed.mill.start(&["run", ".", "--http", "0"]);
        running.ready();
        found();
        stop(running);
        // What the problem says to do.
        std::fs::remove_dir_all(timed.state()).unwrap();
        timed.run();
        equal(timed.mill.run(&VERIFY));
    });
}

/// A key as the rows of stores that go by time have it, and how far behind its begin is a byte of the row's value,
/// whatever kind of store it is: behind a time and, at the most, eight bytes more.
const NEEDLE: (&str, &[u8], usize) = ("needle", b"needle\0\0\x06", 9 + 8 + 8);

#[test]
fn a_bit_that_flips_in_a_store_that_goes_by_time_is_damage_and_no_difference_and_a_start_mends_it() {
    each_log(|log| {
        let (key, row, value) = NEEDLE;
        let timed = kept(log, ON_DISK);
        timed.process(&[(0, key, "there", 63 * SECOND)]);
        let shown = || STORES.map(|store| timed.rows(store));
        let before = shown();
        let file = timed.state().join("in-0").join("data.mdb");
        let mut bytes = std::fs::read(&file).unwrap();
        let found: Vec<usize> =
            bytes.windows(row.len()).enumerate().filter(|(_, at)| *at == row).map(|(at, _)| at).collect();
        assert!(found.len() >= 3, "a row in each of three stores: {found:?}");
        found.iter().for_each(|at| bytes[at + value] ^= 1);
        std::fs::write(&file, bytes).unwrap();
        for store in ["windows", "sessions", "versions"] {
            let asked = ["store", "verify", ".", store, "--error-format", "json"];
            let problem = timed.mill.run(&asked).fails(FAILED).problem();
            assert_eq!(
                (&problem["error"], &problem["code"]),
                (&json!("StateNotReadable"), &json!("E0613")),
                "{problem}"
            );
        }
        timed.run();
        timed.mill.run(&VERIFY).ok();
        assert_eq!(shown(), before);
        let aside = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().to_string_lossy().starts_with("in-0.quarantine")
        };
        assert!(std::fs::read_dir(timed.state()).unwrap().any(aside), "the damaged state is not kept");
    });
}

// === backup ===

/// What is answered of one entry or of many, page by page, or the code of why not.
fn answer(timed: &Timed<'_>, address: &str, path: &str) -> (String, Vec<Value>) {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = get(address, &format!("/v1/apps/{}/stores/{path}{cursor}", timed.id));
        let json = answer.json();
        if answer.status != 200 {
            return (json["code"].as_str().unwrap().to_owned(), rows);
        }
        match json["entries"].as_array() {
            Some(entries) => rows.extend(entries.iter().cloned()),
            None => rows.push(json.clone()),
        }
        let sign = if path.contains('?') { '&' } else { '?' };
        match json["next"].as_str() {
            Some(next) => cursor = format!("{sign}cursor={next}"),
            None => return (timed.shown(&rows).join(", "), rows),
        }
    }
}

/// The latest version of a key, which is put in the same interval as its window and its session.
fn until_latest(timed: &Timed<'_>, address: &str, key: &str, value: &str) {
    let latest = format!("{key}={}", json!(value));
    let path = format!("versions/entries/{key}");
    eventually("it is processed", || (answer(timed, address, &path).0 == latest).then_some(()));
}

/// Questions of every kind after both halves, with their answers.
fn questions(timed: &Timed<'_>) -> Vec<(String, &'static str)> {
    let at = |ms: i64| timed.then + ms;
    let (minute, then) = (at(MINUTE), timed.then);
    vec![
        ("windows/windows".to_owned(), WINDOWS),
        ("windows/windows/b".to_owned(), "b 0 60=1, b 60 120=2"),
        (format!("windows/windows/b/{minute}"), "b 60 120=2"),
        (format!("windows/windows/a/{then}"), "E0603"),
        (format!("windows/windows?from={minute}&to={minute}"), "a 60 120=1, b 60 120=2"),
        (format!("windows/entries?from=b&to=c&from-time={then}&to-time={then}"), "b 0 60=1, c 0 60=1"),
        ("sessions/sessions".to_owned(), SESSIONS),
        ("sessions/sessions/b".to_owned(), "b 0 0=1, b 61 62=2"),
        (format!("sessions/sessions/b/{}/{}", at(61 * SECOND), at(62 * SECOND)), "b 61 62=2"),
        // It grew behind the copy.
        (format!("sessions/sessions/b/{}/{}", at(61 * SECOND), at(61 * SECOND)), "E0603"),
        (format!("sessions/sessions/a/{}/{}", at(SECOND), at(2 * SECOND)), "E0603"),
        ("versions/entries".to_owned(), VERSIONS),
        (format!("versions/entries/b?as-of={then}"), "b=\"b1\""),
        (format!("versions/entries/b?as-of={}", at(61 * SECOND + 999)), "b=\"b2\""),
        ("versions/entries/b".to_owned(), "b=\"b3\""),
        (format!("versions/entries/a?as-of={}", at(2 * SECOND)), "E0603"),
        // Of the versions of an interval a changelog has the last one: this one is known from the copy alone.
        (format!("versions/entries/a?as-of={}", at(7 * SECOND)), "a=\"a2\""),
        (format!("versions/entries/a?as-of={}", at(125 * SECOND - 1)), "a=\"a3\""),
        (format!("versions/entries/a?as-of={}", at(125 * SECOND)), "a=\"a4\""),
    ]
}

/// Asks all of them: the answers as they came.
#[track_caller]
fn asked(timed: &Timed<'_>, address: &str) -> Vec<Vec<Value>> {
    let one = |(path, expected): (String, &str)| {
        let (shown, rows) = answer(timed, address, &path);
        assert_eq!(shown, expected, "{path}");
        rows
    };
    questions(timed).into_iter().map(one).collect()
}

/// Offsets of a changelog's records in this range.
fn offsets(timed: &Timed<'_>, store: &str, partition: i32, range: Range<i64>) -> Vec<i64> {
    let records = timed.log.read(&timed.changelog(store), partition);
    records.iter().map(|record| record.offset).filter(|offset| range.contains(offset)).collect()
}

#[test]
fn a_backup_of_running_stores_that_go_by_time_restores_what_it_missed_and_answers_as_they_do() {
    each_log(|log| {
        let timed = Timed::on(log, ON_DISK);
        let mut running = timed.mill.start(&["run", ".", "--http", "127.0.0.1:0"]);
        let address = running.ready();
        timed.send(&FIRST);
        until_latest(&timed, &address, "a", "a3");
        until_latest(&timed, &address, "b", "b2");
        let places = STORES.iter().flat_map(|store| (0..PARTITIONS).map(move |partition| (*store, partition)));
        let end = |(store, partition): (&str, i32)| log.log.offsets(&timed.changelog(store), partition).unwrap().end;
        let copied: Vec<_> = places.map(|place| (place, end(place))).collect();
        let backup = timed.mill.run(&["store", "backup", ".", "saved", "-o", "json"]).ok().json();
        assert_eq!(backup["tasks"], 4, "{backup}");
        timed.send(&SECOND_HALF);
        until_latest(&timed, &address, "d", "d1");
        until_latest(&timed, &address, "b", "b3");
        let answers = asked(&timed, &address);
        stop(running);
        std::fs::remove_dir_all(timed.mill.dir().join("state")).unwrap();

        let mut heir = timed.mill.start(&["run", ".", "--state-dir", "saved", "--http", "127.0.0.1:0", "-v"]);
        let address = heir.ready();
        assert_eq!(asked(&timed, &address), answers, "the copy answers otherwise");
        // It goes on: in a window, in a session.
        timed.send(&[(0, "b", "b4", 64 * SECOND)]);
        until_latest(&timed, &address, "b", "b4");
        let minute = timed.then + MINUTE;
        assert_eq!(answer(&timed, &address, &format!("windows/windows/b/{minute}")).0, "b 60 120=3");
        assert_eq!(answer(&timed, &address, "sessions/sessions/b").0, "b 0 0=1, b 61 64=3");
        let said = stop(heir);
        timed.mill.run(&[&VERIFY[..], &["--state-dir", "saved"]].concat()).ok();

        // What was read of each changelog is what came into it behind the copy, to the record.
        let restores = gap::restores(&said);
        for ((store, partition), end) in copied {
            let is_it = |one: &&gap::Restored| one.topic == timed.changelog(store) && one.partition == partition;
            let of_store: Vec<_> = restores.iter().filter(is_it).collect();
            let read: Vec<i64> =
                of_store.iter().flat_map(|one| offsets(&timed, store, partition, one.from..one.end)).collect();
            let missed = match of_store.first() {
                Some(one) => offsets(&timed, store, partition, end..one.end),
                None => Vec::new(),
            };
            assert_eq!(read, missed, "{store} {partition}: {of_store:?}, and the copy had {end}");
            assert_eq!(missed.is_empty(), store == "repeats", "{store} {partition}: {said}");
        }
    });
}

// === export and import ===

#[test]
fn what_is_exported_of_stores_that_go_by_time_is_what_an_empty_application_scans_and_answers_after_an_import() {
    each_log(|log| {
        let (from, to) = (kept(log, ON_DISK), Timed::on(log, ON_DISK));
        let scan =
            |timed: &Timed<'_>, store: &str| timed.mill.run(&["store", "scan", ".", store, "-o", "jsonl"]).ok().jsonl();
        for (store, entries, _) in ENTRIES {
            assert_eq!(scan(&to, store), [Value::Null; 0]);
            let file = to.mill.dir().join(format!("{store}.jsonl"));
            let export = ["store", "export", ".", store, file.to_str().unwrap(), "-o", "json"];
            assert_eq!(from.mill.run(&export).ok().json()["entries"], entries, "{store}");
            let import = ["store", "import", ".", store, file.to_str().unwrap(), "-o", "json"];
            let report = to.mill.run(&import).ok().json();
            assert_eq!((&report["entries"], &report["too_old"]), (&json!(entries), &json!(0)), "{report}");
        }
        to.run();
        for (store, entries, _) in ENTRIES {
            let rows = scan(&to, store);
            assert_eq!(rows, scan(&from, store), "{store}");
            assert_eq!(rows.len() as u64, entries, "{store}");
        }
        // Nothing is in its changelogs that its stores forget.
        let rows = to.mill.run(&VERIFY).ok().json();
        let sum = |of: &str| rows.as_array().unwrap().iter().map(|row| row[of].as_u64().unwrap()).sum::<u64>();
        let all = ENTRIES.iter().map(|(_, entries, _)| entries).sum::<u64>();
        assert_eq!((sum("entries"), sum("changelog_entries")), (all, all), "{rows}");
        let at = |ms: i64| (from.then + ms).to_string();
        let (minute, begin, end) = (at(MINUTE), at(61 * SECOND), at(62 * SECOND));
        for question in [
            &["windows", "b", "--start", &minute][..],
            &["sessions", "b", "--start", &begin, "--end", &end],
            &["versions", "b", "--as-of", &end],
        ] {
            let ask = [&["store", "get", "."], question, &["-o", "json"]].concat();
            let asked = |timed: &Timed<'_>| timed.mill.run(&ask).ok().json();
            assert_eq!(asked(&to), asked(&from), "{question:?}");
        }
    });
}
