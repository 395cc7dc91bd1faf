//! Punctuations: by the time of the records, and by the clock on the wall.

use std::time::{SystemTime, UNIX_EPOCH};

use tests::application::Input;
use tests::logs::{Owned, THEN};

use super::runs::{TOCKS, each_run};
use super::shown::{moment, number, shown, utf8};

/// The grid of 30 ms lies at 10, 40, 70 and 100 ms.
const GRID_MS: i64 = 30;

/// What the alarm by the clock on the wall is called.
pub const ONCE: &[u8] = b"once";

pub fn inputs() -> Vec<Input> {
    let moments = [5, 7, 12, 11, 41, 55, 72, 99, 160].map(|at| Input::at(at, "moments").key("k").value(""));
    let alarms = [
        (5, ""),
        (7, "stream 10 a"),
        (8, ""),
        (12, ""),
        (47, ""),
        // Behind a restart.
        (53, ""),
        (54, "stream 30 b"),
        (60, "cancel a"),
        (72, ""),
        (73, "wall 1 once"),
    ];
    let alarms = alarms.map(|(at, says)| Input::at(at, "alarms").key("k").value(says));
    [&moments[..], &alarms].concat()
}

#[test]
fn a_schedule_that_a_record_makes_fires_until_another_one_ends_it_over_a_restart_too() {
    assert_eq!(THEN % 10, 0);
    let expected = ["a=7@7", "a=12@12", "a=47@47", "a=53@53", "b=54@54", "b=72@72"];
    each_run(|run| {
        let by_records = run.topic("rung").into_iter().filter(|rung| rung.key.as_deref() != Some(ONCE));
        assert_eq!(shown(by_records, utf8, moment), expected);
        let by_the_clock = run.topic("rung").into_iter().filter(|rung| rung.key.as_deref() == Some(ONCE));
        assert_eq!(by_the_clock.count(), 1, "it ends itself as it fires");
    });
}

#[test]
fn stream_time_ticks_behind_the_record_that_crosses_the_grid_over_a_restart_too() {
    assert_eq!(THEN % GRID_MS, GRID_MS - 10);
    let before = ["k=5@5", "tick=1@5", "k=7@7", "k=12@12", "tick=2@12", "k=12@11", "k=41@41", "tick=3@41"];
    // The first record of the second run crosses nothing; a long jump ticks once.
    let after = ["k=55@55", "k=72@72", "tick=4@72", "k=99@99", "k=160@160", "tick=5@160"];
    each_run(|run| assert_eq!(shown(run.topic("ticks"), utf8, moment), [&before[..], &after].concat()));
}

#[test]
fn the_clock_on_the_wall_tocks_without_records() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64;
    each_run(|run| {
        let tocks = run.topic("tocks");
        let value = |record: &&Owned| number(record.value.as_deref().expect("a tock is counted"));
        assert_eq!(tocks.iter().map(value).collect::<Vec<_>>(), (1..=TOCKS as i64).collect::<Vec<_>>());
        assert!(tocks.iter().map(|tock| tock.timestamp).is_sorted_by(|a, b| a < b));
        assert!(tocks.iter().all(|tock| (now - tock.timestamp).abs() < 3_600_000), "they tell the time");
        assert_eq!(run.store("clock")[&b"tock"[..]].0, (TOCKS as i64).to_be_bytes());
    });
}
