//! Processors: children, punctuations, what a context knows, and every outcome.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

fn record(key: &str, value: i64, timestamp: i64) -> Record<String, i64> {
    Record::new(key.to_string(), value, timestamp)
}

fn texts(driver: &mut Driver, topic: &str) -> Vec<String> {
    let records = driver.read_pairs::<String, String>(topic).unwrap();
    records.into_iter().map(|(_, value)| value).collect()
}

/// Sends odd numbers to one child, multiples of ten to another, and the rest to all.
struct Router;

impl Processor<String, i64, String, i64> for Router {
    fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        match record.value {
            n if n % 2 == 1 => ctx.forward_to("odd", record),
            n if n % 10 == 0 => ctx.forward_to("tens", record),
            n if n < 0 => ctx.forward_to("nobody", record),
            _ => ctx.forward(record),
        }
        Ok(())
    }
}

fn routes(app: &mut Topology) {
    let routed = app.stream("in").process("router", |_| Router);
    routed.to("all");
    routed.child("odd").to("odd-out");
    routed.child("tens").map_values(|n: i64| n / 10).to("tens-out");
    routed.child("odd").map_values(|n: i64| -n).to("negated");
}

#[test]
fn a_record_for_a_named_child_goes_there_alone() {
    let mut driver = Driver::new(routes).unwrap();
    driver.pipe_all("in", [1, 2, 30].map(|n| record("k", n, 0))).unwrap();
    let mut values =
        |topic: &str| driver.read_pairs::<String, i64>(topic).unwrap().into_iter().map(|(_, n)| n).collect::<Vec<_>>();
    assert_eq!(values("all"), [2]);
    assert_eq!(values("odd-out"), [1, 2]);
    assert_eq!(values("negated"), [-1, -2]);
    assert_eq!(values("tens-out"), [0, 3]);
}

#[test]
fn an_unknown_child_fails_the_record_and_names_the_fix() {
    let mut driver = Driver::new(routes).unwrap();
    let error = driver.pipe("in", record("k", -2, 0)).unwrap_err().to_string();
    assert!(error.contains("chain one behind `.child(\"nobody\")`"), "{error}");
    assert!(driver.read_pairs::<String, i64>("all").unwrap().is_empty());
}

/// Moves its records before the epoch.
struct Early;

impl Processor<String, i64, String, i64> for Early {
    fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        ctx.forward(record.with_timestamp(-5));
        Ok(())
    }
}

#[test]
fn a_record_forwarded_before_the_epoch_fails_by_its_own_name() {
    let topology = |app: &mut Topology| app.stream("in").process("early", |_| Early).to("out");
    let mut driver = Driver::new(topology).unwrap();
    let error = driver.pipe("in", record("k", 1, 0)).unwrap_err().to_string();
    assert!(error.ends_with("fail: a record was forwarded with the timestamp -5"), "{error}");
}

/// Says when it was called.
struct Clock;

impl Processor<String, i64, String, String> for Clock {
    fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let text = format!("{} at {}", record.value, ctx.stream_time().unwrap());
        ctx.forward(record.with_value(text));
        Ok(())
    }

    fn punctuate(&mut self, fired: &Punctuation, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        assert_eq!((ctx.now(), ctx.source(), ctx.offset()), (fired.timestamp(), None, None));
        let text = format!("{} {}", fired.name(), fired.timestamp());
        ctx.forward(Record::new(String::new(), text, ctx.timestamp()));
        Ok(())
    }
}

fn clock(app: &mut Topology) {
    let stream = app.stream("in").process("clock", |init| {
        init.every_stream_time(Duration::from_millis(10), "tick");
        init.every_wall_clock_time(Duration::from_secs(1), "tock");
        Clock
    });
    stream.to("out");
}

#[test]
fn stream_time_punctuations_fire_between_the_records() {
    let mut driver = Driver::new(clock).unwrap();
    driver.pipe_all("in", [(1, 5), (2, 25), (3, 21), (4, 30)].map(|(n, time)| record("k", n, time))).unwrap();
    let expected = ["1 at 5", "tick 5", "2 at 25", "tick 25", "3 at 25", "4 at 30", "tick 30"];
    assert_eq!(texts(&mut driver, "out"), expected);
}

