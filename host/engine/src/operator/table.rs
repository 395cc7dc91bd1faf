//! Tables: the newest value of each key, flowing as changes. Apply in offset order, even where time goes back.

use super::batch::{Element, Emitted};
use super::call::{Answers, Asked, call};
use super::count::own_store;
use super::run::{Run, Stop};
use super::stateless::{Verdict, one_each, verdicts};
use crate::frame::Kind;
use crate::record::{Span, push};
use crate::topology::{Node, Operator};

/// Reads a topic as a table. A null key is dropped; a null value deletes; an equal value still goes downstream
/// (KTableSource). Without a store the change has no old value.
pub(super) fn source(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let place = own_store(run, node);
    for element in inputs {
        let Some(key) = element.key.of(&run.batch.arena) else {
            run.dropped.null += 1;
            continue;
        };
        let mut old = Span::NULL;
        if let Some(place) = place {
            run.check_entry(node, element, element.value)?;
            let before = run.stores.get(place, key)?;
            run.stores.put(place, key, element.value.of(&run.batch.arena), element.timestamp);
            old = push(&mut run.batch.arena, before.as_ref().map(|before| before.value.as_slice()));
        }
        out.push(Emitted::to_all(Element { old, ..*element }));
    }
    Ok(())
}

/// Rows that do not pass become tombstones. Where the old value is known, only a row that passed before does; a
/// materialised filter writes nothing for a key it never held (KTableFilter; cases `tb-filter-*`).
pub(super) fn filter(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let wanted = if node.operator == Operator::TableFilter { Verdict::Holds } else { Verdict::Fails };
    let news = values(inputs, |element| element.value);
    let new = news.by_element(verdicts(run, node, &news.asked)?);
    let place = own_store(run, node);
    let computes_old = node.sends_old && place.is_none();
    let olds = values(inputs, |element| if computes_old { element.old } else { Span::NULL });
    let old = olds.by_element(verdicts(run, node, &olds.asked)?);
    for (at, element) in inputs.iter().enumerate() {
        if new[at] == Some(Verdict::Dropped) {
            continue;
        }
        let value = if new[at] == Some(wanted) { element.value } else { Span::NULL };
        let before = match place {
            Some(place) if node.sends_old => stored(run, place, element)?,
            _ if old[at] == Some(wanted) => element.old,
            _ => Span::NULL,
        };
        if node.sends_old && before.is_null() && value.is_null() {
            continue;
        }
        emit(run, node, place, element, before, value, out)?;
    }
    Ok(())
}

/// The mapper is not called for null; a tombstone passes (KTableMapValues).
pub(super) fn map_values(
    run: &mut Run<'_>,
    node: &Node,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let place = own_store(run, node);
    let news = values(inputs, |element| element.value);
    let new = mapped(run, node, &news)?;
    let computes_old = node.sends_old && place.is_none();
    let olds = values(inputs, |element| if computes_old { element.old } else { Span::NULL });
    let old = mapped(run, node, &olds)?;
    for (at, element) in inputs.iter().enumerate() {
        if !element.value.is_null() && new[at].is_none() {
            continue; // the guest dropped it
        }
        let before = match place {
            Some(place) if node.sends_old => stored(run, place, element)?,
            _ => old[at].unwrap_or(Span::NULL),
        };
        emit(run, node, place, element, before, new[at].unwrap_or(Span::NULL), out)?;
    }
    Ok(())
}

pub(super) fn to_stream(inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    out.extend(inputs.iter().map(|element| Emitted::to_all(Element { old: Span::NULL, ..*element })));
    Ok(())
}

/// The values of elements that have one, as the guest is asked about them.
struct Values {
    asked: Vec<Asked>,
    /// For each element, its place among the asked.
    places: Vec<Option<usize>>,
}

impl Values {
    /// What was said of the asked, by element; `None` where nothing was asked.
    fn by_element(&self, said: Vec<Verdict>) -> Vec<Option<Verdict>> {
        self.places.iter().map(|place| place.map(|at| said[at])).collect()
    }
}

fn values(inputs: &[Element], value: impl Fn(&Element) -> Span) -> Values {
    let mut asked = Vec::new();
    let places = inputs
        .iter()
        .map(|element| {
            let value = value(element);
            (!value.is_null()).then(|| {
                asked.push(Asked::about(&Element { value, ..*element }));
                asked.len() - 1
            })
        })
        .collect();
    Values { asked, places }
}

fn mapped(run: &mut Run<'_>, node: &Node, values: &Values) -> Result<Vec<Option<Span>>, Stop> {
    let answers: Answers = call(run, node, Kind::Records, &[], &values.asked)?;
    let each = one_each(node, values.asked.len(), answers)?;
    Ok(values.places.iter().map(|place| each[(*place)?].map(|answer| answer.element.value)).collect())
}

fn stored(run: &mut Run<'_>, place: usize, element: &Element) -> Result<Span, Stop> {
    let before = run.stores.get(place, element.key.bytes(&run.batch.arena))?;
    Ok(push(&mut run.batch.arena, before.as_ref().map(|before| before.value.as_slice())))
}

fn emit(
    run: &mut Run<'_>,
    node: &Node,
    place: Option<usize>,
    element: &Element,
    old: Span,
    value: Span,
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    if let Some(place) = place {
        run.check_entry(node, element, value)?;
        let arena = &run.batch.arena;
        run.stores.put(place, element.key.bytes(arena), value.of(arena), element.timestamp);
    }
    out.push(Emitted::to_all(Element { value, old, ..*element }));
    Ok(())
}
