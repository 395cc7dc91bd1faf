//! Faults of providers that scans see, under a processor's walks and under aggregations of windows, while the application
//! runs: each costs a restore and no result.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::application::{Application, Input, entries};
use tests::guest_log::guest_log;
use tests::logs::{Owned, TestLog, each_log, eventually};
use tests::providers::{FAULTY, file};

/// The cases' guest under a topology of theirs, over a provider with a fault that shows in the `call`th call that could, or
/// always.
fn over<'a>(log: &'a TestLog, topology: &str, fault: &str, call: Option<u32>) -> Application<'a> {
    let call = call.map_or(String::new(), |call| format!(", call = \"{call}\""));
    // The limit is the application's too, which must not meet it when the machine is busy.
    let limit = if fault.starts_with("stalls") { "[limits]\ncall = \"3s\"\n" } else { "" };
    let manifest = format!(
        "commit_interval = \"5ms\"\n{limit}[providers.faulty]\ncomponent = {:?}\n\
         config = {{ fault = \"{fault}\"{call} }}\n[state]\nprovider = \"faulty\"\n{KEPT}[config.topology]\n{topology}\n",
        file(FAULTY).unwrap()
    );
    Application::new(log, "tests/guests/cases", &manifest, &[])
}

/// A run in which the fault never made a difference proves nothing.
#[track_caller]
fn check_that_it_showed(application: &Application<'_>, fault: &str) {
    let shown = guest_log().count(application.id(), &format!("{fault} shows"));
    assert!(shown > 0, "{fault} has never shown");
}

/// To a broker these records are old.
const KEPT: &str = "[changelog]\ntopic_configs = { \"retention.ms\" = \"-1\" }\n";

// === a processor that walks its store ===

const SCRIPT: &str = "kind = \"kv_store\"";

/// Their order is not that of their lengths.
const KEYS: [&str; 5] = ["a", "bbb", "cc", "dddd", "e"];

const WALKS: [&str; 8] = ["ALL", "RANGE b d", "RALL", "RRANGE b d", "PREFIX d", "FROM cc", "RALL", "ALL"];

fn puts() -> Vec<Input> {
    (0..).zip(KEYS).map(|(at, key)| Input::at(at, "in").key(key).value(format!("PUT {key}!"))).collect()
}

fn command(at: usize, command: &str) -> Input {
    Input::at(100 + at as i64, "in").key("k").value(command)
}

/// What a walk gives, by a map of our own.
fn walked(command: &str) -> Vec<Value> {
    let map: BTreeMap<&str, String> = KEYS.map(|key| (key, format!("{key}!"))).into();
    let words: Vec<&str> = command.split(' ').collect();
    let holds = |key: &str| match words[..] {
        ["RANGE" | "RRANGE", from, to] => (from..=to).contains(&key),
        ["PREFIX", prefix] => key.starts_with(prefix),
        ["FROM", from] => key >= from,
        _ => true,
    };
    let stream = match words[0] {
        "ALL" => "all",
        "RALL" => "reverseAll",
        "RANGE" => "range",
        "RRANGE" => "reverseRange",
        "PREFIX" => "prefixScan",
        _ => "rangeFrom",
    };
    let mut rows: Vec<Value> = map
        .iter()
        .filter(|(key, _)| holds(key))
        .map(|(key, value)| json!({"stream": stream, "key": key, "value": value}))
        .collect();
    if stream.starts_with("reverse") {
        rows.reverse();
    }
    rows
}

/// The fault, and in which of an instance's calls that could, or in the first behind it that does.
const FAULTS_OF_WALKS: [(&str, u32); 8] = [
    ("sorts-wrongly", 1),
    ("goes-beyond-bounds", 2),
    ("scans-one-way", 3),
    ("turns-scans-round", 2),
    ("traps-in-scan", 4),
    ("stalls-in-scan", 5),
    ("no-answer-in-scan", 2),
    ("position-behind", 3),
];

#[test]
fn a_processor_walks_its_store_exactly_over_providers_whose_scans_fail() {
    each_log(|log| FAULTS_OF_WALKS.iter().for_each(|(fault, call)| walks(log, fault, *call)));
}

#[track_caller]
fn walks(log: &TestLog, fault: &str, call: u32) {
    guest_log();
    let script = over(log, SCRIPT, fault, Some(call));
    script.produce(&puts());
    script.run_to_end();
    let app = script.start();
    let mut expected = Vec::new();
    for (at, walk) in WALKS.iter().enumerate() {
        expected.extend(walked(walk));
        script.produce(&[command(at, walk)]);
        eventually("its answer", || (app.has_ended() || script.read("out").len() >= expected.len()).then_some(()));
    }
    let stored = if app.has_ended() { None } else { Some(entries(&script, &app, "kv")) };
    app.stop(false).unwrap_or_else(|problem| panic!("{fault}: {problem}"));
    let answers: Vec<Value> =
        script.read("out").iter().map(|answer| serde_json::from_str(&answer.text()).unwrap()).collect();
    assert_eq!(answers, expected, "{fault}");
    assert_eq!(stored.map(|stored| stored.len()), Some(KEYS.len()), "{fault}");
    check_that_it_showed(&script, fault);
}

