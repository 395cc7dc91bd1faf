//! One call of user code over many elements.

use super::batch::Element;
use super::run::{Rejection, Run, Stop};
use crate::frame::{self, Kind, Outcome, OutcomeKind, ResultElement, ResultFrame};
use crate::functions::{Fault, FaultKind};
use crate::record::{Headers, Span};
use crate::topology::Node;

/// Bytes that the nodes of one batch may make together. Far above what `Limits` let one record make at one node; a
/// span reaches 4 GiB.
const ARENA_BYTES_MAX: usize = 512 << 20;

/// What one call may give back, per element it was asked about.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub outputs: u32,
    pub output_bytes: usize,
}

impl Default for Limits {
    /// Numbers of Redpanda's and Fluvio's transforms, rounded up: enough to explode a document, too little to flood a
    /// topic from one record.
    fn default() -> Limits {
        Limits { outputs: 1_000, output_bytes: 8 << 20 }
    }
}

/// An element the guest is asked about.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub element: Element,
    /// Fold: index of its group.
    pub group: u32,
}

impl Asked {
    pub fn about(element: &Element) -> Asked {
        Asked { element: *element, group: 0 }
    }
}

/// A group of a fold: its key, and the aggregate so far.
pub(super) struct Group {
    pub key: Span,
    pub aggregate: Option<Vec<u8>>,
}

/// A result element with its bytes as spans of the batch's arena, and what was `Same` filled in.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    /// Which of the asked elements.
    pub asked: usize,
    pub target: u16,
    pub element: Element,
}

/// All answers of one call, in order.
#[derive(Default)]
pub(super) struct Answers {
    pub list: Vec<Answer>,
    /// Elements the guest dropped, by place among the asked ones.
    pub dropped: Vec<usize>,
}

/// Asks the guest about elements and hands out its answers in order. The answers' bytes stay in the batch's arena,
/// where the guest's frame was put: nothing is copied twice.
pub(super) fn call(
    run: &mut Run<'_>,
    node: &Node,
    kind: Kind,
    groups: &[Group],
    asked: &[Asked],
) -> Result<Answers, Stop> {
    if asked.is_empty() {
        return Ok(Answers::default());
    }
    write_frame(run, node, kind, groups, asked);
    let start = run.batch.arena.len();
    run.stores.enter(&node_places(run, node), asked.iter().map(|asked| asked.element.timestamp));
    let called = run.functions.call(node.number, &run.scratch.frame, run.stores, &mut run.batch.arena);
    run.stores.leave();
    called.map_err(|fault| Stop::Fault { node: node.name.clone(), fault })?;
    read_frame(run, node, start, asked)
}

fn node_places(run: &Run<'_>, node: &Node) -> Vec<usize> {
    node.stores.iter().filter_map(|number| run.stores.place(*number as u32)).collect()
}

fn write_frame(run: &mut Run<'_>, node: &Node, kind: Kind, groups: &[Group], asked: &[Asked]) {
    let (scratch, batch) = (&mut run.scratch.frame, &run.batch);
    scratch.clear();
    let mut frame = frame::Writer::new(scratch, kind);
    for context in &batch.contexts {
        // The node is part of the seed: two nodes do not draw the same numbers for one record.
        let seed = mix(context.seed ^ mix(u64::from(node.number) + 1));
        frame.context(&frame::Context { seed, ..*context });
    }
    for group in groups {
        frame.group(group.key.bytes(&batch.arena), group.aggregate.as_deref());
    }
    for Asked { element, group } in asked {
        frame.element(&frame::Element {
            context: element.context,
            input: element.input,
            group: *group,
            timestamp: element.timestamp,
            key: element.key.of(&batch.arena),
            value: element.value.of(&batch.arena),
            headers: Headers(element.headers.bytes(&batch.arena)),
        });
    }
    frame.finish();
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): spreads every bit of the input over all of the output.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn read_frame(run: &mut Run<'_>, node: &Node, start: usize, asked: &[Asked]) -> Result<Answers, Stop> {
    let bad = |what: String| Stop::Fault { node: node.name.clone(), fault: Fault::guest(FaultKind::BadFrame, what) };
    if run.batch.arena.len() > ARENA_BYTES_MAX {
        return Err(bad(format!("the results of one batch grew beyond {ARENA_BYTES_MAX} bytes")));
    }
    let answer = &run.batch.arena[start..];
    let mut frame = ResultFrame::parse(answer, asked.len() as u32).map_err(|e| bad(e.0))?;
    let mut list = Vec::with_capacity((frame.elements() as usize).min(answer.len() / frame::ELEMENT_LEN));
    let mut budget = Budget::new(run.limits);
    while let Some(result) = frame.next_element().map_err(|e| bad(e.0))? {
        budget.spend(&result).map_err(bad)?;
        list.push(resolve(run, asked, &result));
    }
    let outcomes = frame.outcomes().map_err(|e| bad(e.0))?;
    let dropped = judge(run, node, asked, outcomes)?;
    Ok(Answers { list, dropped })
}

/// What is left of the limits for the element that is being answered. Counted by element, so that a batch and a
/// replay judge alike.
struct Budget {
    limits: Limits,
    input: u32,
    outputs: u32,
    bytes: usize,
}

impl Budget {
    fn new(limits: Limits) -> Budget {
        Budget { limits, input: 0, outputs: 0, bytes: 0 }
    }

    fn spend(&mut self, result: &ResultElement<'_>) -> Result<(), String> {
        if result.input != self.input {
            *self = Budget { input: result.input, ..Budget::new(self.limits) };
        }
        let new = |field: frame::Field<Option<&[u8]>>| match field {
            frame::Field::New(Some(bytes)) => bytes.len(),
            frame::Field::New(None) | frame::Field::Same => 0,
        };
        self.outputs += 1;
        self.bytes += new(result.key) + new(result.value);
        if self.outputs > self.limits.outputs {
            return Err(format!("more than {} results for one record ([limits] outputs)", self.limits.outputs));
        }
        if self.bytes > self.limits.output_bytes {
            return Err(format!("more than {} bytes for one record ([limits] output_bytes)", self.limits.output_bytes));
        }
        Ok(())
    }
}

fn resolve(run: &Run<'_>, asked: &[Asked], result: &ResultElement<'_>) -> Answer {
    let from = &asked[result.input as usize].element;
    let field = |field, same| match field {
        frame::Field::Same => same,
        frame::Field::New(bytes) => run.batch.span_of(bytes),
    };
    let element = Element {
        key: field(result.key, from.key),
        value: field(result.value, from.value),
        old: Span::NULL,
        headers: match result.headers {
            frame::Field::Same => from.headers,
            frame::Field::New(headers) => run.batch.span_of(Some(headers.0)),
        },
        timestamp: result.timestamp,
        ..*from
    };
    Answer { asked: result.input as usize, target: result.target, element }
}

/// Drops are counted; anything worse stops the batch.
fn judge(run: &mut Run<'_>, node: &Node, asked: &[Asked], outcomes: Vec<Outcome>) -> Result<Vec<usize>, Stop> {
    let mut dropped = Vec::new();
    for outcome in outcomes {
        if outcome.kind == OutcomeKind::Drop {
            dropped.push(outcome.element as usize);
            continue;
        }
        return Err(Stop::Rejected(Rejection {
            context: asked[outcome.element as usize].element.context,
            node: node.name.clone(),
            kind: outcome.kind,
            message: outcome.message,
        }));
    }
    run.dropped.by_guest += dropped.len() as u64;
    Ok(dropped)
}
