//! Queries of an application that runs in several processes: each answers for its tasks and says who has the others, and
//! the command line puts the answers together, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::flights::Flights;
use tests::http::{get, request};
use tests::january::Totals;
use tests::logs::{eventually, kafka};
use tests::millstream::{Output, Running};
use tests::sample::Words;

const PARTITIONS: i32 = 4;

/// Flights read, airports counted, carriers joined.
const TASKS: usize = 3 * PARTITIONS as usize;

fn scan(flights: &Flights<'_>, state_dir: &str) -> Output {
    let scan = ["store", "scan", ".", "by-carrier", "-o", "jsonl", "--state-dir", state_dir, "--error-format", "json"];
    flights.mill.run(&scan)
}

/// By key, each once: how many flights.
fn counts(scanned: &Output) -> BTreeMap<String, Value> {
    let mut counts = BTreeMap::new();
    for row in scanned.jsonl() {
        let before = counts.insert(row["key"].as_str().unwrap().to_owned(), row["value"]["flights"].clone());
        assert_eq!(before, None, "{row} is there twice");
    }
    counts
}

fn running_tasks(flights: &Flights<'_>, address: &str) -> usize {
    let status = get(address, &format!("/v1/apps/{}/status", flights.id)).is(200).json();
    status["tasks"].as_array().unwrap().iter().filter(|task| task["state"] == "RUNNING").count()
}

#[test]
fn the_stores_of_two_processes_are_asked_together_and_never_by_half() {
    let Some(log) = kafka() else { return };
    let totals = Totals::of_the_month();
    let expected: BTreeMap<String, Value> =
        totals.by_carrier.iter().map(|(carrier, total)| (carrier.clone(), total["flights"].clone())).collect();
    let flights = Flights::new(&log, "memory", PARTITIONS);
    let (mut left, mut right) = (flights.start("state"), flights.start("other-state"));
    let (ours, theirs) = (left.address(), right.address());
    eventually("both have tasks and all tasks run", || {
        let (a, b) = (running_tasks(&flights, &ours), running_tasks(&flights, &theirs));
        (a > 0 && b > 0 && a + b == TASKS).then_some(())
    });
    eventually("nothing is left to process", || (flights.lag() == 0).then_some(()));

    // Asked through one of them, through the other, and from a place where none runs.
    for state_dir in ["state", "other-state", "nobody"] {
        assert_eq!(counts(&scan(&flights, state_dir).ok()), expected, "{state_dir}");
    }
    for (carrier, flown) in &expected {
        let got = flights.mill.run(&["store", "get", ".", "by-carrier", carrier, "-o", "json"]).ok().json();
        assert_eq!(&got["value"]["flights"], flown, "{carrier}");
    }
    let absent = flights.mill.run(&["store", "get", ".", "by-carrier", "ZZ", "--error-format", "json"]).fails(1);
    assert_eq!(absent.problem()["code"], "E0603");

    // All parts are listed, whomever it is asked of, and which process has which.
    let sockets = ["other-state", "state"]
        .map(|dir| format!("unix:{}", flights.mill.dir().join(dir).join(&flights.id).join("query.sock").display()));
    for state_dir in ["state", "other-state", "nobody"] {
        let listed = flights.mill.run(&["store", "list", ".", "-o", "json", "--state-dir", state_dir]).ok();
        assert_eq!(listed.stderr, "", "{state_dir}");
        let stores = listed.json();
        let carriers = stores.as_array().unwrap().iter().find(|store| store["name"] == "by-carrier").unwrap();
        assert_eq!((&carriers["entries"], &carriers["of"]), (&json!(expected.len()), &json!(PARTITIONS)), "{stores}");
        let tasks = carriers["tasks"].as_array().unwrap();
        assert_eq!(tasks.len(), PARTITIONS as usize, "{stores}");
        // One of them may have all of this store.
        let tasks = stores.as_array().unwrap().iter().flat_map(|store| store["tasks"].as_array().unwrap());
        let holders: BTreeSet<&str> = tasks.map(|task| task["at"].as_str().unwrap()).collect();
        assert!(holders.into_iter().eq(&sockets), "{stores}");
    }

    // One alone says who has the others, and which part is its own. One of them may have all of this store.
    let entries = format!("/v1/apps/{}/stores/by-carrier/entries", flights.id);
    let parts = [&ours, &theirs].map(|address| get(address, &format!("{entries}?partial=true")).is(200).json());
    let of = |part: &Value, name: &str| part[name].as_array().unwrap().len();
    assert_eq!(of(&parts[0], "tasks") + of(&parts[1], "tasks"), PARTITIONS as usize);
    assert_eq!(of(&parts[0], "entries") + of(&parts[1], "entries"), expected.len());
    let has_all = of(&parts[0], "tasks") == PARTITIONS as usize;
    let (alone, other) = if has_all { (&theirs, &sockets[1]) } else { (&ours, &sockets[0]) };
    let refused = get(alone, &entries).is(503).json();
    assert_eq!((&refused["code"], &refused["elsewhere"]), (&json!("E0604"), &json!([other])));

    // Until the group has noticed, a part is nobody's; then it is the other's.
    right.kill();
    drop(right);
    let mut refusals = 0;
    let after = eventually("the whole answer", || {
        let scanned = scan(&flights, "state");
        if scanned.code == Some(0) {
            return Some(counts(&scanned));
        }
        assert_eq!(scanned.problem()["code"], "E0604");
        refusals += 1;
        None
    });
    assert_eq!(after, expected);
    assert!(refusals > 0 || of(&parts[1], "tasks") == 0, "nobody was asked while a part was missing");
    left.signal(Signal::TERM);
    left.finish().ok();
}

