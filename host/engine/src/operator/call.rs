//! One call of user code over many elements.

use super::batch::Element;
use super::run::{Rejection, Run, Stop};
use super::{process, schedule};
use crate::frame::{self, Kind, Outcome, OutcomeKind, ResultElement, ResultFrame};
use crate::functions::{Fault, FaultKind};
use crate::record::{Headers, Span};
use crate::store::Latest;
use crate::topology::Node;

/// Bytes of one frame: what fits into a guest's default memory beside what it makes of it. A batch beyond it is
/// replayed record by record; a record beyond it fails.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What one call may give back, per element it was asked about.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub outputs: u32,
    pub output_bytes: usize,
}

impl Limits {
    /// What nodes in a row may come to for one element that is asked about, when each keeps to these limits and
    /// `multiplying` of them may make several elements of one. What all of them make is bounded by the batch.
    fn of_chain(self, multiplying: u32) -> Limits {
        let elements = self.outputs.max(1).saturating_pow(multiplying);
        Limits { outputs: elements, output_bytes: self.output_bytes.saturating_mul(elements as usize) }
    }
}

impl Default for Limits {
    /// Numbers of Redpanda's and Fluvio's transforms, rounded up: enough to explode a document, too little to flood a
    /// topic from one record.
    fn default() -> Limits {
        Limits { outputs: 1_000, output_bytes: 8 << 20 }
    }
}

/// A group of a fold: its key, and the aggregate so far.
#[derive(Clone, Copy)]
pub(super) struct Group {
    pub key: Span,
    pub aggregate: Span,
}

/// In place of a group's number: the number behind is that of an element in front, from whose result this one goes on.
pub(super) const RESULT_OF: u32 = 1 << 31;

/// The rank of an element that asks an aggregation for what its aggregates begin with.
pub(super) const INITIAL: u16 = u16::MAX - 1;

/// What a fold or a join is asked about.
#[derive(Default)]
pub(super) struct Fold {
    pub groups: Vec<Group>,
    pub elements: Vec<Element>,
    /// By element: its group, or [`RESULT_OF`] and the element whose result it goes on from.
    pub group_of: Vec<u32>,
}

impl Fold {
    pub fn push(&mut self, element: Element, group: usize) {
        self.elements.push(element);
        self.group_of.push(group as u32);
    }
}

/// A result element with its bytes as spans of the batch's arena, and what was `Same` filled in.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    /// Which of the asked elements.
    pub asked: usize,
    pub target: u16,
    pub element: Element,
}

/// All answers of one call. Reused from call to call, where they are given back.
#[derive(Default)]
pub(super) struct Answers {
    /// In the order of the elements.
    pub list: Vec<Answer>,
    /// By element: whether the guest dropped it.
    pub dropped: Vec<bool>,
    /// By element, see [`super::stateless::one_each`].
    pub each: Vec<Option<u32>>,
}

/// Asks the guest about elements and hands out its answers in order. The answers' bytes stay in the batch's arena,
/// where the guest's frame was put: nothing is copied twice.
pub(super) fn call(run: &mut Run<'_>, node: &Node, kind: Kind, asked: &[Element]) -> Result<Answers, Stop> {
    ask(run, node, kind, Ahead::Nothing, asked, &|_| 0)
}

/// As [`call`], over several nodes in a row.
pub(super) fn chain(run: &mut Run<'_>, node: &Node, links: Links<'_>, asked: &[Element]) -> Result<Answers, Stop> {
    ask(run, node, Kind::Chain, Ahead::Chain(links), asked, &|_| 0)
}

/// As [`call`], over values by their groups.
pub(super) fn fold(run: &mut Run<'_>, node: &Node, asked: &Fold) -> Result<Answers, Stop> {
    ask(run, node, Kind::Fold, Ahead::Groups(&asked.groups), &asked.elements, &|at| asked.group_of[at])
}

