//! The engine against Kafka Streams: cases that were executed there, record by record.

use std::path::Path;

use tests::guests::root;
use tests::rig::{KEPT, Kept};
use tests::vectors::{Case, Verdict};

/// Runs every case of a file on every kind of store, and checks how many this version knows.
fn all_pass(file: &str, known: usize) {
    KEPT.into_iter().for_each(|kept| on(kept, file, known));
}

fn on(kept: Kept, file: &str, known: usize) {
    let mut passed = 0;
    for case in Case::read(&root().join("tests/vectors").join(file)).unwrap() {
        match case.run(kept).unwrap_or_else(|error| panic!("{} on {kept:?}: {error:#}", case.id())) {
            Verdict::Passed => passed += 1,
            Verdict::NotInThisVersion(_) | Verdict::OfAnother => {}
            Verdict::Failed(differences) => panic!("{} on {kept:?}: {differences:#?}", case.id()),
        }
    }
    assert_eq!(passed, known, "{file} on {kept:?}");
}

#[test]
fn aggregations_are_those_of_kafka_streams() {
    all_pass("aggregations.jsonl", 7);
}

#[test]
fn tables_are_those_of_kafka_streams() {
    all_pass("tables.jsonl", 11);
}

#[test]
fn joins_with_tables_are_those_of_kafka_streams() {
    all_pass("table_joins.jsonl", 13);
}

#[test]
fn windows_are_those_of_kafka_streams() {
    all_pass("time_windows.jsonl", 9);
    all_pass("session_windows.jsonl", 10);
    all_pass("sliding_windows.jsonl", 5);
}

#[test]
fn joins_of_streams_are_those_of_kafka_streams() {
    all_pass("stream_stream_joins.jsonl", 11);
}

#[test]
fn stores_and_punctuations_are_those_of_kafka_streams() {
    all_pass("stores.jsonl", 8);
}

/// On a server behind a socket, each record committed before the next.
#[test]
fn stores_on_redis_are_those_of_kafka_streams() {
    let _redis = tests::redis::shared();
    on(Kept::Redis, "stores.jsonl", 8);
    on(Kept::Redis, "time_windows.jsonl", 9);
    on(Kept::Redis, "session_windows.jsonl", 10);
}

/// Executed on another library: the one row that it answers as Kafka Streams does. The others are its own.
#[test]
fn what_another_library_has_in_common_with_kafka_streams_is_so_here() {
    all_pass("kafkats.jsonl", 1);
    let cases = Case::read(&root().join("tests/vectors/kafkats.jsonl")).unwrap();
    let others = cases.iter().filter(|case| case.run(Kept::Memory).unwrap() == Verdict::OfAnother);
    assert_eq!(others.count(), cases.len() - 1);
}

#[test]
fn bytes_are_those_of_kafka_streams() {
    all_pass("changelog_formats.jsonl", 49);
}

#[test]
fn a_case_with_another_answer_fails() {
    let dir = tempfile::tempdir().unwrap();
    let file: &Path = &dir.path().join("wrong.jsonl");
    let case = r#"{"id":"wrong","topology":{"kind":"group_agg","agg":"count"},"steps":[
        {"in":{"topic":"in","key":"A","value":"x","ts":3},"out":[{"key":"A","value":2,"ts":3}]}],
        "dropped_records_total":1,"changelog":[]}"#;
    std::fs::write(file, case.replace('\n', "")).unwrap();
    let Verdict::Failed(differences) = Case::read(file).unwrap()[0].run(KEPT[0]).unwrap() else {
        panic!("a wrong case passed");
    };
    let places: Vec<&str> = differences.iter().map(|difference| difference.place.as_str()).collect();
    assert_eq!(places, ["step 0", "dropped_records_total", "changelog 0"]);
}

/// Drawn by the oracle from seeds 1 and 5, those of windows from 777; among them tombstones that are older than the aggregate they delete.
#[test]
fn random_cases_are_those_of_kafka_streams() {
    all_pass("random.jsonl", 116);
}

/// Joins of streams with tables that keep versions and with global tables, drawn from seed 31337, and filters, mappings and
/// foreign-key joins of tables that keep versions, from seeds 9917 and 9918; among them records that come when waiting for
/// their time is over, and several of one key and time. The last, from seed 40001, takes back a version by a deletion of its
/// very time.
#[test]
fn random_cases_of_tables_are_those_of_kafka_streams() {
    all_pass("random_tables.jsonl", 68);
}

/// Joins of streams, and joins with tables that keep versions, drawn from seeds 771, 90210 and 4711; among them a row of
/// several values behind which a walk over the waiting rows ends.
#[test]
fn random_joins_are_those_of_kafka_streams() {
    all_pass("random_joins.jsonl", 68);
}

/// Operators in a row and cogroups of windows, drawn from seeds 3, 101, 202 and 301; among them aggregates that are grouped
/// again, whose first old value is what an aggregate begins with, null keys on their way to a left join, rows of a suppressed
/// table that are filtered when somebody looks them up, and versions of the past that have become a stream (seed 7).
#[test]
fn random_chains_are_those_of_kafka_streams() {
    all_pass("random_chains.jsonl", 65);
}

/// Records with headers through every operator, and streams and tables that are joined with themselves or twice, drawn from
/// seeds 3, 5 and 11; among them updates of sessions, which have none.
#[test]
fn random_headers_are_those_of_kafka_streams() {
    all_pass("random_headers.jsonl", 34);
}
