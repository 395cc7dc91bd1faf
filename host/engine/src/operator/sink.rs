//! Records on their way out: to a sink's topic or to a repartition topic.

use super::batch::Element;
use super::run::{Run, Stop};
use crate::partitioner;
use crate::record::TopicPartition;
use crate::topology::Operator;

/// What librdkafka sends and a broker takes by default (`message.max.bytes`), less the record's own frame.
const RECORD_BYTES_MAX: usize = 1_000_000 - 1_024;

/// The partition is that of Java's default partitioner: murmur2 of the key. Without a key it is drawn from the record's
/// own seed, so that a replay sends it to the same one. A repartition drops null keys silently (semantics.md B21).
pub(super) fn send(run: &mut Run<'_>, at: usize, inputs: &[Element]) -> Result<(), Stop> {
    let Some(topic) = run.plan.topic_of(at) else { return Ok(()) };
    let partitions = run.plan.topics[topic.0 as usize].partitions;
    let contested = run.subtopology.contested.contains(&topic);
    for element in inputs {
        let partition = match element.key.of(&run.batch.arena) {
            Some(key) => partitioner::partition(key, partitions),
            None if run.plan.nodes[at].operator == Operator::Repartition => continue,
            None => (run.batch.contexts[element.context as usize].seed % partitions.max(1) as u64) as i32,
        };
        let record = run.batch.record(element);
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + record.headers.0.len();
        if bytes > RECORD_BYTES_MAX {
            let message = format!(
                "a record of {bytes} bytes for topic {}; a broker takes {RECORD_BYTES_MAX}",
                run.plan.topics[topic.0 as usize].name
            );
            return Err(Stop::too_large(&run.plan.nodes[at], element, message));
        }
        let to = TopicPartition { topic, partition };
        if contested {
            run.contest(to, *element);
        } else {
            run.outgoing.push(to, record);
        }
    }
    Ok(())
}
