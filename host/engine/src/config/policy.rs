//! What happens to a record that cannot be processed.

use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::section::Section;
use super::topic_name::check_topic_name;
use super::value::{Value, Wrong, text};

/// `on_error`: traps, values that do not decode, the guest's own `fail`. A punctuation under [`OnError::Skip`] drops
/// its effects; it has no record to send, so [`OnError::DeadLetter`] stops like [`OnError::Fail`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// `"fail"`: stop the application.
    #[default]
    Fail,
    /// `"skip"`: drop the record and count it.
    Skip,
    /// `"dead-letter:TOPIC"`: send the record there.
    DeadLetter(String),
}

impl std::fmt::Display for OnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OnError::Fail => f.write_str("fail"),
            OnError::Skip => f.write_str("skip"),
            OnError::DeadLetter(topic) => write!(f, "dead-letter:{topic}"),
        }
    }
}

impl FromStr for OnError {
    type Err = Wrong;

    fn from_str(word: &str) -> Result<OnError, Wrong> {
        match word.split_once(':') {
            None if word == "fail" => Ok(OnError::Fail),
            None if word == "skip" => Ok(OnError::Skip),
            Some(("dead-letter", topic)) => match check_topic_name(topic) {
                Ok(()) => Ok(OnError::DeadLetter(topic.to_owned())),
                Err(why) => Err(Wrong::new(format!("names a dead-letter topic that {why}"))),
            },
            _ => Err(Wrong::unknown(word, ["fail", "skip", "dead-letter:TOPIC"])),
        }
    }
}

impl Value for OnError {
    fn read(value: &DeValue<'_>) -> Result<OnError, Wrong> {
        text(value, "\"fail\", \"skip\" or \"dead-letter:TOPIC\"")
    }
}

/// `retry`: what a guest's outcome `retry` gets, before `on_error` decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often the record is tried again. Default 3.
    pub attempts: u32,
    /// The wait before each of them. Default 100 ms.
    pub backoff: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 3, backoff: Duration::from_millis(100) }
    }
}

/// The task waits for as long, with its partition: longer ones belong behind a dead-letter topic.
const RETRY_ATTEMPTS_MAX: u32 = 100;
const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(60);

impl Retry {
    pub(super) fn read(mut section: Section<'_>, default: Retry) -> Retry {
        let retry = Retry {
            attempts: section.or("attempts", default.attempts),
            backoff: section.or("backoff", default.backoff),
        };
        if retry.attempts > RETRY_ATTEMPTS_MAX {
            section.refuse("attempts", format!("is {}, and may be 0 to {RETRY_ATTEMPTS_MAX}", retry.attempts));
        }
        if retry.backoff > RETRY_BACKOFF_MAX {
            section.refuse("backoff", format!("is {:?}, and may be up to {RETRY_BACKOFF_MAX:?}", retry.backoff));
        }
        retry
    }
}
