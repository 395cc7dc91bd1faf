//! One topology for each operator of the bench. `peers/Operators.java` has the same ones on Kafka Streams: change both.
//!
//! A value holds the record's number in 8 bytes, then in the next byte the length of a key of the other topic, that key,
//! and what fills it up.

use std::time::Duration;

use millstream_sdk::prelude::*;

type Bytes = Vec<u8>;

/// A key has a record every 20 s.
const WINDOW: Duration = Duration::from_secs(100);
const ADVANCE: Duration = Duration::from_secs(20);
/// Of sliding windows, and between sessions.
const PAUSE: Duration = Duration::from_secs(50);
/// Between the records of two streams.
const APART: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(10);
const HISTORY: Duration = Duration::from_secs(600);

/// `[config]`: `case`, one of the names below.
fn topology(app: &mut Topology, config: &Config) -> Result<(), String> {
    let case: String = config.get("case")?.ok_or("[config] case is missing")?;
    match case.as_str() {
        "stateless" | "repartition" | "reduce" | "aggregate" => plain(app, &case),
        "cogroup" => cogrouped(app),
        "tumbling" | "hopping" | "sliding" | "session" | "suppress" | "on-close" => windowed(app, &case),
        "stream-stream" | "stream-stream-left" | "stream-stream-outer" => streams(app, &case),
        "stream-table" | "stream-table-left" => stream_and_table(app, &case),
        "stream-global" | "stream-global-left" => stream_and_global(app, &case),
        "stream-versioned" | "stream-versioned-left" => stream_and_versioned(app, &case),
        "grouped-table" => regrouped(app),
        "table-table" | "table-table-left" | "table-table-outer" => tables(app, &case),
        "foreign-key" | "foreign-key-left" => by_foreign_key(app, &case),
        _ => return Err(format!("there is no case {case}")),
    }
    Ok(())
}

fn plain(app: &mut Topology, case: &str) {
    let left = app.stream::<Bytes, Bytes>("left");
    match case {
        "stateless" => left
            .filter(|_, value| number(value) % 4 != 0)
            .map(|_, value| (reference(&value), value[22..62].to_vec()))
            .flat_map_values(|value| [value[..20].to_vec(), value[20..].to_vec()])
            .to("out"),
        "repartition" => left.group_by(|_, value| reference(value)).count("counts").to_stream().to("out"),
        "reduce" => left.group_by_key().reduce(|most, value| most.max(value), "most").to_stream().to("out"),
        _ => left.group_by_key().aggregate(|| 0, |_, value, sum| sum + number(&value), "sums").to_stream().to("out"),
    }
}

fn cogrouped(app: &mut Topology) {
    let (left, right) = (app.stream::<Bytes, Bytes>("left"), app.stream::<Bytes, Bytes>("right"));
    let sums = left.group_by_key().cogroup(|_, value: Bytes, sum: i64| sum + number(&value));
    let sums = sums.cogroup(&right.group_by_key(), |_, value: Bytes, sum| sum - number(&value));
    sums.aggregate(|| 0, "sums").to_stream().to("out");
}

/// What each key of the other topic is referred to with, in a sum.
fn regrouped(app: &mut Topology) {
    let left = app.table::<Bytes, Bytes>("left", "left");
    let grouped = left.group_by(|_, value| (reference(&value), number(&value)));
    let sums = grouped.aggregate(|| 0, |_, new: i64, sum: i64| sum + new, |_, old: i64, sum: i64| sum - old, "sums");
    sums.to_stream().to("out");
}

fn windowed(app: &mut Topology, case: &str) {
    let grouped = app.stream::<Bytes, Bytes>("left").group_by_key();
    let tumbling = || grouped.windowed_by(TimeWindows::of(WINDOW)).count("counts");
    match case {
        "tumbling" => tumbling().to_stream().to("out"),
        "on-close" => {
            let closing = grouped.windowed_by(TimeWindows::of(WINDOW)).emit_strategy(EmitStrategy::OnWindowClose);
            closing.count("counts").to_stream().to("out");
        }
        "hopping" => {
            grouped.windowed_by(TimeWindows::of(WINDOW).advance_by(ADVANCE)).count("counts").to_stream().to("out");
        }
        "sliding" => grouped.windowed_by(SlidingWindows::of(PAUSE)).count("counts").to_stream().to("out"),
        "session" => grouped.windowed_by(SessionWindows::with_gap(PAUSE)).count("counts").to_stream().to("out"),
        _ => tumbling()
            .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).with_name("final"))
            .to_stream()
            .to("out"),
    }
}

