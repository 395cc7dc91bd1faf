//! One partition of a changelog, read outside of its application.

use std::time::{Duration, Instant};

use millstream_engine::error::Problem;
use millstream_engine::record::Records;

use super::Result;
use crate::log::{self, Fetched, Isolation, Log, Offsets};

const POLL: Duration = Duration::from_millis(100);

/// How long a partition that has more may say nothing: longer than a leader's election takes.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What an application has committed of an input, where it is to be read from then on; 0: nothing.
pub fn committed(log: &dyn Log, application: &str, topic: &str, partition: i32) -> Result<i64> {
    let committed = log.committed(application, &[(topic.to_owned(), partition)])?;
    Ok(committed.into_iter().flatten().next().map_or(0, |committed| committed.offset))
}

/// Hands on what is committed below the end that the partition has now, or below `below`, from `from` or its beginning on,
/// and answers that end. One that does not exist has no records and ends at 0.
pub fn read(
    log: &dyn Log,
    topic: &str,
    partition: i32,
    (from, below): (Option<i64>, Option<i64>),
    each: &mut dyn FnMut(&Records) -> std::result::Result<(), Problem>,
) -> Result<i64> {
    let exists = log.describe(&[topic])?.into_iter().flatten().any(|topic| partition < topic.partitions);
    if !exists {
        return Ok(0);
    }
    let Offsets { begin, end } = log.offsets(topic, partition)?;
    let end = below.map_or(end, |below| below.min(end));
    let mut reader = log.reader(Isolation::Committed)?;
    let mut position = from.unwrap_or(begin).max(begin);
    reader.assign(&[(topic.to_owned(), partition, position)])?;
    let (mut fetched, mut heard) = (Vec::new(), Instant::now());
    while position < end {
        if heard.elapsed() > SILENCE_MAX {
            let (what, why) =
                (format!("partition {partition} of {topic}"), format!("nothing came for {SILENCE_MAX:?}"));
            return Err(log::Error::unreachable(what, why).into());
        }
        reader.poll(POLL, &mut fetched)?;
        if !fetched.is_empty() {
            heard = Instant::now();
        }
        for part in fetched.drain(..) {
            match part {
                // Below a bound there are always those behind it.
                Fetched::Records { mut records, .. } => {
                    if below.is_some() && records.truncate_at(end) {
                        position = end;
                    }
                    each(&records)?;
                }
                Fetched::End { offset, .. } => position = offset,
                Fetched::Truncated { topic, partition, offset } => {
                    return Err(log::Error::Truncated { topic, partition, offset }.into());
                }
            }
        }
    }
    Ok(end)
}
