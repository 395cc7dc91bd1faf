//! Records on their way out: to a sink's topic or to a repartition topic.

use super::batch::Element;
use super::run::Run;
use crate::partitioner;
use crate::record::TopicPartition;
use crate::topology::Operator;

/// The partition is that of Java's default partitioner: murmur2 of the key. Without a key it is drawn from the record's
/// own seed, so that a replay sends it to the same one. A repartition drops null keys silently (semantics.md B21).
pub(super) fn send(run: &mut Run<'_>, at: usize, inputs: &[Element]) {
    let Some(topic) = run.plan.topic_of(at) else { return };
    let partitions = run.plan.topics[topic.0 as usize].partitions;
    let contested = run.subtopology.contested.contains(&topic);
    for element in inputs {
        let partition = match element.key.of(&run.batch.arena) {
            Some(key) => partitioner::partition(key, partitions),
            None if run.plan.nodes[at].operator == Operator::Repartition => continue,
            None => (run.batch.contexts[element.context as usize].seed % partitions.max(1) as u64) as i32,
        };
        let to = TopicPartition { topic, partition };
        if contested {
            run.contest(to, *element);
        } else {
            run.outgoing.push(to, run.batch.record(element));
        }
    }
}
