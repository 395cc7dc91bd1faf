//! Grouping a table: each change leaves one group and comes into another.

use super::batch::{Element, Emitted};
use super::call::call;
use super::run::{Run, Stop};
use super::stateless::one_each;
use crate::changelog::Change;
use crate::frame::Kind;
use crate::record::Span;
use crate::topology::Node;

/// The mapper is asked about old and new. Under one key they are one change; under two, the old one goes first. What it
/// gives a null key or value goes nowhere (KTableRepartitionMap). Groups are of the latest versions: one of the past
/// changes none (KIP-914).
pub(super) fn group_by(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let mut asked = Vec::new();
    let mut places = Vec::with_capacity(inputs.len());
    let latest: Vec<&Element> = inputs.iter().filter(|element| !element.is_past).collect();
    for element in &latest {
        let mut ask = |value: Span| {
            asked.extend((!value.is_null()).then_some(Element { value, old: Span::NULL, ..**element }));
            (!value.is_null()).then(|| asked.len() - 1)
        };
        places.push((ask(element.old), ask(element.value)));
    }
    let mut answers = call(run, node, Kind::Records, &asked)?;
    let pair = |answer: Option<&super::call::Answer>| answer.map(|answer| (answer.element.key, answer.element.value));
    let pairs: Vec<Option<(Span, Span)>> = one_each(node, &mut answers)?.map(pair).collect();
    run.scratch.answers = answers;
    let whole = |place: Option<usize>| pairs[place?].filter(|(key, value)| !key.is_null() && !value.is_null());
    for (element, (old, new)) in latest.into_iter().zip(places) {
        let arena = &run.batch.arena;
        match (whole(old), whole(new)) {
            (Some((key, old)), Some((same, new))) if key.of(arena) == same.of(arena) => {
                emit(run, node, element, key, (old, new), out)?;
            }
            (old, new) => {
                if let Some((key, value)) = old {
                    emit(run, node, element, key, (value, Span::NULL), out)?;
                }
                if let Some((key, value)) = new {
                    emit(run, node, element, key, (Span::NULL, value), out)?;
                }
            }
        }
    }
    Ok(())
}

fn emit(
    run: &mut Run<'_>,
    node: &Node,
    element: &Element,
    key: Span,
    (old, new): (Span, Span),
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let mut bytes = Vec::with_capacity(old.len() + new.len() + 6);
    Change { old: old.of(&run.batch.arena), new: new.of(&run.batch.arena) }.encode(&mut bytes);
    let value = run.push(node, element, &bytes)?;
    out.push(Emitted::to_all(Element { key, value, old: Span::NULL, ..*element }));
    Ok(())
}