/// Each of these faults is one that the host has seen: where nothing else comes of a scan the application stops.
#[test]
fn a_provider_whose_scans_always_lie_stops_its_application_by_name() {
    each_log(|log| {
        for (fault, walk, words) in [
            ("sorts-wrongly", "ALL", "out of order"),
            ("turns-scans-round", "ALL", "out of order"),
            ("goes-beyond-bounds", "RANGE b d", "out of the range"),
            ("scans-one-way", "RALL", "out of order"),
        ] {
            let script = over(log, SCRIPT, fault, None);
            script.produce(&puts());
            script.run_to_end();
            script.produce(&[command(0, walk)]);
            let problem = script.run_to_failure();
            assert_eq!(problem.name, "ProviderFailed", "{fault}: {problem}");
            assert!(problem.message.contains(words) && problem.message.contains("faulty"), "{fault}: {problem}");
        }
    });
}

// === windows ===

const SESSIONS: &str = "kind = \"windowed_agg\"\nagg = \"count\"\n\
    window = { type = \"session\", gap = 10, grace = 600000, retention = 1200000 }";
const SLIDING: &str = "kind = \"windowed_agg\"\nagg = \"count\"\n\
    window = { type = \"sliding\", diff = 10, grace = 600000, retention = 1200000 }";

/// Two records of a key that stand apart, and a third that brings them together: it finds more than one row.
fn visits() -> Vec<Input> {
    let times = (0..6_i64).flat_map(|round| [0, 18, 9].map(|at| (round, round * 1_000 + at)));
    times.map(|(round, at)| Input::at(at, "in").key(["a", "bb"][round as usize % 2]).value("x")).collect()
}

/// Sessions are found by scans alone: their keys are looked up only when a store is opened.
const FAULTS_OF_WINDOWS: [(&str, u32); 10] = [
    ("turns-scans-round", 3),
    ("goes-beyond-bounds", 4),
    ("traps-in-scan", 8),
    ("no-answer-in-scan", 2),
    ("position-behind", 6),
    ("position-ahead", 4),
    ("leaves-its-position", 3),
    ("writes-half", 8),
    ("writes-and-traps", 8),
    ("grows-at-once", 8),
];

#[test]
fn sessions_are_exact_over_providers_that_trap_stall_and_lie() {
    each_log(|log| {
        let expected = by_windows(&in_memory(log, SESSIONS));
        FAULTS_OF_WINDOWS.iter().for_each(|(fault, call)| counts(log, SESSIONS, fault, *call, &expected));
    });
}

#[test]
fn sliding_windows_are_exact_over_providers_whose_scans_fail() {
    each_log(|log| {
        let expected = by_windows(&in_memory(log, SLIDING));
        for (fault, call) in [("turns-scans-round", 3), ("traps-in-scan", 8), ("writes-and-traps", 8)] {
            counts(log, SLIDING, fault, call, &expected);
        }
    });
}

/// The same application, its state in memory, and all records at once.
fn in_memory<'a>(log: &'a TestLog, topology: &str) -> Application<'a> {
    let application =
        Application::new(log, "tests/guests/cases", &format!("{KEPT}[config.topology]\n{topology}\n"), &[]);
    application.produce(&visits());
    application.run_to_end();
    application
}

/// Key, value and time of all that came out.
type Counted = Vec<(Option<Vec<u8>>, Option<Vec<u8>>, i64)>;

fn by_windows(application: &Application<'_>) -> Counted {
    let one = |Owned { key, value, timestamp, .. }: Owned| (key, value, timestamp);
    application.read("out").into_iter().map(one).collect()
}

/// How many records are.
fn committed(application: &Application<'_>) -> i64 {
    let at = [(application.topic("in"), 0)];
    let committed = application.log.log.committed(application.id(), &at).expect("the log answers");
    committed.into_iter().flatten().next().map_or(0, |committed| committed.offset)
}

#[track_caller]
fn counts(log: &TestLog, topology: &str, fault: &str, call: u32, expected: &Counted) {
    assert!(expected.len() >= visits().len(), "{} updates", expected.len());
    guest_log();
    let application = over(log, topology, fault, Some(call));
    let app = application.start();
    // A commit for each, so that the provider has what is scanned, and is called as often on every machine.
    for (at, visit) in (1..).zip(visits()) {
        application.produce(&[visit]);
        eventually("its commit", || (app.has_ended() || committed(&application) == at).then_some(()));
    }
    eventually("all updates", || (app.has_ended() || application.read("out").len() >= expected.len()).then_some(()));
    app.stop(false).unwrap_or_else(|problem| panic!("{fault}: {problem}"));
    assert_eq!(by_windows(&application), *expected, "{fault}");
    check_that_it_showed(&application, fault);
}
