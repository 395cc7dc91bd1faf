//! `kill -9` at random instants under load.

use tests::chance::Chance;
use tests::chaos::kills::be_killed;
use tests::chaos::words::{Shape, Words};
use tests::logs::each_log;

/// In each of the cases below.
const KILLS: usize = 10;

fn kill(provider: &'static str, guarantee: &'static str) {
    each_log(|log| be_killed(&Words::new(log, Shape { provider, guarantee }), KILLS, &mut Chance::new()));
}

#[test]
fn with_state_on_disk_nothing_is_lost_or_repeated_and_only_the_gap_is_restored() {
    kill("lmdb", "exactly-once");
}

#[test]
fn with_state_in_memory_nothing_is_lost_or_repeated() {
    kill("memory", "exactly-once");
}

#[test]
fn at_least_once_loses_nothing() {
    kill("lmdb", "at-least-once");
    kill("memory", "at-least-once");
}
