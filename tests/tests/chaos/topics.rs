//! Topics that somebody deletes and creates anew while nobody runs.

use millstream_engine::record::{Headers, Record};
use tests::chaos::load::Load;
use tests::chaos::words::{LMDB, PARTITIONS, STATE, Words};
use tests::logs::{THEN, each_log, eventually, new_topic};

/// What one key of the new changelog counted: no count of the old one is near.
const COUNTED: i64 = 1 << 40;

/// Runs the application until it has state, stops it, and puts another topic in the place of its changelog: `grown`
/// has in each partition one record more than the old one, else none.
fn replace_changelog(words: &Words<'_>, grown: bool) {
    let load = Load::start(words);
    let mut running = words.start();
    running.ready();
    let changelog = words.changelog();
    let logged = || words.outside().ends(&changelog);
    eventually("state in every task", || logged().iter().all(|end| *end > 0).then_some(()));
    load.end();
    words.until_caught_up();
    words.stop(running);
    let ends = logged();
    words.log.log.delete(&changelog).expect("a topic can be deleted");
    words.log.log.create(&new_topic(&changelog, PARTITIONS)).expect("a topic can be created again");
    if !grown {
        return;
    }
    let mut writer = words.log.log.writer().expect("a writer opens");
    for (partition, end) in ends.iter().enumerate() {
        let (key, value) = (format!("other-{partition}"), COUNTED.to_be_bytes());
        let record = Record { key: Some(key.as_bytes()), value: Some(&value), headers: Headers(b""), timestamp: THEN };
        for _ in 0..=*end {
            writer.send(&changelog, Some(partition as i32), record).expect("a record can be sent");
        }
    }
    writer.flush().expect("sent records are acknowledged");
}

/// Keys and counts of the live store, in order of the keys.
fn stored(words: &Words<'_>) -> Vec<(String, i64)> {
    let scan = ["store", "scan", ".", "word-counts", "-o", "jsonl", "--state-dir", STATE];
    let entry = |entry: &serde_json::Value| {
        (entry["key"].as_str().expect("text").to_owned(), entry["value"].as_i64().expect("a number"))
    };
    let mut found: Vec<(String, i64)> = words.mill.run(&scan).ok().jsonl().iter().map(entry).collect();
    found.sort();
    found
}

#[test]
fn state_is_not_mixed_with_a_changelog_that_has_grown_past_it_under_its_old_name() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        replace_changelog(&words, true);
        let expected: Vec<(String, i64)> = (0..PARTITIONS).map(|n| (format!("other-{n}"), COUNTED)).collect();
        let mut again = words.start();
        again.ready();
        assert_eq!(stored(&words), expected, "the store is the fold of the changelog that is there");
        let said = words.stop(again);
        assert!(said.contains("the changelog was deleted and created anew"), "{said}");
        // Told once: the new one is the known one now.
        let mut third = words.start();
        third.ready();
        assert_eq!(stored(&words), expected);
        let said = words.stop(third);
        assert!(!said.contains("created anew"), "{said}");
    });
}

#[test]
fn state_goes_with_a_changelog_that_begins_again() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        replace_changelog(&words, false);
        let mut again = words.start();
        again.ready();
        assert_eq!(stored(&words), [], "nothing of the old changelog is left");
        words.stop(again);
    });
}

#[test]
fn a_changelog_with_other_partitions_is_refused_with_both_numbers() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let mut running = words.start();
        running.ready();
        words.stop(running);
        let changelog = words.changelog();
        words.log.log.delete(&changelog).expect("a topic can be deleted");
        words.log.log.create(&new_topic(&changelog, PARTITIONS + 1)).expect("a topic can be created again");
        let problem = words.mill.run(&["run", ".", "--state-dir", STATE, "--error-format", "json"]).fails(78).problem();
        assert_eq!(problem["error"], "ChangelogPartitionMismatch", "{problem}");
        assert_eq!(problem["expected_partitions"], PARTITIONS, "{problem}");
        assert_eq!(problem["actual_partitions"], PARTITIONS + 1, "{problem}");
    });
}
