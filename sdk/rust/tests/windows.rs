//! Aggregations of windows: cases worked by hand, and random ones whose batches must give what their records give one by
//! one.
#![allow(clippy::unwrap_used)]

use millstream_engine::operator::mix;
use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

type Row = (String, i64, i64, Option<i64>, i64);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn driver(topology: fn(&mut Topology), records: &[(&str, i64)]) -> Driver {
    let mut driver = Driver::new(topology).unwrap();
    let record = |(key, timestamp): &(&str, i64)| Record::new(key.to_string(), 1i64, *timestamp);
    driver.pipe_all("in", records.iter().map(record)).unwrap();
    driver
}

fn grouped(app: &mut Topology) -> Grouped<String, i64> {
    app.stream::<String, i64>("in").group_by_key()
}

/// What is read of `out`, whose keys are of windows that are this long.
fn windows(driver: &mut Driver, size: u64) -> Vec<Row> {
    let records: Vec<Record<Vec<u8>, Option<i64>>> = driver.read("out").unwrap();
    let row = |record: Record<Vec<u8>, Option<i64>>| {
        let Windowed { key, start, end, .. } = Windowed::<String>::from_topic(&record.key, ms(size)).unwrap();
        (key, start, end, record.value, record.timestamp)
    };
    records.into_iter().map(row).collect()
}

fn sessions(driver: &mut Driver) -> Vec<Row> {
    let records: Vec<Record<Windowed<String, Session>, Option<i64>>> = driver.read("out").unwrap();
    let row =
        |Record { key: Windowed { key, start, end, .. }, value, timestamp, .. }| (key, start, end, value, timestamp);
    records.into_iter().map(row).collect()
}

fn row(key: &str, start: i64, end: i64, value: impl Into<Option<i64>>, timestamp: i64) -> Row {
    (key.to_owned(), start, end, value.into(), timestamp)
}

#[test]
fn a_record_counts_in_every_hopping_window_that_is_open() {
    let topology = |app: &mut Topology| {
        let windows = TimeWindows::of(ms(10)).advance_by(ms(5)).grace(ms(2));
        grouped(app).windowed_by(windows).count("counts").to_stream().to("out");
    };
    let mut driver = driver(topology, &[("k", 7), ("k", 3), ("k", 16), ("k", 8)]);
    let expected = [
        row("k", 0, 10, 1, 7),
        row("k", 5, 15, 1, 7),
        row("k", 0, 10, 2, 7),
        row("k", 10, 20, 1, 16),
        row("k", 15, 25, 1, 16),
        // [0, 10) has closed at 12.
        row("k", 5, 15, 2, 8),
    ];
    assert_eq!(windows(&mut driver, 10), expected);
    assert_eq!(driver.dropped(), 1);
}

#[test]
fn a_window_goes_downstream_once_as_it_closes() {
    let topology = |app: &mut Topology| {
        let windows = grouped(app).windowed_by(TimeWindows::of(ms(10)).grace(ms(2)));
        windows.emit_strategy(EmitStrategy::OnWindowClose).count("counts").to_stream().to("out");
    };
    let mut driver = driver(topology, &[("b", 7), ("a", 3), ("b", 9), ("a", 11), ("c", 12), ("a", 5), ("a", 21)]);
    // The last record but one is too late for [0, 10), and nothing closes [10, 20) yet.
    assert_eq!(windows(&mut driver, 10), [row("a", 0, 10, 1, 3), row("b", 0, 10, 2, 9)]);
    assert_eq!(driver.dropped(), 1);
    driver.pipe("in", Record::new("d".to_owned(), 1i64, 22)).unwrap();
    assert_eq!(windows(&mut driver, 10), [row("a", 10, 20, 1, 11), row("c", 10, 20, 1, 12)]);
}

