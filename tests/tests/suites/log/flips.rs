//! Bits that flip anywhere in the file of the embedded log while nobody has it open: damage that is told, or nothing that
//! anybody reads. Never another record, another offset or a dead process, neither at the opening nor by what is written
//! afterwards. bolero draws the bits; `BOLERO_RANDOM_ITERATIONS=10000` makes more rounds of it.

use std::fs;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use bolero::{Driver, ValueGenerator};
use millstream::log::{Committed, Error, Fetched, Interval, Isolation, Result};
use tests::chance::Chance;
use tests::logs::{Kind, Owned, TestLog, new_topic, owned, text};
use tests::member::{Member, at, offset, one_input, outgoing, subscription};

use super::embedded::{log_of, open};

const ROUNDS: usize = 300;
const PAGE: usize = 4_096;

/// The first two pages: which of them is the newest, and where everything else is.
const META_PAGES: usize = 2;

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

/// Draws bits of a file of so many pages.
struct Bits {
    pages: usize,
}

/// A byte of the file and a bit of it.
type Bit = (usize, u8);

impl ValueGenerator for Bits {
    type Output = Vec<Bit>;

    /// Half of them where pages begin: among their headers and the places of their entries. One file in six is damaged in
    /// its meta pages alone.
    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Vec<Bit>> {
        let mut pick = |end: usize| driver.gen_usize(Bound::Included(&0), Bound::Excluded(&end));
        let (count, pages) =
            [(1, self.pages), (1, self.pages), (1, self.pages), (8, self.pages), (100, self.pages), (8, META_PAGES)]
                [pick(6)?];
        let mut bits = Vec::new();
        for _ in 0..count {
            let page = pick(pages)? * PAGE;
            let within = [64, PAGE][pick(2)?];
            bits.push((page + pick(within)?, pick(8)? as u8));
        }
        Some(bits)
    }
}

/// What a damaged file turned out to be.
#[derive(Default)]
struct Seen {
    rounds: usize,
    /// At the opening.
    refused: usize,
    /// By whoever read.
    told: usize,
}

/// A log whose bits have flipped is opened, read and written.
fn check(dir: &Path, expected: &Contents, seen: &mut Seen) {
    let log = match open(dir) {
        Err(Error::Corrupted(..)) => {
            seen.refused += 1;
            return;
        }
        Err(other) => panic!("{other}"),
        Ok(log) => TestLog { kind: Kind::Embedded, log, dir: None },
    };
    match contents(&log, Some(expected)) {
        Ok(found) => assert_eq!(found, *expected),
        Err(Error::Corrupted(..)) => seen.told += 1,
        Err(other) => panic!("{other}"),
    }
    // Writes take pages that are free, and change those that are not.
    log.produce("out", 0, &["c"]);
    drop(log);
    assert!(open(dir).is_ok(), "what was written has damaged the log");
}

#[test]
fn bits_that_flipped_are_told_or_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &mut Chance::new());
    let expected = contents(&log_of(dir.path()), None).unwrap();
    assert_eq!(expected.topics, ["in", "out"]);
    assert_eq!(expected.records[2].len() + expected.records[3].len(), 400);
    let data = dir.path().join("data.mdb");
    let whole = fs::read(&data).unwrap();
    let (dir, expected) = (dir.path(), AssertUnwindSafe(expected));
    let mut seen = Seen::default();
    let counted = &mut seen;
    bolero::check!().with_generator(Bits { pages: whole.len() / PAGE }).with_iterations(ROUNDS).for_each(
        |bits: &Vec<Bit>| {
            let mut bytes = whole.clone();
            bits.iter().for_each(|(at, bit)| bytes[*at] ^= 1 << bit);
            fs::write(&data, &bytes).unwrap();
            counted.rounds += 1;
            check(dir, &expected, counted);
        },
    );
    let Seen { rounds, refused, told } = seen;
    println!("{refused} refused at the opening, {told} told by whoever read, of {rounds}");
    assert!(refused > 0 && told > 0 && refused + told < rounds);
}
