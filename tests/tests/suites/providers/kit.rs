//! The teaching example keeps every clause; each provider that does something wrong breaks the one that is about it.

use std::time::Duration;

use millstream::wasm::provider::kit::{Clause, check};
use millstream_engine::config::Limits;
use tests::providers::{FAULTY, load, map_store};

/// Long enough for a large batch on a busy machine, and waited for once a clause by what stalls.
const CALL: Duration = Duration::from_millis(500);

fn broken(clauses: &[Clause]) -> Vec<&'static str> {
    clauses.iter().filter(|clause| !clause.ok).map(|clause| clause.clause).collect()
}

#[test]
fn the_teaching_example_keeps_every_clause() {
    let clauses = check(&map_store().unwrap(), "teaching", 7);
    assert_eq!(broken(&clauses), [""; 0], "{clauses:#?}");
}

/// The fault, the clause that is about it, and what its row says.
const FAULTS: [(&str, &str, &str); 33] = [
    ("refuses", "opens-empty", "the password is wrong"),
    ("traps-in-open", "opens-empty", "open traps"),
    ("traps-in-get-many", "reads-what-was-written", "get-many traps"),
    ("traps-in-scan", "scans-in-byte-order", "scan traps"),
    ("traps-in-apply", "reads-what-was-written", "apply traps"),
    ("traps-in-position", "moves-its-position", "position traps"),
    ("traps-in-wipe", "wipes-everything", "wipe traps"),
    ("traps-in-close", "reopens-as-it-was", "close traps"),
    ("stalls-in-get-many", "reads-what-was-written", "ran longer than 500ms"),
    ("stalls-in-apply", "takes-large-batches", "ran longer than 500ms"),
    ("no-answer-in-scan", "scans-in-byte-order", "the server does not answer"),
    ("no-answer-in-apply", "reads-what-was-written", "the server does not answer"),
    ("position-behind", "moves-its-position", "was served at"),
    ("position-ahead", "moves-its-position", "was served at"),
    ("position-gone", "moves-its-position", "was served at"),
    ("position-garbage", "moves-its-position", "was served at \"garbage\""),
    ("leaves-its-position", "moves-its-position", "conflict"),
    ("answers-no-values", "reads-what-was-written", "answered 0 values for 3 keys"),
    ("takes-empty-for-absent", "keeps-empty-keys-and-values", "not told apart"),
    ("shuffles-values", "answers-in-the-order-of-keys", "another value in the place of"),
    ("sorts-wrongly", "scans-in-byte-order", "out of order"),
    ("goes-beyond-bounds", "keeps-to-bounds", "out of the range"),
    ("scans-one-way", "scans-backwards", "out of order"),
    ("misses-a-row", "scans-in-byte-order", "is missing"),
    ("forgets-a-write", "writes-in-order", "row 0 is \"gone\""),
    ("writes-half", "reads-what-was-written", "half of it is written"),
    ("writes-and-traps", "reads-what-was-written", "nobody is told"),
    ("grows", "overwrites-in-place", "linear memory"),
    ("counts-wrongly", "tells-its-size", "11 entries where there are 10"),
    ("mixes-stores", "keeps-stores-apart", ""),
    ("ignores-the-position", "refuses-another-position", "was done, and is a conflict"),
    ("ignores-the-epoch", "refuses-another-epoch", "was done, and is a conflict"),
    ("wipes-half", "wipes-everything", "should not be there"),
];

#[test]
fn every_provider_that_does_something_wrong_breaks_the_clause_about_it() {
    for (fault, clause, words) in FAULTS {
        let limits = match fault.starts_with("stalls") {
            true => Limits { call: CALL, ..Limits::default() },
            false => Limits::default(),
        };
        let provider = load(FAULTY, limits, &format!(r#"{{"fault":"{fault}"}}"#)).unwrap();
        let clauses = check(&provider, fault, 7);
        let row = clauses.iter().find(|row| row.clause == clause).unwrap();
        assert!(!row.ok && row.found.contains(words), "{fault}: {clauses:#?}");
    }
}

#[test]
fn a_provider_that_says_it_keeps_what_it_forgets_breaks_the_clauses_of_reopening() {
    let provider = load(FAULTY, Limits::default(), r#"{"fault":"says-it-keeps"}"#).unwrap();
    let clauses = broken(&check(&provider, "forgets", 7));
    assert!(clauses.contains(&"reopens-as-it-was"), "{clauses:?}");
}

#[test]
fn the_guest_without_its_fault_keeps_every_clause() {
    let clauses = check(&load(FAULTY, Limits::default(), "{}").unwrap(), "none", 11);
    assert_eq!(broken(&clauses), [""; 0], "{clauses:#?}");
}
