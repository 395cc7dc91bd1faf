//! `[sources.NAME]` and `[sinks.NAME]`: which topics a component's names stand for.

use std::str::FromStr;

use toml::de::DeValue;

use super::policy::{OnError, Retry};
use super::section::Section;
use super::topic_name::TopicName;
use super::value::{Value, Wrong, text};

/// `[sources.NAME]`: one source of the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where the manifest speaks of it.
    pub line: usize,
    /// Default: what the component says, else its name.
    pub topic: Option<String>,
    pub start: Start,
    /// Default: the application's.
    pub on_error: Option<OnError>,
    /// Default: the application's.
    pub retry: Option<Retry>,
}

/// Where a partition without a committed offset begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
}

/// `[sinks.NAME]`: one sink of the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Where the manifest speaks of it.
    pub line: usize,
    /// Default: what the component says, else its name.
    pub topic: Option<String>,
    /// Whether what is written here may come back to it through the application's own topics. Default `false`.
    pub cycle: bool,
}

impl Source {
    pub(super) fn read(mut section: Section<'_>, retry: Retry) -> Source {
        Source {
            line: section.line(),
            topic: section.get("topic").map(|TopicName(name)| name),
            start: section.or("start", Start::default()),
            on_error: section.get("on_error"),
            retry: section.section("retry").map(|section| Retry::read(section, retry)),
        }
    }
}

impl Sink {
    pub(super) fn read(mut section: Section<'_>) -> Sink {
        Sink {
            line: section.line(),
            topic: section.get("topic").map(|TopicName(name)| name),
            cycle: section.or("cycle", false),
        }
    }
}

impl FromStr for Start {
    type Err = Wrong;

    fn from_str(word: &str) -> Result<Start, Wrong> {
        match word {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            _ => Err(Wrong::unknown(word, ["earliest", "latest"])),
        }
    }
}

impl Value for Start {
    fn read(value: &DeValue<'_>) -> Result<Start, Wrong> {
        text(value, "\"earliest\" or \"latest\"")
    }
}
