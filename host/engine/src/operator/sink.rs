//! Records on their way out: to a sink's topic or to a repartition topic.

use super::batch::Element;
use super::route::check_partition;
use super::run::{Run, Stop};
use crate::changelog::SESSION_SUFFIX_LEN;
use crate::partitioner;
use crate::record::{Span, TopicPartition};
use crate::topology::{Node, Operator};

/// Bytes that one batch may send: they are held until the commit, and a batch is not cut in the middle. A batch beyond it
/// is replayed record by record; a record beyond it fails.
pub(super) const SENT_BYTES_MAX: usize = 128 << 20;

/// Bytes of a window's start.
const START_LEN: usize = 8;

/// The partition is that of Java's default partitioner: murmur2 of the key. Without a key it is drawn from the record's
/// own seed, so that a replay sends it to the same one. A repartition drops null keys silently (semantics.md B21), unless a
/// join behind it keeps them. An
/// answer of a foreign-key join goes to the partition that asked, and what has a partition chosen for it goes there.
pub(super) fn send(run: &mut Run<'_>, at: usize, inputs: &[Element]) -> Result<(), Stop> {
    let Some(topic) = run.plan.topic_of(at) else { return Ok(()) };
    let plan = &run.plan.topics[topic.0 as usize];
    let partitions = plan.partitions;
    let contested = run.subtopology.contested.contains(&topic);
    let windowed = Windowed::of(&run.plan.nodes[at]);
    for element in inputs {
        let (element, inner) = &windowed.written(element);
        let partition = match (run.plan.nodes[at].operator, inner.of(&run.batch.arena)) {
            (Operator::Response, _) => asking(run, at, element, partitions)?,
            (Operator::Sink, _) if !element.old.is_null() => {
                check_partition(run, &run.plan.nodes[at], element, element.old, partitions)?.unwrap_or_default()
            }
            (_, Some(key)) => partitioner::partition(key, partitions),
            (Operator::Repartition, None) if !run.plan.nodes[at].keeps_null_keys => continue,
            (_, None) => (run.batch.contexts[element.context as usize].seed % partitions.max(1) as u64) as i32,
        };
        let record = run.batch.record(element);
        let bytes = record.bytes();
        if bytes > plan.record_bytes_max {
            let message =
                format!("a record of {bytes} bytes for topic {}, which takes {}", plan.name, plan.record_bytes_max);
            return Err(Stop::rejected(&run.plan.nodes[at], element, message));
        }
        run.scratch.sent_bytes += bytes;
        if run.scratch.sent_bytes > SENT_BYTES_MAX {
            let message = format!("more than {SENT_BYTES_MAX} bytes sent for one record");
            return Err(Stop::rejected(&run.plan.nodes[at], element, message));
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

/// Keys of windows, as a sink's codec names them. Between nodes those of windows that are equally long are key, start, end,
/// and go to a topic without the end; those of sessions are key, end, start (semantics.md B24).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Windowed {
    No,
    Time,
    Session,
}

impl Windowed {
    fn of(node: &Node) -> Windowed {
        match (node.operator, node.key.as_deref()) {
            (Operator::Sink, Some("time-windowed")) => Windowed::Time,
            (Operator::Sink, Some("session-windowed")) => Windowed::Session,
            _ => Windowed::No,
        }
    }

    /// The element as it is written, and the key by which it finds its partition: all windows of a key are in one.
    fn written(self, element: &Element) -> (Element, Span) {
        let key = element.key;
        match key.len().checked_sub(SESSION_SUFFIX_LEN) {
            Some(inner) if self != Windowed::No && !key.is_null() => {
                let first = |len: usize| if len == 0 { Span::EMPTY } else { Span::new(key.start(), len) };
                let written = if self == Windowed::Time { first(inner + START_LEN) } else { key };
                (Element { key: written, ..*element }, first(inner))
            }
            _ => (*element, key),
        }
    }
}

/// The partition that a subscription names.
fn asking(run: &Run<'_>, at: usize, element: &Element, partitions: i32) -> Result<i32, Stop> {
    let named = element.old.bytes(&run.batch.arena).try_into().map(i32::from_be_bytes);
    named.ok().filter(|partition| (0..partitions).contains(partition)).ok_or_else(|| {
        Stop::malformed(&run.plan.nodes[at], element, "a subscription names a partition that its topic does not have")
    })
}