fn streams(app: &mut Topology, case: &str) {
    let (left, right) = (app.stream::<Bytes, Bytes>("left"), app.stream::<Bytes, Bytes>("right"));
    let windows = JoinWindows::of(APART).grace(GRACE);
    let pairs = match case {
        "stream-stream" => left.join_stream(&right, joined, windows),
        "stream-stream-left" => left.left_join_stream(&right, left_joined, windows),
        _ => left.outer_join_stream(&right, outer_joined, windows),
    };
    pairs.named("pairs").to("out");
}

fn stream_and_table(app: &mut Topology, case: &str) {
    let (left, right) = (app.stream::<Bytes, Bytes>("left"), app.table::<Bytes, Bytes>("right", "right"));
    match case {
        "stream-table" => left.join(&right, joined).to("out"),
        _ => left.left_join(&right, left_joined).to("out"),
    }
}

fn stream_and_global(app: &mut Topology, case: &str) {
    let left = app.stream::<Bytes, Bytes>("left");
    let right = app.global_table::<Bytes, Bytes>("right", "right");
    let by_reference = |_: &Bytes, value: &Bytes| Some(reference(value));
    match case {
        "stream-global" => left.join_global(&right, by_reference, joined).to("out"),
        _ => left.left_join_global(&right, by_reference, left_joined).to("out"),
    }
}

fn stream_and_versioned(app: &mut Topology, case: &str) {
    let left = app.stream::<Bytes, Bytes>("left");
    let right = app.versioned_table::<Bytes, Bytes>("right", Materialized::named("right").retention(HISTORY));
    let met = match case {
        "stream-versioned" => left.join_with_grace(&right, joined, GRACE),
        _ => left.left_join_with_grace(&right, left_joined, GRACE),
    };
    met.named("met").to("out");
}

fn tables(app: &mut Topology, case: &str) {
    let (left, right) = (app.table::<Bytes, Bytes>("left", "left"), app.table::<Bytes, Bytes>("right", "right"));
    let met = match case {
        "table-table" => left.join(&right, joined),
        "table-table-left" => left.left_join(&right, left_joined),
        _ => left.outer_join(&right, outer_joined),
    };
    met.to_stream().to("out");
}

fn by_foreign_key(app: &mut Topology, case: &str) {
    let (left, right) = (app.table::<Bytes, Bytes>("left", "left"), app.table::<Bytes, Bytes>("right", "right"));
    let by_reference = |_: &Bytes, value: Bytes| Some(reference(&value));
    let met = match case {
        "foreign-key" => left.foreign_key_join(&right, by_reference, joined),
        _ => left.foreign_key_left_join(&right, by_reference, left_joined),
    };
    met.named("met").to_stream().to("out");
}

/// Of the record, in a value of it.
fn number(value: &[u8]) -> i64 {
    value.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// The other topic's key in a value.
fn reference(value: &[u8]) -> Bytes {
    let bytes = value.get(8).map_or(0, |bytes| usize::from(*bytes));
    value.get(9..9 + bytes).unwrap_or_default().to_vec()
}

/// The numbers of both.
fn joined(mut left: Bytes, right: Bytes) -> Bytes {
    left.truncate(8);
    left.extend_from_slice(&right[..right.len().min(8)]);
    left
}

/// Of one without a partner its own number alone.
fn left_joined(left: Bytes, right: Option<Bytes>) -> Bytes {
    joined(left, right.unwrap_or_default())
}

/// Zeros are the number of a left one that is not there.
fn outer_joined(left: Option<Bytes>, right: Option<Bytes>) -> Bytes {
    left_joined(left.unwrap_or_else(|| vec![0; 8]), right)
}

millstream_sdk::plugin!(topology);
