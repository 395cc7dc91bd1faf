//! Offsets that a log does not have: told, and never silently another one.

use std::time::{Duration, Instant};

use millstream::log::{Fetched, Isolation, NewTopic, Reader};
use tests::logs::{DEADLINE, Kind, STEP, TestLog, each_log, new_topic, read_to, unique};
use tests::meddler::Meddler;
use tests::member::{Member, at, one_input, subscription};

/// Long enough for anything more to come.
const QUIET: Duration = Duration::from_secs(1);

/// Polls until the reader tells that an offset is not there, then that nothing more comes: which it was.
fn until_truncated(reader: &mut dyn Reader) -> i64 {
    let start = Instant::now();
    let offset = loop {
        assert!(start.elapsed() < DEADLINE, "nothing was told within {DEADLINE:?}");
        let mut out = Vec::new();
        reader.poll(STEP, &mut out).unwrap();
        match &out[..] {
            [] => {}
            [Fetched::Truncated { offset, partition: 0, .. }] => break *offset,
            other => panic!("{other:?}"),
        }
    };
    let (quiet, mut out) = (Instant::now(), Vec::new());
    while quiet.elapsed() < QUIET {
        reader.poll(STEP, &mut out).unwrap();
    }
    assert!(out.is_empty(), "{out:?}");
    offset
}

/// Five records, the first three of which are gone. The offsets that are not there, below and behind.
fn truncated(log: &TestLog) -> (String, Vec<i64>) {
    let name = unique("truncated");
    let configs = match log.kind {
        // What is left is as much as may stay.
        Kind::Embedded => [("retention.bytes".to_owned(), "1".to_owned())].into(),
        Kind::Kafka => Default::default(),
    };
    log.log.create(&NewTopic { configs, ..new_topic(&name, 1) }).unwrap();
    log.produce(&name, 0, &["0", "1", "2"]);
    log.produce(&name, 0, &["3", "4"]);
    match log.kind {
        Kind::Embedded => {
            let swept = log.log.sweep(&name).unwrap();
            assert!(swept.deleted_records == 3 || log.log.offsets(&name, 0).unwrap().begin == 3, "{swept:?}");
        }
        Kind::Kafka => Meddler::at(log.log.url()).truncate(&name, 0, 3),
    }
    (name, vec![1, 6, 99])
}

#[test]
fn a_reader_is_told_of_an_offset_that_is_not_there_and_reads_on_when_it_is_assigned_again() {
    each_log(|log| {
        let (topic, missing) = truncated(log);
        for offset in missing {
            let mut reader = log.log.reader(Isolation::Committed).unwrap();
            reader.assign(&[(topic.clone(), 0, offset)]).unwrap();
            assert_eq!(until_truncated(&mut *reader), offset);
            reader.assign(&[(topic.clone(), 0, 3)]).unwrap();
            let (found, _) = read_to(&mut *reader, 5);
            assert_eq!(found.iter().map(|record| record.offset).collect::<Vec<_>>(), [3, 4]);
        }
    });
}

#[test]
fn a_member_is_told_of_an_offset_that_is_not_there_and_reads_on_when_it_is_started_again() {
    each_log(|log| {
        let (topic, missing) = truncated(log);
        let mut member = Member::owning(log, subscription(&unique("app"), &[&topic], one_input(1)), 1);
        let input = at(0, 0);
        for offset in missing {
            member.truncated.clear();
            member.records.clear();
            member.client.start(input, offset).unwrap();
            member.until("a word of it", |member| !member.truncated.is_empty());
            assert_eq!(member.truncated.get(&input), Some(&offset));
            let quiet = Instant::now();
            while quiet.elapsed() < QUIET {
                member.poll(STEP);
            }
            assert!(member.records.is_empty(), "{:?}", member.records);
            member.client.start(input, 3).unwrap();
            member.until("the rest", |member| member.records.get(&input).is_some_and(|found| found.len() == 2));
            assert_eq!(member.records[&input].iter().map(|record| record.offset).collect::<Vec<_>>(), [3, 4]);
        }
        member.leave();
    });
}
