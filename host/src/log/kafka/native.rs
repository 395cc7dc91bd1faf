//! What is raw in librdkafka: owners that free what they hold, texts, error codes.

use std::ffi::{CStr, CString, c_char};

use rdkafka::bindings as native;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::rights::is_about_rights;
use crate::log::{Error, Result};

/// Copies a C string; empty for null.
///
/// # Safety
/// `text` is null or a string that ends with a zero byte and lives during the call.
pub unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A name for librdkafka; a zero byte in it is the caller's mistake, told by name.
pub fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::refused(format!("`{}`", text.escape_debug()), "a name has no zero byte"))
}

/// An error of a transactional call or of a produce.
#[derive(Clone, Debug)]
pub struct Failure {
    pub code: RDKafkaErrorCode,
    pub why: String,
    pub fatal: bool,
    pub retriable: bool,
    /// The transaction can only be aborted.
    pub abort: bool,
    /// The call has not come back, so that its producer takes no other one.
    pub is_stuck: bool,
}

impl Failure {
    pub fn new(code: RDKafkaErrorCode, why: impl Into<String>) -> Failure {
        Failure { code, why: why.into(), fatal: false, retriable: false, abort: false, is_stuck: false }
    }

    /// Takes over an error object; null is success.
    ///
    /// # Safety
    /// `error` is null or an error that librdkafka returned and nobody else frees.
    pub unsafe fn check(error: *mut native::rd_kafka_error_t) -> std::result::Result<(), Failure> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: a live error object, freed once at the end; its text is copied before.
        let failure = unsafe {
            let failure = Failure {
                code: native::rd_kafka_error_code(error).into(),
                why: text(native::rd_kafka_error_string(error)),
                fatal: native::rd_kafka_error_is_fatal(error) != 0,
                retriable: native::rd_kafka_error_is_retriable(error) != 0,
                abort: native::rd_kafka_error_txn_requires_abort(error) != 0,
                is_stuck: false,
            };
            native::rd_kafka_error_destroy(error);
            failure
        };
        Err(failure)
    }
}

/// A queue of librdkafka's, owned.
#[derive(Debug)]
pub struct Queue(*mut native::rd_kafka_queue_t);

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Queue {}

impl Queue {
    /// # Safety
    /// `queue` is null or a queue reference that nobody else destroys; its client outlives this value.
    pub unsafe fn own(queue: *mut native::rd_kafka_queue_t) -> Option<Queue> {
        (!queue.is_null()).then_some(Queue(queue))
    }

    pub fn ptr(&self) -> *mut native::rd_kafka_queue_t {
        self.0
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once.
        unsafe { native::rd_kafka_queue_destroy(self.0) }
    }
}

/// An error of `what` in the words of the log contract. A topic that is not there has to be told apart before.
pub fn error(what: &str, code: RDKafkaErrorCode, why: &str) -> Error {
    let texts = || (what.to_owned(), why.to_owned());
    match code {
        code if is_unreachable(code) => Error::unreachable(what, why),
        code if is_about_rights(code) => {
            let (what, why) = texts();
            Error::Unauthorised { what, why }
        }
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::UnsupportedSASLMechanism => {
            let (what, why) = texts();
            Error::Unauthenticated { what, why }
        }
        RDKafkaErrorCode::SSL => {
            let (what, why) = texts();
            Error::Untrusted { what, why }
        }
        _ => Error::refused(what, why),
    }
}

/// The error of one call of the safe API.
pub fn kafka_error(what: &str, error: &KafkaError) -> Error {
    match (error, error.rdkafka_error_code()) {
        // Each property was taken by itself; that they do not go together shows only here. What was read from a file
        // or a secret is not in the text.
        (KafkaError::ClientCreation(why), _) => Error::BadProperty(why.clone()),
        (_, Some(code)) => self::error(what, code, &describe(code)),
        (_, None) => Error::refused(what, error),
    }
}

/// What a code means, in librdkafka's words.
pub fn describe(code: RDKafkaErrorCode) -> String {
    let shown = code.to_string();
    // "Name (meaning)"
    match shown.split_once(" (").and_then(|(_, meaning)| meaning.strip_suffix(')')) {
        Some(meaning) => meaning.to_owned(),
        None => shown,
    }
}

/// Whether another try may work because nobody answered, or the cluster is not ready.
pub fn is_unreachable(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            // The broker that was being asked has left the cluster's metadata.
            | Code::DestroyBroker
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::WaitingForCoordinator
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            // A leader that has just taken over is not ready for everything, and not everybody knows of it.
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::ReplicaNotAvailable
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::UnstableOffsetCommit
            | Code::Retry
    )
}

pub fn is_unknown_topic(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId)
}

/// Whether librdkafka has stopped a partition because the log does not have the offset that comes next.
pub fn is_truncated(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::LogTruncation)
}
