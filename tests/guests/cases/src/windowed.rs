//! Aggregations of windows.

use millstream_sdk::prelude::{
    Deletes, EmitStrategy, Grouped, Materialized, Session, SessionWindows, SlidingWindows, Table, TimeWindows,
    Topology as App, Windowed,
};
use millstream_sdk::{SessionWindowed, TimeWindowed};
use serde_json::Value;

use crate::grouped::{cogrouped, joined, summed};
use crate::shown::Finish;
use crate::{Text, ms, needed_ms, text};

#[derive(Clone, Copy)]
enum Windows {
    Time(TimeWindows),
    Sliding(SlidingWindows),
    Session(SessionWindows),
}

/// What an aggregation of windows gives.
pub enum Tables {
    Counts(Table<Windowed<Text>, i64>),
    Texts(Table<Windowed<Text>, Text>),
    SessionCounts(Table<Windowed<Text, Session>, i64, Deletes>),
    SessionTexts(Table<Windowed<Text, Session>, Text, Deletes>),
}

pub fn aggregate(app: &mut App, case: &Value, finish: &Finish) -> Result<(), String> {
    match tables(&app.stream("in").group_by_key(), case, Materialized::named("store"))? {
        Tables::Counts(table) => finish.table(table),
        Tables::Texts(table) => finish.table(table),
        Tables::SessionCounts(table) => finish.table(table),
        Tables::SessionTexts(table) => finish.table(table),
    }
    Ok(())
}

pub fn cogroup(app: &mut App, case: &Value, finish: &Finish) -> Result<(), String> {
    let (windows, store) = windows(case, Materialized::named("store"))?;
    let initial = || "0".to_owned();
    let merge = |_: &Text, a: String, b: String| format!("({a}|{b})");
    let both = cogrouped(app);
    match windows {
        Windows::Time(windows) => finish.table(both.windowed_by(windows).aggregate(initial, store)),
        Windows::Sliding(windows) => finish.table(both.windowed_by(windows).aggregate(initial, store)),
        Windows::Session(windows) => finish.table(both.windowed_by(windows).aggregate(initial, merge, store)),
    }
    Ok(())
}

/// The windows of a case, and its store with their retention.
fn windows(case: &Value, store: Materialized) -> Result<(Windows, Materialized), String> {
    let window = &case["window"];
    let grace = ms(window, "grace").unwrap_or_default();
    let windows = match text(window, "type") {
        "time" => {
            let size = needed_ms(window, "size")?;
            let advance = ms(window, "advance").unwrap_or(size);
            Windows::Time(TimeWindows::of(size).advance_by(advance).grace(grace))
        }
        "sliding" => Windows::Sliding(SlidingWindows::of(needed_ms(window, "diff")?).grace(grace)),
        "session" => Windows::Session(SessionWindows::with_gap(needed_ms(window, "gap")?).grace(grace)),
        other => return Err(format!("window {other}")),
    };
    Ok((windows, ms(window, "retention").map_or(store.clone(), |retention| store.retention(retention))))
}

/// The aggregation of a case.
pub fn tables(grouped: &Grouped<Text, Text>, case: &Value, store: Materialized) -> Result<Tables, String> {
    let (windows, store) = windows(case, store)?;
    let emit = match text(case, "emit") {
        "close" => EmitStrategy::OnWindowClose,
        _ => EmitStrategy::OnWindowUpdate,
    };
    match windows {
        Windows::Session(windows) => {
            sessions(grouped.windowed_by(windows).emit_strategy(emit), text(case, "agg"), store)
        }
        Windows::Time(windows) => times(grouped.windowed_by(windows).emit_strategy(emit), text(case, "agg"), store),
        Windows::Sliding(windows) => times(grouped.windowed_by(windows).emit_strategy(emit), text(case, "agg"), store),
    }
}

fn times(windows: TimeWindowed<Text, Text>, agg: &str, store: Materialized) -> Result<Tables, String> {
    Ok(match agg {
        "count" => Tables::Counts(windows.count(store)),
        "reduce" => Tables::Texts(windows.reduce(|a, b| joined(&a, &b), store)),
        "aggregate" => Tables::Texts(windows.aggregate(zero, added, store)),
        "sum" => Tables::Counts(windows.aggregate(|| 0, summed, store)),
        other => return Err(format!("agg {other}")),
    })
}

fn sessions(windows: SessionWindowed<Text, Text>, agg: &str, store: Materialized) -> Result<Tables, String> {
    let merge = |_: &Text, a: Text, b: Text| {
        Some(format!("({}|{})", a.as_deref().unwrap_or("null"), b.as_deref().unwrap_or("null")))
    };
    Ok(match agg {
        "count" => Tables::SessionCounts(windows.count(store)),
        "reduce" => Tables::SessionTexts(windows.reduce(|a, b| joined(&a, &b), store)),
        "aggregate" => Tables::SessionTexts(windows.aggregate(zero, added, merge, store)),
        "sum" => Tables::SessionCounts(windows.aggregate(|| 0, summed, |_, a: i64, b: i64| a + b, store)),
        other => return Err(format!("agg {other}")),
    })
}

fn zero() -> Text {
    Some("0".to_owned())
}

fn added(_: &Text, value: Text, so_far: Text) -> Text {
    joined(&so_far, &value)
}
