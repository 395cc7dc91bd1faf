//! Stores of tables: processors that look into them, whatever their kind, and tests that do.
#![allow(clippy::unwrap_used)]

use millstream_sdk::Plugin;
use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

fn text(value: &str) -> String {
    value.to_string()
}

/// Answers with what it finds for a record's key.
struct Looks {
    windows: WindowStore<String, i64>,
    sessions: SessionStore<String, i64>,
    versions: VersionedStore<String, String>,
}

impl Processor<String, i64, String, String> for Looks {
    fn process(&mut self, ask: Record<String, i64>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let show = |scan: TimedScan<String, i64>| -> Result<String, Failure> {
            let found = scan.map(|row| row.map(|row| format!("{}-{}={}", row.start, row.end, row.value)));
            Ok(found.collect::<Result<Vec<_>, _>>()?.join(" "))
        };
        let windows = show(self.windows.fetch(&ask.key, ..))?;
        let sessions = show(self.sessions.fetch(&ask.key))?;
        let version = self.versions.get_as_of(&ask.key, ask.value)?;
        let version = version.map_or(text("-"), |version| format!("{}@{}", version.value, version.timestamp));
        ctx.forward(ask.with_value(format!("{windows} | {sessions} | {version}")));
        Ok(())
    }
}

fn looked_into(app: &mut Topology) {
    let seconds = Duration::from_secs;
    let kept = |name: &str| Materialized::named(name).retention(seconds(60));
    let clicks = app.stream::<String, i64>("clicks").group_by_key();
    let windows = clicks.windowed_by(TimeWindows::of(seconds(10))).count(kept("windows"));
    let sessions = clicks.windowed_by(SessionWindows::with_gap(seconds(5))).count(kept("sessions"));
    let versions = app.versioned_table::<String, String>("names", kept("history"));
    let looks = app.stream("asks").process("looks", |init| Looks {
        windows: init.window_store(&windows.window_store()),
        sessions: init.session_store(&sessions.session_store()),
        versions: init.versioned_store(&versions.versioned_store()),
    });
    looks.to("answers");
    app.stream::<String, i64>("amounts").group_by_key().reduce(|a, b| a + b, "sums");
}

/// Clicks of two keys and three versions of a name.
fn fed() -> Driver {
    let mut driver = Driver::new(looked_into).unwrap();
    for (key, time) in [("b", 500), ("a", 1_000), ("a", 3_000), ("a", 12_000)] {
        driver.pipe("clicks", Record::new(text(key), 1i64, time)).unwrap();
    }
    for (name, time) in [("Ann", 1_000), ("Anna", 2_000), ("Anne", 9_000)] {
        driver.pipe("names", Record::new(text("a"), text(name), time)).unwrap();
    }
    driver
}

#[test]
fn a_processor_reads_windows_sessions_and_versions_of_tables() {
    let mut driver = fed();
    driver.pipe("asks", Record::new(text("a"), 2_500i64, 13_000)).unwrap();
    driver.pipe("asks", Record::new(text("c"), 2_500i64, 13_000)).unwrap();
    let answers = driver.read_pairs::<String, String>("answers").unwrap();
    let found = "0-10000=2 10000-20000=1 | 1000-3000=2 12000-12000=1 | Anna@2000";
    assert_eq!(answers, [(text("a"), text(found)), (text("c"), text(" |  | -"))]);
}

#[test]
fn a_test_reads_them_too() {
    let driver = fed();
    let shown = |entries: Vec<TimedEntry<String, i64>>| {
        let shown = entries.iter().map(|entry| format!("{} {}-{}={}", entry.key, entry.start, entry.end, entry.value));
        shown.collect::<Vec<_>>()
    };
    let windows = driver.window_entries::<String, i64>("windows").unwrap();
    assert_eq!(windows[0].timestamp, 3_000);
    assert_eq!(shown(windows), ["a 0-10000=2", "a 10000-20000=1", "b 0-10000=1"]);
    let sessions = driver.session_entries::<String, i64>("sessions").unwrap();
    assert_eq!(shown(sessions), ["a 1000-3000=2", "a 12000-12000=1", "b 500-500=1"]);
    let version = |value: &str, timestamp| Versioned { value: text(value), timestamp };
    let name = driver.version::<String, String>("history", &text("a")).unwrap();
    assert_eq!(name, Some(version("Anne", 9_000)));
    let as_of = |key: &str, time| driver.version_as_of::<String, String>("history", &text(key), time).unwrap();
    assert_eq!([as_of("a", 8_999), as_of("a", 999), as_of("b", 8_999)], [Some(version("Anna", 2_000)), None, None]);
    let names = driver.versions::<String, String>("history").unwrap();
    assert_eq!(names, [(text("a"), version("Anne", 9_000))]);
}

