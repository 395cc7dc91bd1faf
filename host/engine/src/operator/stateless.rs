//! Operators that look at one record at a time and remember nothing.

use super::batch::{Element, Emitted};
use super::call::{Answer, Answers, Asked, call};
use super::run::{Run, Stop};
use crate::frame::Kind;
use crate::functions::{Fault, FaultKind};
use crate::topology::{Node, Operator};

/// Which of the asked elements the guest's predicate holds for.
pub(super) fn matches(run: &mut Run<'_>, node: &Node, asked: &[Asked]) -> Result<Vec<bool>, Stop> {
    let mut matches = vec![false; asked.len()];
    for answer in call(run, node, Kind::Records, &[], asked)?.list {
        matches[answer.asked] = true;
    }
    Ok(matches)
}

pub(super) fn filter(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let matches = matches(run, node, &asked(inputs))?;
    let wanted = node.operator == Operator::Filter;
    let kept = inputs.iter().zip(matches).filter(|(_, matched)| *matched == wanted);
    out.extend(kept.map(|(element, _)| Emitted::to_all(*element)));
    Ok(())
}

/// Map, map-values, select-key: one result per element. What an operator may not change stays the element's own,
/// whatever the guest said.
pub(super) fn map(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let answers = call(run, node, Kind::Records, &[], &asked(inputs))?;
    for answer in one_each(node, inputs.len(), answers)?.into_iter().flatten() {
        let from = &inputs[answer.asked];
        let element = match node.operator {
            Operator::MapValues => Element { value: answer.element.value, ..*from },
            Operator::SelectKey => Element { key: answer.element.key, ..*from },
            _ => answer.element,
        };
        out.push(Emitted::to_all(element));
    }
    Ok(())
}

pub(super) fn flat_map(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    for answer in call(run, node, Kind::Records, &[], &asked(inputs))?.list {
        let element = match node.operator {
            Operator::FlatMapValues => Element { value: answer.element.value, ..inputs[answer.asked] },
            _ => answer.element,
        };
        out.push(Emitted::to_all(element));
    }
    Ok(())
}

pub(super) fn peek(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    call(run, node, Kind::Records, &[], &asked(inputs))?;
    out.extend(inputs.iter().map(|element| Emitted::to_all(*element)));
    Ok(())
}

/// Each element goes to the branch the guest named; without one it goes nowhere.
pub(super) fn branch(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    for answer in call(run, node, Kind::Records, &[], &asked(inputs))?.list {
        out.push(Emitted { element: inputs[answer.asked], target: answer.target });
    }
    Ok(())
}

pub(super) fn asked(inputs: &[Element]) -> Vec<Asked> {
    inputs.iter().map(Asked::about).collect()
}

/// Checks that each element has one answer, or was dropped and has none.
pub(super) fn one_each(node: &Node, asked: usize, answers: Answers) -> Result<Vec<Option<Answer>>, Stop> {
    let mut each: Vec<Option<Answer>> = vec![None; asked];
    for answer in &answers.list {
        if each[answer.asked].replace(*answer).is_some() {
            return Err(bad_count(node, "more than one result", answer.asked));
        }
    }
    match (0..asked).find(|at| each[*at].is_none() && !answers.dropped.contains(at)) {
        Some(at) => Err(bad_count(node, "no result", at)),
        None => Ok(each),
    }
}

fn bad_count(node: &Node, what: &str, at: usize) -> Stop {
    let fault = Fault::guest(FaultKind::BadFrame, format!("{what} for element {at}"));
    Stop::Fault { node: node.name.clone(), fault }
}
