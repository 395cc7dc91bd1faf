//! `kill -9` at random instants under load.

use tests::chance::{Chance, times};
use tests::chaos::kills::be_killed;
use tests::chaos::outside::Values;
use tests::chaos::words::{LMDB, Shape, Words};
use tests::logs::each_log;
use tests::redis::Redis;

/// In each of the cases below.
const KILLS: usize = 10;

fn kill(provider: &'static str, guarantee: &'static str) {
    each_log(|log| be_killed(&Words::new(log, Shape { provider, guarantee }), times(KILLS), &mut Chance::new()));
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
fn with_state_on_a_server_nothing_is_lost_or_repeated_and_only_the_gap_is_restored() {
    each_log(|log| {
        let redis = Redis::start();
        let shape = Shape { provider: "redis", guarantee: "exactly-once" };
        be_killed(&Words::with_state(log, shape, &redis.section()), times(KILLS / 2), &mut Chance::new());
    });
}

/// Large enough for an interval, and so small that a few words are too many for it.
const CACHES: [&str; 2] = ["1MiB", "2KiB"];

#[test]
fn with_a_cache_nothing_is_lost_or_repeated_and_only_the_gap_is_restored() {
    for cache in CACHES {
        each_log(|log| {
            let words = Words::cached(log, LMDB, cache);
            be_killed(&words, times(KILLS / 2), &mut Chance::new());
            let (said, fed) = (said(&words, "counts", Values::Number), said(&words, "lines", Values::Text));
            println!("a cache of {cache}: {said} counts said of {fed} words");
            assert!(said < fed, "the cache has held nothing back");
        });
    }
}

#[test]
fn at_least_once_loses_nothing_with_a_cache() {
    let shape = Shape { provider: "memory", guarantee: "at-least-once" };
    each_log(|log| be_killed(&Words::cached(log, shape, CACHES[0]), times(KILLS / 2), &mut Chance::new()));
}

/// How many records the application's topic of this name has.
fn said(words: &Words<'_>, topic: &str, values: Values) -> usize {
    words.outside().read(&words.topic(topic), values).len()
}

#[test]
fn at_least_once_loses_nothing() {
    kill("lmdb", "at-least-once");
    kill("memory", "at-least-once");
}
