//! What came held against what was expected.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::align::{Pair, align};
use super::play::{Seen, SeenStep};
use super::{Case, Expected, Fields, Out, Step};

/// What became of a case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// None: it passed.
    pub differences: Vec<Difference>,
}

/// One thing that came otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// `step 2, counts`.
    pub place: String,
    /// Where it was expected.
    pub line: usize,
    pub rows: Vec<Row>,
    /// What [`super::update`] would write in its place; `None`: it would not make a failure the expectation.
    pub(super) edit: Option<Edit>,
}

impl Difference {
    /// Whether [`super::update`] writes what came.
    pub fn is_written(&self) -> bool {
        self.edit.is_some()
    }
}

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Same(String),
    Expected(String),
    Got(String),
}

/// A list of a case as it came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edit {
    pub target: Target,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Out { step: usize, topic: String },
    InOrder { step: usize },
    Store { step: usize, name: String },
    Dropped,
    Changelog,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// The one at this place stays as it is written.
    Keep(usize),
    /// In the place of one that did not come, else behind what stands before it.
    New { instead_of: Option<usize>, value: Value },
}

/// Compares all that a case looks at.
pub fn judge(case: &Case, seen: &Seen) -> Verdict {
    let mut differences = Vec::new();
    for (at, step) in case.steps.iter().enumerate() {
        let Some(seen) = seen.steps.get(at) else { break };
        judge_step(at, step, seen, case.partitions > 1, &mut differences);
    }
    let ended = seen.steps.last().is_some_and(|step| step.failed.is_some());
    if let Some(dropped) = case.dropped.filter(|dropped| !ended && *dropped != seen.dropped) {
        let rows = vec![Row::Expected(dropped.to_string()), Row::Got(seen.dropped.to_string())];
        let items = vec![Item::New { instead_of: Some(0), value: seen.dropped.into() }];
        let edit = Some(Edit { target: Target::Dropped, items });
        differences.push(Difference { place: "dropped".to_owned(), line: case.line, rows, edit });
    }
    if let Some(expected) = case.changelog.as_ref().filter(|expected| !ended && **expected != seen.changelog) {
        let shown = |value: &Value| value.to_string();
        let pairs = align(expected.len(), seen.changelog.len(), &|i, j| expected[i] == seen.changelog[j]);
        let rows = rows(&pairs, &|i| shown(&expected[i]), &|j| shown(&seen.changelog[j]));
        let edit = Some(Edit { target: Target::Changelog, items: items(&pairs, &|j| seen.changelog[j].clone()) });
        differences.push(Difference { place: "changelog".to_owned(), line: case.line, rows, edit });
    }
    Verdict { differences }
}

fn judge_step(at: usize, step: &Step, seen: &SeenStep, partitioned: bool, differences: &mut Vec<Difference>) {
    let number = at + 1;
    let failed = match (&step.fails, &seen.failed) {
        (Some(part), Some(message)) => !message.contains(part),
        (expected, failed) => expected.is_some() || failed.is_some(),
    };
    if failed {
        let what = |word: &str, message: &Option<String>| match message {
            Some(message) => format!("{word} {message}"),
            None => "goes on".to_owned(),
        };
        let rows = vec![Row::Expected(what("ends with", &step.fails)), Row::Got(what("ends:", &seen.failed))];
        differences.push(Difference { place: format!("step {number}"), line: step.line, rows, edit: None });
        if seen.failed.is_some() {
            // Whatever else differs comes of it.
            return;
        }
    }
    let nothing = Expected { line: step.line, all: Vec::new() };
    match &step.out {
        Out::InOrder(expected) => {
            let got: Vec<&Fields> = seen.out.iter().collect();
            let target = Target::InOrder { step: at };
            differences.extend(compare(format!("step {number}"), expected, &got, partitioned, target));
        }
        Out::ByTopic(topics) => {
            for topic in touched(seen, topics) {
                let expected = topics.get(topic).unwrap_or(&nothing);
                let got: Vec<&Fields> = seen.out.iter().filter(|fields| fields["topic"] == topic).collect();
                let target = Target::Out { step: at, topic: topic.to_owned() };
                differences.extend(compare(format!("step {number}, {topic}"), expected, &got, partitioned, target));
            }
        }
    }
    for (name, expected) in &step.stores {
        let got: Vec<&Fields> = seen.stores.get(name).into_iter().flatten().collect();
        let target = Target::Store { step: at, name: name.clone() };
        differences.extend(compare(format!("step {number}, store {name}"), expected, &got, false, target));
    }
}

/// The topics that a step wrote to, and those that it was expected to write to.
fn touched<'a>(seen: &'a SeenStep, expected: &'a BTreeMap<String, Expected>) -> BTreeSet<&'a str> {
    let written = seen.out.iter().filter_map(|fields| fields["topic"].as_str());
    written.chain(expected.keys().map(String::as_str)).collect()
}

fn compare(
    place: String,
    expected: &Expected,
    got: &[&Fields],
    partitioned: bool,
    target: Target,
) -> Option<Difference> {
    let is_it = |expected: &Fields, got: &Fields| expected.iter().all(|(field, value)| got.get(field) == Some(value));
    let pairs = align(expected.all.len(), got.len(), &|i, j| is_it(&expected.all[i], got[j]));
    if pairs.iter().all(|pair| matches!(pair, Pair::Same(..))) {
        return None;
    }
    let shown = |fields: &Fields| Value::Object(looked_at(fields, expected, partitioned, &target));
    let rows = rows(&pairs, &|i| Value::Object(expected.all[i].clone()).to_string(), &|j| shown(got[j]).to_string());
    let items = items(&pairs, &|j| shown(got[j]));
    Some(Difference { place, line: expected.line, rows, edit: Some(Edit { target, items }) })
}

/// The fields of what came that its neighbours are looked at for; what nobody has written yet is shown whole.
fn looked_at(got: &Fields, expected: &Expected, partitioned: bool, target: &Target) -> Fields {
    let of_topic = matches!(target, Target::Out { .. });
    let named = |field: &str| expected.all.iter().any(|fields| fields.contains_key(field));
    let is_looked_at = |field: &str, value: &Value| match field {
        "topic" => !of_topic && (named(field) || expected.all.is_empty()),
        "partition" => named(field) || partitioned && expected.all.is_empty(),
        "headers" => named(field) || value.as_array().is_some_and(|headers| !headers.is_empty()),
        "timestamp" => named(field) || expected.all.is_empty(),
        _ => true,
    };
    let fields = got.iter().filter(|(field, value)| is_looked_at(field, value));
    fields.map(|(field, value)| (field.clone(), value.clone())).collect()
}

fn rows(pairs: &[Pair], expected: &dyn Fn(usize) -> String, got: &dyn Fn(usize) -> String) -> Vec<Row> {
    let row = |pair: &Pair| match *pair {
        Pair::Same(at, _) => Row::Same(expected(at)),
        Pair::Expected(at) => Row::Expected(expected(at)),
        Pair::Got(at) => Row::Got(got(at)),
    };
    pairs.iter().map(row).collect()
}

/// What came, each in the place of what it probably is another version of.
fn items(pairs: &[Pair], got: &dyn Fn(usize) -> Value) -> Vec<Item> {
    let mut items = Vec::new();
    let mut missing = VecDeque::new();
    for pair in pairs {
        match *pair {
            Pair::Same(at, _) => {
                missing.clear();
                items.push(Item::Keep(at));
            }
            Pair::Expected(at) => missing.push_back(at),
            Pair::Got(at) => items.push(Item::New { instead_of: missing.pop_front(), value: got(at) }),
        }
    }
    items
}
