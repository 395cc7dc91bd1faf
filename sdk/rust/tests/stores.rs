//! Typed stores: every operation, in the batch and across batches.
#![allow(clippy::unwrap_used)]

use std::ops::Bound;

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

/// Runs one command a record, `put a 1`, and says what came of it.
struct Shell {
    store: KeyValueStore<String, i64>,
}

impl Processor<(), String, (), String> for Shell {
    fn process(&mut self, record: Record<(), String>, ctx: &mut Context<(), String>) -> Result<(), Failure> {
        let answer = self.run(&record.value)?;
        ctx.forward(record.with_value(answer));
        Ok(())
    }
}

impl Shell {
    fn run(&self, command: &str) -> Result<String, Failure> {
        let words: Vec<&str> = command.split(' ').collect();
        let key = |place: usize| words[place].to_string();
        let number = |place: usize| words[place].parse::<i64>();
        Ok(match words[0] {
            "get" => format!("{:?}", self.store.get(&key(1))?),
            "put" => {
                self.store.put(&key(1), &number(2)?);
                "ok".to_string()
            }
            "get-dated" => match self.store.get_with_timestamp(&key(1))? {
                Some(found) => format!("{}@{}", found.value, found.timestamp),
                None => "None".to_string(),
            },
            "put-dated" => {
                self.store.put_with_timestamp(&key(1), &number(2)?, number(3)?)?;
                "ok".to_string()
            }
            "all-dated" => show_dated(self.store.all()?)?,
            "reverse-range-dated" => show_dated(self.store.reverse_range(..=key(1))?)?,
            "put-and-fail" => {
                self.store.put(&key(1), &number(2)?);
                return Err(Failure::dead_letter("as told"));
            }
            "put-if-absent" => format!("{:?}", self.store.put_if_absent(&key(1), &number(2)?)?),
            "delete" => format!("{:?}", self.store.delete(&key(1))?),
            "fill" => {
                let keys: Vec<String> = (0..number(1)?).map(|n| format!("{n:04}")).collect();
                self.store.put_all(keys.iter().map(|key| (key, &7)));
                "ok".to_string()
            }
            "range" => show(self.store.range(key(1)..=key(2))?)?,
            "from" => show(self.store.range(key(1)..)?)?,
            "below" => show(self.store.range(..key(1))?)?,
            "between" => show(self.store.range((Bound::Excluded(key(1)), Bound::Excluded(key(2))))?)?,
            "reverse-range" => show(self.store.reverse_range(..=key(1))?)?,
            "all" => show(self.store.all()?)?,
            "reverse-all" => show(self.store.reverse_all()?)?,
            "prefix" => show(self.store.prefix(&key(1))?)?,
            "count" => self.store.all()?.count().to_string(),
            "roughly" => self.store.approximate_entries()?.to_string(),
            "delete-while-walking" => {
                let mut walked = 0;
                for entry in self.store.all()? {
                    self.store.delete(&entry?.0)?;
                    walked += 1;
                }
                format!("{walked} walked, {} left", self.store.all()?.count())
            }
            other => return Err(Failure::fail(format!("no command {other}"))),
        })
    }
}

fn show(scan: Scan<String, i64>) -> Result<String, Failure> {
    let entries = scan.map(|entry| entry.map(|(key, value)| format!("{key}{value}")));
    Ok(entries.collect::<Result<Vec<_>, _>>()?.join(" "))
}

fn show_dated(scan: Scan<String, i64>) -> Result<String, Failure> {
    let entries = scan.with_timestamps().map(|entry| {
        let (key, ValueAndTimestamp { value, timestamp }) = entry?;
        Ok(format!("{key}{value}@{timestamp}"))
    });
    Ok(entries.collect::<Result<Vec<_>, Failure>>()?.join(" "))
}

fn shell(app: &mut Topology) {
    let store = app.store("store");
    app.stream("in").process("shell", |init| Shell { store: init.store(&store) }).to("out");
}

/// The answer of a command that fails.
const NOTHING: &str = "nothing";

