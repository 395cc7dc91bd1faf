//! Death under windows, sessions and every join, each behind a repartition topic of eight partitions: by `kill -9`, and
//! where the log has an interval and the stores do not.

use tests::chance::{Chance, times};
use tests::chaos::crossroads::Crossroads;
use tests::chaos::subject::{LMDB, Shape};
use tests::logs::each_log;

use super::fail_points::until_it_dies;

/// In each of the cases below, and one more in each while windows close.
const KILLS: usize = 5;

fn kill(provider: &'static str, guarantee: &'static str) {
    each_log(|log| Crossroads::new(log, Shape { provider, guarantee }).be_killed(times(KILLS), &mut Chance::new()));
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

/// Where it dies, one death at each.
const POINTS: [&str; 3] = ["log-committed", "state-commit", "cut"];

/// How often a point is passed before: at first, tasks are taken and nothing else.
const TIMES_MIN: u64 = 10;
const TIMES_MORE: u64 = 30;

#[test]
fn windows_sessions_and_joins_are_restored_from_what_the_log_has_and_no_store() {
    each_log(|log| {
        let crossroads = Crossroads::new(log, LMDB);
        crossroads.be_hurt(&mut Chance::new(), |chance| {
            for point in POINTS.into_iter().cycle().take(times(POINTS.len())) {
                until_it_dies(&crossroads, &format!("{point}:{}", TIMES_MIN + chance.below(TIMES_MORE)));
            }
        });
    });
}
