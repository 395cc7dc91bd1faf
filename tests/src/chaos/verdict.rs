//! What must hold at the end, whatever happened on the way.

use std::collections::BTreeMap;

use serde_json::Value;

use super::outside::{Row, Values};
use super::subject::Subject;
use super::words::Words;
use crate::logs::eventually;

/// Outputs, stores, changelogs and state directories of an application that has processed everything. `fed` lines
/// arrived; its processes still run, one on each state directory. No crash of a process is a reason to put state aside.
#[track_caller]
pub fn check(words: &Words<'_>, fed: u64, state_dirs: &[&str]) {
    check_contents(words, fed, state_dirs);
    for state_dir in state_dirs {
        let aside = put_aside(words, state_dir);
        assert!(aside.is_empty(), "state was put aside: {aside:?}");
    }
}

/// The same where state was damaged.
#[track_caller]
pub fn check_contents(words: &Words<'_>, fed: u64, state_dirs: &[&str]) {
    let outside = words.outside();
    let lines = outside.read(&words.topic("lines"), Values::Text);
    assert_eq!(lines.len() as u64, fed, "lines that were acknowledged are in the topic, each of them once");
    let mut model: BTreeMap<String, i64> = BTreeMap::new();
    for line in &lines {
        *model.entry(line.value.as_str().expect("a line is text").to_owned()).or_default() += 1;
    }
    assert_eq!(model.len() as u64, fed.min(words.vocabulary));
    check_counts(words, &outside.read(&words.topic("counts"), Values::Number), &model);
    let changelog = fold(&outside.read(&words.changelog(), Values::Number));
    check_stores(words, &changelog, &model, state_dirs);
}

/// Under exactly-once each word was counted 1, 2, 3 … to its number of lines. Under at-least-once a crash may count
/// lines again, and say again what was said, but leaves no number out. A cache leaves numbers out, and repeats none.
fn check_counts(words: &Words<'_>, counts: &[Row], model: &BTreeMap<String, i64>) {
    let mut last: BTreeMap<&str, (i64, i32)> = BTreeMap::new();
    for row in counts {
        let count = row.value.as_i64().expect("a count is a number");
        let (before, partition) = last.get(&*row.key).copied().unwrap_or((0, row.partition));
        assert_eq!(partition, row.partition, "{row:?}: the word has two partitions");
        match (words.shape.is_exactly_once(), words.cache.is_some()) {
            (true, false) => assert_eq!(count, before + 1, "a gap or a repeat at {row:?}"),
            (true, true) => assert!(count > before, "a repeat at {row:?}, {before} before it"),
            (false, true) => {}
            (false, false) => assert!(count <= before + 1, "a gap at {row:?}, {before} before it"),
        }
        last.insert(&row.key, (count.max(before), partition));
    }
    let last: BTreeMap<String, i64> = last.into_iter().map(|(word, (count, _))| (word.to_owned(), count)).collect();
    compare(words, &last, model, "counts");
}

/// Equal under exactly-once, at least as large under at-least-once.
fn compare(words: &Words<'_>, found: &BTreeMap<String, i64>, model: &BTreeMap<String, i64>, what: &str) {
    match words.shape.is_exactly_once() {
        true => assert_eq!(found, model, "{what}"),
        false => {
            for (word, expected) in model {
                let count = found.get(word).copied().unwrap_or(0);
                assert!(count >= *expected, "{what}: {word} was counted {count} times of {expected}");
            }
        }
    }
}

/// (partition, key) → (value, timestamp)
type Entries = BTreeMap<(i32, String), (i64, i64)>;

fn fold(changelog: &[Row]) -> Entries {
    let mut entries = Entries::new();
    for row in changelog {
        let place = (row.partition, row.key.clone());
        match &row.value {
            Value::Null => entries.remove(&place),
            value => entries.insert(place, (value.as_i64().expect("a count is a number"), row.timestamp)),
        };
    }
    entries
}

/// The stores hold what their changelog says, and nothing of what is not committed, whoever runs and whatever is left to
/// process.
#[track_caller]
pub fn check_state(words: &Words<'_>, state_dirs: &[&str]) {
    let changelog = fold(&words.outside().read(&words.changelog(), Values::Number));
    assert_eq!(stored(words, state_dirs), changelog, "the store is the fold of the changelog");
}

/// The live stores of all processes together are the fold of the changelog, and that is the model.
fn check_stores(words: &Words<'_>, changelog: &Entries, model: &BTreeMap<String, i64>, state_dirs: &[&str]) {
    let stored = stored(words, state_dirs);
    assert_eq!(&stored, changelog, "the live store is the fold of the changelog");
    let values: BTreeMap<String, i64> = stored.iter().map(|((_, word), (count, _))| (word.clone(), *count)).collect();
    assert_eq!(values.len(), stored.len(), "a word in two tasks");
    compare(words, &values, model, "store");
}

/// What the stores hold, each entry once.
fn stored(words: &Words<'_>, state_dirs: &[&str]) -> Entries {
    let mut stored = Entries::new();
    for state_dir in state_dirs {
        let scan = ["store", "scan", ".", "word-counts", "-o", "jsonl", "--state-dir", state_dir];
        // A read that finds damage is told to come again, and finds the store restored then.
        let output = eventually("the store answers", || {
            let output = words.mill.run(&scan);
            (output.code == Some(0) || !output.stderr.contains("E0604")).then_some(output)
        });
        for entry in output.ok().jsonl() {
            let (_, partition) = entry["task"].as_str().and_then(|task| task.split_once('_')).expect("a task");
            let place = (partition.parse().expect("a number"), entry["key"].as_str().expect("text").to_owned());
            let number = |name: &str| entry[name].as_i64().expect("a number");
            let before = stored.insert(place, (number("value"), number("timestamp")));
            assert_eq!(before, None, "{entry} is there twice");
        }
    }
    stored
}

/// What was put aside in a state directory.
pub fn put_aside(subject: &Subject<'_>, state_dir: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(subject.mill.dir().join(state_dir).join(&subject.id)) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.expect("a directory can be read").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains("quarantine")).collect()
}
