//! Tables that hold their updates back: what is piped together comes out once for each key, as at a commit.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

const CACHE: u64 = 10 << 20;

fn cached(name: &str) -> Materialized {
    Materialized::named(name).caching(CACHE)
}

/// Pipes pairs into `in`, one millisecond apart and as one batch, and reads `out`.
fn run<KOut: Data, VOut: Data>(topology: fn(&mut Topology), pairs: &[(&str, i64)]) -> Vec<(KOut, VOut)> {
    let mut driver = Driver::new(topology).unwrap();
    let record = |(place, (key, value)): (usize, &(&str, i64))| Record::new(key.to_string(), *value, place as i64);
    driver.pipe_all("in", pairs.iter().enumerate().map(record)).unwrap();
    driver.read_pairs("out").unwrap()
}

const PAIRS: [(&str, i64); 5] = [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)];

fn pairs(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    pairs.iter().map(|(key, value)| (key.to_string(), *value)).collect()
}

fn grouped(app: &mut Topology) -> Grouped<String, i64> {
    app.stream::<String, i64>("in").group_by_key()
}

#[test]
fn aggregations_give_each_key_away_once_in_the_order_of_last_updates() {
    let sums = pairs(&[("a", 4), ("c", 4), ("b", 7)]);
    assert_eq!(
        run::<String, i64>(|app| grouped(app).reduce(|a, b| a + b, cached("sums")).to_stream().to("out"), &PAIRS),
        sums
    );
    let aggregate =
        |app: &mut Topology| grouped(app).aggregate(|| 0i64, |_, n, sum| sum + n, cached("sums")).to_stream().to("out");
    assert_eq!(run::<String, i64>(aggregate, &PAIRS), sums);
    let counts = pairs(&[("a", 2), ("c", 1), ("b", 2)]);
    assert_eq!(run::<String, i64>(|app| grouped(app).count(cached("counts")).to_stream().to("out"), &PAIRS), counts);
}

#[test]
fn a_cache_behind_a_cache_hears_of_what_comes_out_of_the_first() {
    let topology = |app: &mut Topology| {
        let table = app.table::<String, i64>("in", cached("rows"));
        let odd = table.filter(|_, n| n % 2 == 1).materialized(cached("odd"));
        odd.map_values(|n| n * 10).materialized(cached("tens")).to_stream().to("out")
    };
    // `b` was even first, and `c` never was odd.
    let expected = [("a".to_owned(), Some(30)), ("b".to_owned(), Some(50))];
    assert_eq!(run::<String, Option<i64>>(topology, &PAIRS), expected);
}

#[test]
fn windows_and_sessions_give_each_row_away_once() {
    let windows = |app: &mut Topology| {
        let windows = TimeWindows::of(Duration::from_millis(2)).grace(Duration::from_secs(1));
        let counts = grouped(app).windowed_by(windows).count(cached("windows")).to_stream();
        counts.map(|window, count| (format!("{} {}", window.key, window.start), count)).to("out")
    };
    let sessions = |app: &mut Topology| {
        let sessions = SessionWindows::with_gap(Duration::from_millis(1)).grace(Duration::from_secs(1));
        let counts = grouped(app).windowed_by(sessions).count(cached("sessions")).to_stream();
        counts.map(|session, count| (format!("{} {}", session.key, session.start), count)).to("out")
    };
    let given = [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("a", 5)];
    assert_eq!(run::<String, i64>(windows, &given), pairs(&[("a 0", 2), ("b 2", 1), ("a 2", 1), ("a 4", 1)]));
    let counted: Vec<(String, Option<i64>)> = run(sessions, &given);
    let expected = [("a 0", 2), ("b 2", 1), ("a 3", 2)].map(|(key, count)| (key.to_owned(), Some(count)));
    assert_eq!(counted, expected);
}