#[test]
fn a_window_that_has_expired_is_not_shown() {
    let mut driver = fed();
    driver.pipe("clicks", Record::new(text("b"), 1i64, 100_000)).unwrap();
    let windows = driver.window_entries::<String, i64>("windows").unwrap();
    assert_eq!(windows.iter().map(|window| (&window.key[..], window.start)).collect::<Vec<_>>(), [("b", 100_000)]);
}

#[test]
fn a_test_that_asks_for_another_kind_is_told_what_to_ask() {
    let driver = fed();
    let key = text("a");
    let refused = [
        driver.get::<String, i64>("windows", &key).unwrap_err(),
        driver.entries::<String, i64>("sessions").unwrap_err(),
        driver.get::<String, String>("history", &key).unwrap_err(),
        driver.window_entries::<String, i64>("sums").unwrap_err(),
        driver.session_entries::<String, i64>("windows").unwrap_err(),
        driver.version::<String, i64>("sums", &key).unwrap_err(),
        driver.versions::<String, i64>("sessions").unwrap_err(),
    ];
    let expected = [
        "the store `windows` is a window store: it is read with `window_entries`",
        "the store `sessions` is a session store: it is read with `session_entries`",
        "the store `history` is a versioned store: it is read with `version`, `version_as_of` and `versions`",
        "the store `sums` is a key-value store: it is read with `get` and `entries`",
        "the store `windows` is a window store: it is read with `window_entries`",
        "the store `sums` is a key-value store: it is read with `get` and `entries`",
        "the store `sessions` is a session store: it is read with `session_entries`",
    ];
    assert_eq!(refused.map(|error| error.to_string()), expected);
    assert!(driver.window_entries::<String, String>("windows").unwrap_err().to_string().contains("travel as i64"));
}

#[test]
fn what_a_suppression_holds_back_is_not_to_be_read() {
    let topology = |app: &mut Topology| {
        let counts = app.stream::<String, i64>("in").group_by_key().count("counts");
        let held = Suppressed::until_time_limit(Duration::from_secs(9), BufferConfig::max_records(9)).with_name("held");
        counts.suppress(held).to_stream().to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    driver.pipe("in", Record::new(text("a"), 1i64, 0)).unwrap();
    let store = "held-store";
    let error = driver.entries::<Vec<u8>, Vec<u8>>(store).unwrap_err().to_string();
    assert!(error.contains("has what a `suppress` holds back"), "{error}");
}

#[test]
fn a_handle_of_the_wrong_kind_is_refused_when_the_topology_is_described() {
    let topology = |app: &mut Topology| {
        let clicks = app.stream::<String, i64>("clicks").group_by_key();
        clicks.windowed_by(TimeWindows::of(Duration::from_secs(10))).count("windows").store();
        clicks.windowed_by(SessionWindows::with_gap(Duration::from_secs(5))).count("sessions").store();
        let history = Materialized::named("history").retention(Duration::from_secs(60));
        app.versioned_table::<String, String>("names", history).store();
        clicks.count("counts").versioned_store();
        clicks.windowed_by(TimeWindows::of(Duration::from_secs(10))).count("more").filter(|_, _| true).window_store();
    };
    let refused = Plugin::new(topology, "{}").err().unwrap();
    let expected = "the store of this `count` is a window store; ask for it with `window_store`\n\
                    the store of this `count` is a session store; ask for it with `session_store`\n\
                    the store of this `table-source` is a versioned store; ask for it with `versioned_store`\n\
                    the store of this `count` is a key-value store; ask for it with `store`\n\
                    a `table-filter` has no store; give it one with `materialized`";
    assert_eq!(refused, expected);
}

#[test]
fn a_table_of_windows_is_joined_as_it_is_and_with_a_store_of_keys_and_values() {
    let topology = |kept: bool| {
        move |app: &mut Topology| {
            let windows = || TimeWindows::of(Duration::from_secs(10));
            let clicks = app.stream::<String, i64>("clicks").group_by_key().windowed_by(windows()).count("clicks-in");
            let sales = app.stream::<String, i64>("sales").group_by_key().windowed_by(windows()).count("sales-in");
            let rates = match kept {
                true => {
                    let sales = sales.map_values(|n| n).materialized("sales-rows");
                    clicks.to_stream().to_table("clicks-rows").join(&sales, |clicks, sales| sales * 100 / clicks)
                }
                false => clicks.join(&sales, |clicks, sales| sales * 100 / clicks),
            };
            rates.materialized("rates");
        }
    };
    for kept in [false, true] {
        let mut driver = Driver::new(topology(kept)).unwrap();
        for topic in ["clicks", "clicks", "sales"] {
            driver.pipe(topic, Record::new(text("a"), 1i64, 12_000)).unwrap();
        }
        let rates = driver.entries::<Windowed<String>, i64>("rates").unwrap();
        assert_eq!(rates, [(Windowed::new(text("a"), 10_000, 20_000), 50)]);
    }
}
