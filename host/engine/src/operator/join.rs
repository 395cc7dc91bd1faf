//! Joins with a table by its key: of a stream, and of another table.

use hashbrown::HashMap;

use super::batch::{Element, Emitted};
use super::call::{self, Fold, Group};
use super::grace;
use super::lookup::{self, Row};
use super::run::{Run, Stop};
use super::stateless::one_each;
use super::table::Materialised;
use crate::frame::Kind;
use crate::record::Span;
use crate::topology::{Join, Node, Operator};

/// What a joiner is asked about: both sides, and the element that asks.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub element: Element,
    pub left: Span,
    pub right: Span,
}

/// Bytes of the pairs in one call of the joiner: far below what a frame may have, and so much that a call more is not
/// seen. What expires with one record, or what one record meets, may be far more.
const ASKED_BYTES_MAX: usize = 16 << 20;

/// What the guest's joiner makes of pairs; `None` where it dropped one. The left side is the element, the right one its
/// row, and equal rows of one call go to the guest once.
pub(super) fn ask(run: &mut Run<'_>, node: &Node, pairs: &[Pair]) -> Result<Vec<Option<Span>>, Stop> {
    let mut values = Vec::with_capacity(pairs.len());
    let (mut asked, mut places, mut bytes) = (Fold::default(), HashMap::new(), 0);
    for Pair { element, left, right } in pairs {
        if bytes > ASKED_BYTES_MAX {
            ask_once(run, node, &asked, &mut values)?;
            (asked, bytes) = (Fold::default(), 0);
            places.clear();
        }
        let group = *places.entry(*right).or_insert_with(|| {
            bytes += right.len();
            asked.groups.push(Group { key: Span::EMPTY, aggregate: *right });
            asked.groups.len() - 1
        });
        bytes += element.key.len() + left.len();
        asked.push(Element { value: *left, old: Span::NULL, input: 0, ..*element }, group);
    }
    ask_once(run, node, &asked, &mut values)?;
    Ok(values)
}

fn ask_once(run: &mut Run<'_>, node: &Node, asked: &Fold, values: &mut Vec<Option<Span>>) -> Result<(), Stop> {
    let mut answers = call::join(run, node, asked)?;
    values.extend(one_each(node, &mut answers)?.map(|answer| answer.map(|answer| answer.element.value)));
    run.scratch.answers = answers;
    Ok(())
}

/// A stream's record meets the row that is there when it comes, or of a table that keeps versions that of its own time,
/// and keeps its time; with a grace it waits for that row first. A null value is dropped; a null key too, but a left join
/// has it alone (KStreamKTableJoinProcessor).
pub(super) fn stream_table(
    run: &mut Run<'_>,
    node: &Node,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let is_left = node.join == Some(Join::Left);
    let joins = |element: &&Element| !element.value.is_null() && (is_left || !element.key.is_null());
    let whole: Vec<Element> = inputs.iter().filter(joins).copied().collect();
    run.dropped.null += (inputs.len() - whole.len()) as u64;
    let whole = match node.grace_ms {
        Some(grace_ms) => grace::pass(run, node, grace_ms, &whole)?,
        None => whole,
    };
    meet(run, node, &whole, out)
}

/// Whether a record has waited for a table's versions until this time.
pub(super) fn is_due(run: &mut Run<'_>, node: &Node, time: i64) -> Result<bool, Stop> {
    node.grace_ms.map_or(Ok(false), |grace_ms| grace::is_due(run, node, grace_ms, time))
}

/// Joins who has waited until the element's time.
pub(super) fn advance(run: &mut Run<'_>, node: &Node, element: &Element, out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let Some(grace_ms) = node.grace_ms else { return Ok(()) };
    let whole = grace::advance(run, node, grace_ms, element)?;
    meet(run, node, &whole, out)
}

/// Joins records with the rows of a table that they meet now.
pub(super) fn meet(run: &mut Run<'_>, node: &Node, whole: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let is_left = node.join == Some(Join::Left);
    let rows = lookup::rows_as_of(run, node.tables[0], whole)?;
    join_rows(run, node, is_left, (whole, &rows), out)
}

/// Joins each of these records with its row of a table; an inner join leaves out those that have none.
fn join_rows(
    run: &mut Run<'_>,
    node: &Node,
    is_left: bool,
    (elements, rows): (&[Element], &[Row]),
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let met = elements.iter().zip(rows).filter(|(_, row)| is_left || !row.value.is_null());
    let pairs: Vec<Pair> =
        met.map(|(element, row)| Pair { element: *element, left: element.value, right: row.value }).collect();
    let values = ask(run, node, &pairs)?;
    let results = pairs.iter().zip(values).filter_map(|(pair, value)| Some(Element { value: value?, ..pair.element }));
    out.extend(results.map(Emitted::to_all));
    Ok(())
}

