//! When `--until-end` is over: by what the group has committed, so that it holds for several threads and processes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use millstream_engine::error::Problem;
use millstream_engine::metadata::Metadata;
use millstream_engine::topology::{Operator, Plan};

use crate::log::Log;

type Ends = BTreeMap<(String, i32), i64>;

/// What must be committed before the end.
pub struct Targets {
    /// The ends that the inputs from outside had when the application started.
    external: Ends,
    /// What the group had committed of all inputs when the application started, as one sum.
    pub committed: i64,
    /// The ends of all inputs when they were last found committed.
    last: RefCell<Option<Ends>>,
}

impl Targets {
    pub fn now(log: &dyn Log, plan: &Plan) -> Result<Targets, Problem> {
        let mut external = Ends::new();
        let all: Vec<_> = inputs(plan).into_iter().map(|(topic, partition, _)| (topic, partition)).collect();
        let committed = log.committed(&plan.application, &all)?.into_iter().flatten().map(|at| at.offset).sum();
        for (topic, partition, internal) in inputs(plan) {
            if !internal {
                let end = log.offsets(&topic, partition)?.end;
                external.insert((topic, partition), end);
            }
        }
        Ok(Targets { external, committed, last: RefCell::new(None) })
    }

    /// Everything is committed, and was already when it was asked the last time: between the two, nothing that one
    /// subtopology fed another was still on its way.
    pub fn are_reached(&self, log: &dyn Log, plan: &Plan) -> Result<bool, Problem> {
        let ends = self.committed_ends(log, plan)?;
        let twice = ends.is_some() && *self.last.borrow() == ends;
        *self.last.borrow_mut() = ends;
        Ok(twice)
    }

    /// The ends up to which all inputs are committed; `None` while one is not, and while a punctuation goes on.
    fn committed_ends(&self, log: &dyn Log, plan: &Plan) -> Result<Option<Ends>, Problem> {
        let mut ends = Ends::new();
        let inputs = inputs(plan);
        let places: Vec<_> = inputs.iter().map(|(topic, partition, _)| (topic.clone(), *partition)).collect();
        let committed = log.committed(&plan.application, &places)?;
        for ((at, (_, _, internal)), committed) in places.into_iter().zip(&inputs).zip(committed) {
            let Some(committed) = committed else { return Ok(None) };
            let end = match self.external.get(&at) {
                Some(end) if !internal => *end,
                _ => log.offsets(&at.0, at.1)?.end,
            };
            // The last record's punctuation may go on for longer than there are records.
            let punctuates = Metadata::decode(&committed.metadata).is_some_and(|found| found.is_punctuating());
            if committed.offset < end || punctuates {
                return Ok(None);
            }
            ends.insert(at, end);
        }
        Ok(Some(ends))
    }
}

/// All inputs of all tasks, external ones first: topic, partition, whether the application itself feeds it.
fn inputs(plan: &Plan) -> Vec<(String, i32, bool)> {
    let mut inputs = Vec::new();
    for subtopology in &plan.subtopologies {
        for (source, topic, partitions) in plan.inputs(subtopology) {
            let name = &plan.topics[topic.0 as usize].name;
            let internal = plan.nodes[source].operator == Operator::RepartitionSource;
            inputs.extend((0..partitions).map(|partition| (name.clone(), partition, internal)));
        }
    }
    inputs.sort_by_key(|(_, _, internal)| *internal);
    inputs
}
