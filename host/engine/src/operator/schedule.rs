//! Schedules that a processor makes and ends while it runs.

use super::run::{Rejection, Run, Stop};
use crate::frame::{Outcome, OutcomeKind};
use crate::functions::{Fault, FaultKind};
use crate::metadata::{SCHEDULE_NAME_BYTES_MAX, SCHEDULES_MAX};
use crate::topology::{Node, PunctuationTime};

/// What a guest asks of its task's schedules. It happens with everything else that its record does, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRequest {
    /// Which record of the batch asked.
    pub context: u32,
    /// Place of the node in the plan.
    pub node: usize,
    pub name: String,
    /// Which clock, and how many ms; `None`: the schedule ends.
    pub every: Option<(PunctuationTime, i64)>,
}

impl ScheduleRequest {
    /// The task has as many as it may have.
    pub fn refused(&self, node: &Node) -> Stop {
        let message = format!("a task has at most {SCHEDULES_MAX} schedules that it made while it ran");
        let (context, node, kind) = (self.context, node.name.clone(), OutcomeKind::Fail);
        Stop::Rejected(Rejection { context, node, kind, message })
    }
}

/// Whether the task has room for what was asked for, where anything was since there were `before` requests: what is set apart
/// is refused alone for what its task has no room for.
pub(super) fn check_room(run: &Run<'_>, before: usize) -> Result<(), Stop> {
    let requests = &run.scratch.schedules;
    let Some(apart) = run.scratch.apart.as_ref().filter(|_| requests.len() > before) else { return Ok(()) };
    let mut known: Vec<(usize, &str)> = apart.scheduled.iter().map(|(node, name)| (*node, name.as_str())).collect();
    for request in requests {
        let of = (request.node, request.name.as_str());
        known.retain(|other| *other != of);
        if request.every.is_none() {
            continue;
        }
        if known.len() >= SCHEDULES_MAX {
            return Err(request.refused(&run.plan.nodes[request.node]));
        }
        known.push(of);
    }
    Ok(())
}

/// Keeps a request until the batch is through.
pub(super) fn ask(run: &mut Run<'_>, node: &Node, context: u32, outcome: &Outcome) -> Result<(), Stop> {
    let bad = |what: &str| Stop::Fault { node: node.name.clone(), fault: Fault::guest(FaultKind::BadFrame, what) };
    let place = run.plan.nodes.iter().position(|known| std::ptr::eq(known, node)).filter(|_| node.schedules);
    let Some(place) = place else { return Err(bad("a schedule of a node that has not said that it makes any")) };
    let text = outcome.text();
    let (every, name) = match outcome.kind {
        OutcomeKind::Schedule => {
            let parsed = parse(&text).ok_or_else(|| bad("a schedule is `stream MS NAME` or `wall-clock MS NAME`"))?;
            (Some(parsed.0), parsed.1)
        }
        _ => (None, text.as_str()),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > SCHEDULE_NAME_BYTES_MAX || !name.chars().all(legal) {
        return Err(bad("the name of a schedule is 1 to 40 letters, digits, `.`, `_` and `-`"));
    }
    run.scratch.schedules.push(ScheduleRequest { context, node: place, name: name.to_owned(), every });
    Ok(())
}

fn parse(text: &str) -> Option<((PunctuationTime, i64), &str)> {
    let mut parts = text.splitn(3, ' ');
    let time = match parts.next()? {
        "stream" => PunctuationTime::Stream,
        "wall-clock" => PunctuationTime::WallClock,
        _ => return None,
    };
    let every_ms: i64 = parts.next()?.parse().ok().filter(|every| *every >= 1)?;
    Some(((time, every_ms), parts.next()?))
}