#[test]
fn a_record_between_two_sessions_makes_them_one() {
    let topology = |app: &mut Topology| {
        let sessions = SessionWindows::with_gap(ms(5)).grace(ms(100));
        grouped(app).windowed_by(sessions).count("counts").to_stream().to("out");
    };
    let mut driver = driver(topology, &[("k", 0), ("k", 8), ("k", 4)]);
    let expected = [
        row("k", 0, 0, 1, 0),
        row("k", 8, 8, 1, 8),
        row("k", 0, 0, None, 0),
        row("k", 8, 8, None, 8),
        row("k", 0, 8, 3, 8),
    ];
    assert_eq!(sessions(&mut driver), expected);
}

#[test]
fn a_sliding_window_ends_with_each_record_and_starts_behind_each() {
    let topology = |app: &mut Topology| {
        let windows = SlidingWindows::of(ms(10)).grace(ms(5));
        grouped(app).windowed_by(windows).reduce(|a, b| a + b, "sums").to_stream().to("out");
    };
    let mut driver = driver(topology, &[("k", 10), ("k", 14)]);
    let expected = [row("k", 0, 10, 1, 10), row("k", 11, 21, 1, 14), row("k", 4, 14, 2, 14)];
    assert_eq!(windows(&mut driver, 10), expected);
}

#[test]
fn a_window_has_its_key_and_both_ends_in_functions() {
    let topology = |app: &mut Topology| {
        let counts = grouped(app).windowed_by(TimeWindows::of(ms(10))).count("counts").to_stream();
        counts.map(|window, count| (format!("{}:{}-{}", window.key, window.start, window.end), count)).to("out");
    };
    let mut driver = driver(topology, &[("k", 12)]);
    assert_eq!(driver.read_pairs::<String, i64>("out").unwrap(), [("k:10-20".to_owned(), 1)]);
}

#[test]
fn a_store_that_forgets_windows_too_early_is_refused() {
    let cases: [(fn(&mut Topology), &str); 3] = [
        (
            |app| {
                let windows = TimeWindows::of(ms(10)).grace(ms(5));
                grouped(app)
                    .windowed_by(windows)
                    .count(Materialized::named("s").retention(ms(14)))
                    .to_stream()
                    .to("out")
            },
            "needs 15",
        ),
        (
            |app| {
                let windows = SessionWindows::with_gap(ms(10)).grace(ms(5));
                grouped(app)
                    .windowed_by(windows)
                    .count(Materialized::named("s").retention(ms(14)))
                    .to_stream()
                    .to("out")
            },
            "needs 15",
        ),
        (
            |app| {
                let windows = SlidingWindows::of(ms(10)).grace(ms(5));
                grouped(app)
                    .windowed_by(windows)
                    .count(Materialized::named("s").retention(ms(24)))
                    .to_stream()
                    .to("out")
            },
            "needs 25",
        ),
    ];
    for (topology, needs) in cases {
        let Err(error) = Driver::new(topology) else { panic!("{needs}: taken") };
        assert!(error.to_string().contains(needs), "{error}");
    }
}

#[test]
fn an_advance_beyond_the_size_is_refused() {
    let topology = |app: &mut Topology| {
        let windows = TimeWindows::of(ms(10)).advance_by(ms(11));
        grouped(app).windowed_by(windows).count("s").to_stream().to("out");
    };
    let Err(error) = Driver::new(topology) else { panic!("taken") };
    assert!(error.to_string().contains("`advance_ms` is 11"), "{error}");
}

/// The words of a window, or nothing any more once they are four, so that windows are deleted too.
fn words(value: Option<String>, so_far: Option<String>) -> Option<String> {
    let words = format!("{}+{}", so_far.unwrap_or_default(), value.unwrap_or_default());
    (words.matches('+').count() != 4).then_some(words)
}

fn time(app: &mut Topology) {
    let windows = TimeWindows::of(ms(10)).advance_by(ms(4)).grace(ms(6));
    let stream = app.stream::<String, Option<String>>("in").group_by_key().windowed_by(windows);
    stream.aggregate(|| None, |_, value, so_far| words(value, so_far), "s").to_stream().to("out");
}

fn sliding(app: &mut Topology) {
    let windows = SlidingWindows::of(ms(10)).grace(ms(6));
    let stream = app.stream::<String, Option<String>>("in").group_by_key().windowed_by(windows);
    stream.aggregate(|| None, |_, value, so_far| words(value, so_far), "s").to_stream().to("out");
}