/// As [`call`], over values and the rows they are joined with.
pub(super) fn join(run: &mut Run<'_>, node: &Node, asked: &Fold) -> Result<Answers, Stop> {
    ask(run, node, Kind::Join, Ahead::Groups(&asked.groups), &asked.elements, &|at| asked.group_of[at])
}

/// As [`call`], over records on their way to one of several topics, which stand in place of the groups.
pub(super) fn route(run: &mut Run<'_>, node: &Node, topics: &[Group], asked: &[Element]) -> Result<Answers, Stop> {
    ask(run, node, Kind::Route, Ahead::Groups(topics), asked, &|_| 0)
}

/// What stands in front of a frame's elements.
#[derive(Clone, Copy)]
enum Ahead<'a> {
    Nothing,
    Groups(&'a [Group]),
    Chain(Links<'a>),
}

/// The nodes of a chain.
#[derive(Clone, Copy)]
pub(super) struct Links<'a> {
    pub numbers: &'a [u32],
    /// How many of them may make several elements of one.
    pub multiplying: u32,
}

fn ask(
    run: &mut Run<'_>,
    node: &Node,
    kind: Kind,
    ahead: Ahead<'_>,
    asked: &[Element],
    group_of: &dyn Fn(usize) -> u32,
) -> Result<Answers, Stop> {
    let mut answers = std::mem::take(&mut run.scratch.answers);
    answers.list.clear();
    answers.dropped.clear();
    answers.dropped.resize(asked.len(), false);
    if asked.is_empty() {
        return Ok(answers);
    }
    write_frame(run, node, kind, ahead, asked, group_of)?;
    let start = run.batch.arena.len();
    run.scratch.places.clear();
    let connected = node.stores.iter().chain(&node.globals);
    run.scratch.places.extend(connected.filter_map(|number| run.stores.place(*number as u32)));
    run.stores.enter(&run.scratch.places, asked.iter().map(|element| element.timestamp));
    run.stores.date_until(Latest { now: run.now, ahead_max_ms: run.plan.entries_ahead_max_ms(node) });
    let called = run.functions.call(node.number, &run.scratch.frame, run.stores, &mut run.batch.arena);
    run.stores.leave();
    called.map_err(|fault| Stop::Fault { node: node.name.clone(), fault })?;
    run.check_arena(node, &asked[0])?;
    let limits = match ahead {
        Ahead::Chain(links) => run.limits.of_chain(links.multiplying),
        Ahead::Nothing | Ahead::Groups(_) => run.limits,
    };
    read_frame(run, node, start, asked, limits, &mut answers)?;
    if kind != Kind::Punctuation && run.scratch.token.is_some() {
        return Err(process::bad(node, "`again` where no punctuation was fired"));
    }
    Ok(answers)
}

