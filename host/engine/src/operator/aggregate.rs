//! Reduce and aggregate: the guest folds, the host keeps the aggregates.

use super::batch::{Element, Emitted};
use super::call::{Fold, Group, INITIAL, fold};
use super::keyed::{self, own_store};
use super::run::{Run, Stop};
use super::stateless::one_each;
use crate::record::Span;
use crate::topology::Node;

/// Every update goes downstream and into the store. A null key or value is skipped and counted as dropped; a null
/// aggregate deletes the key and goes downstream as a tombstone, also where there was none (KStreamAggregate).
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
    let mut keyed = keyed::open(run, node, place, inputs, |element| !element.value.is_null())?;
    let mut asked = Fold::default();
    // What stands where nothing was: asked for once, where somebody looks at old values (KStreamAggregate).
    let tells = inputs.iter().zip(0..).find_map(|(element, at)| Some((element, keyed.group(at)?)));
    if let (true, Some((element, group))) = (node.tells_initial, tells) {
        asked.push(Element { input: INITIAL, value: Span::NULL, ..*element }, group);
    }
    let first = asked.elements.len();
    for (at, element) in inputs.iter().enumerate() {
        match keyed.group(at) {
            Some(group) => asked.push(*element, group),
            None => run.dropped.null += 1,
        }
    }
    asked.groups.extend(keyed.keys().map(|(key, aggregate)| Group { key, aggregate }));
    let mut answers = fold(run, node, &asked)?;
    let mut initial = Span::NULL;
    for (at, answer) in one_each(node, &mut answers)?.enumerate() {
        let Some(answer) = answer else { continue };
        if at < first {
            initial = answer.element.value;
            continue;
        }
        let (element, group) = (&asked.elements[at], asked.group_of[at] as usize);
        let (before, value) = (keyed.entry(group), answer.element.value);
        let timestamp = element.timestamp.max(before.timestamp);
        let put = keyed.write(run, node, element, group, (value, timestamp))?;
        let old = if before.value.is_null() { initial } else { before.value };
        out.extend(Emitted::as_put(Element { value, old, timestamp, ..*element }, put));
    }
    run.scratch.answers = answers;
    keyed.close(run);
    Ok(())
}
