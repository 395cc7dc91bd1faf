//! Topics whose records are deleted under those who need them. The embedded log deletes no records: these are Kafka's.

use std::time::Duration;

use millstream_engine::record::{Headers, Record};
use rustix::process::Signal;
use tests::chaos::outside::Values;
use tests::chaos::words::{LMDB, PARTITIONS, Shape, Words};
use tests::logs::{THEN, eventually, kafka};
use tests::meddler::Meddler;
use tests::millstream::Running;

use super::fail_points::until_it_dies;
use super::topics::stored;

/// What keys that somebody else wrote count.
const COUNTED: i64 = 1 << 40;

/// Records that nobody had the time to read.
const UNREAD: usize = 50;

fn meddler(words: &Words<'_>) -> Meddler {
    Meddler::at(words.log.log.url())
}

/// Writes so many entries to a partition of the changelog, each under a key of its own: `other-PARTITION-NUMBER`.
fn log_others(words: &Words<'_>, partition: i32, entries: usize) {
    let mut writer = words.log.log.writer().expect("a writer opens");
    for number in 0..entries {
        let (key, value) = (format!("other-{partition}-{number}"), COUNTED.to_be_bytes());
        let record = Record { key: Some(key.as_bytes()), value: Some(&value), headers: Headers(b""), timestamp: THEN };
        writer.send(&words.changelog(), Some(partition), record).expect("a record can be sent");
    }
    writer.flush().expect("sent records are acknowledged");
}

