//! Queries of an application that runs in several processes: each answers for its tasks and says who has the others, and
//! the command line puts the answers together, whole or not at all.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::flights::Flights;
use tests::http::get;
use tests::january::Totals;
use tests::logs::{eventually, kafka};
use tests::millstream::Output;

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
        let mut holders: Vec<&str> = tasks.iter().map(|task| task["at"].as_str().unwrap()).collect();
        holders.sort_unstable();
        holders.dedup();
        assert_eq!(holders, sockets, "{stores}");
    }

    // One alone says who has the others, and which part is its own.
    let entries = format!("/v1/apps/{}/stores/by-carrier/entries", flights.id);
    let refused = get(&ours, &entries).is(503).json();
    assert_eq!((&refused["code"], &refused["elsewhere"]), (&json!("E0604"), &json!([sockets[0]])));
    let parts = [&ours, &theirs].map(|address| get(address, &format!("{entries}?partial=true")).is(200).json());
    let of = |part: &Value, name: &str| part[name].as_array().unwrap().len();
    assert_eq!(of(&parts[0], "tasks") + of(&parts[1], "tasks"), PARTITIONS as usize);
    assert_eq!(of(&parts[0], "entries") + of(&parts[1], "entries"), expected.len());

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
    assert!(refusals > 0, "nobody was asked while a part was missing");
    left.signal(Signal::TERM);
    left.finish().ok();
}