/// Runs the commands in one batch and in batches of one: the answers must be the same.
fn check(commands: &[(&str, &str)]) {
    let at = |place: usize| place as i64;
    let records =
        || commands.iter().enumerate().map(|(place, (command, _))| Record::new((), command.to_string(), at(place)));
    let expected: Vec<&str> = commands.iter().map(|(_, answer)| *answer).filter(|answer| *answer != NOTHING).collect();
    let manifest = "id = \"test\"\non_error = \"dead-letter:dlq\"";
    let mut batched = Driver::with_manifest(shell, manifest).unwrap();
    batched.pipe_all("in", records()).unwrap();
    let mut one_by_one = Driver::with_manifest(shell, manifest).unwrap();
    records().for_each(|record| one_by_one.pipe("in", record).unwrap());
    for driver in [&mut batched, &mut one_by_one] {
        let answers = driver.read_pairs::<(), String>("out").unwrap();
        assert_eq!(answers.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>(), expected);
    }
    let entries = |driver: &Driver| driver.timestamped_entries::<String, i64>("store").unwrap();
    assert_eq!(entries(&batched), entries(&one_by_one));
}

#[test]
fn what_is_written_is_read_in_the_same_batch() {
    check(&[
        ("get a", "None"),
        ("put a 1", "ok"),
        ("get a", "Some(1)"),
        ("put a 2", "ok"),
        ("put-if-absent a 3", "Some(2)"),
        ("put-if-absent b 3", "None"),
        ("delete a", "Some(2)"),
        ("delete a", "None"),
        ("get a", "None"),
        ("all", "b3"),
    ]);
}

#[test]
fn a_value_has_the_timestamp_of_its_record_or_its_own() {
    check(&[
        ("get-dated a", "None"),
        ("put a 1", "ok"),
        ("get-dated a", "1@1"),
        ("put-dated a 2 70", "ok"),
        ("get-dated a", "2@70"),
        ("put b 3", "ok"),
        ("all-dated", "a2@70 b3@5"),
        ("put-dated b 4 0", "ok"),
        ("put-and-fail a 9", NOTHING),
        ("put-dated a 9 -1", NOTHING),
        ("reverse-range-dated b", "b4@0 a2@70"),
        ("put a 5", "ok"),
        ("get-dated a", "5@11"),
        ("delete a", "Some(5)"),
        ("all-dated", "b4@0"),
    ]);
}

#[test]
fn the_driver_tells_timestamps() {
    let mut driver = Driver::new(shell).unwrap();
    for command in ["put a 1", "put-dated b 2 5"] {
        driver.pipe("in", Record::new((), command.to_string(), 70)).unwrap();
    }
    let dated = |value, timestamp| ValueAndTimestamp { value, timestamp };
    let get = |key: &str| driver.get_with_timestamp::<String, i64>("store", &key.to_string()).unwrap();
    assert_eq!([get("a"), get("b"), get("c")], [Some(dated(1, 70)), Some(dated(2, 5)), None]);
    let entries = driver.timestamped_entries::<String, i64>("store").unwrap();
    assert_eq!(entries, [("a".to_string(), dated(1, 70)), ("b".to_string(), dated(2, 5))]);
}

#[test]
fn a_failing_record_takes_its_writes_along() {
    check(&[
        ("put a 1", "ok"),
        ("put-and-fail a 2", NOTHING),
        ("get a", "Some(1)"),
        ("put-and-fail b 2", NOTHING),
        ("get b", "None"),
        ("all", "a1"),
    ]);
}

#[test]
fn scans_are_ordered_bounded_and_see_what_waits() {
    check(&[
        ("all", ""),
        ("put b 2", "ok"),
        ("put a 1", "ok"),
        ("put ba 3", "ok"),
        ("put c 4", "ok"),
        ("all", "a1 b2 ba3 c4"),
        ("reverse-all", "c4 ba3 b2 a1"),
        ("range b c", "b2 ba3 c4"),
        ("range c b", ""),
        ("from ba", "ba3 c4"),
        ("below b", "a1"),
        ("between a c", "b2 ba3"),
        ("reverse-range ba", "ba3 b2 a1"),
        ("prefix b", "b2 ba3"),
        ("prefix x", ""),
        ("delete b", "Some(2)"),
        ("prefix b", "ba3"),
    ]);
}

