//! The processor API: user code with stores at hand, and its punctuations.

use super::batch::{Element, Emitted};
use super::call::call;
use super::run::{Run, Stop};
use crate::frame::{Context, Kind, NO_SOURCE};
use crate::record::{Span, push};
use crate::topology::Node;

pub(super) fn process(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let answers = call(run, node, Kind::Records, inputs)?;
    out.extend(answers.list.iter().map(|answer| Emitted { element: answer.element, target: answer.target }));
    run.scratch.answers = answers;
    Ok(())
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
