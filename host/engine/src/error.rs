//! What a failure says to users.

/// A problem as users see it: what, why and what to do. Shown as text or as one JSON object
/// (`contract.md`, "Errors as JSON").
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Kafka's or Kafka Streams' word for the thing, `SourceTopicNotFound`.
    pub name: &'static str,
    /// Stable, `E0203`.
    pub code: &'static str,
    pub message: String,
    /// The named values of this kind of problem, in the order they are shown.
    pub fields: Vec<(&'static str, serde_json::Value)>,
    pub why: String,
    pub fix: String,
    /// The process's exit code.
    pub exit: u8,
}

/// Exit codes of the command line.
pub mod exit {
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const LOG_UNREACHABLE: u8 = 69;
    pub const BAD_PLAN: u8 = 78;
    pub const INTERRUPTED: u8 = 130;
}

impl Problem {
    pub fn new(name: &'static str, code: &'static str, exit: u8, message: impl Into<String>) -> Problem {
        Problem {
            name,
            code,
            message: message.into(),
            fields: Vec::new(),
            why: String::new(),
            fix: String::new(),
            exit,
        }
    }

    pub fn field(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Problem {
        self.fields.push((name, value.into()));
        self
    }

    pub fn why(mut self, why: impl Into<String>) -> Problem {
        self.why = why.into();
        self
    }

    pub fn fix(mut self, fix: impl Into<String>) -> Problem {
        self.fix = fix.into();
        self
    }

    /// `{"error":…,"code":…,"message":…,<fields>,"why":…,"fix":…}`
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        object.insert("error".into(), self.name.into());
        object.insert("code".into(), self.code.into());
        object.insert("message".into(), self.message.clone().into());
        object.extend(self.fields.iter().map(|(name, value)| (name.to_string(), value.clone())));
        for (name, text) in [("why", &self.why), ("fix", &self.fix)] {
            if !text.is_empty() {
                object.insert(name.into(), text.clone().into());
            }
        }
        object.into()
    }
}
