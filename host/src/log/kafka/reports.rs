//! What librdkafka says beside its answers: lines for the log, and that no broker is left.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Shared between a client's threads and whoever asks why nothing comes.
#[derive(Debug, Default)]
pub struct Reports {
    last: Mutex<Option<String>>,
    down: AtomicBool,
}

impl Reports {
    pub fn hear(&self, code: RDKafkaErrorCode, reason: &str) {
        if code == RDKafkaErrorCode::AllBrokersDown {
            self.down.store(true, Ordering::Release);
        } else {
            // The reason of the last failed connection says more than "all brokers are down".
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
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
        last.clone().unwrap_or_else(|| otherwise.to_owned())
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
