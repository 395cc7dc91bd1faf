//! The engine against Kafka Streams: cases drawn from a seed, executed there, and compared record by record. Any number of
//! them, from any seed, by hand: `tests/oracle/README.md`.

use tests::chance::Chance;
use tests::oracle::{self, Draw};

/// Of other cases in every run, over all kinds.
const FRESH: usize = 2_000;

/// Of the same ones in every run, so that there is something to compare two runs by.
const KNOWN: usize = 200;
const KNOWN_SEED: u64 = 101;

/// What is printed of those that fail; the file has all.
const SHOWN_MAX: usize = 5;

/// Java takes them as signed, and they stand in the cases' names.
const SEEDS: u64 = 1_000_000_000;

#[test]
fn the_cases_of_every_run_are_those_of_kafka_streams() {
    all_pass(KNOWN_SEED, KNOWN);
}

/// The line that draws the same ones again is printed first.
#[test]
fn fresh_cases_are_those_of_kafka_streams() {
    all_pass(Chance::new().below(SEEDS), FRESH);
}

#[track_caller]
fn all_pass(seed: u64, cases: usize) {
    if !oracle::is_here() {
        eprintln!("\n!!! ORACLE SKIPPED: there is no JDK or no Maven\n");
        return;
    }
    println!("the oracle's seed: {seed}");
    let outcome = oracle::compare(&Draw { seed, cases, kinds: String::new(), kept: None }).unwrap();
    if !outcome.failed.is_empty() {
        outcome.failed.iter().take(SHOWN_MAX).for_each(oracle::Failed::print);
        let file = outcome.keep(seed).unwrap();
        panic!(
            "{} runs differ; their cases again with: cargo run --release -p tests --bin vectors -- {}",
            outcome.failed.len(),
            file.display()
        );
    }
    assert!(outcome.passed > 2 * cases);
}
