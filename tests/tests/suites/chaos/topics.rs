//! Topics that somebody deletes, creates anew or changes, while the application runs or not.

use millstream_engine::record::{Headers, Record};
use tests::chaos::gap;
use tests::chaos::load::Load;
use tests::chaos::outside::Values;
use tests::chaos::words::{LMDB, PARTITIONS, STATE, Words};
use tests::logs::{Kind, THEN, TestLog, compacted_topic, each_log, eventually, kafka, new_topic};
use tests::meddler::Meddler;
use tests::millstream::Running;

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
    words.log.log.create(&compacted_topic(&changelog, PARTITIONS)).expect("a topic can be created again");
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
pub fn stored(words: &Words<'_>) -> Vec<(String, i64)> {
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
        words.log.log.create(&compacted_topic(&changelog, PARTITIONS + 1)).expect("a topic can be created again");
        let problem = words.mill.run(&["run", ".", "--state-dir", STATE, "--error-format", "json"]).fails(78).problem();
        assert_eq!(problem["error"], "ChangelogPartitionMismatch", "{problem}");
        assert_eq!(problem["expected_partitions"], PARTITIONS, "{problem}");
        assert_eq!(problem["actual_partitions"], PARTITIONS + 1, "{problem}");
    });
}

/// Puts another topic in the place of the lines.
fn replace_lines(words: &Words<'_>) {
    let lines = words.topic("lines");
    words.log.log.delete(&lines).expect("a topic can be deleted");
    words.log.log.create(&new_topic(&lines, PARTITIONS)).expect("a topic can be created again");
}

/// Enough words for all partitions of the counts.
const WORDS: usize = 20;

/// Every word in each partition of the lines, so often.
fn feed(words: &Words<'_>, times: usize) {
    let lines: Vec<String> = (0..WORDS * times).map(|number| format!("word{}", number % WORDS)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    (0..PARTITIONS).for_each(|partition| words.log.produce(&words.topic("lines"), partition, &lines));
}

/// Every word was counted to so often the partitions, one after the other.
fn check_counted(words: &Words<'_>, times: usize) {
    let counts = words.outside().read(&words.topic("counts"), Values::Number);
    for number in 0..WORDS {
        let of_word = counts.iter().filter(|row| row.key == format!("word{number}"));
        let counted: Vec<i64> = of_word.map(|row| row.value.as_i64().expect("a number")).collect();
        assert_eq!(counted, (1..=times as i64 * i64::from(PARTITIONS)).collect::<Vec<_>>(), "word{number}");
    }
}

#[test]
fn a_source_that_was_created_anew_is_refused_until_it_is_allowed_and_then_read_from_its_beginning() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let mut running = words.start();
        running.ready();
        feed(&words, 5);
        words.until_caught_up();
        words.stop(running);
        replace_lines(&words);
        let json = ["--state-dir", STATE, "--error-format", "json"];
        let refused = |verb: &[&str]| words.mill.run(&[verb, &json].concat()).fails(1).problem();
        let problem = refused(&["run", "."]);
        assert_eq!((&problem["error"], &problem["code"]), (&"TopicRecreated".into(), &"E0221".into()), "{problem}");
        assert_eq!(problem["topic"], words.topic("lines"), "{problem}");
        assert_ne!(problem["expected_topic_id"], problem["actual_topic_id"], "{problem}");
        assert!(problem["fix"].to_string().contains("--allow-recreated-topics"), "{problem}");
        assert_eq!(refused(&["validate", "."]), problem);
        // Longer than the old one was read: an offset of that one would be in it.
        feed(&words, 9);
        words.mill.run(&["run", ".", "--state-dir", STATE, "--until-end", "--allow-recreated-topics"]).ok();
        check_counted(&words, 14);
        // Said once, it holds.
        words.mill.run(&["run", ".", "--state-dir", STATE, "--until-end"]).ok();
    });
}

