//! Each operator of the DSL against a case worked by hand.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

/// Pipes pairs into `in`, one millisecond apart and as one batch, and reads `out`.
fn run<VOut: Data>(topology: fn(&mut Topology), pairs: &[(&str, i64)]) -> Vec<(String, VOut)> {
    let mut driver = Driver::new(topology).unwrap();
    pipe(&mut driver, pairs);
    driver.read_pairs("out").unwrap()
}

fn pipe(driver: &mut Driver, pairs: &[(&str, i64)]) {
    let record = |(place, (key, value)): (usize, &(&str, i64))| Record::new(key.to_string(), *value, place as i64);
    driver.pipe_all("in", pairs.iter().enumerate().map(record)).unwrap();
}

fn input(app: &mut Topology) -> Stream<String, i64> {
    app.stream("in")
}

fn pairs<V: Clone>(pairs: &[(&str, V)]) -> Vec<(String, V)> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.clone())).collect()
}

#[test]
fn filter_keeps_what_matches_and_filter_not_the_rest() {
    let input_pairs = [("a", 1), ("b", 2), ("c", 3)];
    assert_eq!(
        run::<i64>(|app| input(app).filter(|_, n| n % 2 == 1).to("out"), &input_pairs),
        pairs(&[("a", 1), ("c", 3)])
    );
    assert_eq!(run::<i64>(|app| input(app).filter_not(|_, n| n % 2 == 1).to("out"), &input_pairs), pairs(&[("b", 2)]));
}

#[test]
fn maps_make_one_record_of_one() {
    let cases: [fn(&mut Topology); 3] = [
        |app| input(app).map(|key, n| (format!("{key}!"), n * 2)).to("out"),
        |app| input(app).select_key(|key, _| format!("{key}!")).map_values(|n| n * 2).to("out"),
        |app| {
            let doubled = input(app).map_values_with_key(|key, n| n * 2 * key.len() as i64);
            doubled.select_key(|key, _| format!("{key}!")).to("out");
        },
    ];
    for case in cases {
        assert_eq!(run::<i64>(case, &[("a", 1), ("b", 2)]), pairs(&[("a!", 2), ("b!", 4)]));
    }
}

#[test]
fn flat_maps_make_any_number_of_records() {
    let cases: [fn(&mut Topology); 3] = [
        |app| input(app).flat_map(|key, n| (0..n).map(move |i| (key.clone(), i)).collect::<Vec<_>>()).to("out"),
        |app| input(app).flat_map_values(|n| 0..n).to("out"),
        |app| input(app).flat_map_values_with_key(|key, n| 0..n * key.len() as i64).to("out"),
    ];
    for case in cases {
        assert_eq!(run::<i64>(case, &[("a", 2), ("b", 0), ("c", 1)]), pairs(&[("a", 0), ("a", 1), ("c", 0)]));
    }
}

#[test]
fn a_value_can_change_its_type_on_the_way() {
    let out = run::<String>(|app| input(app).map_values(|n| n.to_string()).to("out"), &[("a", 12)]);
    assert_eq!(out, pairs(&[("a", "12".to_string())]));
}

#[test]
fn peek_sees_every_record_and_changes_none() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let topology = move |app: &mut Topology| {
        let sees = sees.clone();
        input(app).peek(move |key, n| sees.lock().unwrap().push(format!("{key}{n}"))).to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    pipe(&mut driver, &[("a", 1), ("b", 2)]);
    assert_eq!(*seen.lock().unwrap(), ["a1", "b2"]);
    assert_eq!(driver.read_pairs::<String, i64>("out").unwrap(), pairs(&[("a", 1), ("b", 2)]));
}

fn split(app: &mut Topology) {
    let mut split = input(app).split().named("sizes");
    split.branch(|_, n| *n >= 100).to("large");
    split.branch(|_, n| *n >= 10).to("medium");
    split.default().to("small");
}

#[test]
fn a_record_goes_to_the_first_branch_that_takes_it() {
    let mut driver = Driver::new(split).unwrap();
    pipe(&mut driver, &[("a", 1), ("b", 10), ("c", 100), ("d", 2)]);
    assert_eq!(driver.read_pairs::<String, i64>("large").unwrap(), pairs(&[("c", 100)]));
    assert_eq!(driver.read_pairs::<String, i64>("medium").unwrap(), pairs(&[("b", 10)]));
    assert_eq!(driver.read_pairs::<String, i64>("small").unwrap(), pairs(&[("a", 1), ("d", 2)]));
}

