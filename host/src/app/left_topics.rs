//! Topics between an application's subtopologies that it does not read any more, because an operator was put in front or
//! something is called otherwise now (semantics.md B21). What is in them and was not read is lost: the offsets of the sources
//! that it was made of are past it, so nobody makes it again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use millstream_engine::error::{Problem, exit};
use millstream_engine::topology::{Blueprint, Operator};
use serde::Serialize;

use crate::log::{self, Fetched, Isolation, Log, Offsets};

const POLL: Duration = Duration::from_millis(100);

/// How long a look for records may take. It ends at the first one of each partition, and what is below that are marks of
/// transactions; a dead owner's open one is aborted within its `transaction.timeout.ms`, 10 s.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What the names of the topics between subtopologies end with.
const ENDS: [&str; 3] = ["-repartition", "-subscription-registration-topic", "-subscription-response-topic"];

/// A partition with records that the application has not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    topic: String,
    partition: i32,
    /// `None`: it has read nothing of it.
    committed: Option<i64>,
    end: i64,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let committed = self.committed.map_or("none".to_owned(), |offset| offset.to_string());
        write!(f, "{} partition {}: committed {committed}, end {}", self.topic, self.partition, self.end)
    }
}

/// The topics that are left, as a start finds them.
#[derive(Debug, Default)]
pub struct Left {
    /// Of each, by partition, the end: what a later start finds behind it came after this one.
    pub ends: BTreeMap<String, Vec<i64>>,
    unread: Vec<Unread>,
}

impl Left {
    /// Looks at those of `topics`, which is all that there are, that the blueprint does not use: at what is on record as the
    /// application's, and, for hosts that recorded none, at those of unnamed operators that it has committed in. `before`: the
    /// ends up to which an earlier start has looked; below them nothing counts.
    pub fn look(
        log: &dyn Log,
        blueprint: &Blueprint,
        recorded: &BTreeSet<String>,
        before: &BTreeMap<String, Vec<i64>>,
        topics: &[String],
    ) -> Result<Left, Problem> {
        let (application, used) = (&blueprint.manifest.id, blueprint.topic_names());
        let is_recorded = |topic: &str| recorded.contains(topic) || before.contains_key(topic);
        let unused = topics.iter().filter(|topic| !used.contains(*topic)).map(String::as_str);
        let names: Vec<&str> = unused.filter(|topic| is_recorded(topic) || is_unnamed(application, topic)).collect();
        let (mut left, mut behind, mut is_under_way) = (Left::default(), Vec::new(), false);
        if names.is_empty() {
            return Ok(left);
        }
        for topic in log.describe(&names)?.into_iter().flatten() {
            let committed = committed(log, application, &topic)?;
            let is_read = committed.iter().any(Option::is_some);
            if !is_read && !is_recorded(&topic.name) {
                continue;
            }
            is_under_way |= is_read;
            let Some(offsets) = offsets(log, &topic)? else { continue };
            let done = before.get(&topic.name).map_or(&[][..], Vec::as_slice);
            for (at, (committed, Offsets { begin, end })) in committed.into_iter().zip(&offsets).enumerate() {
                let from = committed.unwrap_or(*begin).max(*begin).max(done.get(at).copied().unwrap_or(0));
                if from < *end {
                    let unread = Unread { topic: topic.name.clone(), partition: at as i32, committed, end: *end };
                    behind.push((unread, from));
                }
            }
            left.ends.insert(topic.name, offsets.iter().map(|offsets| offsets.end).collect());
        }
        // What has committed nothing anywhere reads its sources again, and makes all of it anew.
        if !behind.is_empty() && (is_under_way || !log.committed_partitions(application)?.is_empty()) {
            left.unread = with_records(log, behind)?;
        }
        Ok(left)
    }

    /// What a start is refused for, with what else there is.
    pub fn refuse(&self, other: Option<Problem>, blueprint: &Blueprint) -> Option<Problem> {
        if self.unread.is_empty() {
            return other;
        }
        let list = self.unread.iter().map(Unread::to_string).collect::<Vec<_>>().join("; ");
        let unread = serde_json::to_value(&self.unread).unwrap_or_default();
        let Some(other) = other else { return Some(self.unread_left(blueprint, &list, unread)) };
        let message = format!("{}; and records in internal topics that it does not read: {list}", other.message);
        let fix = format!("{}; for the records, {RUN_BEFORE}", other.fix);
        Some(Problem { message, fix, ..other }.field("unread", unread))
    }

    fn unread_left(&self, blueprint: &Blueprint, list: &str, unread: serde_json::Value) -> Problem {
        let application = &blueprint.manifest.id;
        let topics: BTreeSet<&str> = self.unread.iter().map(|unread| unread.topic.as_str()).collect();
        let message = format!("{application} has records in internal topics that the component does not read: {list}");
        Problem::new("OrphanedRecords", "E0212", exit::BAD_PLAN, message)
            .field("application", application.as_str())
            .field("orphaned_topics", topics.into_iter().collect::<Vec<_>>())
            .field("unread", unread)
            .field("internal_topics", blueprint.repartition_topics().collect::<Vec<_>>())
            .why(
                "what they were made of is committed as processed, so nobody would read or make them again; the topic of an \
                 unnamed operator is called after its operator and place",
            )
            .fix(format!(
                "{RUN_BEFORE}; or give the operator the name it had, so that its topic keeps its own; or, where the records \
                 may be lost, start once with --allow-orphaned-state"
            ))
    }

