//! What librdkafka says beside its answers: lines for the log, and that no broker is left.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::log::Error;

/// How OpenSSL tells that the other side has ended TLS by an alert.
const ALERTS: [&str; 2] = ["alert", "certificate required"];

/// Shared between a client's threads and whoever asks why nothing comes.
#[derive(Debug, Default)]
pub struct Reports {
    last: Mutex<Option<(RDKafkaErrorCode, String)>>,
    down: AtomicBool,
}

impl Reports {
    pub fn hear(&self, code: RDKafkaErrorCode, reason: &str) {
        if code == RDKafkaErrorCode::AllBrokersDown {
            self.down.store(true, Ordering::Release);
        } else {
            // The reason of the last failed connection says more than "all brokers are down".
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((code, reason.to_owned()));
        }
        tracing::debug!(target: "librdkafka", ?code, reason, "reported");
    }

    /// Whether all brokers went down since the last call.
    pub fn take_down(&self) -> bool {
        self.down.swap(false, Ordering::AcqRel)
    }

    /// The last reason heard, or `otherwise`.
    pub fn why(&self, otherwise: &str) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map_or_else(|| otherwise.to_owned(), |(_, reason)| reason.clone())
    }

    /// What kept `what` from being answered: nobody is there, or who is there does not let us in. `place` stands in
    /// front of the reason.
    pub fn explain(&self, what: &str, otherwise: &str, place: &str) -> Error {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (code, reason) = last.unwrap_or((RDKafkaErrorCode::BrokerTransportFailure, otherwise.to_owned()));
        let (what, why) = (what.to_owned(), format!("{place}{reason}"));
        match code {
            RDKafkaErrorCode::SSL => Error::Untrusted { what, why },
            // A broker that wants a certificate says so after the handshake, by an alert and the end of the connection.
            _ if ALERTS.iter().any(|alert| reason.contains(alert)) => Error::Untrusted { what, why },
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
                Error::Unauthenticated { what, why }
            }
            _ => Error::Unreachable { what, why },
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.hear(code, reason);
        }
    }
}

impl ConsumerContext for Reports {}

/// librdkafka warns of what it mends itself, a lost connection above all; what needs a person arrives as an error of a
/// call or as an event, and is told there.
pub fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    // Each property of the one kind of client, told to the other kind.
    if facility == "CONFWARN" {
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(target: "librdkafka", facility, "{line}")
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::info!(target: "librdkafka", facility, "{line}"),
        _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}
