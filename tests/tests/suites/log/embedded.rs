//! What only the embedded log promises: one directory, several users of it, damage that is noticed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millstream::log::{Error, Event, Guarantee, Interval, Isolation, Log, NewTopic, Options, Result, Subscription};
use tests::logs::{Kind, TestLog, embedded, first_error, new_topic, owned, text, unique};
use tests::member::{Member, Outcome, at, offset, one_input, outgoing, subscription};

pub fn url(dir: &Path) -> String {
    format!("embedded:{}", dir.display())
}

pub fn open(dir: &Path) -> Result<Arc<dyn Log>> {
    millstream::log::open(&url(dir), &Options::default())
}

/// The log of a directory that the test keeps.
pub fn log_of(dir: &Path) -> TestLog {
    TestLog { kind: Kind::Embedded, log: open(dir).unwrap(), dir: None }
}

// === one directory ===

#[test]
fn two_opens_of_one_directory_share_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (real, linked) = (dir.path().join("real"), dir.path().join("linked"));
    let one = log_of(&real);
    std::os::unix::fs::symlink(&real, &linked).unwrap();
    let two = log_of(&linked);
    one.log.create(&new_topic("shared", 1)).unwrap();
    two.produce("shared", 0, &["a"]);
    assert_eq!(one.values("shared", 0), ["a"]);
    drop(two);
    one.produce("shared", 0, &["b"]);
    assert_eq!(one.values("shared", 0), ["a", "b"]);
}

#[test]
fn a_log_is_found_again_as_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let first = log_of(dir.path());
    first.log.create(&NewTopic { replication_factor: Some(3), ..new_topic("kept", 2) }).unwrap();
    first.produce("kept", 1, &["a", "b"]);
    let before = first.log.describe(&["kept"]).unwrap();
    drop(first);
    let again = log_of(dir.path());
    assert_eq!(again.log.describe(&["kept"]).unwrap(), before);
    assert_eq!(again.values("kept", 1), ["a", "b"]);
    let configs = &before[0].as_ref().unwrap().configs;
    assert_eq!(configs.get("millstream.replication.factor").map(String::as_str), Some("3"));
    assert_eq!(configs.get("retention.ms").map(String::as_str), Some("-1"));
}

#[test]
fn a_log_opens_again_while_it_is_being_closed() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path()).log.create(&new_topic("t", 1)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| drop(open(dir.path()).unwrap())));
        }
    });
    log_of(dir.path()).produce("t", 0, &["x"]);
}

#[test]
fn a_format_of_another_version_is_refused_with_both() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let format = dir.path().join("FORMAT");
    assert_eq!(fs::read_to_string(&format).unwrap(), "millstream embedded log, format 2\n");
    fs::write(&format, "millstream embedded log, format 3\n").unwrap();
    let refused = open(dir.path()).err().unwrap();
    assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("format is 3") && said.contains("reads 2"), "{said}");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    for foreign in ["data.mdb", "notes.txt"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(foreign), "not ours").unwrap();
        let refused = open(dir.path()).err().unwrap();
        assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [foreign]);
        assert_eq!(fs::read_to_string(dir.path().join(foreign)).unwrap(), "not ours");
    }
}

#[test]
fn a_log_whose_making_was_interrupted_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("write.lock"), "").unwrap();
    fs::write(dir.path().join("data.mdb"), "half a page").unwrap();
    log_of(dir.path()).log.create(&new_topic("t", 1)).unwrap();
    assert_eq!(log_of(dir.path()).log.topics().unwrap(), ["t"]);
}

// === damage ===

/// A log with one topic of 200 records, closed; its data file.
fn closed_log(dir: &Path) -> PathBuf {
    let log = log_of(dir);
    log.log.create(&new_topic("t", 1)).unwrap();
    let values: Vec<String> = (0..200).map(|i| format!("record number {i} {}", "x".repeat(500))).collect();
    log.produce("t", 0, &values.iter().map(String::as_str).collect::<Vec<_>>());
    dir.join("data.mdb")
}

/// Reads the topic until an error; the records before it.
fn read_damaged(log: &TestLog) -> (Vec<tests::logs::Owned>, Error) {
    let mut reader = log.log.reader(Isolation::Committed).unwrap();
    let mut found = Vec::new();
    let error = reader.assign(&[("t".into(), 0, 0)]).err().unwrap_or_else(|| {
        loop {
            let mut out = Vec::new();
            if let Err(error) = reader.poll(Duration::from_millis(50), &mut out) {
                return error;
            }
            for fetched in out {
                match fetched {
                    millstream::log::Fetched::Records { records, .. } => found.extend(owned(&records)),
                    end => panic!("an end behind damage: {end:?}"),
                }
            }
        }
    });
    (found, error)
}

