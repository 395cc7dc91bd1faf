//! `app reset`: what it takes away, what it refuses, and that the application begins again.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::logs::{TestLog, each_log, new_topic};
use tests::sample::Words;

const RESET: [&str; 5] = ["app", "reset", ".", "-o", "json"];

type Update = (i32, Option<Vec<u8>>, Option<Vec<u8>>);

/// Every update of the counts, with its partition. Which word comes first is anybody's guess, so they are sorted.
fn counted(words: &Words, log: &TestLog) -> Vec<Update> {
    let of = |partition| {
        let records = log.read(&words.counts, partition).into_iter();
        records.map(move |record| (partition, record.key, record.value))
    };
    let mut all: Vec<Update> = [0, 1].into_iter().flat_map(of).collect();
    all.sort();
    all
}

/// Each of them twice.
fn twice(updates: &[Update]) -> Vec<Update> {
    updates.iter().flat_map(|update| [update.clone(), update.clone()]).collect()
}

/// Of all topics of the log those that have to do with this application.
fn topics(words: &Words, log: &TestLog) -> Vec<String> {
    let all = log.log.topics().unwrap().into_iter();
    all.filter(|topic| topic.starts_with(&words.id) || [&words.lines, &words.counts].contains(&topic)).collect()
}

/// The topics of its own that the application makes.
fn internal(words: &Words) -> Vec<String> {
    ["names", "word-counts-changelog", "word-counts-repartition"].map(|name| format!("{}-{name}", words.id)).to_vec()
}

/// Where an application's tasks and its record are.
fn state(words: &Words) -> Vec<PathBuf> {
    let directory = words.mill.dir().join(".millstream/state").join(&words.id);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn run(words: &Words) {
    words.mill.run(&["run", ".", "--until-end"]).ok();
}

fn words(log: &TestLog) -> Words {
    Words::on(log, "[state]\nprovider = \"lmdb\"\n")
}

#[test]
fn a_dry_run_lists_exactly_what_a_reset_takes_away_and_changes_nothing() {
    each_log(|log| {
        let words = words(log);
        // Another application's, whose id begins like this one's.
        let neighbour = format!("{}-b-word-counts-changelog", words.id);
        log.log.create(&new_topic(&neighbour, 1)).unwrap();
        let nothing = words.run(&[&RESET[..], &["--dry-run"]].concat());
        assert_eq!((&nothing["topics"], &nothing["offsets"], &nothing["state"]), (&json!([]), &json!([]), &json!([])));
        run(&words);
        let (before, there, group) =
            (state(&words), topics(&words, log), words.run(&["groups", "describe", &words.id]));
        let dry = words.run(&[&RESET[..], &["--dry-run"]].concat());
        assert_eq!(dry["dry_run"], true);
        assert_eq!(dry["topics"], json!(internal(&words)));
        assert_eq!(state(&words), before);
        assert_eq!(topics(&words, log), there);
        assert_eq!(words.run(&["groups", "describe", &words.id]), group);
        let places = |of: &Value| -> Vec<String> {
            let place = |one: &Value| format!("{} {} {}", one["topic"], one["partition"], one["committed"]);
            of.as_array().unwrap().iter().map(place).collect()
        };
        assert_eq!(places(&dry["offsets"]), places(&group["partitions"]));
        let done = words.run(&RESET);
        assert_eq!(done["dry_run"], false);
        for field in ["topics", "offsets", "state"] {
            assert_eq!(done[field], dry[field], "{field}");
            assert!(!done[field].as_array().unwrap().is_empty(), "{field}");
        }
        let left: Vec<String> = there.into_iter().filter(|topic| !internal(&words).contains(topic)).collect();
        assert_eq!(topics(&words, log), left);
        assert!(left.contains(&neighbour) && left.contains(&words.lines) && left.contains(&words.counts));
        let listed: Vec<&Path> =
            done["state"].as_array().unwrap().iter().map(|path| Path::new(path.as_str().unwrap())).collect();
        for path in before {
            let is_listed = listed.iter().any(|listed| path.ends_with(listed.file_name().unwrap()));
            assert_eq!(path.exists(), !is_listed, "{}", path.display());
        }
    });
}

#[test]
fn a_reset_application_says_again_what_it_has_said() {
    each_log(|log| {
        let words = words(log);
        run(&words);
        let first = counted(&words, log);
        let store = words.mill.run(&["store", "scan", ".", "word-counts", "-o", "jsonl"]).ok().stdout;
        assert_eq!(first.len(), 6);
        // What is not reset goes on and says nothing.
        run(&words);
        assert_eq!(counted(&words, log), first);
        words.run(&RESET);
        run(&words);
        assert_eq!(counted(&words, log), twice(&first));
        assert_eq!(words.mill.run(&["store", "scan", ".", "word-counts", "-o", "jsonl"]).ok().stdout, store);
    });
}

#[test]
fn what_runs_is_not_reset() {
    each_log(|log| {
        let words = words(log);
        let mut running = words.mill.start(&["run", ".", "--http", "127.0.0.1:0"]);
        running.ready();
        let there = topics(&words, log);
        for more in [&[][..], &["--dry-run"]] {
            let arguments = [&RESET[..], more, &["--error-format", "json"]].concat();
            let problem = words.mill.run(&arguments).fails(1).problem();
            assert_eq!((&problem["error"], &problem["code"]), (&json!("NonEmptyGroup"), &json!("E0411")));
            assert_eq!(problem["application"], words.id.as_str());
        }
        assert_eq!(topics(&words, log), there);
        running.signal(Signal::INT);
        running.finish().ok();
        words.run(&RESET);
    });
}

#[test]
fn a_reset_that_did_not_come_to_its_end_is_done_again_before_a_start() {
    each_log(|log| {
        let words = words(log);
        run(&words);
        let first = counted(&words, log);
        let record = words.mill.dir().join(".millstream/state").join(&words.id).join("stores.json");
        let text = std::fs::read_to_string(&record).unwrap();
        let mut kept: Value = serde_json::from_str(&text).unwrap();
        kept["reset"] = true.into();
        // As a reset leaves it that dies behind its first step.
        std::fs::write(&record, kept.to_string()).unwrap();
        log.log.forget(&words.id).unwrap();
        for verb in [&["run", ".", "--until-end"][..], &["validate", "."]] {
            let problem = words.mill.run(&[verb, &["--error-format", "json"]].concat()).fails(78).problem();
            assert_eq!((&problem["error"], &problem["code"]), (&json!("ResetUnfinished"), &json!("E0214")));
        }
        words.run(&RESET);
        run(&words);
        assert_eq!(counted(&words, log), twice(&first));
    });
}
