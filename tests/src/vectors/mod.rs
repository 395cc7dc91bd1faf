//! Cases executed on Apache Kafka Streams, and this engine on the same cases. `vectors/README.md` has the format.

mod formats;
mod replay;
mod topology;

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::rig::Kept;

/// One line of a case file.
#[derive(Clone, Debug)]
pub struct Case(Value);

/// What became of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Passed,
    Failed(Vec<Difference>),
    /// Its kind, of which this version knows nothing yet.
    NotInThisVersion(String),
    /// A case that another system answers differently on purpose.
    OfAnother,
}

/// Where an answer differs from the case's.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// `step 3`, `changelog 0`, `dropped_records_total`.
    pub place: String,
    pub expected: Value,
    pub got: Value,
}

impl Case {
    /// The cases of a file, one JSON object a line.
    pub fn read(file: &Path) -> Result<Vec<Case>> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let parse = |(at, line): (usize, &str)| {
            Case::parse(line).with_context(|| format!("{}, line {}", file.display(), at + 1))
        };
        lines.map(parse).collect()
    }

    pub fn parse(line: &str) -> Result<Case> {
        Ok(Case(serde_json::from_str(line)?))
    }

    /// As it stands in a file.
    pub fn line(&self) -> String {
        self.0.to_string()
    }

    pub fn id(&self) -> &str {
        self.0["id"].as_str().unwrap_or("without an id")
    }

    /// Runs the case on stores kept so. The error is one of the case or of the engine's opening, not a difference.
    pub fn run(&self, kept: Kept) -> Result<Verdict> {
        let is_of_another = ["library", "same_as_kafka_streams"].iter().any(|field| self.0.get(field).is_some());
        if is_of_another && self.0["same_as_kafka_streams"] != true {
            return Ok(Verdict::OfAnother);
        }
        match self.0["kind"].as_str() {
            Some(kind) => formats::check(kind, &self.0),
            None => replay::run(&self.0, kept),
        }
    }
}

impl Verdict {
    fn of(differences: Vec<Difference>) -> Verdict {
        if differences.is_empty() { Verdict::Passed } else { Verdict::Failed(differences) }
    }
}

/// Notes a difference, if it is one.
fn compare(differences: &mut Vec<Difference>, place: impl Into<String>, expected: &Value, got: Value) {
    if *expected != got {
        differences.push(Difference { place: place.into(), expected: expected.clone(), got });
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
