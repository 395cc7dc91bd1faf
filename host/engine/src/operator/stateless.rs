//! Operators that look at one record at a time and remember nothing.

use super::batch::{Element, Emitted};
use super::call::{Answer, Answers, Asked, call};
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
pub(super) fn verdicts(run: &mut Run<'_>, node: &Node, asked: &[Asked]) -> Result<Vec<Verdict>, Stop> {
    let answers = call(run, node, Kind::Records, &[], asked)?;
    let mut verdicts = vec![Verdict::Fails; asked.len()];
    answers.list.iter().for_each(|answer| verdicts[answer.asked] = Verdict::Holds);
    answers.dropped.iter().for_each(|at| verdicts[*at] = Verdict::Dropped);
    Ok(verdicts)
}

pub(super) fn filter(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let verdicts = verdicts(run, node, &asked(inputs))?;
    let wanted = if node.operator == Operator::Filter { Verdict::Holds } else { Verdict::Fails };
    let kept = inputs.iter().zip(verdicts).filter(|(_, verdict)| *verdict == wanted);
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
    let dropped = call(run, node, Kind::Records, &[], &asked(inputs))?.dropped;
    let kept = inputs.iter().enumerate().filter(|(at, _)| !dropped.contains(at));
    out.extend(kept.map(|(_, element)| Emitted::to_all(*element)));
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