#[test]
fn without_a_default_a_record_that_no_branch_takes_goes_nowhere() {
    let topology: fn(&mut Topology) = |app| input(app).split().branch(|_, n| *n > 1).to("out");
    assert_eq!(run::<i64>(topology, &[("a", 1), ("b", 2)]), pairs(&[("b", 2)]));
}

#[test]
fn merged_streams_keep_the_order_of_their_records() {
    let topology: fn(&mut Topology) = |app| {
        let input = input(app);
        input.map_values(|n| n * 10).merge(&input).to("out");
    };
    assert_eq!(run::<i64>(topology, &[("a", 1), ("b", 2)]), pairs(&[("a", 10), ("a", 1), ("b", 20), ("b", 2)]));
}

#[test]
fn counts_start_at_one_and_every_update_goes_out() {
    let topology: fn(&mut Topology) = |app| input(app).group_by_key().count("counts").to_stream().to("out");
    assert_eq!(run::<i64>(topology, &[("a", 7), ("b", 7), ("a", 7)]), pairs(&[("a", 1), ("b", 1), ("a", 2)]));
}

#[test]
fn a_new_key_is_counted_across_a_repartition_topic() {
    let topology: fn(&mut Topology) = |app| {
        let parity = input(app).group_by(|_, n| if n % 2 == 0 { "even".to_string() } else { "odd".to_string() });
        parity.count("counts").to_stream().to("out");
    };
    let mut out = run::<i64>(topology, &[("a", 1), ("b", 2), ("c", 3)]);
    out.sort();
    assert_eq!(out, pairs(&[("even", 1), ("odd", 1), ("odd", 2)]));
}

#[test]
fn reduce_begins_with_the_first_value() {
    let topology: fn(&mut Topology) =
        |app| input(app).group_by_key().reduce(|a, b| a * 10 + b, "r").to_stream().to("out");
    assert_eq!(
        run::<i64>(topology, &[("a", 1), ("b", 5), ("a", 2), ("a", 3)]),
        pairs(&[("a", 1), ("b", 5), ("a", 12), ("a", 123)])
    );
}

#[test]
fn aggregate_begins_with_its_initial_value_and_sees_the_key() {
    let topology: fn(&mut Topology) = |app| {
        let grouped = input(app).group_by_key();
        let table = grouped.aggregate(String::new, |key, n, so_far| format!("{so_far}{key}{n}"), "agg");
        table.to_stream().to("out");
    };
    let out = run::<String>(topology, &[("a", 1), ("a", 2), ("b", 3)]);
    assert_eq!(out, pairs(&[("a", "a1".into()), ("a", "a1a2".into()), ("b", "b3".into())]));
}

#[test]
fn an_aggregate_of_none_is_deleted_and_begins_anew() {
    fn topology(app: &mut Topology) {
        let sum = |_: &String, n: i64, so_far: Option<i64>| (n != 0).then(|| so_far.unwrap_or(0) + n);
        input(app).group_by_key().aggregate(|| Some(100), sum, "sums").to_stream().to("out");
    }
    let mut driver = Driver::new(topology).unwrap();
    pipe(&mut driver, &[("a", 1), ("a", 0), ("a", 2), ("b", 0)]);
    let out = driver.read_pairs::<String, Option<i64>>("out").unwrap();
    assert_eq!(out, pairs(&[("a", Some(101)), ("a", None), ("a", Some(102)), ("b", None)]));
    assert_eq!(driver.entries::<String, i64>("sums").unwrap(), pairs(&[("a", 102)]));
}

#[test]
fn null_keys_and_values_are_left_out_of_aggregations() {
    let mut driver = Driver::new(|app: &mut Topology| {
        app.stream::<Option<String>, Option<i64>>("in").group_by_key().count("counts");
    })
    .unwrap();
    for (key, value) in [(None, Some(1i64)), (Some("a"), None), (Some("a"), Some(1))] {
        driver.pipe("in", Record::new(key.map(str::to_string), value, 0)).unwrap();
    }
    assert_eq!(driver.get::<String, i64>("counts", &"a".to_string()).unwrap(), Some(1));
    assert_eq!(driver.dropped(), 2);
}

#[test]
fn unnamed_stores_are_called_after_their_operator_and_place() {
    let topology = |app: &mut Topology| {
        input(app).group_by_key().count(Materialized::unnamed());
        input_again(app).group_by_key().reduce(|a, _| a, Materialized::unnamed());
    };
    fn input_again(app: &mut Topology) -> Stream<String, i64> {
        app.stream("in-2")
    }
    let mut driver = Driver::new(topology).unwrap();
    pipe(&mut driver, &[("a", 1)]);
    assert_eq!(driver.entries::<String, i64>("count-store-0").unwrap(), pairs(&[("a", 1)]));
    assert_eq!(driver.entries::<String, i64>("reduce-store-1").unwrap(), pairs(&[]));
}

