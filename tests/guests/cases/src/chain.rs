//! Operators in a row: each takes what the one before gives, a stream or a table. What has a name is called after its place.

use millstream_sdk::prelude::{Changes, Deletes, Stream, Table, Topology as App, Upserts};
use serde_json::Value;

use crate::grouped::{self, joined};
use crate::joins::join_streams;
use crate::shown::suppressed;
use crate::{OUT, Text, joined_windows, ms, text};

type Rows<C> = Table<Text, Text, C>;

enum Stage {
    Stream(Stream<Text, Text>),
    /// From an aggregation.
    Made(Rows<Upserts>),
    /// From anything else.
    Kept(Rows<Deletes>),
}

/// Tables by what changes they have.
trait Staged: Changes + Sized {
    fn stage(table: Rows<Self>) -> Stage;

    fn stream(table: &Rows<Self>) -> Stream<Text, Text>;
}

impl Staged for Upserts {
    fn stage(table: Rows<Upserts>) -> Stage {
        Stage::Made(table)
    }

    fn stream(table: &Rows<Upserts>) -> Stream<Text, Text> {
        table.to_stream()
    }
}

impl Staged for Deletes {
    fn stage(table: Rows<Deletes>) -> Stage {
        Stage::Kept(table)
    }

    fn stream(table: &Rows<Deletes>) -> Stream<Text, Text> {
        table.to_stream().map_values(Option::flatten)
    }
}