/// As of two machines: each tells the group an address of the network, where it asks for a token.
#[test]
fn processes_that_are_asked_over_the_network_want_their_token() {
    let Some(log) = kafka() else { return };
    let words = Words::on(&log, "");
    words.mill.write("token", "a secret\n");
    words.mill.write("other-token", "another\n");
    let start = |state_dir: &str| {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        // Any address of this machine but the one that --http alone would take.
        let (http, told) = (format!("0.0.0.0:{}", free.port()), format!("127.0.0.2:{}", free.port()));
        let flags = ["--http", &http, "--http-token", "token", "--http-advertise", &told];
        (words.mill.start(&[&["run", ".", "--state-dir", state_dir], &flags[..]].concat()), told)
    };
    let ((mut left, ours), (mut right, theirs)) = (start("state"), start("other-state"));
    let asked = |token: Option<&str>, args: &[&str]| -> Output {
        let args = [args, &["--error-format", "json"]].concat();
        let variables = token.map(|file| ("MILLSTREAM_HTTP_TOKEN_FILE", file));
        let running: Running = words.mill.start_with(&args, |command: &mut Command| {
            command.envs(variables);
        });
        running.finish()
    };
    let from = |state_dir| ["store", "scan", ".", "word-counts", "-o", "jsonl", "--state-dir", state_dir];
    let counts = |output: &Output| -> BTreeMap<String, i64> {
        let rows = output.jsonl();
        rows.iter().map(|row| (row["key"].as_str().unwrap().to_owned(), row["value"].as_i64().unwrap())).collect()
    };
    let expected = [("mill", 2), ("stops", 1), ("the", 2), ("turns", 1)].map(|(word, n)| (word.to_owned(), n)).into();
    let tasks = |list: &Output| -> BTreeMap<String, String> {
        let parts = list.json()[0]["tasks"].as_array().cloned().unwrap_or_default();
        let text = |part: &Value, name: &str| part[name].as_str().unwrap().to_owned();
        parts.iter().map(|part| (text(part, "task"), text(part, "at"))).collect()
    };
    let list = ["store", "list", ".", "-o", "json", "--state-dir", "nobody"];
    let running = |address: &str| {
        let token = [("Authorization", "Bearer a secret")];
        let status = request(address, "GET", &format!("/v1/apps/{}/status", words.id), &token).is(200).json();
        status["tasks"].as_array().unwrap().iter().filter(|task| task["state"] == "RUNNING").count()
    };
    // Lines are read in two tasks, and counted in two.
    left.address();
    right.address();
    eventually("both have tasks, and all run", || {
        let (a, b) = (running(&ours), running(&theirs));
        (a > 0 && b > 0 && a + b == 4).then_some(())
    });
    let listed = asked(Some("token"), &list).ok();
    let holders = tasks(&listed);
    assert!(holders.keys().eq(["1_0", "1_1"]), "{}", listed.stdout);
    assert!(holders.values().all(|at| [&ours, &theirs].contains(&at)), "{}", listed.stdout);
    for state_dir in ["nobody", "state", "other-state"] {
        eventually("all is counted", || {
            let scanned = asked(Some("token"), &from(state_dir));
            (scanned.code == Some(0) && counts(&scanned) == expected).then_some(())
        });
    }
    for (token, state_dir, unasked) in [
        (None, "nobody", vec![&ours, &theirs]),
        (Some("other-token"), "nobody", vec![&ours, &theirs]),
        // Who runs here is asked by its socket, without one.
        (None, "state", vec![&theirs]),
        (None, "other-state", vec![&ours]),
    ] {
        for args in [&from(state_dir)[..], &["store", "list", ".", "--state-dir", state_dir]] {
            let problem = asked(token, args).fails(1).problem();
            assert_eq!((&problem["error"], &problem["code"]), (&json!("Unauthorized"), &json!("E0607")), "{problem}");
            let text = |name: &str| problem[name].as_str().unwrap();
            assert!(unasked.iter().any(|address| *address == text("address")), "{problem}");
            assert!(text("message").contains(text("address")), "{problem}");
            assert!(text("fix").contains("MILLSTREAM_HTTP_TOKEN_FILE"), "{problem}");
        }
    }
    let problem = asked(Some("no-such-file"), &list).fails(2).problem();
    assert!(problem["message"].as_str().unwrap().contains("no-such-file"), "{problem}");
    for running in [&mut left, &mut right] {
        running.signal(Signal::TERM);
    }
    left.finish().ok();
    right.finish().ok();
}
