//! The engine against Kafka Streams: cases that were executed there, record by record.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use tests::guests::root;
use tests::rig::KEPT;
use tests::vectors::{Case, Verdict};

/// Runs every case of a file on every kind of store, and checks how many this version knows.
fn all_pass(file: &str, known: usize) {
    for kept in KEPT {
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
}

#[test]
fn aggregations_are_those_of_kafka_streams() {
    all_pass("aggregations.jsonl", 6);
}

#[test]
fn tables_are_those_of_kafka_streams() {
    all_pass("tables.jsonl", 3);
}

#[test]
fn stores_and_punctuations_are_those_of_kafka_streams() {
    all_pass("stores.jsonl", 3);
}

#[test]
fn bytes_are_those_of_kafka_streams() {
    all_pass("changelog_formats.jsonl", 25);
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

/// Drawn by the oracle from seed 1; among them tombstones that are older than the aggregate they delete.
#[test]
fn random_cases_are_those_of_kafka_streams() {
    all_pass("random.jsonl", 40);
}