fn write_frame(
    run: &mut Run<'_>,
    node: &Node,
    kind: Kind,
    ahead: Ahead<'_>,
    asked: &[Element],
    group_of: &dyn Fn(usize) -> u32,
) -> Result<(), Stop> {
    let (scratch, batch, limits) = (&mut run.scratch.frame, &run.batch, run.limits);
    scratch.clear();
    let mut frame = frame::Writer::new(scratch, kind);
    for context in &batch.contexts {
        // The node is part of the seed: two nodes do not draw the same numbers for one record.
        let seed = mix(context.seed ^ mix(u64::from(node.number) + 1));
        frame.context(&frame::Context { seed, ..*context });
    }
    match ahead {
        Ahead::Nothing => {}
        Ahead::Groups(groups) => {
            groups.iter().for_each(|group| frame.group(group.key.bytes(&batch.arena), group.aggregate.of(&batch.arena)))
        }
        Ahead::Chain(links) => {
            frame.chain(limits.outputs, limits.output_bytes as u64);
            links.numbers.iter().for_each(|number| frame.link(*number));
        }
    }
    for (at, element) in asked.iter().enumerate() {
        frame.element(&frame::Element {
            context: element.context,
            input: element.input,
            group: group_of(at),
            timestamp: element.timestamp,
            key: element.key.of(&batch.arena),
            value: element.value.of(&batch.arena),
            headers: Headers(element.headers.bytes(&batch.arena)),
        });
        if frame.bytes() > FRAME_BYTES_MAX {
            let message = format!("more than {FRAME_BYTES_MAX} bytes for one call of the guest");
            return Err(Stop::rejected(node, element, message));
        }
    }
    frame.finish();
    Ok(())
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): spreads every bit of the input over all of the output.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn read_frame(
    run: &mut Run<'_>,
    node: &Node,
    start: usize,
    asked: &[Element],
    limits: Limits,
    answers: &mut Answers,
) -> Result<(), Stop> {
    let bad = |what: String| Stop::Fault { node: node.name.clone(), fault: Fault::guest(FaultKind::BadFrame, what) };
    let answer = &run.batch.arena[start..];
    let mut frame = ResultFrame::parse(answer, asked.len() as u32).map_err(|e| bad(e.0))?;
    answers.list.reserve((frame.elements() as usize).min(answer.len() / frame::ELEMENT_LEN));
    let mut budget = Budget::new(limits);
    while let Some(result) = frame.next_element().map_err(|e| bad(e.0))? {
        let answer = resolve(run, asked, &result);
        budget.spend(&answer).map_err(bad)?;
        answers.list.push(answer);
    }
    let outcomes = frame.outcomes().map_err(|e| bad(e.0))?;
    judge(run, node, asked, outcomes, &mut answers.dropped)
}

/// What is left of the limits for the element that is being answered. Counted by element, so that a batch and a
/// replay judge alike.
struct Budget {
    limits: Limits,
    asked: usize,
    outputs: u32,
    bytes: usize,
}

impl Budget {
    fn new(limits: Limits) -> Budget {
        Budget { limits, asked: 0, outputs: 0, bytes: 0 }
    }

    /// Counts what the result carries on from here, its own bytes or the element's: a guest that says `Same` a thousand
    /// times has made a thousand records.
    fn spend(&mut self, answer: &Answer) -> Result<(), String> {
        if answer.asked != self.asked {
            *self = Budget { asked: answer.asked, ..Budget::new(self.limits) };
        }
        let Element { key, value, headers, .. } = answer.element;
        self.outputs += 1;
        self.bytes += key.len() + value.len() + headers.len();
        if self.outputs > self.limits.outputs {
            return Err(format!("more than {} results for one record ([limits] outputs)", self.limits.outputs));
        }
        if self.bytes > self.limits.output_bytes {
            return Err(format!("more than {} bytes for one record ([limits] output_bytes)", self.limits.output_bytes));
        }
        Ok(())
    }
}

fn resolve(run: &Run<'_>, asked: &[Element], result: &ResultElement<'_>) -> Answer {
    let from = &asked[result.input as usize];
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
fn judge(
    run: &mut Run<'_>,
    node: &Node,
    asked: &[Element],
    outcomes: Vec<Outcome>,
    dropped: &mut [bool],
) -> Result<(), Stop> {
    for outcome in outcomes {
        if outcome.kind == OutcomeKind::Drop {
            dropped[outcome.element as usize] = true;
            run.dropped.by_guest += 1;
            continue;
        }
        if outcome.kind == OutcomeKind::Commit {
            run.scratch.commit = true;
            continue;
        }
        if matches!(outcome.kind, OutcomeKind::Schedule | OutcomeKind::Cancel) {
            schedule::ask(run, node, asked[outcome.element as usize].context, &outcome)?;
            continue;
        }
        if outcome.kind == OutcomeKind::Again {
            process::ask_again(run, node, outcome.message)?;
            continue;
        }
        return Err(Stop::Rejected(Rejection {
            context: asked[outcome.element as usize].context,
            node: node.name.clone(),
            kind: outcome.kind,
            message: outcome.text(),
        }));
    }
    Ok(())
}