    /// Tells what a start that is allowed to gives up.
    pub fn warn(&self) {
        for Unread { topic, partition, committed, end } in &self.unread {
            tracing::warn!(topic, partition, committed, end, "records are left behind that were not read, as allowed");
        }
    }
}

/// The way on which nothing is lost.
const RUN_BEFORE: &str = "run the component before with --until-end, which reads them";

/// What the application has committed of a topic, by partition.
fn committed(log: &dyn Log, application: &str, topic: &log::Topic) -> log::Result<Vec<Option<i64>>> {
    let partitions: Vec<_> = (0..topic.partitions).map(|partition| (topic.name.clone(), partition)).collect();
    let committed = log.committed(application, &partitions)?;
    Ok(committed.into_iter().map(|committed| Some(committed?.offset)).collect())
}

/// By partition; `None`: somebody has just deleted it.
fn offsets(log: &dyn Log, topic: &log::Topic) -> log::Result<Option<Vec<Offsets>>> {
    let offsets: log::Result<Vec<Offsets>> =
        (0..topic.partitions).map(|partition| log.offsets(&topic.name, partition)).collect();
    match offsets {
        Err(log::Error::UnknownTopic(_)) => Ok(None),
        offsets => offsets.map(Some),
    }
}

/// Those of the partitions that have a record from this offset on: below an end there may be nothing but marks of
/// transactions, and what was aborted.
fn with_records(log: &dyn Log, partitions: Vec<(Unread, i64)>) -> log::Result<Vec<Unread>> {
    let mut reader = log.reader(Isolation::Committed)?;
    let place = |unread: &Unread| (unread.topic.clone(), unread.partition);
    let starts = partitions.iter().map(|(unread, from)| (unread.topic.clone(), unread.partition, *from));
    reader.assign(&starts.collect::<Vec<_>>())?;
    let mut open: BTreeMap<(String, i32), (Unread, i64)> =
        partitions.into_iter().map(|(unread, from)| (place(&unread), (unread, from))).collect();
    let (mut found, mut fetched, since) = (Vec::new(), Vec::new(), Instant::now());
    while let Some((unread, _)) = open.values().next() {
        if since.elapsed() > READ_TIMEOUT {
            let why = format!("its end, {}, did not come within {READ_TIMEOUT:?}", unread.end);
            return Err(log::Error::unreachable(format!("topic {} partition {}", unread.topic, unread.partition), why));
        }
        reader.poll(POLL, &mut fetched)?;
        for part in fetched.drain(..) {
            match part {
                Fetched::Records { topic, partition, records } => {
                    let place = (topic, partition);
                    let Some((unread, from)) = open.get(&place) else { continue };
                    if records.iter().any(|(offset, _)| (*from..unread.end).contains(&offset)) {
                        found.extend(open.remove(&place));
                    }
                }
                Fetched::End { topic, partition, offset } => {
                    let place = (topic, partition);
                    if open.get(&place).is_some_and(|(unread, _)| offset >= unread.end) {
                        open.remove(&place);
                    }
                }
                // Somebody runs the application, and deletes what it has read: it is not at its end.
                Fetched::Truncated { topic, partition, .. } => found.extend(open.remove(&(topic, partition))),
            }
        }
    }
    let mut found: Vec<Unread> = found.into_iter().map(|(unread, _)| unread).collect();
    found.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(found)
}

/// Whether it is the topic of an operator that nobody has named, or of such a one's store: `APP-count-store-0-repartition`,
/// `APP-stream-table-join-5-repartition`. One that has a name may be another application's, whose id begins with this one's.
fn is_unnamed(application: &str, topic: &str) -> bool {
    let own = topic.strip_prefix(application).and_then(|rest| rest.strip_prefix('-'));
    let Some(base) = own.and_then(|own| ENDS.iter().find_map(|end| own.strip_suffix(end))) else { return false };
    let base = ["-left", "-right"].iter().find_map(|side| base.strip_suffix(side)).unwrap_or(base);
    // Behind one input of several stands its rank.
    [Some(base), in_front_of_number(base)].into_iter().flatten().any(is_by_place)
}

fn is_by_place(name: &str) -> bool {
    let operator = in_front_of_number(name).map(|name| name.strip_suffix("-store").unwrap_or(name));
    operator.is_some_and(|operator| Operator::parse(operator).is_some())
}

fn in_front_of_number(name: &str) -> Option<&str> {
    let (name, number) = name.rsplit_once('-')?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_topics_of_unnamed_operators_are_known_by_their_names() {
        for (topic, expected) in [
            ("a-count-store-0-repartition", true),
            ("a-cogroup-store-12-1-repartition", true),
            ("a-stream-table-join-5-repartition", true),
            ("a-stream-join-3-left-repartition", true),
            ("a-repartition-4-repartition", true),
            ("a-foreign-key-join-7-subscription-registration-topic", true),
            ("a-foreign-key-join-7-subscription-response-topic", true),
            ("a-by-user-repartition", false),
            ("a-count-store-repartition", false),
            ("a-count-store--repartition", false),
            ("a-count-store-0-changelog", false),
            // Of the application `a-b`.
            ("a-b-count-store-0-repartition", false),
            ("b-count-store-0-repartition", false),
        ] {
            assert_eq!(is_unnamed("a", topic), expected, "{topic}");
        }
    }

    #[test]
    fn what_was_not_read_is_told_with_both_offsets() {
        let unread = |committed| Unread { topic: "t".to_owned(), partition: 1, committed, end: 9 };
        assert_eq!(unread(Some(7)).to_string(), "t partition 1: committed 7, end 9");
        assert_eq!(unread(None).to_string(), "t partition 1: committed none, end 9");
    }
}
