//! `kill -9` under windows, sessions and every join, each behind a repartition topic of eight partitions.

use tests::chance::Chance;
use tests::chaos::crossroads::Crossroads;
use tests::chaos::words::Shape;
use tests::logs::each_log;

/// In each of the cases below, and one more in each while windows close.
const KILLS: usize = 5;

fn kill(provider: &'static str, guarantee: &'static str) {
    each_log(|log| Crossroads::new(log, Shape { provider, guarantee }).be_killed(KILLS, &mut Chance::new()));
}

#[test]
fn windows_sessions_and_joins_on_disk_say_each_result_once() {
    kill("lmdb", "exactly-once");
}

#[test]
fn windows_sessions_and_joins_in_memory_say_each_result_once() {
    kill("memory", "exactly-once");
}

#[test]
fn windows_sessions_and_joins_lose_nothing_at_least_once() {
    kill("lmdb", "at-least-once");
}