/// A stream's record meets the row that a global table has now for the key that the guest makes of the record, and keeps
/// its own key and time. A null value is dropped; a null key of the table too, but a left join has the record alone
/// (KStreamKTableJoinProcessor).
pub(super) fn stream_global(
    run: &mut Run<'_>,
    node: &Node,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let is_left = node.join == Some(Join::Left);
    let whole: Vec<Element> = inputs.iter().filter(|element| !element.value.is_null()).copied().collect();
    run.dropped.null += (inputs.len() - whole.len()) as u64;
    let mut answers = call::call(run, node, Kind::Records, &whole)?;
    let keys: Vec<Option<Span>> =
        one_each(node, &mut answers)?.map(|answer| answer.map(|answer| answer.element.key)).collect();
    run.scratch.answers = answers;
    let (mut asking, mut asks) = (Vec::new(), Vec::new());
    for (element, key) in whole.iter().zip(keys) {
        match key {
            None => {} // the guest dropped it
            Some(key) if key.is_null() && !is_left => run.dropped.null += 1,
            Some(key) => {
                asking.push(*element);
                asks.push(Element { key, ..*element });
            }
        }
    }
    let rows = lookup::rows(run, node.tables[0], &asks)?;
    join_rows(run, node, is_left, (&asking, &rows), out)
}

/// The changes of one side of a join of tables, with the rows of the other (KTableKTableInnerJoin, LeftJoin, RightJoin,
/// OuterJoin). A version of the past changes nothing of what is (KIP-914).
pub(super) fn table_side(
    run: &mut Run<'_>,
    node: &Node,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let side = Side::of(node);
    let (past, inputs): (Vec<Element>, Vec<Element>) = inputs.iter().partition(|element| element.is_past);
    run.dropped.late += past.len() as u64;
    let rows = lookup::rows(run, node.tables[0], &inputs)?;
    let mut pairs = Vec::new();
    let mut results = Vec::new();
    for (element, row) in inputs.iter().zip(&rows) {
        if !side.has_result(element, row) {
            continue;
        }
        let element = Element { timestamp: element.timestamp.max(row.timestamp), ..*element };
        let mut pair = |value: Span, wanted: bool| {
            let place = (wanted && side.joins(value, row)).then_some(pairs.len());
            pairs.extend(place.map(|_| side.pair(&element, value, row)));
            place
        };
        results.push((element, pair(element.value, true), pair(element.old, node.sends_old)));
    }
    let values = ask(run, node, &pairs)?;
    for (element, new, old) in results {
        // What the guest dropped changes nothing.
        if new.is_some_and(|place| values[place].is_none()) {
            continue;
        }
        let value = |place: Option<usize>| place.and_then(|place| values[place]).unwrap_or(Span::NULL);
        out.push(Emitted::to_all(Element { value: value(new), old: value(old), ..element }));
    }
    Ok(())
}

/// Which side's changes a node sees, and which of its rows and the other side's count without a partner.
struct Side {
    is_left: bool,
    alone: bool,
    other_alone: bool,
}

impl Side {
    fn of(node: &Node) -> Side {
        let is_left = node.operator == Operator::TableJoinThis;
        let (left, right) = (node.join != Some(Join::Inner), node.join == Some(Join::Outer));
        let (alone, other_alone) = if is_left { (left, right) } else { (right, left) };
        Side { is_left, alone, other_alone }
    }

    fn has_result(&self, change: &Element, row: &Row) -> bool {
        !row.value.is_null() || (self.alone && !(change.value.is_null() && change.old.is_null()))
    }

    /// Whether a value of this side makes a value of the join.
    fn joins(&self, value: Span, row: &Row) -> bool {
        !value.is_null() || (self.other_alone && !row.value.is_null())
    }

    fn pair(&self, element: &Element, own: Span, row: &Row) -> Pair {
        let (left, right) = if self.is_left { (own, row.value) } else { (row.value, own) };
        Pair { element: *element, left, right }
    }
}

/// Where both sides meet: kept, where there is a store (KTableKTableJoinMerger).
pub(super) fn merge(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let mut table = Materialised::open(run, node, inputs)?;
    for (at, element) in inputs.iter().enumerate() {
        let old = if node.sends_old { element.old } else { Span::NULL };
        table.emit(run, node, (at, element), (old, element.value), out)?;
    }
    table.close(run);
    Ok(())
}
