//! Tables: the newest value of each key, flowing as changes. Apply in offset order, even where time goes back.

use super::batch::{Element, Emitted};
use super::call::call;
use super::keyed::{self, Keyed, is_versioned, own_store};
use super::run::{Run, Stop};
use super::stateless::{Verdict, one_each, verdicts};
use crate::frame::Kind;
use crate::record::Span;
use crate::topology::{Node, Operator};

/// Reads a topic, or a stream, as a table. A null key is dropped; a null value deletes; an equal value still goes downstream
/// (KTableSource). Without a store the change has no old value.
pub(super) fn source(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let mut table = Materialised::open(run, node, inputs)?;
    for (at, element) in inputs.iter().enumerate() {
        if element.key.is_null() {
            run.dropped.null += 1;
            continue;
        }
        let old = table.stored(at);
        table.emit(run, node, (at, element), (old, element.value), out)?;
    }
    table.close(run);
    Ok(())
}

/// Rows that do not pass become tombstones. Where the old value is known, only a row that passed before does; a
/// materialised filter writes nothing for a key it never held (KTableFilter; cases `tb-filter-*`). Behind versions every
/// row does: what was before is not what was before a version of the past (KIP-914).
pub(super) fn filter(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let wanted = if node.operator == Operator::TableFilter { Verdict::Holds } else { Verdict::Fails };
    let news = values(inputs, |element| element.value);
    let new = news.by_element(verdicts(run, node, &news.asked)?);
    let of_versions = follows_versions(run, node);
    let mut table = Materialised::open(run, node, inputs)?;
    let computes_old = node.sends_old && !table.has_store();
    let olds = values(inputs, |element| if computes_old { element.old } else { Span::NULL });
    let old = olds.by_element(verdicts(run, node, &olds.asked)?);
    for (at, element) in inputs.iter().enumerate() {
        if new[at] == Some(Verdict::Dropped) {
            continue;
        }
        let value = if new[at] == Some(wanted) { element.value } else { Span::NULL };
        let before = match table.has_store() {
            true if node.sends_old => table.stored(at),
            _ if old[at] == Some(wanted) => element.old,
            _ => Span::NULL,
        };
        if node.sends_old && before.is_null() && value.is_null() && !of_versions {
            continue;
        }
        table.emit(run, node, (at, element), (before, value), out)?;
    }
    table.close(run);
    Ok(())
}

/// Whether a table's input is a table that keeps versions, or is made of one that does.
fn follows_versions(run: &Run<'_>, node: &Node) -> bool {
    use Operator::{TableFilter, TableFilterNot, TableMapValues};
    let mut at = node;
    while let Some(parent) = at.inputs.first().map(|edge| &run.plan.nodes[edge.node]) {
        match own_store(run, parent) {
            Some(place) => return is_versioned(run, place),
            None if matches!(parent.operator, TableFilter | TableFilterNot | TableMapValues) => at = parent,
            None => return false,
        }
    }
    false
}

/// The mapper is not called for null; a tombstone passes (KTableMapValues).
pub(super) fn map_values(
    run: &mut Run<'_>,
    node: &Node,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let news = values(inputs, |element| element.value);
    let new = mapped(run, node, &news)?;
    let mut table = Materialised::open(run, node, inputs)?;
    let computes_old = node.sends_old && !table.has_store();
    let olds = values(inputs, |element| if computes_old { element.old } else { Span::NULL });
    let old = mapped(run, node, &olds)?;
    for (at, element) in inputs.iter().enumerate() {
        if !element.value.is_null() && new[at].is_none() {
            continue; // the guest dropped it
        }
        let before = match table.has_store() {
            true if node.sends_old => table.stored(at),
            _ => old[at].unwrap_or(Span::NULL),
        };
        table.emit(run, node, (at, element), (before, new[at].unwrap_or(Span::NULL)), out)?;
    }
    table.close(run);
    Ok(())
}

/// A stream knows of no versions: what is made of it is as new as it comes.
pub(super) fn to_stream(inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let bare = |element: &Element| Element { old: Span::NULL, is_past: false, ..*element };
    out.extend(inputs.iter().map(|element| Emitted::to_all(bare(element))));
    Ok(())
}

/// A node's own store, where it has one.
pub(super) struct Materialised(Option<Keyed>);

impl Materialised {
    pub fn open(run: &mut Run<'_>, node: &Node, inputs: &[Element]) -> Result<Materialised, Stop> {
        let keyed = own_store(run, node).map(|place| keyed::open(run, node, place, inputs, |_| true));
        Ok(Materialised(keyed.transpose()?))
    }

    fn has_store(&self) -> bool {
        self.0.is_some()
    }

    /// What the store holds for the element at this place among the inputs.
    fn stored(&self, at: usize) -> Span {
        let entry = self.0.as_ref().and_then(|keyed| Some(keyed.entry(keyed.group(at)?)));
        entry.map_or(Span::NULL, |entry| entry.value)
    }

    /// Gives a change away as the store has taken it, where there is one, or as it came.
    pub fn emit(
        &mut self,
        run: &mut Run<'_>,
        node: &Node,
        (at, element): (usize, &Element),
        (old, value): (Span, Span),
        out: &mut Vec<Emitted>,
    ) -> Result<(), Stop> {
        let change = Element { value, old, ..*element };
        let group = self.0.as_mut().and_then(|keyed| Some((keyed.group(at)?, keyed)));
        let Some((group, keyed)) = group else {
            out.push(Emitted::to_all(change));
            return Ok(());
        };
        let put = keyed.write(run, node, element, group, (value, element.timestamp))?;
        out.extend(Emitted::as_put(change, put));
        Ok(())
    }

    pub fn close(self, run: &mut Run<'_>) {
        if let Some(keyed) = self.0 {
            keyed.close(run);
        }
    }
}

/// The values of elements that have one, as the guest is asked about them.
pub(super) struct Values {
    pub asked: Vec<Element>,
    /// For each element, its place among the asked.
    places: Vec<Option<usize>>,
}

impl Values {
    /// What was said of the asked, by element; `None` where nothing was asked.
    pub fn by_element(&self, said: Vec<Verdict>) -> Vec<Option<Verdict>> {
        self.places.iter().map(|place| place.map(|at| said[at])).collect()
    }
}

pub(super) fn values(inputs: &[Element], value: impl Fn(&Element) -> Span) -> Values {
    let mut asked = Vec::new();
    let places = inputs
        .iter()
        .map(|element| {
            let value = value(element);
            (!value.is_null()).then(|| {
                asked.push(Element { value, ..*element });
                asked.len() - 1
            })
        })
        .collect();
    Values { asked, places }
}

pub(super) fn mapped(run: &mut Run<'_>, node: &Node, values: &Values) -> Result<Vec<Option<Span>>, Stop> {
    let mut answers = call(run, node, Kind::Records, &values.asked)?;
    let each: Vec<Option<Span>> =
        one_each(node, &mut answers)?.map(|answer| answer.map(|answer| answer.element.value)).collect();
    run.scratch.answers = answers;
    Ok(values.places.iter().map(|place| each[(*place)?]).collect())
}
