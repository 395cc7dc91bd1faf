//! What tables hold for keys: read from their stores, or worked out of what they are made of (Kafka Streams' value
//! getters). The whole batch asks at once.

use super::batch::Element;
use super::join::{self, Pair};
use super::keyed::{self, is_versioned, own_store};
use super::run::{Run, Stop};
use super::stateless::{Verdict, verdicts};
use super::table::{mapped, values};
use super::{suppress, windowed};
use crate::record::{NO_TIMESTAMP, Span};
use crate::store::Version;
use crate::topology::{Join, Node, Operator};

/// What a table holds for one key.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Null: nothing.
    pub value: Span,
    /// [`NO_TIMESTAMP`] where there is nothing.
    pub timestamp: i64,
}

impl Row {
    pub const NONE: Row = Row { value: Span::NULL, timestamp: NO_TIMESTAMP };

    fn of(value: Span, timestamp: i64) -> Row {
        if value.is_null() { Row::NONE } else { Row { value, timestamp } }
    }
}

/// The rows of the table at `table` for the keys of these elements; nothing for a null key.
pub(super) fn rows(run: &mut Run<'_>, table: usize, elements: &[Element]) -> Result<Vec<Row>, Stop> {
    look(run, table, elements, Time::Now)
}

/// As [`rows`]; of a table that keeps versions, or is made of one, those of the elements' times.
pub(super) fn rows_as_of(run: &mut Run<'_>, table: usize, elements: &[Element]) -> Result<Vec<Row>, Stop> {
    look(run, table, elements, Time::OfElement)
}

/// As of when a row is asked for, where versions are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    Now,
    OfElement,
}

fn look(run: &mut Run<'_>, table: usize, elements: &[Element], time: Time) -> Result<Vec<Row>, Stop> {
    let plan = run.plan;
    let node = &plan.nodes[table];
    if node.operator == Operator::Suppress {
        return suppress::rows(run, node, elements);
    }
    if node.window.is_some() {
        return windowed::rows(run, node, elements);
    }
    if let Some(place) = own_store(run, node) {
        return stored(run, node, place, elements, time);
    }
    match node.operator {
        Operator::TableFilter | Operator::TableFilterNot => {
            let rows = look(run, node.inputs[0].node, elements, time)?;
            let asked = values(&with_rows(elements, &rows), |element| element.value);
            let passes = asked.by_element(verdicts(run, node, &asked.asked)?);
            let wanted = if node.operator == Operator::TableFilter { Verdict::Holds } else { Verdict::Fails };
            let kept = rows.iter().zip(passes).map(|(row, said)| if said == Some(wanted) { *row } else { Row::NONE });
            Ok(kept.collect())
        }
        Operator::TableMapValues => {
            let rows = look(run, node.inputs[0].node, elements, time)?;
            let asked = values(&with_rows(elements, &rows), |element| element.value);
            let news = mapped(run, node, &asked)?;
            Ok(rows.iter().zip(news).map(|(row, new)| Row::of(new.unwrap_or(Span::NULL), row.timestamp)).collect())
        }
        Operator::TableJoin => joined(run, node, elements),
        // The graph refuses a look-up of anything else.
        _ => Ok(vec![Row::NONE; elements.len()]),
    }
}

/// The version of the element's key that is the latest, or was valid at a time; nothing for a null key.
pub(super) fn version(
    run: &mut Run<'_>,
    node: &Node,
    place: usize,
    element: &Element,
    time: Option<i64>,
) -> Result<Row, Stop> {
    let Some(key) = element.key.of(&run.batch.arena) else { return Ok(Row::NONE) };
    let mut found = None;
    let mut visit = |version: Version<'_>| found = Some((version.value.to_vec(), version.valid_from));
    let versions = run.stores.versions(place);
    match time {
        Some(time) => versions.get_as_of(key, time, &mut visit)?,
        None => versions.get(key, &mut visit)?,
    }
    match found {
        Some((value, timestamp)) => Ok(Row { value: run.push(node, element, &value)?, timestamp }),
        None => Ok(Row::NONE),
    }
}

fn stored(run: &mut Run<'_>, node: &Node, place: usize, elements: &[Element], time: Time) -> Result<Vec<Row>, Stop> {
    if is_versioned(run, place) {
        let at = |element: &Element| (time == Time::OfElement).then_some(element.timestamp);
        return elements.iter().map(|element| version(run, node, place, element, at(element))).collect();
    }
    let keyed = keyed::open(run, node, place, elements, |_| true)?;
    let row =
        |at| keyed.group(at).map_or(Row::NONE, |group| Row::of(keyed.entry(group).value, keyed.entry(group).timestamp));
    let rows = (0..elements.len()).map(row).collect();
    keyed.close(run);
    Ok(rows)
}

/// The elements as the table's own function would see them.
fn with_rows(elements: &[Element], rows: &[Row]) -> Vec<Element> {
    let with = |(element, row): (&Element, &Row)| {
        let timestamp = told(row.timestamp, element);
        Element { value: row.value, timestamp, old: Span::NULL, input: 0, ..*element }
    };
    elements.iter().zip(rows).map(with).collect()
}

/// The time that a function is told of a row: of one that a suppression shows nobody knows it, and the element's own stands
/// for it.
fn told(timestamp: i64, element: &Element) -> i64 {
    if timestamp == NO_TIMESTAMP { element.timestamp } else { timestamp }
}

/// The rows of a join that is not kept, of those of its sides (KTableKTableJoin's getters).
fn joined(run: &mut Run<'_>, node: &Node, elements: &[Element]) -> Result<Vec<Row>, Stop> {
    let plan = run.plan;
    let side = |rank: usize| plan.nodes[node.inputs[rank].node].inputs[0].node;
    let left = rows(run, side(0), elements)?;
    let right = rows(run, side(1), elements)?;
    let has = |at: usize| match node.join {
        Some(Join::Outer) => !left[at].value.is_null() || !right[at].value.is_null(),
        Some(Join::Left) => !left[at].value.is_null(),
        _ => !left[at].value.is_null() && !right[at].value.is_null(),
    };
    let there: Vec<usize> = (0..elements.len()).filter(|at| has(*at)).collect();
    let timestamp = |at: usize| left[at].timestamp.max(right[at].timestamp);
    let pair = |at: &usize| Pair {
        element: Element { timestamp: told(timestamp(*at), &elements[*at]), ..elements[*at] },
        left: left[*at].value,
        right: right[*at].value,
    };
    // The guest's function is known by the number that all nodes of the join have.
    let values = join::ask(run, node, &there.iter().map(pair).collect::<Vec<_>>())?;
    let mut rows = vec![Row::NONE; elements.len()];
    for (at, value) in there.into_iter().zip(values) {
        rows[at] = Row::of(value.unwrap_or(Span::NULL), timestamp(at));
    }
    Ok(rows)
}
