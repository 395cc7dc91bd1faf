//! Processors of fixed keys: where their values go, what they may not do, and that nothing is repartitioned behind them.
#![allow(clippy::unwrap_used)]

use millstream_engine::topology::{Description, Operator, build};
use millstream_sdk::Plugin;
use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

fn record(key: &str, value: i64, timestamp: i64) -> Record<String, i64> {
    Record::new(key.to_string(), value, timestamp)
}

/// Numbers the records of each key, and sends each number on twice: as it came, and later with a header for whoever is
/// called `late`.
struct Numbers {
    seen: KeyValueStore<String, i64>,
}

impl FixedKeyProcessor<String, i64, i64> for Numbers {
    fn process(&mut self, record: Record<String, i64>, ctx: &mut FixedKeyContext<i64>) -> Result<(), Failure> {
        let number = self.seen.get(&record.key)?.unwrap_or(0) + 1;
        self.seen.put(&record.key, &number);
        assert_eq!((ctx.timestamp(), ctx.now(), ctx.source()), (record.timestamp, record.timestamp, Some("in")));
        ctx.forward(number);
        let mut headers = Headers::default();
        headers.add("late", None);
        ctx.set_timestamp(record.timestamp + 100);
        ctx.set_headers(headers);
        ctx.forward_to("late", number);
        Ok(())
    }
}

fn numbers(app: &mut Topology) {
    let seen = app.store("seen");
    let numbered = app.stream("in").process_values("numbers", |init| Numbers { seen: init.store(&seen) });
    numbered.child("late").to("late");
    numbered.group_by_key().reduce(|a: i64, b| a + b, "sums").to_stream().to("sums-out");
}

#[test]
fn values_go_on_under_their_records_keys() {
    let mut driver = Driver::new(numbers).unwrap();
    let mut headers = Headers::default();
    headers.add("own", None);
    driver.pipe_all("in", [record("a", 7, 1), record("b", 7, 2), record("a", 7, 3).with_headers(headers)]).unwrap();
    let sums = driver.read_pairs::<String, i64>("sums-out").unwrap();
    assert_eq!(sums, [("a", 1), ("b", 1), ("a", 3)].map(|(key, sum)| (key.to_string(), sum)));
    let late = driver.read::<String, i64>("late").unwrap();
    // To all first, then to the child by name.
    let expected = [("a", 1, 1), ("a", 1, 101), ("b", 1, 2), ("b", 1, 102), ("a", 2, 3), ("a", 2, 103)];
    let found: Vec<_> = late.iter().map(|record| (record.key.as_str(), record.value, record.timestamp)).collect();
    assert_eq!(found, expected);
    let named = |place: usize| late[place].headers.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!((named(4), named(5)), (vec!["own".to_owned()], vec!["late".to_owned()]));
}

fn repartitions<Args: 'static>(topology: impl millstream_sdk::Define<Args> + Send + Sync + 'static) -> usize {
    let plugin = Plugin::new(topology, "{}").unwrap();
    let description: Description = serde_json::from_str(plugin.description()).unwrap();
    let graph = build(&description).unwrap();
    graph.nodes.iter().filter(|node| node.operator == Operator::Repartition).count()
}

/// Lets everything pass.
struct Passes;

impl Processor<String, i64, String, i64> for Passes {
    fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
        ctx.forward(record);
        Ok(())
    }
}

#[test]
fn only_what_may_change_keys_is_repartitioned() {
    assert_eq!(repartitions(numbers), 0);
    let changes = |app: &mut Topology| {
        app.stream::<String, i64>("in").process("passes", |_| Passes).group_by_key().count("counts");
    };
    assert_eq!(repartitions(changes), 1);
}

/// Forwards nothing but from its punctuation.
struct Ticks;

impl FixedKeyProcessor<String, i64, i64> for Ticks {
    fn process(&mut self, _: Record<String, i64>, _: &mut FixedKeyContext<i64>) -> Result<(), Failure> {
        Ok(())
    }

    fn punctuate(&mut self, _: &Punctuation, ctx: &mut FixedKeyContext<i64>) -> Result<(), Failure> {
        ctx.forward(1);
        Ok(())
    }
}

#[test]
fn a_punctuation_forwards_nothing() {
    let topology = |app: &mut Topology| {
        let ticks = app.stream("in").process_values("ticks", |init| {
            init.every_stream_time(Duration::from_millis(10), "tick");
            Ticks
        });
        ticks.to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    let error = driver.pipe("in", record("k", 1, 5)).unwrap_err().to_string();
    assert!(error.contains("a processor of fixed keys forwards nothing from a punctuation"), "{error}");
}

/// Moves its values before the epoch, or to a child that is not there.
struct Astray;

impl FixedKeyProcessor<String, i64, i64> for Astray {
    fn process(&mut self, record: Record<String, i64>, ctx: &mut FixedKeyContext<i64>) -> Result<(), Failure> {
        ctx.set_timestamp(record.value);
        match record.value {
            0.. => ctx.forward_to("nobody", record.value),
            _ => ctx.forward(record.value),
        }
        Ok(())
    }
}

#[test]
fn what_cannot_be_forwarded_fails_its_record() {
    let topology = |app: &mut Topology| app.stream("in").process_values("astray", |_| Astray).to("out");
    for (value, why) in [(-5, "a record was forwarded with the timestamp -5"), (5, "no child is named `nobody`")] {
        let mut driver = Driver::new(topology).unwrap();
        let error = driver.pipe("in", record("k", value, 0)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
