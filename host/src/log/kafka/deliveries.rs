//! What became of the records that were sent: kept by the producer's callback, taken by whoever waits.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use millstream_engine::record::{TopicId, TopicPartition};
use rdkafka::error::RDKafkaErrorCode;

use super::exactly_once::is_fenced;
use super::native::Failure;
use super::refused::is_about_a_record;
use super::rights::is_about_rights;

/// What travels with a record through librdkafka and comes back with its report, in the bits of a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(usize);

const CHANGELOG: usize = 1;
const TIMESTAMP_ZERO: usize = 2;
const TOPIC_SHIFT: u32 = 2;

impl Tag {
    pub fn new(topic: TopicId, changelog: bool) -> Tag {
        Tag((topic.0 as usize) << TOPIC_SHIFT | if changelog { CHANGELOG } else { 0 })
    }

    /// The record's timestamp is 0, which librdkafka would take for "now".
    pub fn with_timestamp_zero(self) -> Tag {
        Tag(self.0 | TIMESTAMP_ZERO)
    }

    pub fn has_timestamp_zero(self) -> bool {
        self.0 & TIMESTAMP_ZERO != 0
    }

    pub fn from_bits(bits: usize) -> Tag {
        Tag(bits)
    }

    pub fn bits(self) -> usize {
        self.0
    }

    fn is_changelog(self) -> bool {
        self.0 & CHANGELOG != 0
    }

    fn topic(self) -> TopicId {
        TopicId((self.0 >> TOPIC_SHIFT) as u32)
    }
}

/// Of all records since the last [`Deliveries::take`].
#[derive(Debug, Default)]
pub struct Delivered {
    /// The first record that did not arrive.
    pub failure: Option<Failure>,
    /// The offset of the last record of each changelog partition.
    pub positions: BTreeMap<TopicPartition, i64>,
}

#[derive(Debug, Default)]
pub struct Deliveries(Mutex<Delivered>);

impl Deliveries {
    /// One report. `offset` is negative when the log did not say: the record was there already (a duplicate).
    pub fn report(&self, tag: Tag, partition: i32, offset: i64) {
        if tag.is_changelog() {
            let to = TopicPartition { topic: tag.topic(), partition };
            let positions = &mut self.lock().positions;
            if offset < 0 {
                positions.remove(&to)
            } else {
                positions.insert(to, offset)
            };
        }
    }

    pub fn fail(&self, failure: Failure) {
        let kept = &mut self.lock().failure;
        // What never passes counts more than what passes, such as a purge behind it. Of a batch that is refused for one
        // of its records all others say no more than that.
        let is_final = |code| is_about_rights(code) || is_fenced(code) || is_about_a_record(code);
        let says_more = |kept: &Failure| {
            is_about_a_record(failure.code)
                && (kept.code == RDKafkaErrorCode::InvalidDifferentRecord || !is_final(kept.code))
        };
        if kept.as_ref().is_none_or(says_more) {
            *kept = Some(failure);
        }
    }

    pub fn take(&self) -> Delivered {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Delivered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The failure of one record's delivery, with the place it was meant for.
pub fn undelivered(code: RDKafkaErrorCode, topic: &str, partition: i32, why: &str) -> Failure {
    Failure::new(code, format!("a record for partition {partition} of topic {topic}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_of_the_last_changelog_record_and_leave_out_what_is_not_known() {
        let deliveries = Deliveries::default();
        let (changelog, sink) = (Tag::new(TopicId(7), true), Tag::new(TopicId(7), false));
        deliveries.report(changelog, 0, 4);
        deliveries.report(changelog.with_timestamp_zero(), 0, 5);
        deliveries.report(sink, 0, 99);
        deliveries.report(changelog, 1, 8);
        deliveries.report(changelog, 1, -1);
        let positions = deliveries.take().positions;
        assert_eq!(positions, [(TopicPartition { topic: TopicId(7), partition: 0 }, 5)].into());
        assert!(deliveries.take().positions.is_empty(), "taken once");
    }

    #[test]
    fn the_first_failure_is_kept() {
        let deliveries = Deliveries::default();
        deliveries.fail(undelivered(RDKafkaErrorCode::MessageSizeTooLarge, "t", 3, "too large"));
        deliveries.fail(undelivered(RDKafkaErrorCode::PurgeQueue, "t", 3, "purged"));
        let why = deliveries.take().failure.map(|failure| failure.why);
        assert_eq!(why.as_deref(), Some("a record for partition 3 of topic t: too large"));
    }

    #[test]
    fn of_a_refused_batch_the_record_that_is_to_blame_is_kept() {
        let deliveries = Deliveries::default();
        for (code, why) in [
            (RDKafkaErrorCode::InvalidDifferentRecord, "another one"),
            (RDKafkaErrorCode::PurgeQueue, "purged"),
            (RDKafkaErrorCode::InvalidTimestamp, "too old"),
            (RDKafkaErrorCode::InvalidDifferentRecord, "another one"),
        ] {
            deliveries.fail(undelivered(code, "t", 3, why));
        }
        assert_eq!(deliveries.take().failure.map(|failure| failure.code), Some(RDKafkaErrorCode::InvalidTimestamp));
    }

    /// The failure that is kept of these.
    fn kept(codes: &[RDKafkaErrorCode]) -> Option<RDKafkaErrorCode> {
        let deliveries = Deliveries::default();
        codes.iter().for_each(|code| deliveries.fail(undelivered(*code, "t", 3, "not there")));
        deliveries.take().failure.map(|failure| failure.code)
    }

    #[test]
    fn a_refused_record_is_kept_where_a_purge_is_reported_first() {
        use RDKafkaErrorCode as Code;
        for purge in [Code::PurgeQueue, Code::PurgeInflight] {
            assert_eq!(kept(&[purge, Code::InvalidTimestamp, purge]), Some(Code::InvalidTimestamp));
        }
        assert_eq!(
            kept(&[Code::PurgeQueue, Code::InvalidDifferentRecord, Code::InvalidRecord]),
            Some(Code::InvalidRecord)
        );
    }

    #[test]
    fn a_missing_right_and_a_newer_producer_are_kept_before_a_refused_record() {
        use RDKafkaErrorCode as Code;
        for first in [Code::TopicAuthorizationFailed, Code::ProducerFenced] {
            assert_eq!(kept(&[first, Code::InvalidTimestamp]), Some(first));
        }
    }
}
