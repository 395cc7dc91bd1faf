//! Operators that look at one record at a time and remember nothing.

use super::batch::{Element, Emitted};
use super::call::{Answer, Answers, call};
use super::run::{Run, Stop};
use crate::frame::Kind;
use crate::functions::{Fault, FaultKind};
use crate::topology::{Node, Operator};

/// What a guest's predicate says of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Holds,
    Fails,
    /// The guest dropped the element: it goes nowhere, whatever the predicate would have said.
    Dropped,
}

/// Asks the guest's predicate about each element.
pub(super) fn verdicts(run: &mut Run<'_>, node: &Node, asked: &[Element]) -> Result<Vec<Verdict>, Stop> {
    let answers = call(run, node, Kind::Records, asked)?;
    let mut verdicts = vec![Verdict::Fails; asked.len()];
    answers.list.iter().for_each(|answer| verdicts[answer.asked] = Verdict::Holds);
    let dropped = verdicts.iter_mut().zip(&answers.dropped).filter(|(_, dropped)| **dropped);
    dropped.for_each(|(verdict, _)| *verdict = Verdict::Dropped);
    run.scratch.answers = answers;
    Ok(verdicts)
}

pub(super) fn filter(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let verdicts = verdicts(run, node, inputs)?;
    let wanted = if node.operator == Operator::Filter { Verdict::Holds } else { Verdict::Fails };
    let kept = inputs.iter().zip(verdicts).filter(|(_, verdict)| *verdict == wanted);
    out.extend(kept.map(|(element, _)| Emitted::to_all(*element)));
    Ok(())
}

/// Map, map-values, select-key: one result per element. What an operator may not change stays the element's own,
/// whatever the guest said.
pub(super) fn map(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let mut answers = call(run, node, Kind::Records, inputs)?;
    for answer in one_each(node, &mut answers)?.flatten() {
        let from = &inputs[answer.asked];
        let element = match node.operator {
            Operator::MapValues => Element { value: answer.element.value, ..*from },
            Operator::SelectKey => Element { key: answer.element.key, ..*from },
            _ => answer.element,
        };
        out.push(Emitted::to_all(element));
    }
    run.scratch.answers = answers;
    Ok(())
}

pub(super) fn flat_map(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let answers = call(run, node, Kind::Records, inputs)?;
    for answer in &answers.list {
        let element = match node.operator {
            Operator::FlatMapValues => Element { value: answer.element.value, ..inputs[answer.asked] },
            _ => answer.element,
        };
        out.push(Emitted::to_all(element));
    }
    run.scratch.answers = answers;
    Ok(())
}

pub(super) fn peek(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let answers = call(run, node, Kind::Records, inputs)?;
    let kept = inputs.iter().zip(&answers.dropped).filter(|(_, dropped)| !**dropped);
    out.extend(kept.map(|(element, _)| Emitted::to_all(*element)));
    run.scratch.answers = answers;
    Ok(())
}

/// Each element goes to the branch the guest named; without one it goes nowhere.
pub(super) fn branch(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let answers = call(run, node, Kind::Records, inputs)?;
    for answer in &answers.list {
        out.push(Emitted { element: inputs[answer.asked], target: answer.target });
    }
    run.scratch.answers = answers;
    Ok(())
}

/// The answer of each element in their order, where each has one, or was dropped and has none.
pub(super) fn one_each<'a>(
    node: &Node,
    answers: &'a mut Answers,
) -> Result<impl Iterator<Item = Option<&'a Answer>>, Stop> {
    let Answers { list, dropped, each } = answers;
    each.clear();
    each.resize(dropped.len(), None);
    for (place, answer) in list.iter().enumerate() {
        if each[answer.asked].replace(place as u32).is_some() {
            return Err(bad_count(node, "more than one result", answer.asked));
        }
    }
    match (0..each.len()).find(|at| each[*at].is_none() && !dropped[*at]) {
        Some(at) => Err(bad_count(node, "no result", at)),
        None => Ok(each.iter().map(|place| place.map(|place| &list[place as usize]))),
    }
}

pub(super) fn bad_count(node: &Node, what: &str, at: usize) -> Stop {
    let fault = Fault::guest(FaultKind::BadFrame, format!("{what} for element {at}"));
    Stop::Fault { node: node.name.clone(), fault }
}