/// Waits until a process has ended by itself: what it said.
fn until_it_ends(mut running: Running) -> String {
    eventually("its end", || running.has_ended().then_some(()));
    running.finish().fails(1).stderr
}

#[test]
fn a_source_that_is_created_anew_under_a_running_application_stops_it() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let mut running = words.start();
        running.ready();
        feed(&words, 5);
        words.until_caught_up();
        replace_lines(&words);
        let said = until_it_ends(running);
        assert!(said.contains("E0221") && said.contains(&words.topic("lines")), "{said}");
        feed(&words, 9);
        words.mill.run(&["run", ".", "--state-dir", STATE, "--until-end", "--allow-recreated-topics"]).ok();
        check_counted(&words, 14);
    });
}

#[test]
fn a_source_that_is_deleted_under_a_running_application_stops_it() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let mut running = words.start();
        running.ready();
        log.log.delete(&words.topic("lines")).expect("a topic can be deleted");
        let said = until_it_ends(running);
        assert!(said.contains("E0402") && said.contains(&words.topic("lines")), "{said}");
    });
}

#[test]
fn a_changelog_that_is_deleted_under_a_running_application_stops_it() {
    each_log(|log| {
        let words = Words::new(log, LMDB);
        let mut running = words.start();
        running.ready();
        log.log.delete(&words.changelog()).expect("a topic can be deleted");
        let said = until_it_ends(running);
        assert!(said.contains("E0402") && said.contains(&words.changelog()), "{said}");
    });
}

/// The embedded log adds no partitions.
#[test]
fn partitions_that_are_added_to_a_source_stop_the_application_with_both_counts() {
    let Some(log) = kafka() else { return };
    let words = Words::new(&log, LMDB);
    let mut running = words.start();
    running.ready();
    feed(&words, 5);
    words.until_caught_up();
    Meddler::at(log.log.url()).add_partitions(&words.topic("lines"), PARTITIONS as usize + 2);
    let said = until_it_ends(running);
    assert!(said.contains("E0222") && said.contains(&words.topic("lines")), "{said}");
    assert!(said.contains(&format!("{} partitions, and had {PARTITIONS}", PARTITIONS + 2)), "{said}");
}

/// Its changelog keeps deletes for a second, or for as long as by default.
fn with_deletes<'a>(log: &'a TestLog, kept: bool) -> Words<'a> {
    let short = "[stores.word-counts]\nchangelog = { topic_configs = { \"delete.retention.ms\" = \"1000\" } }\n";
    let words = Words::with_state(log, LMDB, if kept { "" } else { short });
    let mut running = words.start();
    running.ready();
    feed(&words, 5);
    words.until_caught_up();
    words.stop(running);
    std::thread::sleep(std::time::Duration::from_secs(2));
    words
}

#[test]
fn state_that_is_older_than_the_deletes_of_its_changelog_is_read_from_the_beginning() {
    each_log(|log| {
        for kept in [true, false] {
            let words = with_deletes(log, kept);
            let before = stored(&words);
            if log.kind == Kind::Kafka {
                // Every key was deleted since, and neither it nor its delete is left, but the marker behind them.
                let ends = words.outside().settled_ends(&words.changelog());
                let meddler = Meddler::at(log.log.url());
                let deletes: &[(&str, &str)] = if kept { &[] } else { &[("delete.retention.ms", "1000")] };
                (0..).zip(ends).for_each(|(partition, end)| {
                    meddler.truncate_compacted(&words.changelog(), partition, end - 1, deletes)
                });
            }
            let mut again = words.start();
            again.ready();
            let expected = if kept || log.kind == Kind::Embedded { before } else { Vec::new() };
            assert_eq!(stored(&words), expected, "deletes kept: {kept}");
            let said = words.stop(again);
            assert_eq!(said.contains("older than the deletes"), !kept, "{said}");
            let read = gap::restores(&said);
            assert_eq!(read.iter().any(|one| one.from == 0), !kept && log.kind == Kind::Embedded, "{read:?}");
        }
    });
}