fn tables(app: &mut Topology) {
    let table = app.table::<String, i64>("in", "table");
    table.filter(|_, n| *n > 1).to_stream().to("filtered");
    table.filter_not(|_, n| *n > 1).materialized("kept").to_stream().to("rest");
    table.map_values(|n| n.to_string()).to_stream().to("mapped");
    table.map_values_with_key(|key, n| format!("{key}{n}")).named("with-key").to_stream().to("with-key-out");
}

#[test]
fn tables_change_by_key_and_their_deletions_go_downstream() {
    let mut driver = Driver::new(tables).unwrap();
    for (time, value) in [Some(1i64), Some(2), None].into_iter().enumerate() {
        driver.pipe("in", Record::new("a".to_string(), value, time as i64)).unwrap();
    }
    assert!(driver.entries::<String, i64>("table").unwrap().is_empty());
    let filtered = driver.read_pairs::<String, Option<i64>>("filtered").unwrap();
    assert_eq!(filtered, pairs(&[("a", Some(2)), ("a", None)]));
    let rest = driver.read_pairs::<String, Option<i64>>("rest").unwrap();
    assert_eq!(rest, pairs(&[("a", Some(1)), ("a", None)]));
    let mapped = driver.read_pairs::<String, Option<String>>("mapped").unwrap();
    assert_eq!(mapped, pairs(&[("a", Some("1".into())), ("a", Some("2".into())), ("a", None)]));
    let with_key = driver.read_pairs::<String, Option<String>>("with-key-out").unwrap();
    assert_eq!(with_key, pairs(&[("a", Some("a1".into())), ("a", Some("a2".into())), ("a", None)]));
}

#[test]
fn a_repartition_spreads_keys_over_its_partitions() {
    struct Partition;
    impl Processor<String, i64, String, i64> for Partition {
        fn process(&mut self, record: Record<String, i64>, ctx: &mut Context<String, i64>) -> Result<(), Failure> {
            let partition = i64::from(ctx.partition());
            assert_eq!(ctx.source(), Some("spread"));
            ctx.forward(record.with_value(partition));
            Ok(())
        }
    }
    let topology: fn(&mut Topology) = |app| {
        let spread = input(app).repartition(Repartitioned::named("spread").partitions(4));
        spread.process("partition", |_| Partition).to("out");
    };
    let keys: Vec<String> = (0..40).map(|n| format!("key-{n}")).collect();
    let out = run::<i64>(topology, &keys.iter().map(|key| (key.as_str(), 0)).collect::<Vec<_>>());
    assert_eq!(out.len(), 40);
    assert!((0..4).all(|partition| out.iter().any(|(_, found)| *found == partition)));
}

#[test]
fn functions_may_remember_within_a_batch() {
    let topology: fn(&mut Topology) = |app| {
        let last = RefCell::new(0);
        input(app).map_values(move |n| n - last.replace(n)).to("out");
    };
    assert_eq!(run::<i64>(topology, &[("a", 1), ("a", 3), ("a", 8)]), pairs(&[("a", 1), ("a", 2), ("a", 5)]));
}

/// A sum whose second field its codec does not carry.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Sum {
    sum: f64,
    #[serde(skip)]
    since_read: i64,
}

impl Json for Sum {}

#[test]
fn an_aggregate_is_the_same_in_every_batch_whatever_its_codec_loses() {
    let topology = |app: &mut Topology| {
        let add = |_: &String, n: i64, so_far: Sum| {
            let since_read = so_far.since_read + 1;
            Sum { sum: so_far.sum / 3.0 + (n * since_read) as f64, since_read }
        };
        input(app).group_by_key().aggregate(Sum::default, add, "sums").to_stream().to("out");
    };
    let values: Vec<(&str, i64)> = (1..50).map(|n| ("a", n)).collect();
    let mut batched = Driver::new(topology).unwrap();
    pipe(&mut batched, &values);
    let mut one_by_one = Driver::new(topology).unwrap();
    values.iter().for_each(|pair| pipe(&mut one_by_one, &[*pair]));
    let read = |driver: &mut Driver| driver.read_pairs::<String, String>("out").unwrap();
    assert_eq!(read(&mut batched), read(&mut one_by_one));
}