#[test]
fn damaged_bytes_are_an_error_and_never_a_record() {
    for damaged in ["record number 0 ", "record number 150 "] {
        let dir = tempfile::tempdir().unwrap();
        let data = closed_log(dir.path());
        let mut bytes = fs::read(&data).unwrap();
        let places: Vec<usize> = memchr_all(&bytes, damaged.as_bytes());
        assert!(!places.is_empty());
        for place in places {
            bytes[place + 3] ^= 0x20;
        }
        fs::write(&data, bytes).unwrap();
        let (found, error) = read_damaged(&log_of(dir.path()));
        assert!(matches!(error, Error::Corrupted(..)), "{error:?}");
        assert!(error.to_string().contains("topic t partition 0"), "{error}");
        for (place, record) in found.iter().enumerate() {
            assert!(record.text().starts_with(&format!("record number {place} ")), "{}", record.text());
        }
    }
}

fn memchr_all(bytes: &[u8], pattern: &[u8]) -> Vec<usize> {
    bytes.windows(pattern.len()).enumerate().filter(|(_, found)| *found == pattern).map(|(place, _)| place).collect()
}

/// The map of a shorter file would end the process at the first touch behind its end.
#[test]
fn a_truncated_file_is_an_error_and_not_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let data = closed_log(dir.path());
    let whole = fs::metadata(&data).unwrap().len();
    let file = fs::File::options().write(true).open(&data).unwrap();
    file.set_len(whole / 2).unwrap();
    let (_, error) = match open(dir.path()) {
        Err(error) => (Vec::new(), error),
        Ok(log) => read_damaged(&TestLog { kind: Kind::Embedded, log, dir: None }),
    };
    assert!(matches!(error, Error::Corrupted(..)), "{error:?}");
}

/// Both of LMDB's first pages say how many pages there are.
#[test]
fn a_file_that_says_it_is_longer_than_a_log_can_be_is_damage_and_does_not_grow() {
    const LAST_PAGE: usize = 136;
    let dir = tempfile::tempdir().unwrap();
    let data = closed_log(dir.path());
    let mut bytes = fs::read(&data).unwrap();
    for page in [0, 4096] {
        bytes[page + LAST_PAGE..page + LAST_PAGE + 8].copy_from_slice(&(1u64 << 40).to_ne_bytes());
    }
    fs::write(&data, &bytes).unwrap();
    assert!(matches!(open(dir.path()).err().unwrap(), Error::Corrupted(..)));
    assert_eq!(fs::metadata(&data).unwrap().len(), bytes.len() as u64);
}

#[test]
fn a_missing_or_empty_file_is_damage_and_not_a_new_log() {
    let dir = tempfile::tempdir().unwrap();
    let data = closed_log(dir.path());
    fs::write(&data, "").unwrap();
    assert!(matches!(open(dir.path()).err().unwrap(), Error::Corrupted(..)));
    fs::remove_file(&data).unwrap();
    assert!(matches!(open(dir.path()).err().unwrap(), Error::Corrupted(..)));
}

// === topics and records ===

#[test]
fn timestamps_are_kept_as_they_are() {
    let log = embedded();
    let topic = log.topic("times", 1);
    let mut writer = log.log.writer().unwrap();
    for timestamp in [0, -1, i64::MAX] {
        writer.send(&topic, Some(0), millstream_engine::record::Record { timestamp, ..text("t") }).unwrap();
    }
    writer.flush().unwrap();
    let found: Vec<i64> = log.read(&topic, 0).iter().map(|record| record.timestamp).collect();
    assert_eq!(found, [0, -1, i64::MAX]);
}

#[test]
fn a_record_above_the_topics_bound_is_refused() {
    let log = embedded();
    let topic = NewTopic { configs: [("max.message.bytes".into(), "1000".into())].into(), ..new_topic("small", 1) };
    log.log.create(&topic).unwrap();
    let mut writer = log.log.writer().unwrap();
    let refused = writer.send("small", None, text(&"x".repeat(1_001))).unwrap_err();
    assert!(refused.to_string().contains("1001") && refused.to_string().contains("1000"), "{refused}");
    writer.send("small", None, text(&"x".repeat(1_000))).unwrap();
    writer.flush().unwrap();
}

#[test]
fn a_deleted_topic_takes_its_committed_offsets_along() {
    let log = embedded();
    let (topic, id) = (log.topic("deleted", 1), unique("app"));
    let mut member = Member::owning(&log, subscription(&id, &[&topic], one_input(1)), 1);
    member.commit(Interval { offsets: vec![offset(at(0, 0), 0, "old")], ..Interval::default() });
    member.leave();
    log.log.delete(&topic).unwrap();
    log.log.create(&new_topic(&topic, 1)).unwrap();
    assert_eq!(log.log.committed(&id, &[(topic, 0)]).unwrap(), [None]);
}

