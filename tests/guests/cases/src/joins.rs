//! Joins of streams and tables.

use millstream_sdk::prelude::{JoinWindows, Stream, Table, Topology as App};
use serde_json::Value;

use crate::grouped::{joined, kept, table};
use crate::shown::Finish;
use crate::{OUT, Text, ms, needed_ms, text};

pub fn global(app: &mut App, case: &Value) -> Result<(), String> {
    let (stream, table) = (app.stream::<Text, Text>("left"), app.global_table::<String, String>("right", "tbl"));
    let key = |_: &Text, value: &Text| value.as_ref()?.split_once(':').map(|(key, _)| key.to_owned());
    match text(case, "join") {
        "inner" => stream.join_global(&table, key, move |left, right| both(left, Some(right))).to(OUT),
        "left" => stream.left_join_global(&table, key, both).to(OUT),
        other => return Err(format!("join {other}")),
    }
    Ok(())
}

pub fn stream_table(app: &mut App, case: &Value) -> Result<(), String> {
    let stream = app.stream::<Text, Text>("left");
    let table = table::<Text, String>(app, "right", "tbl", ms(case, "versioned_history"));
    let inner = move |left: Text, right: String| both(left, Some(right));
    let met = match (text(case, "join"), ms(case, "grace")) {
        ("inner", None) => stream.join(&table, inner),
        ("left", None) => stream.left_join(&table, both),
        ("inner", Some(grace)) => stream.join_with_grace(&table, inner, grace).named("KSTREAM-JOIN-0000000003"),
        ("left", Some(grace)) => stream.left_join_with_grace(&table, both, grace).named("KSTREAM-LEFTJOIN-0000000003"),
        (other, _) => return Err(format!("join {other}")),
    };
    met.to(OUT);
    Ok(())
}

/// By their keys, or by foreign ones.
pub fn tables(app: &mut App, case: &Value, finish: &Finish) -> Result<(), String> {
    let history = ms(case, "versioned_history");
    let (left, right): (Table<String, String, _>, Table<String, String, _>) =
        (table(app, "left", "lt", history), table(app, "right", "rt", history));
    let inner = move |left: String, right: String| both(Some(left), Some(right));
    let left_and = move |left: String, right: Text| both(Some(left), right);
    let foreign_key = |_: &String, value: String| value.split_once('|').map(|(key, _)| key.to_owned());
    let table = match (text(case, "kind"), text(case, "join")) {
        ("fk_join", "inner") => left.foreign_key_join(&right, foreign_key, inner).named("fk"),
        ("fk_join", "left") => left.foreign_key_left_join(&right, foreign_key, left_and).named("fk"),
        ("table_table_join", "inner") => left.join(&right, inner),
        ("table_table_join", "left") => left.left_join(&right, left_and),
        ("table_table_join", "outer") => left.outer_join(&right, both),
        (_, other) => return Err(format!("join {other}")),
    };
    let is_kept = case.get("store_history").is_some();
    finish.table(if is_kept { table.materialized(kept(case, "joined")) } else { table });
    Ok(())
}

/// In the windows of the case; the join is called `j`.
pub fn streams(app: &mut App, case: &Value) -> Result<(), String> {
    let (left, right) = (app.stream::<Text, Text>("left"), app.stream::<Text, Text>("right"));
    join_streams(&left, &right, case)?.named("j").to(OUT);
    Ok(())
}

/// The caller names it.
pub fn join_streams(
    left: &Stream<Text, Text>,
    right: &Stream<Text, Text>,
    case: &Value,
) -> Result<Stream<Text, Text>, String> {
    let mut windows = JoinWindows::of(needed_ms(case, "diff")?).grace(ms(case, "grace").unwrap_or_default());
    windows = ms(case, "before").map_or(windows, |before| windows.before(before));
    windows = ms(case, "after").map_or(windows, |after| windows.after(after));
    let both = |left: Text, right: Text| joined(&left, &right);
    Ok(match text(case, "join") {
        "inner" => left.join_stream(right, both, windows),
        "left" => left.left_join_stream(right, |left, right| joined(&left, &right.flatten()), windows),
        "outer" => {
            let flat = |left: Option<Text>, right: Option<Text>| joined(&left.flatten(), &right.flatten());
            left.outer_join_stream(right, flat, windows)
        }
        other => return Err(format!("join {other}")),
    })
}

/// `left + "+" + right`
fn both(left: Text, right: Text) -> String {
    joined(&left, &right).unwrap_or_default()
}
