//! State that another version of the host wrote: written by the real program and then edited.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::chaos::gap;
use tests::chaos::kills::settle;
use tests::chaos::load::Load;
use tests::chaos::verdict::put_aside;
use tests::chaos::words::{LMDB, STATE, Words};
use tests::logs::{each_log, eventually};

/// Runs it until it has state, and stops it: how many lines there are, and what it said.
fn live_once(words: &Words<'_>) -> (u64, String) {
    let load = Load::start(words);
    let mut running = words.start();
    let address = running.ready();
    let commits = || words.metric(&address, "millstream_commits_total", "committed");
    eventually("commits", || (commits() > 10).then_some(()));
    let fed = load.end();
    words.until_caught_up();
    (fed, words.stop(running))
}

fn own_directory(words: &Words<'_>) -> PathBuf {
    words.mill.dir().join(STATE).join(&words.id)
}

/// The refusal names the object, both formats and the ways out.
fn check_refusal(problem: &Value, path: &Path, written_by: &str, (found, reads): (&str, u32)) {
    assert_eq!((&problem["error"], &problem["code"]), (&"StateFormatUnknown".into(), &"E0703".into()), "{problem}");
    assert_eq!((&problem["found_format"], &problem["expected_format"]), (&found.into(), &reads.into()), "{problem}");
    assert_eq!(problem["written_by"], written_by, "{problem}");
    let fix = problem["fix"].as_str().unwrap_or_default();
    for way in [&path.display().to_string(), written_by, "--state-dir", "remove"] {
        assert!(fix.contains(way), "{way}: {fix}");
    }
    assert_eq!(problem["path"], path.display().to_string());
}

fn start_fails(words: &Words<'_>, code: i32) -> Value {
    words.mill.run(&["run", ".", "--state-dir", STATE, "--error-format", "json"]).fails(code).problem()
}

#[test]
fn a_record_of_another_format_is_refused_and_one_without_a_number_is_read() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let (fed, said) = live_once(&words);
        let path = own_directory(&words).join("stores.json");
        let whole: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("it was written")).expect("JSON");
        let write = |record: &Value| std::fs::write(&path, record.to_string()).expect("a file can be written");
        assert_eq!(whole["format"], 1, "{whole}");

        // What another format calls things nobody here knows.
        let other = serde_json::json!({ "format": 2, "host": "9.8.7", "stores": [4, 5] });
        write(&other);
        let shown = Path::new(STATE).join(&words.id).join("stores.json");
        check_refusal(&start_fails(&words, 1), &shown, "9.8.7", ("2", 1));
        let validated = words.mill.run(&["validate", ".", "--state-dir", STATE, "--error-format", "json"]);
        check_refusal(&validated.fails(1).problem(), &shown, "9.8.7", ("2", 1));
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), other.to_string(), "nothing was changed");

        // As hosts wrote it that gave no number.
        let mut before = whole.clone();
        for name in ["format", "host"] {
            before.as_object_mut().expect("an object").remove(name);
        }
        write(&before);
        settle(&words, fed, vec![said]);
        let again: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("it is there")).expect("JSON");
        assert_eq!(again, whole, "it is written as this host writes it");
    });
}

/// The row that says the format: a key, and behind it in LMDB's node its value, four bytes from the lowest on.
const FORMAT: &[u8] = b"format\x02\0\0\0";
const OTHER: &[u8] = b"format\x03\0\0\0";

/// Writes another format into the file of one task: which file.
fn edit_one(words: &Words<'_>) -> PathBuf {
    let tasks = std::fs::read_dir(own_directory(words)).expect("there is state");
    let mut files: Vec<PathBuf> = tasks.map(|task| task.expect("it can be read").path().join("data.mdb")).collect();
    files.retain(|file| file.exists());
    files.sort();
    let file = files.remove(0);
    assert!(replace(&file, FORMAT, OTHER) > 0, "no format in {}", file.display());
    file
}

/// Replaces all occurrences in a file: how many.
fn replace(file: &Path, old: &[u8], new: &[u8]) -> usize {
    let mut bytes = std::fs::read(file).expect("a file can be read");
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    for place in &places {
        bytes[*place..*place + new.len()].copy_from_slice(new);
    }
    std::fs::write(file, bytes).expect("a file can be written");
    places.len()
}

#[test]
fn stores_of_another_format_are_refused_untouched_and_go_on_where_they_can_be_read() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let (fed, said) = live_once(&words);
        let file = edit_one(&words);
        let shown = file.strip_prefix(words.mill.dir()).expect("it is in the directory").with_file_name("");
        let shown = Path::new(shown.to_str().expect("text").trim_end_matches('/'));
        let edited = std::fs::read(&file).expect("a file can be read");
        check_refusal(&start_fails(&words, 1), shown, env!("CARGO_PKG_VERSION"), ("3", 2));
        let scan = ["store", "scan", ".", "word-counts", "--state-dir", STATE, "--error-format", "json"];
        check_refusal(&words.mill.run(&scan).fails(1).problem(), shown, env!("CARGO_PKG_VERSION"), ("3", 2));
        assert!(std::fs::read(&file).expect("a file can be read") == edited, "nothing of it was changed");
        assert_eq!(put_aside(&words, STATE), [""; 0], "it is whole, and not put aside");

        // The way out with another directory: all of it from the changelogs.
        let mut elsewhere = words.start_in("elsewhere");
        elsewhere.ready();
        assert!(gap::read(&words, &words.stop(elsewhere)) > 0, "it restores");

        // The host that wrote it goes on without a record restored.
        assert!(replace(&file, OTHER, FORMAT) > 0);
        let restored = settle(&words, fed, vec![said]);
        assert_eq!(restored, 0);
    });
}
