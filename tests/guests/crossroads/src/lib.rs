//! What has state, behind repartition topics of eight partitions: windows, sessions, and every join. A line says whose it
//! is, `KIND KEY VALUE`, or `KIND KEY` where a row of a table is deleted. Each result is a text that begins with the name
//! of its sink; `-` stands for what is not there.

use millstream_sdk::prelude::*;

mod closed;
mod joins;
mod tables;
mod windows;

/// Partitions of every repartition topic.
const PARTITIONS: u32 = 8;

/// Longer than the load's whole time: nothing is late, and nothing expires.
const DAY: Duration = Duration::from_secs(86_400);

fn topology(app: &mut Topology) {
    let mut lines = app.stream::<(), String>("lines").split().named("kinds");
    let clicks = stream(&mut lines, "click");
    let views = stream(&mut lines, "view");
    let users = table(&mut lines, "user");
    windows::topology(&clicks, &views);
    joins::topology(app, &clicks, &views, &users);
    let (asks, answers) = (stream(&mut lines, "ask"), stream(&mut lines, "answer"));
    joins::of_questions(&asks, &answers);
    let (orders, parcels) = (table(&mut lines, "order"), table(&mut lines, "parcel"));
    tables::topology(&orders, &parcels, &users);
    closed::topology(app);
}

/// What the rows of a table are: every update says what the row is now, and `None` deletes it.
type Rows = Table<String, Option<String>>;

/// Lines of a kind, by key.
fn of_kind(lines: &mut Split<(), String>, kind: &'static str) -> Stream<String, Option<String>> {
    let lines = lines.branch(move |(), line| line.split(' ').next() == Some(kind));
    lines.map(|(), line| keyed(line.split_once(' ').map_or("", |(_, rest)| rest)))
}

/// Of `KEY VALUE` or `KEY`.
fn keyed(rest: &str) -> (String, Option<String>) {
    match rest.split_once(' ') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (rest.to_owned(), None),
    }
}

fn stream(lines: &mut Split<(), String>, kind: &'static str) -> Stream<String, String> {
    let lines = of_kind(lines, kind).map_values(Option::unwrap_or_default);
    lines.repartition(Repartitioned::named(kind).partitions(PARTITIONS))
}

fn table(lines: &mut Split<(), String>, kind: &'static str) -> Rows {
    let lines = of_kind(lines, kind).repartition(Repartitioned::named(kind).partitions(PARTITIONS));
    lines.to_table(Materialized::named(format!("{kind}s")))
}

/// A value that may not be there.
fn or_none(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

/// Writes each value behind the name of its sink.
fn say(values: &Stream<String, String>, sink: &'static str) {
    values.map_values(move |value| format!("{sink} {value}")).to(sink);
}

millstream_sdk::plugin!(topology);
