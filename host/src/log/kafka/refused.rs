//! Records that the brokers refuse for what they are, above all for their timestamps. The interval is done again and meets
//! the same, unless somebody sets a clock or a topic's configuration right meanwhile: so it is told after a while, and not
//! tried for ever.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millstream_engine::record::TopicPartition;
use millstream_engine::task::InputOffset;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::native::Failure;
use crate::log::Error;

/// How long the same may be refused.
const PASSING: Duration = Duration::from_secs(30);

/// After so long without another refusal whoever met it is gone: its inputs may be another member's by now.
const FORGOTTEN: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub struct Refused(Option<Refusal>);

/// It goes on until every input of the intervals that failed is committed as far as they would have had it: a thread's
/// tasks share its intervals, and those that have nothing to do with it may commit without the one that has.
#[derive(Debug)]
struct Refusal {
    since: Instant,
    last: Instant,
    behind: BTreeMap<TopicPartition, i64>,
}

impl Refused {
    /// An interval with these inputs is in the log.
    pub fn committed(&mut self, offsets: &[InputOffset]) {
        let Some(refusal) = &mut self.0 else { return };
        for committed in offsets {
            if refusal.behind.get(&committed.input).is_some_and(|failed| committed.offset >= *failed) {
                refusal.behind.remove(&committed.input);
            }
        }
        self.0.take_if(|refusal| refusal.behind.is_empty());
    }

    /// What an interval with these inputs failed by. Answers what to end with, where that goes on for too long.
    pub fn hear(&mut self, failure: &Failure, offsets: &[InputOffset]) -> Option<Error> {
        if !is_about_a_record(failure.code) {
            return None;
        }
        let now = Instant::now();
        self.0.take_if(|refusal| now - refusal.last >= FORGOTTEN);
        let refusal = self.0.get_or_insert_with(|| Refusal { since: now, last: now, behind: BTreeMap::new() });
        refusal.last = now;
        for failed in offsets {
            // The shortest of the intervals has the record in it too.
            let offset = refusal.behind.entry(failed.input).or_insert(failed.offset);
            *offset = failed.offset.min(*offset);
        }
        let why = "the brokers refuse it again and again; message.timestamp.before.max.ms, message.timestamp.after.max.ms \
                   and cleanup.policy of the topic say which records it takes";
        (now - refusal.since >= PASSING).then(|| Error::refused(failure.why.as_str(), why))
    }
}

/// Whether a code is about one of a batch's records, or about their being in a batch with such a one.
pub fn is_about_a_record(code: Code) -> bool {
    matches!(code, Code::InvalidTimestamp | Code::InvalidRecord | Code::InvalidDifferentRecord)
}

#[cfg(test)]
mod tests {
    use millstream_engine::record::TopicId;

    use super::*;

    /// Of the first input and of the second.
    fn offsets(first: i64, second: Option<i64>) -> Vec<InputOffset> {
        let of = |partition: i32, offset: i64| InputOffset {
            input: TopicPartition { topic: TopicId(0), partition },
            offset,
            metadata: String::new(),
        };
        [Some(of(0, first)), second.map(|offset| of(1, offset))].into_iter().flatten().collect()
    }

    fn late() -> Failure {
        Failure::new(Code::InvalidTimestamp, "too old")
    }

    /// One that has been refused for so long that the next time is an end.
    fn refused_for_long(offsets: &[InputOffset]) -> Refused {
        let mut refused = Refused::default();
        assert!(refused.hear(&late(), offsets).is_none(), "it may pass");
        if let Some(refusal) = &mut refused.0 {
            refusal.since = Instant::now() - PASSING;
        }
        refused
    }

    #[test]
    fn what_is_refused_for_too_long_is_an_end_and_what_passes_is_none() {
        let interval = offsets(10, None);
        let mut refused = refused_for_long(&interval);
        assert!(refused.hear(&Failure::new(Code::BrokerTransportFailure, "away"), &interval).is_none());
        let error = refused.hear(&late(), &interval);
        let is_told = |error: &Error| !error.may_pass() && error.to_string().contains("too old");
        assert!(error.as_ref().is_some_and(is_told), "{error:?}");
        refused.committed(&interval);
        assert!(refused.hear(&late(), &interval).is_none(), "it went on in between");
    }

    #[test]
    fn what_other_inputs_commit_meanwhile_says_nothing_of_what_is_refused() {
        let mut refused = refused_for_long(&offsets(10, Some(5)));
        refused.committed(&offsets(20, None));
        refused.committed(&offsets(30, Some(4)));
        assert!(refused.hear(&late(), &offsets(40, Some(6))).is_some(), "the second one has not gone on");
    }

    #[test]
    fn what_has_gone_past_the_shortest_interval_with_it_has_passed() {
        let mut refused = refused_for_long(&offsets(10, None));
        assert!(refused.hear(&late(), &offsets(8, None)).is_some());
        refused.committed(&offsets(8, None));
        assert!(refused.hear(&late(), &offsets(12, None)).is_none());
    }

    #[test]
    fn a_refusal_that_nobody_met_again_is_forgotten() {
        let mut refused = refused_for_long(&offsets(10, None));
        if let Some(refusal) = &mut refused.0 {
            refusal.last = Instant::now() - FORGOTTEN;
        }
        assert!(refused.hear(&late(), &offsets(12, None)).is_none());
    }
}
