//! The engine against Kafka Streams: cases drawn from a seed, executed there, and compared record by record. Any number of
//! them, from any seed, by hand: `tests/oracle/README.md`.

use std::io::Write;

use tests::chance::{self, Chance};
use tests::oracle::{self, Draw};

/// Over all kinds.
const CASES: usize = 2_000;

/// The same cases for every run, so that what fails is what has changed. Others when [`chance::SEED`] says a seed, or by
/// hand: some one in ten thousand shows a difference that nobody has seen.
const SEED: u64 = 101;

/// What is printed of those that fail; the file has all.
const SHOWN_MAX: usize = 5;

/// Java takes them as signed, and they stand in the cases' names.
const SEEDS: u64 = 1_000_000_000;

#[test]
fn fresh_cases_are_those_of_kafka_streams() {
    if !oracle::is_here() {
        writeln!(std::io::stderr(), "\n!!! ORACLE SKIPPED: there is no JDK or no Maven\n").unwrap();
        return;
    }
    let seed = std::env::var(chance::SEED).map_or(SEED, |_| Chance::new().below(SEEDS));
    let draw = Draw { seed, cases: CASES, kinds: String::new(), kept: None };
    println!("the oracle's seed: {seed}");
    let outcome = oracle::compare(&draw).unwrap();
    if !outcome.failed.is_empty() {
        outcome.failed.iter().take(SHOWN_MAX).for_each(oracle::Failed::print);
        let file = outcome.keep(seed).unwrap();
        panic!(
            "{} runs differ; again with: cargo run --release -p tests --bin vectors -- {}",
            outcome.failed.len(),
            file.display()
        );
    }
    assert!(outcome.passed > 2 * CASES);
}