#[test]
fn wall_clock_punctuations_fire_when_the_clock_moves() {
    let mut driver = Driver::new(clock).unwrap();
    driver.advance_wall_clock(Duration::from_millis(999)).unwrap();
    assert!(texts(&mut driver, "out").is_empty());
    driver.advance_wall_clock(Duration::from_millis(1)).unwrap();
    assert_eq!(texts(&mut driver, "out"), ["tock 1000"]);
}

/// Says what it knows of a record.
struct Witness;

impl Processor<String, i64, String, String> for Witness {
    fn process(&mut self, mut record: Record<String, i64>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let headers: Vec<String> = record.headers.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let (source, partition, offset) = (ctx.source().unwrap(), ctx.partition(), ctx.offset().unwrap());
        let text = format!("{source}-{partition}@{offset} t{} now{} {headers:?}", ctx.timestamp(), ctx.now());
        record.headers.add("seen", Some(b"yes"));
        ctx.forward(record.with_value(text).with_timestamp(99));
        Ok(())
    }
}

#[test]
fn a_processor_knows_where_its_record_came_from() {
    let topology = |app: &mut Topology| app.stream("in").process("witness", |_| Witness).to("out");
    let mut driver = Driver::new(topology).unwrap();
    driver.pipe("in", record("k", 0, 7)).unwrap();
    let mut headers = Headers::default();
    headers.add("h", None);
    driver.pipe("in", record("k", 1, 8).with_headers(headers)).unwrap();
    let out = driver.read::<String, String>("out").unwrap();
    assert_eq!(out[0].value, "in-0@0 t7 now7 []");
    assert_eq!(out[1].value, "in-0@1 t8 now8 [\"h=None\"]");
    assert_eq!(out[1].timestamp, 99);
    assert_eq!(out[1].headers.last("seen"), Some(Some(&b"yes"[..])));
    assert_eq!(out[1].headers.last("h"), Some(None));
}

/// Draws two numbers for each record.
struct Dice;

impl Processor<String, i64, String, String> for Dice {
    fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let drawn = (ctx.random().next_u64(), ctx.random().next_u64());
        ctx.forward(record.with_value(format!("{drawn:?}")));
        Ok(())
    }
}

#[test]
fn randomness_is_the_same_in_every_batch_and_apart_for_every_record() {
    let topology = |app: &mut Topology| {
        app.stream::<String, i64>("in").flat_map_values(|n| [n, n]).process("dice", |_| Dice).to("out");
    };
    let records = || (0..5).map(|n| record("k", n, n));
    let mut one_by_one = Driver::new(topology).unwrap();
    records().for_each(|record| one_by_one.pipe("in", record).unwrap());
    let mut batched = Driver::new(topology).unwrap();
    batched.pipe_all("in", records()).unwrap();
    let drawn = texts(&mut batched, "out");
    assert_eq!(texts(&mut one_by_one, "out"), drawn);
    let distinct: std::collections::BTreeSet<_> = drawn.iter().collect();
    assert_eq!(distinct.len(), 10);
}

/// Does what a record's value says, after it has written and forwarded.
struct Judge {
    seen: KeyValueStore<String, i64>,
}

impl Processor<String, String, String, String> for Judge {
    fn process(&mut self, record: Record<String, String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let before = self.seen.get(&record.key)?.unwrap_or(0);
        self.seen.put(&record.key, &(before + 1));
        ctx.forward(record.clone());
        match record.value.as_str() {
            "drop" => Err(Failure::drop()),
            "dead-letter" => Err(Failure::dead_letter("dead")),
            "retry" => Err(Failure::retry("again")),
            "fail" => Err(Failure::fail("no")),
            "panic" => panic!("the plugin is broken"),
            "parse" => Ok("x".parse::<i64>().map(drop)?),
            _ => Ok(()),
        }
    }
}

fn judged(app: &mut Topology) {
    let seen = app.store("seen");
    app.stream("in").process("judge", |init| Judge { seen: init.store(&seen) }).to("out");
}

const DEAD_LETTERS: &str = "id = \"test\"\non_error = \"dead-letter:dlq\"";

