//! Records that the brokers refuse for what they are, above all for their timestamps. The interval is done again and meets
//! the same, unless somebody sets a clock or a topic's configuration right meanwhile: so it is told after a while, and not
//! tried for ever.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::native::Failure;
use crate::log::Error;

/// How long the same may be refused.
const PASSING: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Refused {
    since: Option<Instant>,
}

impl Refused {
    /// An interval is in the log.
    pub fn committed(&mut self) {
        self.since = None;
    }

    /// What an interval failed by. Answers what to end with, where that goes on for too long.
    pub fn hear(&mut self, failure: &Failure) -> Option<Error> {
        if !is_about_a_record(failure.code) {
            return None;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let why = "the brokers refuse it again and again; message.timestamp.before.max.ms, message.timestamp.after.max.ms \
                   and cleanup.policy of the topic say which records it takes";
        (since.elapsed() >= PASSING).then(|| Error::refused(failure.why.as_str(), why))
    }
}

/// Whether a code is about one of a batch's records, or about their being in a batch with such a one.
pub fn is_about_a_record(code: Code) -> bool {
    matches!(code, Code::InvalidTimestamp | Code::InvalidRecord | Code::InvalidDifferentRecord)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_for_too_long_is_an_end_and_what_passes_is_none() {
        let (late, away) =
            (Failure::new(Code::InvalidTimestamp, "too old"), Failure::new(Code::BrokerTransportFailure, "away"));
        let mut refused = Refused::default();
        assert!(refused.hear(&late).is_none(), "it may pass");
        refused.since = Some(Instant::now() - PASSING);
        assert!(refused.hear(&away).is_none());
        let error = refused.hear(&late);
        let is_told = |error: &Error| !error.may_pass() && error.to_string().contains("too old");
        assert!(error.as_ref().is_some_and(is_told), "{error:?}");
        refused.committed();
        assert!(refused.hear(&late).is_none(), "it went on in between");
    }
}
