//! Groups of streams and tables, and tables by themselves.

use std::time::Duration;

use millstream_sdk::Cogrouped;
use millstream_sdk::prelude::{Data, Deletes, Grouped, GroupedTable, Materialized, Stream, Table, Topology as App};

use serde_json::Value;

use crate::shown::Finish;
use crate::{Text, ms, text};

pub fn group_agg(app: &mut App, case: &Value, finish: &Finish) -> Result<(), String> {
    let mut stream: Stream<Text, Text> = app.stream("in");
    if case["rekey"] == true {
        stream = stream.select_key(|_, value| value.clone());
    }
    let grouped: Grouped<Text, Text> = stream.group_by_key();
    let initial = || Some("0".to_owned());
    match text(case, "agg") {
        "count" => finish.table(grouped.count(kept(case, "store"))),
        "reduce" => finish.table(grouped.reduce(|a, b| joined(&a, &b), kept(case, "store"))),
        "aggregate" => {
            finish.table(grouped.aggregate(initial, |_, value, so_far| joined(&so_far, &value), kept(case, "store")));
        }
        "sum" => finish.table(grouped.aggregate(|| 0, summed, kept(case, "store"))),
        "aggregate_delete" => {
            let step = |_: &Text, value: Text, so_far: Text| match value.as_deref() {
                Some("DEL") => None,
                _ => joined(&so_far, &value),
            };
            finish.table(grouped.aggregate(initial, step, kept(case, "store")))
        }
        other => return Err(format!("agg {other}")),
    }
    Ok(())
}

/// The sum of whole numbers, which come in as texts.
pub fn summed(_: &Text, value: Text, so_far: i64) -> i64 {
    so_far + value.and_then(|value| value.parse::<i64>().ok()).expect("a sum is of whole numbers")
}

/// `a + "+" + b`
pub fn joined(a: &Text, b: &Text) -> Text {
    Some(format!("{}+{}", a.as_deref().unwrap_or("null"), b.as_deref().unwrap_or("null")))
}

pub fn to_table(app: &mut App, case: &Value, finish: &Finish) -> Result<(), String> {
    finish.table(app.stream::<Text, Text>("in").to_table(kept(case, "store")));
    Ok(())
}

pub fn table_ops(app: &mut App, case: &Value, finish: &Finish) -> Result<(), String> {
    let source: Table<String, String, _> = table(app, "in", "src", ms(case, "versioned_history"));
    let even = |_: &String, value: &String| value.parse::<i64>().is_ok_and(|value| value % 2 == 0);
    match text(case, "op") {
        "filter_even" => finish.table(source.filter(even)),
        "filter_even_mat" => finish.table(source.filter(even).materialized(kept(case, "flt"))),
        "map_values" => finish.table(source.map_values(|value| value + "!")),
        "map_values_mat" => finish.table(source.map_values(|value| value + "!").materialized(kept(case, "map"))),
        other => return Err(format!("op {other}")),
    }
    Ok(())
}

pub fn table_group(app: &mut App, case: &Value, finish: &Finish) -> Result<(), String> {
    let by = text(case, "group_by").to_owned();
    let table: Table<String, String, Deletes> = table(app, "in", "src", ms(case, "versioned_history"));
    let grouped: GroupedTable<String, String> = table.group_by(move |key: &String, value: String| {
        let letter = |at: usize| key.chars().nth(at).map(String::from).unwrap_or_default();
        match by.as_str() {
            "value" => (value.clone(), value),
            "split" => (letter(0), letter(1)),
            _ => (key.clone(), value),
        }
    });
    let less = |_: &String, value: String, so_far: String| format!("{so_far}-{value}");
    let more = |_: &String, value: String, so_far: String| format!("{so_far}+{value}");
    match text(case, "agg") {
        "count" => finish.table(grouped.count(kept(case, "store"))),
        "reduce" => {
            finish.table(grouped.reduce(|a, b| format!("{a}+{b}"), |a, b| format!("{a}-{b}"), kept(case, "store")))
        }
        "aggregate" => finish.table(grouped.aggregate(|| "0".to_owned(), more, less, kept(case, "store"))),
        other => return Err(format!("agg {other}")),
    }
    Ok(())
}

pub fn cogroup(app: &mut App, case: &Value, finish: &Finish) -> Result<(), String> {
    finish.table(cogrouped(app).aggregate(|| "0".to_owned(), kept(case, "store")));
    Ok(())
}

pub fn cogrouped(app: &mut App) -> Cogrouped<Text, String> {
    cogroup_of(&app.stream("left"), &app.stream("right"))
}

pub fn cogroup_of(left: &Stream<Text, Text>, right: &Stream<Text, Text>) -> Cogrouped<Text, String> {
    let one = |side: &'static str| {
        move |_: &Text, value: Text, so_far: String| format!("{so_far}+{side}{}", value.as_deref().unwrap_or("null"))
    };
    left.group_by_key().cogroup(one("L")).cogroup(&right.group_by_key(), one("R"))
}

/// The store of what an operator makes: of versions, where the case or the operator says their history.
pub fn kept(case: &Value, name: impl Into<String>) -> Materialized {
    let store = Materialized::named(name);
    match ms(case, "store_history") {
        Some(history) => store.versioned(history),
        None => store,
    }
}

/// A table, with its history where the case has one.
pub fn table<K: Data, V: Data>(
    app: &mut App,
    name: &str,
    store: &str,
    history: Option<Duration>,
) -> Table<K, V, Deletes> {
    match history {
        Some(history) => app.versioned_table(name, Materialized::named(store).retention(history)),
        None => app.table(name, store),
    }
}
