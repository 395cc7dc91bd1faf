//! The processor API: user code with stores at hand, and its punctuations.

use super::batch::{Element, Emitted};
use super::call::{Answer, Answers, call};
use super::run::{Run, Stop};
use crate::frame::{Context, Kind, NO_SOURCE};
use crate::functions::{Fault, FaultKind};
use crate::record::{Span, push};
use crate::topology::Node;

pub(super) fn process(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let answers = call(run, node, Kind::Records, inputs)?;
    if node.fixed_key {
        check_keys(run, node, inputs, &answers)?;
    }
    out.extend(answers.list.iter().map(|answer| Emitted { element: answer.element, target: answer.target }));
    run.scratch.answers = answers;
    Ok(())
}

/// What has no repartition topic behind it must stay in the partition of its key. A component that says its key for what
/// it had been given, and then gives another one, answers what it may not.
fn check_keys(run: &Run<'_>, node: &Node, inputs: &[Element], answers: &Answers) -> Result<(), Stop> {
    let arena = &run.batch.arena;
    let changed = |answer: &&Answer| answer.element.key.of(arena) != inputs[answer.asked].key.of(arena);
    match answers.list.iter().find(changed) {
        Some(_) => Err(refused(node, "a record was forwarded with another key than that of the record it comes from")),
        None => Ok(()),
    }
}

fn refused(node: &Node, what: &str) -> Stop {
    let message = format!("{what}; the node has `fixed_key`: a process without it may");
    Stop::Fault { node: node.name.clone(), fault: Fault::guest(FaultKind::BadFrame, message) }
}

/// A punctuation that is due.
#[derive(Clone, Copy, Debug)]
pub struct PunctuationCall<'a> {
    /// Which of the node's punctuations.
    pub number: u16,
    /// Of one that was scheduled while the task ran.
    pub name: Option<&'a str>,
    /// Stream time or wall-clock time it fires for, in ms.
    pub time: i64,
    pub stream_time: i64,
    /// Partition of the task.
    pub partition: i32,
    pub seed: u64,
}

pub(super) fn punctuate(
    run: &mut Run<'_>,
    node: &Node,
    punctuation: PunctuationCall<'_>,
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let element = of_clock(run, punctuation);
    let answers = call(run, node, Kind::Punctuation, &[element])?;
    if node.fixed_key && !answers.list.is_empty() {
        // No record is there whose key it could have, and so whose partition it would belong to.
        return Err(refused(node, "a record was forwarded from a punctuation, which has no key"));
    }
    out.extend(answers.list.iter().map(|answer| Emitted { element: answer.element, target: answer.target }));
    Ok(())
}

/// What stands for a record where none is the cause, in a batch that has none yet.
pub(super) fn of_clock(run: &mut Run<'_>, punctuation: PunctuationCall<'_>) -> Element {
    run.batch.contexts.push(Context {
        source: NO_SOURCE,
        partition: punctuation.partition as u32,
        offset: -1,
        timestamp: punctuation.time,
        stream_time: punctuation.stream_time,
        seed: punctuation.seed,
    });
    Element {
        key: push(&mut run.batch.arena, punctuation.name.map(str::as_bytes)),
        value: Span::NULL,
        old: Span::NULL,
        headers: Span::EMPTY,
        timestamp: punctuation.time,
        context: 0,
        input: punctuation.number,
        is_past: false,
        path: Default::default(),
    }
}
