//! Tables that keep versions of what operators make, against cases worked by hand.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;
use millstream_sdk::{Deletes, Plugin, Upserts};

/// Key, value and time of a record, or of a row.
type Row<'t> = (&'t str, Option<&'t str>, i64);

/// Pipes records of text, each committed before the next, and reads `out` as text: `key=value@time`. Those of one topic that
/// come together make the same of it.
fn run(
    topology: impl Fn(&mut Topology) + Clone + Send + Sync + 'static,
    records: &[(&str, Row<'_>)],
) -> (Driver, Vec<String>) {
    let mut together = Driver::new(topology.clone()).unwrap();
    for records in records.chunk_by(|(one, _), (next, _)| one == next) {
        together.pipe_all(records[0].0, records.iter().map(|(_, row)| record(row))).unwrap();
    }
    let mut driver = Driver::new(topology).unwrap();
    for (topic, row) in records {
        driver.pipe(topic, record(row)).unwrap();
    }
    let out = out(&mut driver);
    assert_eq!(self::out(&mut together), out);
    (driver, out)
}

fn record((key, value, time): &Row<'_>) -> Record<String, Option<String>> {
    Record::new(key.to_string(), value.map(str::to_owned), *time)
}

fn out(driver: &mut Driver) -> Vec<String> {
    let text = |record: Record<String, Option<String>>| {
        format!("{}={}@{}", record.key, record.value.as_deref().unwrap_or("-"), record.timestamp)
    };
    driver.read("out").unwrap().into_iter().map(text).collect()
}

/// The values that `kept` has had for `a` at these times.
fn as_of(driver: &Driver, times: &[i64]) -> Vec<String> {
    let version = |time: &i64| {
        let version = driver.version_as_of::<String, String>("kept", &"a".to_owned(), *time).unwrap();
        version.map_or("-".to_owned(), |version| format!("{}@{}", version.value, version.timestamp))
    };
    times.iter().map(version).collect()
}

fn kept(history_ms: u64) -> Materialized {
    Materialized::named("kept").versioned(Duration::from_millis(history_ms))
}

fn of_a(values: &[(Option<&'static str>, i64)]) -> Vec<(&'static str, Row<'static>)> {
    values.iter().map(|(value, time)| ("in", ("a", *value, *time))).collect()
}

/// Texts in a row; `DEL` deletes what has come together.
fn gathered(app: &mut Topology, history_ms: u64) -> Table<String, Option<String>, Upserts> {
    let gather = |_: &String, value: String, so_far: Option<String>| match value.as_str() {
        "DEL" => None,
        _ => Some(so_far.unwrap_or_default() + &value),
    };
    app.stream::<String, String>("in").group_by_key().aggregate(|| None, gather, kept(history_ms))
}

#[test]
fn an_aggregate_is_known_as_of_a_time() {
    let records = of_a(&[(Some("x"), 10), (Some("y"), 30), (Some("z"), 20)]);
    let (driver, out) = run(|app| gathered(app, 100).to_stream().to("out"), &records);
    assert_eq!(out, ["a=x@10", "a=xy@30", "a=xyz@30"], "an aggregate is as new as its newest record");
    assert_eq!(as_of(&driver, &[9, 10, 29, 30]), ["-", "x@10", "x@10", "xyz@30"]);
}

/// What is in front of a deletion is no aggregate of now, and the next one does not go on from it.
#[test]
fn what_comes_before_a_deletion_is_of_the_past() {
    let records =
        of_a(&[(Some("x"), 10), (Some("DEL"), 20), (Some("y"), 15), (Some("z"), 16), (Some("w"), 25), (Some("v"), 5)]);
    let topology = |app: &mut Topology| {
        let table = gathered(app, 100);
        table.to_stream().to("out");
        let by_key = table.group_by(|key: &String, value: Option<String>| (key.clone(), value));
        by_key.count("groups").to_stream().to("groups-out");
    };
    let (mut driver, out) = run(topology, &records);
    assert_eq!(out, ["a=x@10", "a=-@20", "a=y@15", "a=z@16", "a=w@25", "a=wv@25"]);
    assert_eq!(as_of(&driver, &[14, 15, 16, 19, 20, 25]), ["x@10", "y@15", "z@16", "z@16", "-", "wv@25"]);
    let groups: Vec<_> =
        driver.read::<String, i64>("groups-out").unwrap().into_iter().map(|group| group.value).collect();
    assert_eq!(groups, [1, 0, 1, 1], "groups are of the latest versions");
}

#[test]
fn what_the_history_does_not_reach_goes_nowhere() {
    let records = [
        ("in", ("a", Some("x"), 5)),
        ("in", ("b", Some("x"), 100)),
        ("in", ("a", Some("y"), 20)),
        ("in", ("a", Some("z"), 95)),
    ];
    let (driver, out) = run(|app| gathered(app, 10).to_stream().to("out"), &records);
    assert_eq!(out, ["a=x@5", "b=x@100", "a=xz@95"]);
    assert_eq!(as_of(&driver, &[100]), ["xz@95"]);
}

#[test]
fn counts_and_sums_of_groups_are_kept_as_versions() {
    let topology = |app: &mut Topology| {
        let rows = app.table::<String, String>("in", "rows");
        let groups = rows.group_by(|_, value: String| ("a".to_owned(), value));
        groups
            .reduce(|so_far, value| so_far + &value, |so_far, value| so_far.replace(&value, ""), kept(100))
            .to_stream()
            .to("out");
    };
    let records = [
        ("in", ("k", Some("x"), 10)),
        ("in", ("l", Some("y"), 5)),
        ("in", ("k", Some("z"), 20)),
        ("in", ("l", None, 15)),
    ];
    let (driver, out) = run(topology, &records);
    assert_eq!(out, ["a=x@10", "a=xy@10", "a=yz@20", "a=z@20"]);
    assert_eq!(as_of(&driver, &[9, 10, 19, 20]), ["-", "xy@10", "xy@10", "z@20"]);
}

#[test]
fn a_stream_meets_what_was_made_of_its_own_time() {
    type Made = fn(&mut Topology) -> Table<String, String, Deletes>;
    let made: [Made; 4] = [
        |app| app.table::<String, String>("in", "rows").filter(|_, value| value != "no").materialized(kept(100)),
        |app| app.table::<String, String>("in", "rows").map_values(|value| value).materialized(kept(100)),
        |app| {
            let other = app.table::<String, String>("other", "others");
            let rows = app.table::<String, String>("in", "rows");
            rows.left_join(&other, |row, _| row).materialized(kept(100))
        },
        |app| {
            let other = app.table::<String, String>("other", "others");
            let rows = app.table::<String, String>("in", "rows");
            let joined = rows.foreign_key_left_join(&other, |_, value| Some(value), |row, _: Option<String>| row);
            joined.materialized(kept(100))
        },
    ];
    for made in made {
        let topology = move |app: &mut Topology| {
            let table = made(app);
            let asks = app.stream::<String, String>("asks");
            asks.left_join(&table, |ask, row: Option<String>| ask + row.as_deref().unwrap_or("?")).to("out");
        };
        let records = [
            ("in", ("a", Some("x"), 10)),
            ("asks", ("a", Some("1"), 9)),
            ("in", ("a", Some("y"), 30)),
            ("asks", ("a", Some("2"), 29)),
            ("in", ("a", Some("z"), 20)),
            ("asks", ("a", Some("3"), 29)),
            ("asks", ("a", Some("4"), 30)),
        ];
        let (driver, out) = run(topology, &records);
        assert_eq!(out, ["a=1?@9", "a=2x@29", "a=3z@29", "a=4y@30"]);
        assert_eq!(as_of(&driver, &[9, 10, 20, 30]), ["-", "x@10", "z@20", "y@30"]);
    }
}

#[test]
fn a_stream_that_becomes_a_table_keeps_versions_and_a_filter_of_it_sends_every_tombstone() {
    let topology = |app: &mut Topology| {
        let table = app.stream::<String, String>("in").to_table(kept(100));
        table.filter(|_, value| value != "no").to_stream().to("out");
    };
    let (driver, out) = run(topology, &of_a(&[(Some("no"), 10), (Some("x"), 30), (Some("y"), 20)]));
    assert_eq!(out, ["a=-@10", "a=x@30", "a=y@20"]);
    assert_eq!(as_of(&driver, &[10, 20, 30]), ["no@10", "y@20", "x@30"]);
}

#[test]
fn versions_are_refused_where_they_cannot_be() {
    let refused = |topology: fn(&mut Topology)| match Driver::new(topology) {
        Ok(_) => panic!("it is taken"),
        Err(error) => error.to_string(),
    };
    let suppressed = refused(|app| {
        let held = Suppressed::until_time_limit(Duration::from_secs(1), BufferConfig::max_records(9));
        gathered(app, 100).map_values(|value| value).suppress(held).to_stream().to("out");
    });
    assert!(suppressed.contains("keeps versions, and only a table of the latest rows is suppressed"), "{suppressed}");
    let windows = Plugin::new(
        |app: &mut Topology| {
            let grouped = app.stream::<String, String>("in").group_by_key();
            grouped.windowed_by(TimeWindows::of(Duration::from_secs(1))).count(kept(100_000));
            app.global_table::<String, String>("global", Materialized::named("all").versioned(Duration::from_secs(1)));
            app.store::<String, String>(Materialized::named("own").versioned(Duration::from_secs(1)));
        },
        "{}",
    );
    let expected = "store `kept`: a window store keeps no versions; leave `versioned` out\n\
                    store `all`: a key-value store keeps no versions; leave `versioned` out\n\
                    store `own`: a key-value store keeps no versions; leave `versioned` out";
    assert_eq!(windows.err().unwrap(), expected);
}