pub fn chain(app: &mut App, case: &Value) -> Result<(), String> {
    let ops = case["ops"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (first, rest) = ops.split_first().ok_or("a chain without operators")?;
    let mut stage = match text(first, "op") {
        "table" => Stage::Kept(topic(app, first, 0)),
        _ => Stage::Stream(app.stream(text(first, "topic"))),
    };
    let mut met = None;
    for (at, op) in rest.iter().enumerate().map(|(at, op)| (at + 1, op)) {
        stage = match stage {
            Stage::Stream(stream) => of_stream(app, &stream, op, at, &mut met)?,
            Stage::Made(table) => of_table(app, &table, op, at)?,
            Stage::Kept(table) => of_table(app, &table, op, at)?,
        };
    }
    match stage {
        Stage::Stream(stream) => stream.to(OUT),
        Stage::Made(table) => Upserts::stream(&table).to(OUT),
        Stage::Kept(table) => Deletes::stream(&table).to(OUT),
    }
    Ok(())
}

/// The table of a topic.
fn topic(app: &mut App, op: &Value, at: usize) -> Rows<Deletes> {
    grouped::table(app, text(op, "topic"), &store(at), ms(op, "versioned_history"))
}

fn store(at: usize) -> String {
    format!("s{at}")
}

/// Whether an operator is without the other topic: of a stream or a table with itself, or of a stream with the table that it
/// has met before.
fn is_again(op: &Value) -> bool {
    op.get("topic").is_none()
}

/// `met`: the table that the stream was joined with last.
fn of_stream(
    app: &mut App,
    stream: &Stream<Text, Text>,
    op: &Value,
    at: usize,
    met: &mut Option<Rows<Deletes>>,
) -> Result<Stage, String> {
    let name = store(at);
    let store = grouped::kept(op, name.clone());
    Ok(match text(op, "op") {
        "filter" => Stage::Stream(stream.filter(|_, value| even(value))),
        "map_values" => Stage::Stream(stream.map_values(bang)),
        "select_key" => Stage::Stream(stream.select_key(|_, value| first(value))),
        "flat_map_values" => Stage::Stream(stream.flat_map_values(parts)),
        "repartition" => Stage::Stream(stream.repartition(format!("r{at}").as_str())),
        "merge" => Stage::Stream(stream.merge(&app.stream(text(op, "topic")))),
        "join_stream" => {
            let right = if is_again(op) { stream.clone() } else { app.stream(text(op, "topic")) };
            Stage::Stream(join_streams(stream, &right, op)?.named(&format!("j{at}")))
        }
        "join_table" => {
            let right = match met.take() {
                Some(table) if is_again(op) => table,
                _ => topic(app, op, at),
            };
            *met = Some(right.clone());
            let left_and = |left, right: Option<Text>| joined(&left, &right.flatten());
            let inner = |left, right: Text| joined(&left, &right);
            let with_table = match (text(op, "join"), ms(op, "grace")) {
                ("left", None) => stream.left_join(&right, left_and),
                ("left", Some(grace)) => stream.left_join_with_grace(&right, left_and, grace),
                (_, None) => stream.join(&right, inner),
                (_, Some(grace)) => stream.join_with_grace(&right, inner, grace),
            };
            Stage::Stream(with_table.named(&format!("j{at}")))
        }
        "join_global" => {
            let right = app.global_table::<String, Text>(text(op, "topic"), name);
            let key = |_: &Text, value: &Text| first(value);
            Stage::Stream(match text(op, "join") {
                "left" => {
                    stream.left_join_global(&right, key, |left, right: Option<Text>| joined(&left, &right.flatten()))
                }
                _ => stream.join_global(&right, key, |left, right: Text| joined(&left, &right)),
            })
        }
        "to_table" => Stage::Made(stream.to_table(store)),
        "aggregate" => {
            let grouped = stream.group_by_key();
            Stage::Made(match text(op, "agg") {
                "count" => grouped.count(store).map_values(number),
                "reduce" => grouped.reduce(|a, b| joined(&a, &b), store),
                _ => grouped.aggregate(zero, |_, value, so_far| joined(&so_far, &value), store),
            })
        }
        "cogroup" => {
            let right = app.stream::<Text, Text>(text(op, "topic"));
            let both = grouped::cogroup_of(stream, &right);
            Stage::Made(both.aggregate(|| "0".to_owned(), store).map_values(Some))
        }
        "window" => {
            let right = match op.get("with") {
                Some(with) if is_again(with) => stream.clone(),
                Some(with) => app.stream(text(with, "topic")),
                None => stream.clone(),
            };
            Stage::Stream(joined_windows::window((stream, &right), op, at)?)
        }
        other => return Err(format!("of a stream: {other}")),
    })
}

fn of_table<C: Staged>(app: &mut App, table: &Rows<C>, op: &Value, at: usize) -> Result<Stage, String> {
    Ok(match text(op, "op") {
        "filter" => Stage::Kept(versions(table.filter(|_, value| even(value)), op, at)),
        "map_values" => C::stage(versions(table.map_values(bang), op, at)),
        "to_stream" => Stage::Stream(C::stream(table)),
        "suppress" => C::stage(table.suppress(suppressed(op, &format!("h{at}")))),
        "group" => {
            let by_key = text(op, "by") == "key";
            let grouped = table.group_by(move |key: &Text, value: Text| match by_key {
                true => (key.clone(), value),
                false => (first(&value), value),
            });
            let less = |so_far: &Text, value: &Text| text_of("-", so_far, value);
            Stage::Made(match text(op, "agg") {
                "count" => grouped.count(grouped::kept(op, store(at))).map_values(number),
                "reduce" => {
                    grouped.reduce(|a, b| joined(&a, &b), move |a, b| less(&a, &b), grouped::kept(op, store(at)))
                }
                _ => grouped.aggregate(
                    zero,
                    |_, value, so_far| joined(&so_far, &value),
                    move |_, value, so_far| less(&so_far, &value),
                    grouped::kept(op, store(at)),
                ),
            })
        }
        "join" if is_again(op) => Stage::Kept(versions(join_tables(table, table, op), op, at)),
        "join" => Stage::Kept(versions(join_tables(table, &topic(app, op, at), op), op, at)),
        "fk_join" => {
            let joined = match is_again(op) {
                true => join_by_foreign_key(table, table, op),
                false => join_by_foreign_key(table, &topic(app, op, at), op),
            };
            let joined = joined.named(&format!("f{at}"));
            Stage::Kept(if op["store"] == true {
                joined.materialized(grouped::kept(op, format!("m{at}")))
            } else {
                joined
            })
        }
        other => return Err(format!("of a table: {other}")),
    })
}

/// The table as it is, or kept with its versions where the operator says their history.
fn versions<C: Changes>(table: Rows<C>, op: &Value, at: usize) -> Rows<C> {
    match op.get("store_history") {
        Some(_) => table.materialized(grouped::kept(op, format!("m{at}"))),
        None => table,
    }
}

fn join_tables<C: Changes, D: Changes>(table: &Rows<C>, right: &Rows<D>, op: &Value) -> Rows<Deletes> {
    match text(op, "join") {
        "left" => table.left_join(right, |left, right: Option<Text>| joined(&left, &right.flatten())),
        "outer" => {
            table.outer_join(right, |left: Option<Text>, right: Option<Text>| joined(&left.flatten(), &right.flatten()))
        }
        _ => table.join(right, |left: Text, right: Text| joined(&left, &right)),
    }
}

fn join_by_foreign_key<C: Changes, D: Changes>(table: &Rows<C>, right: &Rows<D>, op: &Value) -> Rows<Deletes> {
    // A foreign key is there or not; one that is a text of its own is never null.
    let key = |_: &Text, value: Text| first(&value).map(Some);
    match text(op, "join") {
        "left" => {
            table.foreign_key_left_join(right, key, |left: Text, right: Option<Text>| joined(&left, &right.flatten()))
        }
        _ => table.foreign_key_join(right, key, |left: Text, right: Text| joined(&left, &right)),
    }
}

// === what the operators do ===

/// Whether a text has an even number of UTF-16 units.
fn even(value: &Text) -> bool {
    value.as_ref().is_some_and(|value| value.encode_utf16().count() % 2 == 0)
}

/// Its first character.
fn first(value: &Text) -> Text {
    value.as_ref()?.chars().next().map(String::from)
}

fn parts(value: Text) -> Vec<Text> {
    value.map(|value| value.split('+').map(|part| Some(part.to_owned())).collect()).unwrap_or_default()
}

fn bang(value: Text) -> Text {
    Some(format!("{}!", value.as_deref().unwrap_or("null")))
}

fn number(count: i64) -> Text {
    Some(count.to_string())
}

fn zero() -> Text {
    Some("0".to_owned())
}

fn text_of(sign: &str, so_far: &Text, value: &Text) -> Text {
    Some(format!("{}{sign}{}", so_far.as_deref().unwrap_or("null"), value.as_deref().unwrap_or("null")))
}
