//! Stateless nodes in a row give the same in one call as in one call each.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use millstream_sdk::Plugin;
use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

const MANIFEST: &str = "id = \"app\"\n[sources.in]\non_error = \"skip\"\n";

const RECORDS: i64 = 5_000;
const FAILING: i64 = 5_001;
/// Results for one record, by default.
const LIMIT: i64 = 1_000;

/// Every operator that can be one of a row, every outcome, and what an operator may not change changed all the same.
fn topology(app: &mut Topology) {
    app.stream::<String, i64>("in")
        .filter(|_, n| n % 7 != 0)
        .try_map_values(|n| match n {
            // In one batch: what is undone is run again one by one.
            FAILING => Err(Failure::fail("no")),
            n if n % 11 == 0 => Err(Failure::drop()),
            n => Ok(n + 1),
        })
        .filter_not(|_, n| n % 5 == 0)
        .flat_map_values(|n| (0..n % 4).map(move |copy| n * 10 + copy))
        .select_key(|key, n| format!("{key}{}", n % 3))
        .peek(|_, _| {})
        .try_flat_map(|key, n| match n % 13 {
            0 => Err(Failure::drop()),
            _ => Ok([(n, key.clone()), (n + 1, key)]),
        })
        .map(|n, key| (key, n))
        .try_filter(|_, n| if n % 17 == 0 { Err(Failure::drop()) } else { Ok(n % 2 == 0) })
        .to("out");
}

/// A filter that hides from the host how much the node in front of it gave.
fn hiding(app: &mut Topology) {
    app.stream::<String, i64>("in").flat_map_values(|n| 0..n).filter(|_, copy| *copy == 0).to("out");
}

#[test]
fn a_limit_that_is_broken_inside_a_row_is_broken() {
    let plugin = Plugin::new(hiding, "{}").unwrap();
    let run = |description: &str| {
        let mut driver = Driver::over(description, MANIFEST, &|| Box::new(plugin.clone())).unwrap();
        let value = |n: i64| if n == 250 { LIMIT + 1 } else { 1 + n % 20 };
        let records = (0..500).map(|n| Record::new(format!("k{n}"), value(n), n));
        driver.pipe_all("in", records).unwrap();
        driver.read_pairs::<String, i64>("out").unwrap()
    };
    let in_a_row = plugin.description();
    let out = run(in_a_row);
    assert!(out.len() == 499 && out.iter().all(|(key, _)| key != "k250"), "{}", out.len());
    assert_eq!(out, run(&in_a_row.replacen("\"chains\":true", "\"chains\":false", 1)));
}

type Rows = Vec<(String, i64, i64)>;

fn run(description: &str, plugin: &Plugin) -> (Rows, u64) {
    let mut driver = Driver::over(description, MANIFEST, &|| Box::new(plugin.clone())).unwrap();
    let value = |n: i64| if n == RECORDS / 2 { FAILING } else { n * n % 1_009 };
    let records = (0..RECORDS).map(|n| Record::new(format!("k{}", n % 10), value(n), n));
    driver.pipe_all("in", records).unwrap();
    let out = driver.read::<String, i64>("out").unwrap();
    (out.into_iter().map(|record| (record.key, record.value, record.timestamp)).collect(), driver.dropped())
}

#[test]
fn a_row_in_one_call_gives_what_its_nodes_give_one_by_one() {
    let plugin = Plugin::new(topology, "{}").unwrap();
    let in_a_row = plugin.description();
    let one_by_one = in_a_row.replacen("\"chains\":true", "\"chains\":false", 1);
    assert_ne!(in_a_row, one_by_one);
    let (expected, dropped) = run(&one_by_one, &plugin);
    assert!(expected.len() > 1_000 && dropped > 100, "{} and {dropped}", expected.len());
    let mut by_key: BTreeMap<&str, usize> = BTreeMap::new();
    expected.iter().for_each(|(key, ..)| *by_key.entry(key).or_default() += 1);
    assert!(by_key.len() > 20, "{by_key:?}");
    assert_eq!(run(in_a_row, &plugin), (expected, dropped));
}