fn session(app: &mut Topology) {
    let windows = SessionWindows::with_gap(ms(4)).grace(ms(6));
    let stream = app.stream::<String, Option<String>>("in").group_by_key().windowed_by(windows);
    let merge = |_: &String, a: Option<String>, b: Option<String>| words(b, a);
    stream.aggregate(|| None, |_, value, so_far| words(value, so_far), merge, "s").to_stream().to("out");
}

fn time_on_close(app: &mut Topology) {
    let windows = TimeWindows::of(ms(10)).advance_by(ms(4)).grace(ms(6));
    let stream = app.stream::<String, Option<String>>("in").group_by_key().windowed_by(windows);
    let stream = stream.emit_strategy(EmitStrategy::OnWindowClose);
    stream.aggregate(|| None, |_, value, so_far| words(value, so_far), "s").to_stream().to("out");
}

fn sliding_on_close(app: &mut Topology) {
    let stream = app.stream::<String, Option<String>>("in").group_by_key();
    let stream = stream.windowed_by(SlidingWindows::of(ms(10)).grace(ms(6))).emit_strategy(EmitStrategy::OnWindowClose);
    stream.aggregate(|| None, |_, value, so_far| words(value, so_far), "s").to_stream().to("out");
}

fn session_on_close(app: &mut Topology) {
    let stream = app.stream::<String, Option<String>>("in").group_by_key();
    let stream = stream.windowed_by(SessionWindows::with_gap(ms(4)).grace(ms(6)));
    let stream = stream.emit_strategy(EmitStrategy::OnWindowClose);
    let merge = |_: &String, a: Option<String>, b: Option<String>| words(b, a);
    stream.aggregate(|| None, |_, value, so_far| words(value, so_far), merge, "s").to_stream().to("out");
}

/// One case from a seed: records of a few keys, some late, some null.
fn records(seed: u64) -> Vec<Record<String, Option<String>>> {
    let (mut state, mut now) = (seed, 0);
    let mut draw = |below: u64| {
        state = mix(state);
        (state % below) as i64
    };
    let count = 1 + draw(60);
    let record = |_| {
        now += draw(3);
        let value = (draw(10) > 0).then(|| ["a", "b", "c"][draw(3) as usize].to_owned());
        Record::new(format!("k{}", draw(3)), value, (now + 6 - draw(14)).max(0))
    };
    (0..count).map(record).collect()
}

#[test]
fn a_batch_gives_what_its_records_give_one_by_one() {
    for seed in 0..1_200 {
        let topology = [time, sliding, session, time_on_close, sliding_on_close, session_on_close][seed as usize % 6];
        let records = records(seed);
        let mut one_by_one = Driver::new(topology).unwrap();
        records.iter().for_each(|record| one_by_one.pipe("in", record.clone()).unwrap());
        let mut together = Driver::new(topology).unwrap();
        together.pipe_all("in", records).unwrap();
        let read = |driver: &mut Driver| driver.read::<Vec<u8>, Option<String>>("out").unwrap();
        assert_eq!(read(&mut together), read(&mut one_by_one), "seed {seed}");
        assert_eq!(together.dropped(), one_by_one.dropped(), "seed {seed}");
    }
}

#[test]
fn an_unlimited_window_takes_all_records_of_a_key_whenever_they_happened() {
    let topology = |app: &mut Topology| {
        grouped(app).windowed_by(UnlimitedWindows::of()).count("counts").to_stream().to("out");
    };
    let mut driver = driver(topology, &[("a", 5_000_000_000_000), ("a", 0), ("b", 7), ("a", 40_000_000_000_000)]);
    let end = i64::MAX / 16;
    let row = |key: &str, count, time| (key.to_string(), 0, end, Some(count), time);
    let (first, last) = (5_000_000_000_000, 40_000_000_000_000);
    let expected = [row("a", 1, first), row("a", 2, first), row("b", 1, 7), row("a", 3, last)];
    assert_eq!(windows(&mut driver, end as u64), expected);
    assert_eq!(driver.dropped(), 0);
}
