//! Typed window, session and versioned stores in a processor, natively.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

#[path = "../../../tests/guests/operators/src/timed.rs"]
mod keeper;

/// Gives commands with their times and compares the answers.
fn obey(commands: &[(i64, &str, &str)]) -> Driver {
    let mut driver = Driver::new(keeper::topology).unwrap();
    for (time, command, answer) in commands {
        driver.pipe("timed-commands", Record::new((), command.to_string(), *time)).unwrap();
        let answers: Vec<(String, String)> = driver.read_pairs("timed-answers").unwrap();
        assert_eq!(answers.last().map(|(_, found)| found.as_str()), Some(*answer), "{command} at {time}");
    }
    driver
}

#[test]
fn windows_are_found_by_key_and_start_until_they_expire() {
    let driver = obey(&[
        (1, "window a one", "true"),
        (2, "window b two", "true"),
        (2, "window a three", "true"),
        (3, "windows a 0 9", "a@1-60001=one a@2-60002=three"),
        (3, "windows a 2 2", "a@2-60002=three"),
        (3, "windows a 9 0", ""),
        (3, "windows-back a", "a@2-60002=three a@1-60001=one"),
        (3, "windows-of a b", "a@1-60001=one a@2-60002=three b@2-60002=two"),
        (3, "windows-of b c", "b@2-60002=two"),
        (3, "windows-of-back a b", "b@2-60002=two a@2-60002=three a@1-60001=one"),
        (3, "windows-of-back a a", "a@2-60002=three a@1-60001=one"),
        (3, "windows-from b", "b@2-60002=two"),
        (3, "windows-from c", ""),
        (3, "windows-below b", "a@2-60002=three a@1-60001=one"),
        (3, "windows-below a", ""),
        (3, "windows-all-back", "b@2-60002=two a@2-60002=three a@1-60001=one"),
        (3, "windows-between 0 1", "a@1-60001=one"),
        (3, "windows-between 2 9", "a@2-60002=three b@2-60002=two"),
        (3, "windows-between-back 1 2", "b@2-60002=two a@2-60002=three a@1-60001=one"),
        (3, "windows-between-back 3 9", ""),
        (3, "window-at a 2", "three"),
        (120_001, "window a four", "true"),
        (120_001, "windows-all", "a@2-60002=three b@2-60002=two a@120001-180001=four"),
        (180_000, "window a five", "true"),
        (59_999, "window a late", "false"),
        (60_001, "window a in-time", "true"),
    ]);
    assert_eq!(driver.dropped(), 1);
}

#[test]
fn repeated_windows_keep_every_value_in_order() {
    obey(&[
        (4, "repeat a x", "true"),
        (4, "repeat a y", "true"),
        (3, "repeat a w", "true"),
        (5, "repeats a", "a@3-60003=w a@4-60004=x a@4-60004=y"),
    ]);
}

#[test]
fn sessions_are_found_by_where_they_end_and_start() {
    obey(&[
        (5, "session a 1 10 s", "true"),
        (6, "session a 15 20 t", "true"),
        (7, "session a 30 30 u", "true"),
        (7, "sessions a 10 15", "a@1-10=s a@15-20=t"),
        (7, "sessions a 11 14", ""),
        (7, "session b 12 40 v", "true"),
        (7, "sessions-found-back a 10 15", "a@15-20=t a@1-10=s"),
        (7, "sessions-found-back a 11 14", ""),
        (7, "sessions-of a b 10 15", "a@1-10=s a@15-20=t b@12-40=v"),
        (7, "sessions-of a b 11 14", "b@12-40=v"),
        (7, "sessions-of b c 41 50", ""),
        (7, "sessions-within b c", "b@12-40=v"),
        (7, "sessions-of-back a b 10 15", "b@12-40=v a@15-20=t a@1-10=s"),
        (7, "sessions-of-back a b 11 14", "b@12-40=v"),
        (7, "sessions-that-end 10 30", "a@1-10=s a@15-20=t a@30-30=u"),
        (7, "sessions-that-end 11 19", ""),
        (7, "sessions-that-end 40 40", "b@12-40=v"),
        (7, "sessions-that-end 40 10", ""),
        (7, "sessions-within-back a b", "b@12-40=v a@30-30=u a@15-20=t a@1-10=s"),
        (7, "sessions-from-back b", "b@12-40=v"),
        (7, "sessions-all-back", "b@12-40=v a@30-30=u a@15-20=t a@1-10=s"),
        (7, "sessions-all", "a@1-10=s a@15-20=t a@30-30=u b@12-40=v"),
        (7, "session-at a 15 20", "t"),
        (7, "session-at a 15 21", ""),
        (8, "unsession a 1 10", "done"),
        (8, "sessions-back a", "a@30-30=u a@15-20=t"),
        (9, "session a 200000 200000 v", "true"),
        (9, "sessions-back a", "a@200000-200000=v"),
    ]);
}

