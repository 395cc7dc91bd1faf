//! Topics: create, describe, list, delete, and how each refuses.

use std::time::Duration;

use millstream::log::{Error, Isolation, NewTopic, Offsets};
use tests::logs::{DEADLINE, each_log, eventually, first_error, new_topic, text, unique};

#[test]
fn a_log_answers_a_ping() {
    each_log(|log| log.log.ping(Duration::from_secs(10)).unwrap());
}

#[test]
fn a_topic_is_described_as_it_was_created() {
    each_log(|log| {
        let name = unique("described");
        let mut topic = new_topic(&name, 3);
        topic.configs.insert("cleanup.policy".into(), "compact".into());
        topic.replication_factor = Some(1);
        log.log.create(&topic).unwrap();
        let missing = unique("missing");
        let found = log.log.describe(&[&missing, &name]).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], None);
        let found = found[1].as_ref().unwrap();
        assert_eq!((found.name.as_str(), found.partitions), (name.as_str(), 3));
        assert_eq!(found.configs.get("cleanup.policy").map(String::as_str), Some("compact"));
        assert!(found.configs.contains_key("retention.ms"), "defaults are shown too: {:?}", found.configs);
    });
}

#[test]
fn topics_are_listed_in_order_of_their_names() {
    each_log(|log| {
        let run = unique("listed");
        for suffix in ["b", "c", "a"] {
            log.log.create(&new_topic(&format!("{run}-{suffix}"), 1)).unwrap();
        }
        let all = log.log.topics().unwrap();
        let ours: Vec<&String> = all.iter().filter(|name| name.starts_with(&run)).collect();
        assert_eq!(ours, [&format!("{run}-a"), &format!("{run}-b"), &format!("{run}-c")]);
    });
}

#[test]
fn a_topic_is_created_once() {
    each_log(|log| {
        let name = log.topic("once", 1);
        let again = log.log.create(&new_topic(&name, 2));
        assert!(matches!(&again, Err(Error::TopicExists(found)) if *found == name), "{again:?}");
        assert_eq!(log.log.describe(&[&name]).unwrap()[0].as_ref().unwrap().partitions, 1);
    });
}

#[test]
fn a_new_topic_is_empty_and_can_be_written_at_once() {
    each_log(|log| {
        let name = log.topic("new", 2);
        assert_eq!(log.log.offsets(&name, 1).unwrap(), Offsets { begin: 0, end: 0 });
        log.produce(&name, 1, &["first"]);
        assert_eq!(log.log.offsets(&name, 1).unwrap(), Offsets { begin: 0, end: 1 });
        assert_eq!(log.log.offsets(&name, 0).unwrap(), Offsets { begin: 0, end: 0 });
    });
}

#[test]
fn a_name_that_kafka_would_not_take_is_refused() {
    each_log(|log| {
        for name in ["", ".", "..", "two words", "a/b", "ümlaut", &"x".repeat(250)] {
            let refused = log.log.create(&new_topic(name, 1));
            assert!(matches!(refused, Err(Error::Refused { .. })), "{name:?}: {refused:?}");
        }
        let longest = format!("{}{}", unique("longest"), "x".repeat(249));
        log.log.create(&new_topic(&longest[..249], 1)).unwrap();
    });
}

#[test]
fn a_topic_without_partitions_is_refused() {
    each_log(|log| {
        let refused = log.log.create(&new_topic(&unique("none"), 0));
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    });
}

#[test]
fn a_configuration_that_is_no_number_is_refused() {
    each_log(|log| {
        let topic =
            NewTopic { configs: [("retention.ms".into(), "soon".into())].into(), ..new_topic(&unique("bad"), 1) };
        let refused = log.log.create(&topic);
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
        assert_eq!(log.log.describe(&[&topic.name]).unwrap(), [None]);
    });
}

#[test]
fn a_missing_topic_is_named_wherever_it_is_asked_for() {
    each_log(|log| {
        let name = unique("missing");
        let names_it = |error: &Error| matches!(error, Error::UnknownTopic(found) if *found == name);
        let deleted = log.log.delete(&name).unwrap_err();
        assert!(names_it(&deleted), "{deleted:?}");
        let offsets = log.log.offsets(&name, 0).unwrap_err();
        assert!(names_it(&offsets), "{offsets:?}");
        let mut reader = log.log.reader(Isolation::Committed).unwrap();
        let assigned = reader.assign(&[(name.clone(), 0, 0)]);
        let read = assigned.err().unwrap_or_else(|| first_error(&mut *reader).unwrap());
        assert!(names_it(&read), "{read:?}");
        let mut writer = log.log.writer().unwrap();
        let written = writer.send(&name, None, text("x")).and_then(|()| writer.flush()).unwrap_err();
        assert!(names_it(&written), "{written:?}");
    });
}

#[test]
fn a_partition_that_is_not_there_is_an_error() {
    each_log(|log| {
        let name = log.topic("two", 2);
        assert!(log.log.offsets(&name, 2).is_err());
        let mut writer = log.log.writer().unwrap();
        assert!(writer.send(&name, Some(2), text("x")).and_then(|()| writer.flush()).is_err());
    });
}

#[test]
fn a_deleted_topic_is_gone_and_its_successor_starts_empty() {
    each_log(|log| {
        let name = log.topic("reborn", 1);
        log.produce(&name, 0, &["old", "older"]);
        log.log.delete(&name).unwrap();
        eventually("deletion", || log.log.describe(&[&name]).unwrap()[0].is_none().then_some(()));
        eventually("creation", || match log.log.create(&new_topic(&name, 2)) {
            Ok(()) => Some(()),
            Err(Error::TopicExists(_)) => None,
            Err(other) => panic!("{other} (within {DEADLINE:?})"),
        });
        assert_eq!(log.log.describe(&[&name]).unwrap()[0].as_ref().unwrap().partitions, 2);
        assert_eq!(log.log.offsets(&name, 0).unwrap(), Offsets { begin: 0, end: 0 });
        log.produce(&name, 0, &["new"]);
        assert_eq!(log.values(&name, 0), ["new"]);
    });
}

#[test]
fn records_below_an_offset_are_deleted_and_their_offsets_are_not_given_again() {
    each_log(|log| {
        let name = log.topic("purged", 2);
        log.produce(&name, 0, &["0", "1", "2"]);
        log.produce(&name, 0, &["3", "4"]);
        log.produce(&name, 1, &["other"]);
        let below = |offset| log.log.delete_records(&[(name.clone(), 0, offset)]);
        below(3).unwrap();
        assert_eq!(log.log.offsets(&name, 0).unwrap(), Offsets { begin: 3, end: 5 });
        // Gone already.
        below(1).unwrap();
        assert_eq!(log.log.offsets(&name, 0).unwrap(), Offsets { begin: 3, end: 5 });
        below(5).unwrap();
        assert_eq!(log.log.offsets(&name, 0).unwrap(), Offsets { begin: 5, end: 5 });
        log.produce(&name, 0, &["5"]);
        assert_eq!(log.log.offsets(&name, 0).unwrap(), Offsets { begin: 5, end: 6 });
        assert_eq!(log.values(&name, 1), ["other"]);
        let missing = unique("missing");
        let refused = log.log.delete_records(&[(missing.clone(), 0, 1)]).unwrap_err();
        assert!(matches!(&refused, Error::UnknownTopic(topic) if *topic == missing), "{refused:?}");
    });
}
