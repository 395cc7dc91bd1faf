//! Bits that flip anywhere in the file of the embedded log while nobody has it open: damage that is told, or nothing that
//! anybody reads. Never another record, another offset or a dead process, neither at the opening nor by what is written
//! afterwards.

use std::fs;
use std::path::Path;
use std::time::Duration;

use millstream::log::{Committed, Error, Fetched, Interval, Isolation, Result};
use tests::chance::Chance;
use tests::logs::{Kind, Owned, TestLog, new_topic, owned, text};
use tests::member::{Member, at, offset, one_input, outgoing, subscription};

use super::embedded::{log_of, open};

const ROUNDS: u64 = 300;
const PAGE: u64 = 4_096;
const APPLICATION: &str = "application";

/// What somebody who reads all of it finds.
#[derive(Debug, PartialEq)]
struct Contents {
    topics: Vec<String>,
    records: Vec<Vec<Owned>>,
    committed: Vec<Option<Committed>>,
}

/// A log with all that LMDB's files have: inner pages, values of several pages, pages that are free.
fn fill(dir: &Path, chance: &mut Chance) {
    let log = log_of(dir);
    for topic in ["gone", "in", "out"] {
        log.log.create(&new_topic(topic, 2)).unwrap();
    }
    for round in 0..60 {
        let len = [10, 300, 20_000][chance.below(3) as usize];
        log.produce(["gone", "in"][round % 2], round as i32 / 2 % 2, &["x".repeat(len).as_str()]);
    }
    let mut member = Member::owning(&log, subscription(APPLICATION, &["in", "out"], one_input(2)), 2);
    for round in 0..200 {
        let records = [(at(1, 0), text("a")), (at(1, (round % 2) as i32), text("b"))];
        let offsets = vec![offset(at(0, (round % 2) as i32), round / 10, &"m".repeat(chance.below(3_000) as usize))];
        member.commit(Interval { outgoing: outgoing(&records), offsets, ..Interval::default() });
    }
    member.leave();
    log.log.delete("gone").unwrap();
}

/// Everything, or the first thing that is damaged. What was read before it has to be a beginning of what there is.
fn contents(log: &TestLog, expected: Option<&Contents>) -> Result<Contents> {
    let mut found = Contents { topics: log.log.topics()?, records: Vec::new(), committed: Vec::new() };
    for (place, (topic, partition)) in [("in", 0), ("in", 1), ("out", 0), ("out", 1)].into_iter().enumerate() {
        let (records, error) = read(log, topic, partition);
        if let Some(expected) = expected {
            assert!(expected.records[place].starts_with(&records), "{topic} {partition}: other records");
        }
        error.map_or(Ok(()), Err)?;
        found.records.push(records);
    }
    found.committed = log.log.committed(APPLICATION, &[("in".into(), 0), ("in".into(), 1)])?;
    Ok(found)
}

/// The records to the partition's end, or to the first error.
fn read(log: &TestLog, topic: &str, partition: i32) -> (Vec<Owned>, Option<Error>) {
    let mut records = Vec::new();
    let error = read_into(log, topic, partition, &mut records).err();
    (records, error)
}

fn read_into(log: &TestLog, topic: &str, partition: i32, records: &mut Vec<Owned>) -> Result<()> {
    let end = log.log.offsets(topic, partition)?.end;
    let mut reader = log.log.reader(Isolation::Committed)?;
    reader.assign(&[(topic.to_owned(), partition, 0)])?;
    loop {
        let mut out = Vec::new();
        let polled = reader.poll(Duration::from_millis(50), &mut out);
        for fetched in out {
            match fetched {
                Fetched::Records { records: more, .. } => records.extend(owned(&more)),
                Fetched::End { offset, .. } if offset >= end => return Ok(()),
                Fetched::End { .. } => {}
                Fetched::Truncated { offset, .. } => panic!("{topic} {partition}: offset {offset} is said to be gone"),
            }
        }
        polled?;
    }
}

/// Half of them where pages begin: among their headers and the places of their entries.
fn flip(bytes: &mut [u8], chance: &mut Chance) {
    for _ in 0..[1, 1, 1, 8, 100][chance.below(5) as usize] {
        let page = chance.below(bytes.len() as u64 / PAGE) * PAGE;
        let within = [64, PAGE][chance.below(2) as usize];
        bytes[(page + chance.below(within)) as usize] ^= 1 << chance.below(8);
    }
}

#[test]
fn bits_that_flipped_are_told_or_change_nothing() {
    let (dir, mut chance) = (tempfile::tempdir().unwrap(), Chance::new());
    fill(dir.path(), &mut chance);
    let expected = contents(&log_of(dir.path()), None).unwrap();
    assert_eq!(expected.topics, ["in", "out"]);
    assert_eq!(expected.records[2].len() + expected.records[3].len(), 400);
    let data = dir.path().join("data.mdb");
    let whole = fs::read(&data).unwrap();
    let (mut refused, mut told) = (0, 0);
    for round in 0..ROUNDS {
        let mut bytes = whole.clone();
        flip(&mut bytes, &mut chance);
        fs::write(&data, &bytes).unwrap();
        let log = match open(dir.path()) {
            Err(Error::Corrupted(..)) => {
                refused += 1;
                continue;
            }
            Err(other) => panic!("round {round}: {other}"),
            Ok(log) => TestLog { kind: Kind::Embedded, log, dir: None },
        };
        match contents(&log, Some(&expected)) {
            Ok(found) => assert_eq!(found, expected, "round {round}"),
            Err(Error::Corrupted(..)) => told += 1,
            Err(other) => panic!("round {round}: {other}"),
        }
        // Writes take pages that are free, and change those that are not.
        log.produce("out", 0, &["c"]);
        drop(log);
        assert!(open(dir.path()).is_ok(), "round {round}: what was written has damaged the log");
    }
    println!("{refused} refused at the opening, {told} told by whoever read, of {ROUNDS}");
    assert!(refused > 0 && told > 0 && refused + told < ROUNDS);
}
