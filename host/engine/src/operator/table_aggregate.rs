//! Aggregates of a grouped table: what leaves a group is subtracted, what comes into it is added.

use super::batch::{Element, Emitted};
use super::call::{Fold, Group, fold};
use super::count;
use super::keyed::{self, Keyed, own_store};
use super::run::{Run, Stop};
use super::stateless::one_each;
use crate::changelog::Change;
use crate::record::Span;
use crate::topology::Node;

/// Ranks of a fold's elements, by which the guest knows what to do with them.
const ADD: u16 = 0;
const SUBTRACT: u16 = 1;

/// One more for what comes, one less for what goes. A count that comes to zero stays (KTableAggregate; `tb-count-to-zero`).
pub(super) fn count(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let Some(place) = own_store(run, node) else { return Ok(()) };
    let mut keyed = keyed::open(run, node, place, inputs, |_| true)?;
    for (at, element) in inputs.iter().enumerate() {
        let Some(group) = keyed.group(at) else {
            run.dropped.null += 1;
            continue;
        };
        let (old, new) = change(run, node, element)?;
        let before = keyed.entry(group).value;
        let counted = if before.is_null() { None } else { Some(count::read(run, node, element, before)?) };
        let left = counted.map(|count| if old.is_null() { count } else { count.saturating_sub(1) });
        let value = match (left, new.is_null()) {
            (None, true) => Span::NULL,
            (left, no_new) => {
                let count = left.unwrap_or(0).saturating_add(i64::from(!no_new));
                run.push(node, element, &count.to_be_bytes())?
            }
        };
        update(run, node, (&mut keyed, group), element, value, out)?;
    }
    keyed.close(run);
    Ok(())
}

/// The guest adds and subtracts, each change at once. It is not asked to subtract where there is no aggregate
/// (KTableAggregate, KTableReduce).
pub(super) fn aggregate(
    run: &mut Run<'_>,
    node: &Node,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let Some(place) = own_store(run, node) else { return Ok(()) };
    for part in keyed::parts(run, place, inputs) {
        aggregate_part(run, node, place, part, out)?;
    }
    Ok(())
}

fn aggregate_part(
    run: &mut Run<'_>,
    node: &Node,
    place: usize,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let mut keyed = keyed::open(run, node, place, inputs, |_| true)?;
    let mut asked = Fold::default();
    let mut ends = Vec::with_capacity(inputs.len());
    for (at, element) in inputs.iter().enumerate() {
        match keyed.group(at) {
            None => run.dropped.null += 1,
            Some(group) => {
                let (old, new) = change(run, node, element)?;
                for (value, input) in [(old, SUBTRACT), (new, ADD)] {
                    if !value.is_null() {
                        asked.push(Element { value, input, ..*element }, group);
                    }
                }
            }
        }
        ends.push(asked.elements.len());
    }
    asked.groups.extend(keyed.keys().map(|(key, aggregate)| Group { key, aggregate }));
    let mut answers = fold(run, node, &asked)?;
    let values: Vec<Option<Span>> =
        one_each(node, &mut answers)?.map(|answer| answer.map(|answer| answer.element.value)).collect();
    run.scratch.answers = answers;
    let mut start = 0;
    for (at, element) in inputs.iter().enumerate() {
        // The last step counts; what the guest dropped is none.
        let value = values[start..ends[at]].iter().rev().find_map(|value| *value);
        start = ends[at];
        if let (Some(value), Some(group)) = (value, keyed.group(at)) {
            update(run, node, (&mut keyed, group), element, value, out)?;
        }
    }
    keyed.close(run);
    Ok(())
}

fn update(
    run: &mut Run<'_>,
    node: &Node,
    (keyed, group): (&mut Keyed, usize),
    element: &Element,
    value: Span,
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let before = keyed.entry(group);
    let timestamp = element.timestamp.max(before.timestamp);
    let put = keyed.write(run, node, element, group, (value, timestamp))?;
    out.extend(Emitted::as_put(Element { value, old: before.value, timestamp, ..*element }, put));
    Ok(())
}

/// Old and new of a record of the repartition topic.
fn change(run: &Run<'_>, node: &Node, element: &Element) -> Result<(Span, Span), Stop> {
    let change = element.value.of(&run.batch.arena).and_then(Change::decode);
    let Some(Change { old, new }) = change else {
        return Err(Stop::malformed(node, element, "a record of the repartition topic is no change of a table"));
    };
    let span = |value: Option<&[u8]>| run.batch.span_of(value);
    Ok((span(old), span(new)))
}
