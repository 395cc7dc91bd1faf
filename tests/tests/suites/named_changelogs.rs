//! A store whose changelog has a name of the user's: planned, made, written and restored from under it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::logs::{each_log, unique};
use tests::providers;
use tests::sample::Words;

/// Each kind of provider, as a manifest names it, and whether it outlives its process.
fn kept_in() -> [(String, bool); 3] {
    let map = providers::file("plugins/map-store").expect("the provider builds");
    [
        ("state_dir = \"state\"\n[state]\nprovider = \"memory\"\n".to_owned(), false),
        ("state_dir = \"state\"\n[state]\nprovider = \"lmdb\"\n".to_owned(), true),
        (format!("state_dir = \"state\"\n[providers.map]\ncomponent = {map:?}\n[state]\nprovider = \"map\"\n"), false),
    ]
}

fn counts(words: &Words) -> BTreeMap<String, i64> {
    let rows = words.mill.run(&["store", "scan", ".", "word-counts", "-o", "jsonl"]).ok().jsonl();
    rows.iter().map(|row| (row["key"].as_str().unwrap().to_owned(), row["value"].as_i64().unwrap())).collect()
}

/// The changelogs of a plan.
fn changelogs(planned: &Value) -> Vec<&str> {
    let rows = planned.as_array().expect("a list").iter();
    rows.filter(|row| row["kind"] == "changelog").map(|row| row["topic"].as_str().expect("a name")).collect()
}

#[test]
fn a_store_is_kept_in_the_topic_that_its_manifest_names_and_restored_from_it() {
    each_log(|log| {
        for (state, is_on_disk) in kept_in() {
            let topic = unique("counts-of-mine");
            let words = Words::on(log, &format!("{state}[stores.word-counts]\nchangelog = {{ topic = \"{topic}\" }}"));
            assert_eq!(changelogs(&words.run(&["changelogs", "plan", ".", "-o", "json"])), [topic.as_str()]);
            words.mill.run(&["run", ".", "--until-end"]).ok();
            let topics = log.log.topics().unwrap();
            assert!(topics.contains(&topic) && !topics.contains(&words.changelog()), "{topics:?}");
            let logged: BTreeSet<_> =
                [0, 1].iter().flat_map(|partition| log.read(&topic, *partition)).map(|record| record.key).collect();
            // A slow start counts them in more than one commit.
            assert_eq!(logged.len(), 4, "records for each word");

            if is_on_disk {
                std::fs::remove_dir_all(words.mill.dir().join("state")).unwrap();
            }
            log.produce(&words.lines, 0, &["the mill"]);
            words.mill.run(&["run", ".", "--until-end"]).ok();
            let expected = [("mill", 3), ("stops", 1), ("the", 3), ("turns", 1)];
            assert_eq!(counts(&words), expected.map(|(word, count)| (word.to_owned(), count)).into(), "{state}");
            let listed = words.run(&["store", "list", "."]);
            assert_eq!(listed[0]["changelog_topic"], json!(topic), "{listed}");
        }
    });
}
