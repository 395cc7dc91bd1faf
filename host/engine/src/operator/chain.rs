//! Stateless nodes in a row, run by the guest in one call.

use super::batch::{Element, Emitted};
use super::call::{self, Links};
use super::run::{Run, Stop};
use super::stateless::bad_count;
use crate::topology::{Node, Operator, Plan};

/// A row of nodes, and what they may do to an element together. What none of them may change stays the element's own,
/// whatever the guest said.
pub(super) struct Chain<'a> {
    first: &'a Node,
    /// By which the guest knows the nodes.
    numbers: Vec<u32>,
    /// How many of them may make several elements of one.
    multiplying: u32,
    keys: bool,
    values: bool,
    /// Time and headers too.
    whole: bool,
}

impl<'a> Chain<'a> {
    pub fn of(plan: &'a Plan, first: usize) -> Chain<'a> {
        let first = &plan.nodes[first];
        let nodes = || first.chain.iter().map(|at| &plan.nodes[*at]);
        let any = |operators: &[Operator]| nodes().any(|node| operators.contains(&node.operator));
        let whole = any(&[Operator::Map, Operator::FlatMap]);
        Chain {
            first,
            numbers: nodes().map(|node| node.number).collect(),
            multiplying: nodes().filter(|node| node.operator.multiplies()).count() as u32,
            keys: whole || any(&[Operator::SelectKey]),
            values: whole || any(&[Operator::MapValues, Operator::FlatMapValues]),
            whole,
        }
    }

    pub fn multiplies(&self) -> bool {
        self.multiplying > 0
    }
}

pub(super) fn run(
    run: &mut Run<'_>,
    chain: &Chain<'_>,
    inputs: &[Element],
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let answers =
        call::chain(run, chain.first, Links { numbers: &chain.numbers, multiplying: chain.multiplying }, inputs)?;
    let mut last = None;
    for answer in &answers.list {
        if last.replace(answer.asked) == Some(answer.asked) && !chain.multiplies() {
            return Err(bad_count(chain.first, "more than one result", answer.asked));
        }
        let (from, made) = (inputs[answer.asked], answer.element);
        let mut element = if chain.whole { made } else { from };
        if chain.keys {
            element.key = made.key;
        }
        if chain.values {
            element.value = made.value;
        }
        out.push(Emitted::to_all(element));
    }
    run.scratch.answers = answers;
    Ok(())
}
