//! The README's table of Kafka Streams' words: what it says is here, is here.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

/// Words of commands, paths and examples, which no file of the SDK has.
const OUTSIDE: [&str; 12] =
    ["APP", "App", "Click", "GET", "POST", "apps", "orders", "resume", "startOn", "status", "topic_configs", "v1"];

fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.len() > 1 && word.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn add_words_of(dir: &Path, all: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => add_words_of(&entry, all),
            false => all.extend(words(&std::fs::read_to_string(entry).unwrap()).map(str::to_owned)),
        }
    }
}

#[test]
fn every_name_beside_one_of_kafka_streams_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    add_words_of(&root.join("src"), &mut known);
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (_, rest) = readme.split_once("## Kafka Streams").unwrap();
    let rows: Vec<&str> = rest.lines().take_while(|line| !line.starts_with("## ")).collect();
    let cells =
        rows.iter().filter_map(|row| Some(row.strip_prefix("| ")?.replace("\\|", "").rsplit('|').nth(1)?.to_owned()));
    let cells: Vec<String> = cells.collect();
    assert!(cells.len() > 60, "{}", cells.len());
    let mut missing = Vec::new();
    for cell in &cells {
        // What stands between backticks.
        let code = cell.split('`').skip(1).step_by(2);
        let unknown = |word: &&str| !known.contains(*word) && !OUTSIDE.contains(word);
        missing.extend(code.flat_map(words).filter(unknown).map(str::to_owned));
    }
    assert!(missing.is_empty(), "{missing:?}");
}
