//! The processor API: user code with stores at hand, and its punctuations.

use super::batch::{Element, Emitted};
use super::call::{Answer, Answers, call};
use super::run::{Run, Stop};
use crate::frame::{Context, Kind, NO_SOURCE};
use crate::functions::{Fault, FaultKind};
use crate::metadata::TOKEN_BYTES_MAX;
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
    /// Of one that goes on: which portion of it this is, from 1 on, and what the one before it has left.
    pub portion: u32,
    pub token: Option<&'a [u8]>,
    /// Stream time or wall-clock time it fires for, in ms.
    pub time: i64,
    pub stream_time: i64,
    /// Partition of the task.
    pub partition: i32,
    pub seed: u64,
}

/// A punctuation that its node wants called again, before anything else of the task happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Place of the node in the plan, and which of its punctuations.
    pub node: usize,
    pub punctuation: u16,
    /// What all of its portions fire for, in ms.
    pub time: i64,
    /// Portions that are done.
    pub portion: u32,
    /// What the last one has left for the next one.
    pub token: Vec<u8>,
}

/// Portions of one punctuation: a thousand million records with all that each may give. One that does not come to its end
/// would keep its task from its records for ever.
const PORTIONS_MAX: u32 = 1_000_000;

pub(super) fn punctuate(
    run: &mut Run<'_>,
    at: usize,
    punctuation: PunctuationCall<'_>,
    out: &mut Vec<Emitted>,
) -> Result<(), Stop> {
    let node = &run.plan.nodes[at];
    let PunctuationCall { number, time, portion, .. } = punctuation;
    let element = of_clock(run, punctuation);
    let answers = call(run, node, Kind::Punctuation, &[element])?;
    if node.fixed_key && !answers.list.is_empty() {
        // No record is there whose key it could have, and so whose partition it would belong to.
        return Err(refused(node, "a record was forwarded from a punctuation, which has no key"));
    }
    out.extend(answers.list.iter().map(|answer| Emitted { element: answer.element, target: answer.target }));
    let Some(token) = run.scratch.token.take() else { return Ok(()) };
    let portion = portion + 1;
    if portion >= PORTIONS_MAX {
        return Err(bad(node, format!("a punctuation that does not end with its portion {PORTIONS_MAX}")));
    }
    run.scratch.under_way = Some(UnderWay { node: at, punctuation: number, time, portion, token });
    Ok(())
}

/// Takes down that the punctuation which is running wants to be called again.
pub(super) fn ask_again(run: &mut Run<'_>, node: &Node, token: Vec<u8>) -> Result<(), Stop> {
    if !node.resumes {
        return Err(bad(node, "`again` of a node that has not said that its punctuations are resumed"));
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(bad(node, format!("a token of {} bytes, at most {TOKEN_BYTES_MAX}", token.len())));
    }
    match run.scratch.token.replace(token) {
        Some(_) => Err(bad(node, "two tokens for one punctuation")),
        None => Ok(()),
    }
}

/// An answer that a guest must not give.
pub(super) fn bad(node: &Node, what: impl Into<String>) -> Stop {
    Stop::Fault { node: node.name.clone(), fault: Fault::guest(FaultKind::BadFrame, what) }
}

/// What stands for a record where none is the cause, in a batch that has none yet.
pub(super) fn of_clock(run: &mut Run<'_>, punctuation: PunctuationCall<'_>) -> Element {
    run.batch.contexts.push(Context {
        source: NO_SOURCE,
        topic: 0,
        partition: punctuation.partition as u32,
        offset: -1,
        timestamp: punctuation.time,
        stream_time: punctuation.stream_time,
        seed: punctuation.seed,
    });
    Element {
        key: push(&mut run.batch.arena, punctuation.name.map(str::as_bytes)),
        value: push(&mut run.batch.arena, punctuation.token),
        old: Span::NULL,
        headers: Span::EMPTY,
        timestamp: punctuation.time,
        context: 0,
        input: punctuation.number,
        is_past: false,
        path: Default::default(),
    }
}