#[test]
fn nothing_meant_for_a_deleted_topic_reaches_its_successor() {
    let log = embedded();
    let topic = log.topic("replaced", 1);
    let mut member = Member::owning(&log, subscription(&unique("app"), &[&topic], one_input(1)), 1);
    let mut reader = log.log.reader(Isolation::Committed).unwrap();
    reader.assign(&[(topic.clone(), 0, 0)]).unwrap();
    log.log.delete(&topic).unwrap();
    log.log.create(&new_topic(&topic, 1)).unwrap();
    assert!(matches!(first_error(&mut *reader).unwrap(), Error::UnknownTopic(name) if name == topic));
    let offsets = vec![offset(at(0, 0), 0, "of the old one")];
    member.client.submit(Interval { sequence: 1, offsets, ..Interval::default() }).unwrap();
    let mut events = Vec::new();
    while events.is_empty() {
        member.client.poll(Duration::from_secs(1), &mut events).unwrap();
    }
    assert!(matches!(&events[0], Event::Aborted { sequence: 1, .. }), "{events:?}");
    let error = member.client.poll(Duration::ZERO, &mut events).unwrap_err();
    assert!(matches!(error, Error::UnknownTopic(name) if name == topic));
}

#[test]
fn an_interval_is_not_committed_without_what_was_published_ahead_of_it() {
    let log = embedded();
    let (topic, out, id) = (log.topic("in", 1), log.topic("out", 1), unique("app"));
    let guarantee = Guarantee::AtLeastOnce;
    let subscription = Subscription { guarantee, ..subscription(&id, &[&topic, &out], one_input(1)) };
    let mut member = Member::owning(&log, subscription, 1);
    member.client.publish(&outgoing(&[(at(1, 0), text("a"))])).unwrap();
    member.commit(Interval { offsets: vec![offset(at(0, 0), 0, "kept")], ..Interval::default() });
    log.log.delete(&out).unwrap();
    member.client.publish(&outgoing(&[(at(1, 0), text("b"))])).unwrap();
    let outcome = member.submit(Interval { offsets: vec![offset(at(0, 0), 0, "never")], ..Interval::default() });
    assert!(matches!(&outcome, Outcome::Aborted { why, .. } if why.contains(&out)), "{outcome:?}");
    let committed = log.log.committed(&id, &[(topic, 0)]).unwrap().remove(0);
    assert_eq!(committed.unwrap().metadata, "kept");
}

// === one running instance ===

#[test]
fn a_second_instance_in_one_process_is_refused() {
    let log = embedded();
    let topic = log.topic("in", 1);
    let first = subscription(&unique("app"), &[&topic], one_input(1));
    let member = Member::owning(&log, first.clone(), 1);
    let refused = |subscription: Subscription| log.log.client(subscription).err().unwrap();
    let other_instance = refused(subscription(&first.application, &[&topic], one_input(1)));
    assert!(matches!(other_instance, Error::AlreadyRunning { .. }), "{other_instance:?}");
    let same_thread = refused(first.clone());
    assert!(matches!(same_thread, Error::AlreadyRunning { .. }), "{same_thread:?}");
    member.leave();
    Member::owning(&log, first, 1).leave();
}

/// The next owner must read final offsets.
#[test]
fn leaving_waits_for_the_commit_on_its_way() {
    let log = embedded();
    let (topic, id) = (log.topic("in", 1), unique("app"));
    for round in 0..10 {
        let mut member = Member::owning(&log, subscription(&id, &[&topic], one_input(1)), 1);
        let offsets = vec![offset(at(0, 0), round, "")];
        member.client.submit(Interval { sequence: 1, offsets, ..Interval::default() }).unwrap();
        if round % 2 == 0 {
            member.leave();
        } else {
            drop(member);
        }
        let committed = log.log.committed(&id, &[(topic.clone(), 0)]).unwrap().remove(0);
        assert_eq!(committed.map(|committed| committed.offset), Some(round));
    }
}

#[test]
fn an_application_whose_id_is_no_name_is_refused() {
    let log = embedded();
    let topic = log.topic("in", 1);
    for id in ["", "..", "../escape", "a b"] {
        let refused = log.log.client(subscription(id, &[&topic], one_input(1))).err().unwrap();
        assert!(matches!(refused, Error::Refused { .. }), "{id}: {refused:?}");
    }
}