#[test]
fn a_scan_goes_on_behind_its_first_page() {
    check(&[("fill 1000", "ok"), ("count", "1000"), ("delete 0500", "Some(7)"), ("count", "999")]);
}

#[test]
fn a_scan_does_not_see_what_is_written_while_it_walks() {
    check(&[("fill 600", "ok"), ("delete-while-walking", "600 walked, 0 left")]);
}

#[test]
fn entries_are_counted_when_they_are_committed() {
    let mut driver = Driver::new(shell).unwrap();
    for command in ["fill 20", "roughly"] {
        driver.pipe("in", Record::new((), command.to_string(), 0)).unwrap();
    }
    let answers = driver.read_pairs::<(), String>("out").unwrap();
    assert_eq!(answers[1].1, "20");
}

#[test]
fn a_value_too_large_for_its_store_fails_its_record() {
    struct Hoard {
        store: KeyValueStore<String, Vec<u8>>,
    }
    impl Processor<String, i64, (), ()> for Hoard {
        fn process(&mut self, record: Record<String, i64>, _ctx: &mut Context<(), ()>) -> Result<(), Failure> {
            self.store.put(&record.key, &vec![0; record.value as usize]);
            Ok(())
        }
    }
    let topology = |app: &mut Topology| {
        let store = app.store("hoard");
        app.stream("in").process("hoarder", |init| Hoard { store: init.store(&store) });
    };
    let manifest = "id = \"test\"\non_error = \"skip\"";
    let mut driver = Driver::with_manifest(topology, manifest).unwrap();
    let sizes = [("a", 10i64), ("b", 1 << 20), ("c", 10), ("d", 800_000), ("e", 800_000)];
    driver.pipe_all("in", sizes.map(|(key, size)| Record::new(key.to_string(), size, 0))).unwrap();
    let kept = driver.entries::<String, Vec<u8>>("hoard").unwrap();
    assert_eq!(kept.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "c", "d", "e"]);
    assert_eq!(driver.dropped(), 1);
}

#[test]
fn a_store_that_is_not_opened_in_its_node_refuses_by_name() {
    struct Thief {
        store: KeyValueStore<String, i64>,
    }
    impl Processor<(), String, (), ()> for Thief {
        fn process(&mut self, record: Record<(), String>, _ctx: &mut Context<(), ()>) -> Result<(), Failure> {
            self.store.get(&record.value).map(drop)
        }
    }
    let topology = |app: &mut Topology| {
        let store = app.store("store");
        let input = app.stream("in");
        let mut stolen = None;
        input.process("shell", |init| {
            stolen = Some(init.store(&store));
            Shell { store: init.store(&store) }
        });
        input.process("thief", |_| Thief { store: stolen.unwrap() });
    };
    let mut driver = Driver::new(topology).unwrap();
    let error = driver.pipe("in", Record::new((), "get a".to_string(), 0)).unwrap_err().to_string();
    let expected = "cannot read the store `store`: it is not connected to this node; open it with `init.store`";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_processor_reads_a_tables_store() {
    struct Names {
        names: KeyValueStore<String, String>,
    }
    impl Processor<String, i64, String, String> for Names {
        fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
            let name = self.names.get(&record.key)?.unwrap_or_default();
            ctx.forward(record.with_value(name));
            Ok(())
        }
    }
    let topology = |app: &mut Topology| {
        let table = app.table::<String, String>("names", "names");
        app.stream("in").process("look-up", |init| Names { names: init.store(&table.store()) }).to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    driver.pipe("names", Record::new("k".to_string(), "Kay".to_string(), 0)).unwrap();
    driver.pipe("in", Record::new("k".to_string(), 1i64, 1)).unwrap();
    assert_eq!(driver.read_pairs::<String, String>("out").unwrap(), [("k".to_string(), "Kay".to_string())]);
}