/// Pipes good, `value`, good as one batch.
fn judge(manifest: &str, value: &str) -> (Driver, Result<(), String>) {
    let mut driver = Driver::with_manifest(judged, manifest).unwrap();
    let records = ["good", value, "good"].map(|value| Record::new("k".to_string(), value.to_string(), 0));
    let piped = driver.pipe_all("in", records).map_err(|error| error.to_string());
    (driver, piped)
}

#[test]
fn a_dropped_record_keeps_what_it_has_done_and_is_counted() {
    let (mut driver, piped) = judge(DEAD_LETTERS, "drop");
    assert_eq!(piped, Ok(()));
    assert_eq!(texts(&mut driver, "out"), ["good", "drop", "good"]);
    assert_eq!(driver.get::<String, i64>("seen", &"k".to_string()).unwrap(), Some(3));
    assert_eq!(driver.dropped(), 1);
}

#[test]
fn a_record_that_fails_leaves_nothing_but_its_dead_letter() {
    let cases = [
        ("dead-letter", "dead-letter", "dead"),
        ("retry", "retry", "again"),
        ("fail", "fail", "no"),
        ("panic", "trap", "the plugin is broken"),
        ("parse", "fail", "invalid digit found in string"),
    ];
    for (value, exception, message) in cases {
        let (mut driver, piped) = judge(DEAD_LETTERS, value);
        assert_eq!(piped, Ok(()), "{value}");
        assert_eq!(texts(&mut driver, "out"), ["good", "good"], "{value}");
        assert_eq!(driver.get::<String, i64>("seen", &"k".to_string()).unwrap(), Some(2), "{value}");
        let dead = driver.read::<String, String>("dlq").unwrap();
        let header = |name: &str| {
            let value = dead[0].headers.last(&format!("__streams.errors.{name}")).unwrap().unwrap();
            String::from_utf8(value.to_vec()).unwrap()
        };
        assert_eq!((dead.len(), dead[0].value.as_str()), (1, value));
        assert_eq!((header("exception").as_str(), header("message").as_str()), (exception, message));
    }
}

#[test]
fn under_the_default_policy_a_failing_record_stops_its_application() {
    let (mut driver, piped) = judge("id = \"test\"", "fail");
    assert_eq!(piped.unwrap_err(), "in-0 offset 1, node `judge`: fail: no");
    assert!(texts(&mut driver, "out").is_empty());
}

#[test]
fn what_does_not_decode_fails_its_record_alone() {
    let topology = |app: &mut Topology| app.stream::<String, i64>("in").map_values(|n| n + 1).to("out");
    let mut driver = Driver::with_manifest(topology, DEAD_LETTERS).unwrap();
    let values = [1i64.to_be_bytes().to_vec(), b"no number".to_vec(), 2i64.to_be_bytes().to_vec()];
    driver.pipe_all("in", values.map(|value| Record::new("k".to_string(), value, 0))).unwrap();
    let out = driver.read_pairs::<String, i64>("out").unwrap();
    assert_eq!(out.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), [2, 3]);
    let dead = driver.read::<String, Vec<u8>>("dlq").unwrap();
    let message = dead[0].headers.last("__streams.errors.message").unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(message), "the value does not decode as i64: 9 bytes instead of 8");
}

#[test]
fn fallible_functions_judge_their_records() {
    let even = |n: i64| if n % 2 == 0 { Ok(n / 2) } else { Err(Failure::drop()) };
    let topology = move |app: &mut Topology| {
        let input = app.stream::<String, i64>("in");
        input.try_map_values(even).to("map-values");
        input.try_map(move |key, n| Ok((key, even(n)?))).to("map");
        input.try_flat_map(move |key, n| Ok([(key, even(n)?)])).to("flat-map");
        input.try_flat_map_values(move |n| Ok([even(n)?])).to("flat-map-values");
        input.try_filter(move |_, n| even(*n).map(|_| true)).map_values(|n| n / 2).to("filter");
    };
    let mut driver = Driver::new(topology).unwrap();
    driver.pipe_all("in", [1, 2, 3, 4].map(|n| record("k", n, n))).unwrap();
    for topic in ["map-values", "map", "flat-map", "flat-map-values", "filter"] {
        let out = driver.read_pairs::<String, i64>(topic).unwrap();
        assert_eq!(out.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), [1, 2], "{topic}");
    }
    assert_eq!(driver.dropped(), 10);
}
