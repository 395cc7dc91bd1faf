//! Windows in a chain, alone or joined with those of another aggregation.

use millstream_sdk::prelude::{Changes, Data, Deletes, Materialized, Stream, Suppressed, Table, Windowed};
use serde_json::Value;

use crate::grouped::joined;
use crate::shown::suppressed;
use crate::windowed::{self, Tables};
use crate::{Text, text};

type Rows<W, V, C> = Table<Windowed<Text, W>, V, C>;

/// What an aggregation of windows has in them.
trait Aggregate: Data {
    fn text(self) -> Text;
}

impl Aggregate for i64 {
    fn text(self) -> Text {
        Some(self.to_string())
    }
}

impl Aggregate for Text {
    fn text(self) -> Text {
        self
    }
}

/// The windows of the left stream, joined with those of the right one where the operator says so; a stream again.
pub fn window(
    (left, right): (&Stream<Text, Text>, &Stream<Text, Text>),
    op: &Value,
    at: usize,
) -> Result<Stream<Text, Text>, String> {
    let held = op.get("suppress").map(|suppress| suppressed(suppress, &format!("h{at}")));
    let left = windowed::tables(&left.group_by_key(), op, Materialized::named(format!("s{at}")))?;
    let Some(with) = op.get("with") else {
        return Ok(match left {
            Tables::Counts(table) => {
                thinned(&table, held).to_stream().map(|window, count: i64| (key(&window), count.text()))
            }
            Tables::Texts(table) => thinned(&table, held).to_stream().map(|window, value| (key(&window), value)),
            Tables::SessionCounts(table) => deletable(&table, held),
            Tables::SessionTexts(table) => deletable(&table, held),
        });
    };
    let right = windowed::tables(&right.group_by_key(), with, Materialized::named(format!("w{at}")))?;
    let right = if with["mapped"] == true { mapped(right) } else { right };
    Ok(match (left, right) {
        (Tables::Counts(left), Tables::Counts(right)) => deletable(&join(&left, &right, with), held),
        (Tables::Counts(left), Tables::Texts(right)) => deletable(&join(&left, &right, with), held),
        (Tables::Texts(left), Tables::Counts(right)) => deletable(&join(&left, &right, with), held),
        (Tables::Texts(left), Tables::Texts(right)) => deletable(&join(&left, &right, with), held),
        (Tables::SessionCounts(left), Tables::SessionCounts(right)) => deletable(&join(&left, &right, with), held),
        (Tables::SessionCounts(left), Tables::SessionTexts(right)) => deletable(&join(&left, &right, with), held),
        (Tables::SessionTexts(left), Tables::SessionCounts(right)) => deletable(&join(&left, &right, with), held),
        (Tables::SessionTexts(left), Tables::SessionTexts(right)) => deletable(&join(&left, &right, with), held),
        _ => return Err("sessions with windows of another kind".to_owned()),
    })
}

fn join<W: 'static, L: Aggregate, R: Aggregate, C: Changes>(
    left: &Rows<W, L, C>,
    right: &Rows<W, R, C>,
    with: &Value,
) -> Rows<W, Text, Deletes>
where
    Windowed<Text, W>: Data,
{
    match text(with, "join") {
        "left" => left.left_join(right, |left: L, right: Option<R>| joined(&left.text(), &side(right))),
        "outer" => left.outer_join(right, |left: Option<L>, right: Option<R>| joined(&side(left), &side(right))),
        _ => left.join(right, |left: L, right: R| joined(&left.text(), &right.text())),
    }
}

fn side<A: Aggregate>(value: Option<A>) -> Text {
    value.and_then(A::text)
}

fn mapped(tables: Tables) -> Tables {
    fn bang(value: impl Aggregate) -> Text {
        Some(format!("{}!", value.text().as_deref().unwrap_or("null")))
    }
    match tables {
        Tables::Counts(table) => Tables::Texts(table.map_values(bang)),
        Tables::Texts(table) => Tables::Texts(table.map_values(bang)),
        Tables::SessionCounts(table) => Tables::SessionTexts(table.map_values(bang)),
        Tables::SessionTexts(table) => Tables::SessionTexts(table.map_values(bang)),
    }
}

fn thinned<K: Data, V: Data, C: Changes>(table: &Table<K, V, C>, held: Option<Suppressed>) -> Table<K, V, C> {
    held.map_or(table.clone(), |held| table.suppress(held))
}

/// The changes of a table whose windows may go.
fn deletable<W: 'static, A: Aggregate>(table: &Rows<W, A, Deletes>, held: Option<Suppressed>) -> Stream<Text, Text>
where
    Windowed<Text, W>: Data,
{
    thinned(table, held).to_stream().map(|window, value| (key(&window), side(value)))
}

fn key<W>(window: &Windowed<Text, W>) -> Text {
    Some(format!("{}@{}-{}", window.key.as_deref().unwrap_or("null"), window.start, window.end))
}
