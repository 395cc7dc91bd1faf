//! Tables that hold their changes back, and cogroups of windows.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pipe(driver: &mut Driver, topic: &str, records: &[(&str, i64)]) {
    let record = |(key, timestamp): &(&str, i64)| Record::new(key.to_string(), 1i64, *timestamp);
    driver.pipe_all(topic, records.iter().map(record)).unwrap();
}

/// Key, start, value and timestamp of what is read of `out`, whose windows are ten ms long.
fn windows(driver: &mut Driver) -> Vec<(String, i64, i64, i64)> {
    let records: Vec<Record<Vec<u8>, i64>> = driver.read("out").unwrap();
    let row = |record: Record<Vec<u8>, i64>| {
        let Windowed { key, start, .. } = Windowed::<String>::from_topic(&record.key, ms(10)).unwrap();
        (key, start, record.value, record.timestamp)
    };
    records.into_iter().map(row).collect()
}

#[test]
fn a_window_has_one_final_result_and_none_on_an_idle_topic() {
    let topology = |app: &mut Topology| {
        let counts = app.stream::<String, i64>("in").group_by_key();
        let counts = counts.windowed_by(TimeWindows::of(ms(10)).grace(ms(2))).count("counts");
        let last = counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("final"));
        last.filter(|_, count| *count > 1)
            .map_values(|count| count * 10)
            .to_stream()
            .map(|k, v| (k, v.unwrap()))
            .to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    pipe(&mut driver, "in", &[("a", 1), ("b", 3), ("a", 9), ("c", 8), ("c", 11), ("a", 4)]);
    driver.advance_wall_clock(Duration::from_secs(3_600)).unwrap();
    assert_eq!(windows(&mut driver), []);
    pipe(&mut driver, "in", &[("d", 12)]);
    assert_eq!(windows(&mut driver), [("a".into(), 0, 30, 9)]);
}

#[test]
fn a_session_that_grows_has_one_final_result() {
    let topology = |app: &mut Topology| {
        let counts = app.stream::<String, i64>("in").group_by_key();
        let counts = counts.windowed_by(SessionWindows::with_gap(ms(5))).count("counts");
        let buffer = BufferConfig::max_records(10).shut_down_when_full();
        counts.suppress(Suppressed::until_window_closes(buffer)).to_stream().to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    pipe(&mut driver, "in", &[("a", 1), ("a", 4), ("a", 8), ("b", 13), ("b", 14)]);
    let found: Vec<Record<Windowed<String, Session>, Option<i64>>> = driver.read("out").unwrap();
    let found: Vec<_> = found.into_iter().map(|found| (found.key.start, found.key.end, found.value)).collect();
    assert_eq!(found, [(1, 8, Some(3))]);
}

#[test]
fn a_table_is_thinned_out_and_a_join_sees_what_it_has_shown() {
    let topology = |app: &mut Topology| {
        let rates = app.table::<String, i64>("rates", "rates");
        let calm = rates.suppress(Suppressed::until_time_limit(ms(10), BufferConfig::unbounded()).with_name("calm"));
        calm.to_stream().map(|key, rate| (key, rate.unwrap())).to("changes");
        let orders = app.stream::<String, i64>("orders");
        orders.left_join(&calm, |order, rate: Option<i64>| order * 100 + rate.unwrap_or(-1)).to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    let read = |driver: &mut Driver, topic: &str| -> Vec<i64> {
        let records: Vec<Record<String, i64>> = driver.read(topic).unwrap();
        records.into_iter().map(|record| record.value).collect()
    };
    let rate = |value, at| Record::new("k".to_owned(), value, at);
    for (value, at) in [(1i64, 0), (2, 5), (3, 9)] {
        driver.pipe("rates", rate(value, at)).unwrap();
        driver.pipe("orders", rate(7, at)).unwrap();
    }
    // Before the first change there was no rate, and that is what the table shows.
    assert_eq!((read(&mut driver, "changes"), read(&mut driver, "out")), (vec![], vec![699, 699, 699]));
    driver.pipe("rates", rate(4, 10)).unwrap();
    driver.pipe("orders", rate(7, 10)).unwrap();
    assert_eq!((read(&mut driver, "changes"), read(&mut driver, "out")), (vec![4], vec![704]));
}

#[test]
fn a_final_result_that_would_come_early_is_refused() {
    let topology = |app: &mut Topology| {
        let counts =
            app.stream::<String, i64>("in").group_by_key().windowed_by(TimeWindows::of(ms(10))).count("counts");
        counts.suppress(Suppressed::until_window_closes(BufferConfig::max_records(3))).to_stream().to("out");
    };
    let error = Driver::new(topology).err().unwrap().to_string();
    assert!(error.contains("must not come early"), "{error}");
    let topology = |app: &mut Topology| {
        let table = app.table::<String, i64>("in", "rows");
        table.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())).to_stream().to("out");
    };
    let error = Driver::new(topology).err().unwrap().to_string();
    assert!(error.contains("there are no windows in front of it"), "{error}");
}

#[test]
fn each_stream_of_a_cogroup_has_its_own_time() {
    let topology = |app: &mut Topology| {
        let (bids, asks) = (app.stream::<String, i64>("bids"), app.stream::<String, i64>("asks"));
        let both = bids.group_by_key().cogroup(|_, value, so_far: i64| so_far + value);
        let both = both.cogroup(&asks.group_by_key(), |_, value, so_far| so_far + 100 * value);
        // Kept for longer: by the store's own time, which is that of all of them, a window is forgotten all the same.
        let kept = Materialized::named("balance").retention(ms(1_000));
        both.windowed_by(TimeWindows::of(ms(10))).aggregate(|| 0, kept).to_stream().to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    pipe(&mut driver, "bids", &[("k", 5), ("k", 25)]);
    // Late among the bids, and not among the asks.
    pipe(&mut driver, "asks", &[("k", 6)]);
    pipe(&mut driver, "bids", &[("k", 7)]);
    assert_eq!(windows(&mut driver), [("k".into(), 0, 1, 5), ("k".into(), 20, 1, 25), ("k".into(), 0, 101, 6)]);
    assert_eq!(driver.dropped(), 1);
}