/// Lines without state to lose: one word in each partition.
fn feed(words: &Words<'_>, lines: usize) {
    let lines: Vec<String> = (0..lines).map(|number| format!("line{number}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    (0..PARTITIONS).for_each(|partition| words.log.produce(&words.topic("lines"), partition, &lines));
}

fn ends(words: &Words<'_>, topic: &str) -> Vec<i64> {
    words.outside().settled_ends(topic)
}

/// What the application says it has lost.
fn warnings(words: &Words<'_>, address: &str) -> Vec<String> {
    let status = words.status(address);
    let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().map(|warning| warning.as_str().expect("text").to_owned()).collect()
}

/// Leaves an application whose state stands below the only entry that is left of each changelog partition.
fn truncate_past_the_state(words: &Words<'_>) {
    let mut running = words.start();
    running.ready();
    feed(words, 20);
    words.until_caught_up();
    words.stop(running);
    for partition in 0..PARTITIONS {
        log_others(words, partition, 3);
    }
    for (partition, end) in ends(words, &words.changelog()).into_iter().enumerate() {
        meddler(words).truncate_compacted(&words.changelog(), partition as i32, end - 1, &[]);
    }
}

/// What is left of the changelogs then.
fn left() -> Vec<(String, i64)> {
    (0..PARTITIONS).map(|partition| (format!("other-{partition}-2"), COUNTED)).collect()
}

#[test]
fn state_below_a_truncated_changelog_is_restored_from_what_is_left_and_told() {
    let Some(log) = kafka() else { return };
    let words = Words::new(&log, LMDB);
    truncate_past_the_state(&words);
    let mut again = words.start();
    let address = again.ready();
    assert_eq!(stored(&words), left(), "the store is the fold of the changelog that is there");
    let told = warnings(&words, &address);
    assert_eq!(told.len(), PARTITIONS as usize, "{told:?}");
    assert!(told.iter().all(|warning| warning.contains("E0420")), "{told:?}");
    let said = words.stop(again);
    assert!(said.contains("E0420"), "{said}");
    let mut third = words.start();
    let address = third.ready();
    assert_eq!((stored(&words), warnings(&words, &address)), (left(), vec![]), "told once");
    words.stop(third);
}

#[test]
fn death_while_a_store_is_emptied_leaves_it_for_the_next_start() {
    let Some(log) = kafka() else { return };
    let words = Words::new(&log, LMDB);
    truncate_past_the_state(&words);
    for number in 1..=2 {
        until_it_dies(&words, &format!("store-wipe:{number}"));
    }
    let mut again = words.start();
    again.ready();
    assert_eq!(stored(&words), left());
    words.stop(again);
}

/// Freezes the process as soon as it says something, does something behind its back and lets it go on.
fn behind_its_back(running: &mut Running, when: &str, act: impl FnOnce()) {
    running.until_it_says(|said| said.contains(when).then_some(()));
    running.signal(Signal::STOP);
    act();
    running.signal(Signal::CONT);
}

/// More than a client fetches ahead.
const LONG: usize = 150_000;

#[test]
fn a_changelog_that_is_truncated_while_it_is_read_is_read_from_where_it_begins_now() {
    let Some(log) = kafka() else { return };
    for provider in ["lmdb", "memory"] {
        let words = Words::new(&log, Shape { provider, ..LMDB });
        let mut running = words.start();
        running.ready();
        words.stop(running);
        log_others(&words, 0, LONG);
        let end = ends(&words, &words.changelog())[0];
        let mut again = words.start();
        behind_its_back(&mut again, ": restoring task=", || {
            meddler(&words).truncate_compacted(&words.changelog(), 0, end - 1, &[])
        });
        let address = again.ready();
        let told = warnings(&words, &address);
        assert!(told.iter().any(|warning| warning.contains("E0420")), "{provider}: {told:?}");
        assert_eq!(stored(&words), [(format!("other-0-{}", LONG - 1), COUNTED)], "{provider}");
        words.stop(again);
    }
}

/// The words counted in the outputs, each with its last count, and what the lines that are left add up to.
fn check_counts_from(words: &Words<'_>, gone: usize, lines: usize) {
    let counts = words.outside().read(&words.topic("counts"), Values::Number);
    for number in 0..lines {
        let of_word = counts.iter().filter(|row| row.key == format!("line{number}"));
        let counted: Vec<i64> = of_word.map(|row| row.value.as_i64().expect("a number")).collect();
        let expected: Vec<i64> = if number < gone { vec![] } else { (1..=i64::from(PARTITIONS)).collect() };
        assert_eq!(counted, expected, "line{number}");
    }
}

/// Deletes all but the last ten of the lines.
fn truncate_lines(words: &Words<'_>) {
    for (partition, end) in ends(words, &words.topic("lines")).into_iter().enumerate() {
        meddler(words).truncate(&words.topic("lines"), partition as i32, end - 10);
    }
}

#[test]
fn a_source_that_was_truncated_past_what_is_committed_goes_on_with_what_is_left_and_tells() {
    let Some(log) = kafka() else { return };
    let words = Words::new(&log, LMDB);
    let mut running = words.start();
    running.ready();
    words.stop(running);
    feed(&words, UNREAD);
    truncate_lines(&words);
    let mut again = words.start();
    let address = again.ready();
    words.until_caught_up();
    let told = warnings(&words, &address);
    assert_eq!(told.iter().filter(|warning| warning.contains("E0420")).count(), PARTITIONS as usize, "{told:?}");
    check_counts_from(&words, UNREAD - 10, UNREAD);
    words.stop(again);
}

#[test]
fn a_source_that_is_truncated_under_a_running_application_goes_on_with_what_is_left_and_tells() {
    let Some(log) = kafka() else { return };
    let words = Words::with_kafka(&log, LMDB, &[("session.timeout.ms", "45000")]);
    let mut running = words.start();
    let address = running.ready();
    // Nothing was fetched since: the process hears of the lines when they are gone.
    running.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(1));
    feed(&words, UNREAD);
    truncate_lines(&words);
    running.signal(Signal::CONT);
    words.until_caught_up();
    eventually("a warning", || {
        let told = warnings(&words, &address);
        told.iter().any(|warning| warning.contains("E0420")).then_some(())
    });
    let counts = words.outside().read(&words.topic("counts"), Values::Number);
    let last = counts.iter().filter(|row| row.key == format!("line{}", UNREAD - 1));
    assert_eq!(last.count(), PARTITIONS as usize, "what is left was counted");
    let said = words.stop(running);
    assert!(said.contains("E0420"), "{said}");
}
