//! Where a sink's records go, where the guest says it: to which of its topics, and to which partition there.

use super::batch::{Element, Emitted};
use super::call::{self, Group};
use super::run::{Run, Stop};
use super::stateless::one_each;
use crate::record::{Span, push};
use crate::topology::Node;

/// The guest is told how many partitions each topic has. A topic or a partition that is not there fails the record.
pub(super) fn route(run: &mut Run<'_>, node: &Node, inputs: &[Element], out: &mut Vec<Emitted>) -> Result<(), Stop> {
    let (plan, mut topics) = (run.plan, Vec::with_capacity(node.children.len()));
    for child in &node.children {
        let partitions = plan.topic_of(child.node).map_or(0, |topic| plan.topics[topic.0 as usize].partitions);
        let bytes = push(&mut run.batch.arena, Some(&partitions.to_be_bytes()));
        topics.push((partitions, Group { key: Span::EMPTY, aggregate: bytes }));
    }
    let groups: Vec<Group> = topics.iter().map(|(_, group)| *group).collect();
    let mut answers = call::route(run, node, &groups, inputs)?;
    for answer in one_each(node, &mut answers)?.flatten() {
        let (from, chosen) = (&inputs[answer.asked], answer.element.value);
        let Some((partitions, _)) = topics.get(usize::from(answer.target)) else {
            let message = format!("topic number {} of a sink that has {}", answer.target, topics.len());
            return Err(Stop::rejected(node, from, message));
        };
        check_partition(run, node, from, chosen, *partitions)?;
        out.push(Emitted { element: Element { old: chosen, ..*from }, target: answer.target });
    }
    run.scratch.answers = answers;
    Ok(())
}

/// The partition that was chosen for an element, big-endian; `None`: it goes by its key.
pub(super) fn chosen_partition(run: &Run<'_>, chosen: Span) -> Option<i32> {
    let bytes = chosen.of(&run.batch.arena)?;
    Some(bytes.try_into().map_or(-1, i32::from_be_bytes))
}

pub(super) fn check_partition(
    run: &Run<'_>,
    node: &Node,
    element: &Element,
    chosen: Span,
    partitions: i32,
) -> Result<Option<i32>, Stop> {
    match chosen_partition(run, chosen) {
        Some(partition) if !(0..partitions).contains(&partition) => {
            let message = format!("partition {partition} of a topic that has {partitions}");
            Err(Stop::rejected(node, element, message))
        }
        partition => Ok(partition),
    }
}
