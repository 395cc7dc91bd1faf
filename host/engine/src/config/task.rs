//! `[task]`: how long a task waits for inputs that have nothing now.

use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::section::Section;
use super::value::{Positive, Value, Wrong, text};

/// `[task]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idle {
    /// How long an input that is at its end holds up the others, which may be later than what comes there next: Kafka
    /// Streams' `max.task.idle.ms`.
    pub max_idle: MaxIdle,
    /// When nothing has come on any input for as long, stream time goes on as the clock on the wall does. Default: it
    /// stands still.
    pub idle_advance: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxIdle {
    /// `"off"`, -1 in Kafka Streams: no input is waited for, not even for what the log is known to have.
    Off,
    /// What the log has is waited for, and then as long for more. Default 0.
    For(Duration),
}

impl Default for MaxIdle {
    fn default() -> MaxIdle {
        MaxIdle::For(Duration::ZERO)
    }
}

/// All that waits for an input is held in queues meanwhile: longer ones belong behind an input that always has something.
const MAX_IDLE_MAX: Duration = Duration::from_secs(60 * 60);

impl Idle {
    pub(super) fn read(mut section: Section<'_>) -> Idle {
        let idle = Idle {
            max_idle: section.or("max_idle", MaxIdle::default()),
            idle_advance: section.get("idle_advance").map(|Positive(time)| time),
        };
        if matches!(idle.max_idle, MaxIdle::For(time) if time > MAX_IDLE_MAX) {
            section.refuse("max_idle", format!("may be up to {MAX_IDLE_MAX:?}"));
        }
        idle
    }
}

impl FromStr for MaxIdle {
    type Err = Wrong;

    fn from_str(word: &str) -> Result<MaxIdle, Wrong> {
        if word == "off" {
            return Ok(MaxIdle::Off);
        }
        let time = humantime::parse_duration(word);
        time.map(MaxIdle::For).map_err(|why| {
            Wrong::new(format!("is {word:?}, and should be \"off\" or a duration such as \"500ms\": {why}"))
        })
    }
}

impl Value for MaxIdle {
    fn read(value: &DeValue<'_>) -> Result<MaxIdle, Wrong> {
        text(value, "\"off\" or a duration such as \"500ms\"")
    }
}
