//! Several stateless nodes in one call: each takes what the one before it gave, and the host is told of the last one's.

use crate::answer::{Answer, Written};
use crate::call::{Call, Function};
use crate::frame::{Chain, Element, Frame, Kind, Origin};

/// What a node makes of the records it says nothing new about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// Goes on for which the function answered an element.
    Named,
    /// Goes on for which it answered none: `filter-not`.
    Unnamed,
    /// All go on: `peek`.
    All,
    /// Nothing but what the function made.
    Nothing,
}

impl Passing {
    pub(crate) fn of(op: &str) -> Option<Passing> {
        match op {
            "filter" => Some(Passing::Named),
            "filter-not" => Some(Passing::Unnamed),
            "peek" => Some(Passing::All),
            "map" | "map-values" | "flat-map" | "flat-map-values" | "select-key" => Some(Passing::Nothing),
            _ => None,
        }
    }
}

/// An element between two nodes.
#[derive(Clone, Copy)]
struct Passed<'a> {
    element: Element<'a>,
    /// Which of the elements that the host sent it comes from, and what of it is still that one's own.
    from: u32,
    has: Own,
}

#[derive(Clone, Copy)]
struct Own {
    key: bool,
    value: bool,
    headers: bool,
}

/// Runs the frame's elements through its nodes. Err fails the whole call.
pub(crate) fn run(
    functions: &mut [Option<Function>],
    passing: &[Option<Passing>],
    mut frame: Frame<'_>,
    answer: &mut Answer,
) -> Result<(), String> {
    let chain = std::mem::take(&mut frame.chain);
    let links = chain.nodes.iter().map(|node| {
        let passing = passing.get(*node as usize).copied().flatten();
        passing.map(|passing| (*node as usize, passing)).ok_or_else(|| format!("node {node} is not one of a chain"))
    });
    let links: Vec<(usize, Passing)> = links.collect::<Result<_, String>>()?;
    let all = Own { key: true, value: true, headers: true };
    let elements = frame.elements.iter().enumerate();
    let passed: Vec<Passed<'_>> =
        elements.map(|(from, element)| Passed { element: *element, from: from as u32, has: all }).collect();
    link(functions, &links, &chain, frame.contexts, &passed, answer)
}

/// The first of the links, and the others behind it. What a node makes lives as long as those behind it run.
fn link(
    functions: &mut [Option<Function>],
    links: &[(usize, Passing)],
    limits: &Chain,
    contexts: Vec<Origin>,
    passed: &[Passed<'_>],
    answer: &mut Answer,
) -> Result<(), String> {
    let Some(((node, passing), behind)) = links.split_first() else {
        passed.iter().for_each(|passed| answer.raw(&passed.written()));
        return Ok(());
    };
    let Some(Some(function)) = functions.get_mut(*node) else {
        return Err(format!("node {node} has no function in this plugin"));
    };
    let elements: Vec<Element<'_>> = passed.iter().map(|passed| passed.element).collect();
    let bytes = elements.iter().map(Element::len).sum();
    let frame = Frame { kind: Kind::Records, contexts, groups: Vec::new(), chain: Chain::default(), elements };
    let mut call = Call { frame, answer: Answer::new(bytes) };
    function(&mut call).map_err(|failure| failure.message)?;
    let Call { frame, answer: made } = call;
    check_limits(limits, passed, &made)?;
    let mut dropped = vec![false; passed.len()];
    for (element, undoes, outcome) in made.outcomes() {
        let from = passed[element as usize].from;
        if undoes {
            // The host undoes the batch: nothing else that was made of it counts.
            answer.clear();
            answer.raw_outcome(from, outcome);
            return Ok(());
        }
        answer.raw_outcome(from, outcome);
        dropped[element as usize] = true;
    }
    let given = give(*passing, passed, &made, &dropped);
    link(functions, behind, limits, frame.contexts, &given, answer)
}

/// The limits that the host holds each node to when it is asked by itself: what goes beyond them here fails the call, and
/// the host asks again one by one to find whose fault it is.
fn check_limits(limits: &Chain, passed: &[Passed<'_>], made: &Answer) -> Result<(), String> {
    let (mut from, mut outputs, mut bytes) = (None, 0, 0);
    for written in made.written() {
        if from.replace(written.from) != Some(written.from) {
            (outputs, bytes) = (0, 0);
        }
        outputs += 1;
        bytes += passed[written.from as usize].changed(&written).element.carries() as u64;
        if outputs > limits.outputs || bytes > limits.output_bytes {
            return Err("a node of the chain gives more for one record than its limits".to_owned());
        }
    }
    Ok(())
}

/// What goes on behind a node.
fn give<'a>(passing: Passing, passed: &[Passed<'a>], made: &'a Answer, dropped: &[bool]) -> Vec<Passed<'a>> {
    if passing == Passing::Nothing {
        return made.written().map(|written| passed[written.from as usize].changed(&written)).collect();
    }
    let mut named = vec![false; passed.len()];
    made.written().for_each(|written| named[written.from as usize] = true);
    let goes = |at: usize| match passing {
        Passing::Named => named[at],
        Passing::Unnamed => !named[at],
        Passing::All | Passing::Nothing => true,
    };
    (0..passed.len()).filter(|at| !dropped[*at] && goes(*at)).map(|at| passed[at]).collect()
}

impl<'a> Passed<'a> {
    fn changed(&self, written: &Written<'a>) -> Passed<'a> {
        let Passed { element, from, has } = *self;
        Passed {
            element: Element {
                // Of what comes from the node in front, there is only one.
                input: 0,
                timestamp: written.timestamp,
                key: written.key.unwrap_or(element.key),
                value: written.value.unwrap_or(element.value),
                headers: written.headers.unwrap_or(element.headers),
                ..element
            },
            from,
            has: Own {
                key: has.key && written.key.is_none(),
                value: has.value && written.value.is_none(),
                headers: has.headers && written.headers.is_none(),
            },
        }
    }

    fn written(&self) -> Written<'a> {
        let Passed { element, from, has } = *self;
        Written {
            from,
            timestamp: element.timestamp,
            key: (!has.key).then_some(element.key),
            value: (!has.value).then_some(element.value),
            headers: (!has.headers).then_some(element.headers),
        }
    }
}
