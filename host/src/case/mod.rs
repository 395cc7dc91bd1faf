//! Case files: records that go into a plugin and what must come out, run on the built component and the real operators in
//! one thread, without a log ([`millstream_engine::driver`]).
//!
//! | file | holds |
//! |---|---|
//! | `files` | which files a project has, and each as its cases |
//! | `names`, `coding` | what of a topology a case may name, and how its keys and values are written |
//! | `section`, `written`, `vectors` | reading the two formats: TOML, and JSON lines |
//! | `play` | a case on the driver: what came of each step |
//! | `align`, `verdict` | what came held against what was expected |
//! | `update`, `place` | what came written in the place of what was expected |

mod align;
mod coding;
mod files;
mod names;
mod place;
mod play;
mod section;
mod update;
mod vectors;
mod verdict;
mod written;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use files::{DIRECTORY, File, find};
pub use names::Names;
pub use play::{Bench, play};
pub use update::update;
pub use verdict::{Difference, Row, Verdict, judge};

/// A record or an entry of a store as text, field by field: `key`, `value`, `timestamp`, `headers`, `partition`, `topic`,
/// `start`, `end`. Keys and values as their codecs show them.
pub type Fields = Map<String, Value>;

/// One case of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub name: String,
    /// Where it begins in its file.
    pub line: usize,
    /// Of every topic from outside.
    pub partitions: i32,
    pub steps: Vec<Step>,
    /// How many records had no effect, when all is done; `None`: it is not looked at.
    pub dropped: Option<u64>,
    /// What stands in the changelogs and repartition topics when all is done; `None`: it is not looked at.
    pub changelog: Option<Vec<Value>>,
}

/// What happens at once, and what must come of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub line: usize,
    pub act: Act,
    pub out: Out,
    /// All entries of these stores behind the step, in the order of their keys.
    pub stores: BTreeMap<String, Expected>,
    /// It ends the application, with this in the message.
    pub fails: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Records, each processed to its end and committed before the next.
    Pipe(Vec<Given>),
    /// The clock on the wall goes on by so many ms.
    Advance(i64),
}

/// A record to pipe in.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    pub topic: String,
    /// `None`: by the key; 0 without one.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// In the layout of `millstream_engine::record::Headers`.
    pub headers: Vec<u8>,
    /// `None`: what the clock on the wall shows.
    pub timestamp: Option<i64>,
}

/// What a step writes: nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// In order, topic by topic.
    ByTopic(BTreeMap<String, Expected>),
    /// In order over all topics.
    InOrder(Expected),
}

/// A list of records or entries. What one leaves out is not looked at, but for key and value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    pub line: usize,
    pub all: Vec<Fields>,
}