#[test]
fn versions_are_found_by_time() {
    let driver = obey(&[
        (10, "version k v10", "Latest"),
        (20, "version k v20", "Latest"),
        (15, "version k v15", "Until(20)"),
        (20, "as-of k 9", "-"),
        (20, "as-of k 17", "v15@15"),
        (30, "unversion k", "v20@20"),
        (30, "latest k", "-"),
        (30, "as-of k 29", "v20@20"),
        (90_000, "version k new", "Latest"),
        (29_999, "version k late", "NotPut"),
        (30_000, "version k edge", "Until(90000)"),
        (90_000, "as-of k 29999", "-"),
        (90_000, "latest k", "new@90000"),
    ]);
    assert_eq!(driver.dropped(), 1);
}

/// Puts more windows than a page holds, and counts them; fails when told.
struct Many {
    store: WindowStore<String, i64>,
}

impl Processor<(), String, (), i64> for Many {
    fn process(&mut self, record: Record<(), String>, ctx: &mut Context<(), i64>) -> Result<(), Failure> {
        for start in 0..1_000 {
            self.store.put(&record.value, start, &start)?;
        }
        if record.value == "bad" {
            return Err(Failure::dead_letter("as told"));
        }
        let mut next = 0;
        for row in self.store.fetch(&record.value, ..) {
            assert_eq!(row?.start, next);
            next += 1;
        }
        let all = self.store.backward_all().count() as i64;
        ctx.forward(record.with_value(next * 10_000 + all));
        Ok(())
    }
}

#[test]
fn scans_go_on_over_pages_and_a_failed_record_leaves_nothing() {
    let topology = |app: &mut Topology| {
        let minute = Duration::from_secs(60);
        let store = app.window_store(Materialized::named("w").window_size(minute).retention(minute));
        app.stream("in").process("many", move |init: &mut Init| Many { store: init.window_store(&store) }).to("out");
    };
    let mut driver = Driver::with_manifest(topology, "id = \"app\"\non_error = \"dead-letter:bad\"").unwrap();
    let records = ["a", "bad", "b"].map(|key| Record::new((), key.to_owned(), 1));
    driver.pipe_all("in", records).unwrap();
    let counted: Vec<((), i64)> = driver.read_pairs("out").unwrap();
    assert_eq!(counted.into_iter().map(|(_, count)| count).collect::<Vec<_>>(), [10_001_000, 10_002_000]);
}

#[test]
fn options_that_are_missing_or_too_many_are_refused_by_name() {
    let minute = Duration::from_secs(60);
    let refused = |options: Materialized, words: &str| {
        let topology = move |app: &mut Topology| {
            let store = app.window_store(options.clone());
            app.stream("in")
                .process("many", move |init: &mut Init| Many { store: init.window_store(&store) })
                .to("out");
        };
        let error = Driver::new(topology).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(words), "{error}");
    };
    let named = || Materialized::named("w");
    refused(named().retention(minute), "store `w`: a window store needs `window_size`");
    refused(named().window_size(minute), "store `w`: a window store needs `retention`");
    refused(named().window_size(2 * minute).retention(minute), "below its window size");
    let topology = move |app: &mut Topology| {
        let _: Store<String, i64> = app.store(Materialized::named("k").retention(minute));
    };
    let error = Driver::new(topology).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("store `k`: a key-value store has no `retention`"), "{error}");
}
