//! Records on their way out: to a sink's topic or to a repartition topic.

use super::batch::Element;
use super::run::{Run, Stop};
use crate::partitioner;
use crate::record::TopicPartition;
use crate::topology::Operator;

/// Bytes that one batch may send: they are held until the commit, and a batch is not cut in the middle. A batch beyond it
/// is replayed record by record; a record beyond it fails.
const SENT_BYTES_MAX: usize = 128 << 20;

/// The partition is that of Java's default partitioner: murmur2 of the key. Without a key it is drawn from the record's
/// own seed, so that a replay sends it to the same one. A repartition drops null keys silently (semantics.md B21).
pub(super) fn send(run: &mut Run<'_>, at: usize, inputs: &[Element]) -> Result<(), Stop> {
    let Some(topic) = run.plan.topic_of(at) else { return Ok(()) };
    let plan = &run.plan.topics[topic.0 as usize];
    let partitions = plan.partitions;
    let contested = run.subtopology.contested.contains(&topic);
    for element in inputs {
        let partition = match element.key.of(&run.batch.arena) {
            Some(key) => partitioner::partition(key, partitions),
            None if run.plan.nodes[at].operator == Operator::Repartition => continue,
            None => (run.batch.contexts[element.context as usize].seed % partitions.max(1) as u64) as i32,
        };
        let record = run.batch.record(element);
        let bytes = record.bytes();
        if bytes > plan.record_bytes_max {
            let message =
                format!("a record of {bytes} bytes for topic {}, which takes {}", plan.name, plan.record_bytes_max);
            return Err(Stop::too_large(&run.plan.nodes[at], element, message));
        }
        run.scratch.sent_bytes += bytes;
        if run.scratch.sent_bytes > SENT_BYTES_MAX {
            let message = format!("more than {SENT_BYTES_MAX} bytes sent for one record");
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
