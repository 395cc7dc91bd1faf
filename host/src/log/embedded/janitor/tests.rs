//! The janitor against a naive model, and its parts one by one.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;

use millstream_engine::record::{Headers, Record, Records};

use super::*;
use crate::log::NewTopic;
use crate::log::embedded::batch::Drafts;
use crate::log::embedded::change::{Append, Run};
use crate::log::embedded::cursor::Cursor;
use crate::log::embedded::environment::{self, Environment};
use crate::log::embedded::topic::Row;

/// Sequences of the random test; each has a log of its own.
const SEQUENCES: u64 = 40;

struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A record as it was written.
#[derive(Clone, Debug, PartialEq)]
struct Written {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
}

fn written(key: &str, value: Option<&[u8]>, timestamp: i64) -> Written {
    Written { key: Some(key.into()), value: value.map(Into::into), timestamp }
}

/// A log with one topic of one partition.
struct Rig {
    environment: Arc<Environment>,
    handle: Arc<Handle>,
    cleanup: Cleanup,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new(configs: &[(&str, &str)]) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let environment = environment::open(dir.path()).unwrap();
        let configs = configs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let topic = NewTopic { name: "t".into(), partitions: 1, replication_factor: None, configs };
        let row = Row::of(&topic).unwrap();
        let cleanup = Cleanup::of(&row);
        environment.commit(Change::Create { name: "t".into(), row }).unwrap();
        let handle = environment.snapshot().unwrap().handle("t").unwrap();
        Rig { environment, handle, cleanup, _dir: dir }
    }

    fn append(&self, records: &[Written]) {
        let mut drafts = Drafts::default();
        for Written { key, value, timestamp } in records {
            let (key, value) = (key.as_deref(), value.as_deref());
            drafts.push(&Record { key, value, headers: Headers(b""), timestamp: *timestamp });
        }
        let runs = vec![Run { handle: self.handle.clone(), partition: 0, drafts }];
        self.environment.commit(Change::Append(Append { runs, ..Append::default() })).unwrap();
    }

    fn tend(&self, house: &House, now: i64, all: bool) -> Result<Work> {
        house.tend_partition((&self.handle, 0), self.cleanup, (now, all))
    }

    fn sweep(&self, now: i64) -> Work {
        self.tend(&self.environment.house(), now, true).unwrap()
    }

    /// A house whose way to the committer ends after some steps.
    fn house_of(&self, steps: usize) -> House {
        let (sender, receiver) = channel();
        let jobs = self.environment.house().jobs.unwrap();
        std::thread::spawn(move || receiver.iter().take(steps).for_each(|job| jobs.send(job).unwrap()));
        House { jobs: Some(sender), ..self.environment.house() }
    }

    fn read(&self, cursor: &mut Cursor) -> Vec<(i64, Written)> {
        let snapshot = self.environment.snapshot().unwrap();
        let (mut all, mut ended) = (Vec::new(), false);
        while !ended {
            let stretch = cursor.read(&snapshot).unwrap();
            ended = stretch.records.is_empty();
            all.extend(taken(&stretch.records));
        }
        all
    }

    fn all(&self) -> Vec<(i64, Written)> {
        let begin = self.offsets().begin;
        self.read(&mut Cursor::open(self.handle.clone(), 0, begin).unwrap())
    }

    fn offsets(&self) -> crate::log::Offsets {
        self.environment.snapshot().unwrap().offsets(&self.handle, 0).unwrap()
    }

    /// What the rows say of their sizes is true, and the batches cover all offsets.
    fn check_rows(&self) {
        let (house, snapshot) = (self.environment.house(), self.environment.snapshot().unwrap());
        let extent = snapshot.tables.extent(&snapshot.txn, &self.handle, 0).unwrap();
        let cleaned = snapshot.tables.cleaned(&snapshot.txn, &self.handle, 0).unwrap();
        let (mut bytes, mut clean) = (0, 0);
        let what = (&self.handle, 0, extent.offsets.begin, extent.offsets.end);
        let each = |found: Found<'_>| {
            bytes += found.bytes;
            clean += if found.base < cleaned.to { found.bytes } else { 0 };
            Ok(true)
        };
        house.each_batch(&snapshot, what, each).unwrap();
        assert_eq!((extent.bytes, cleaned.bytes), (bytes, clean));
    }
}

fn taken(records: &Records) -> Vec<(i64, Written)> {
    let owned = |record: Record<'_>| Written {
        key: record.key.map(Into::into),
        value: record.value.map(Into::into),
        timestamp: record.timestamp,
    };
    records.iter().map(|(offset, record)| (offset, owned(record))).collect()
}

/// What a store holds that has read these records: of each key the last value, or the latest.
fn state<'r>(records: impl Iterator<Item = &'r Written>, by_time: bool) -> BTreeMap<Vec<u8>, &'r Written> {
    let mut state: BTreeMap<Vec<u8>, &Written> = BTreeMap::new();
    for record in records {
        let Some(key) = &record.key else { continue };
        if !by_time || state.get(key).is_none_or(|old| old.timestamp <= record.timestamp) {
            state.insert(key.clone(), record);
        }
    }
    state.retain(|_, record| record.value.is_some());
    state
}

// === random ===

struct Model {
    rig: Rig,
    chance: Chance,
    /// By their offsets, with the time by the clock at which each was appended.
    records: Vec<(Written, i64)>,
    now: i64,
    lag: i64,
    keep: i64,
    /// A reader that goes on, and where it stands.
    reader: Cursor,
    read_to: i64,
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut chance = Chance(seed);
        let (lag, keep) = ([0, 0, 300][chance.below(3) as usize], [0, 200][chance.below(2) as usize]);
        let rig = Rig::new(&[
            ("cleanup.policy", "compact"),
            ("segment.bytes", "2000"),
            ("min.compaction.lag.ms", &lag.to_string()),
            ("delete.retention.ms", &keep.to_string()),
        ]);
        let reader = Cursor::open(rig.handle.clone(), 0, 0).unwrap();
        Model { rig, chance, records: Vec::new(), now: 1_000, lag, keep, reader, read_to: 0 }
    }

    fn append(&mut self) {
        let mut some = Vec::new();
        for _ in 0..=self.chance.below(60) {
            let key = (self.chance.below(40) > 0).then(|| vec![b'k'; 1 + self.chance.below(12) as usize]);
            let size = if self.chance.below(200) == 0 { 70_000 } else { self.chance.below(120) as usize };
            let value = (self.chance.below(4) > 0).then(|| vec![self.chance.below(256) as u8; size]);
            let timestamp = self.now + self.chance.below(50) as i64 - 60;
            some.push(Written { key, value, timestamp });
        }
        self.rig.append(&some);
        self.records.extend(some.into_iter().map(|record| (record, self.now)));
    }

    /// An append that is refused leaves nothing.
    fn refused(&mut self) {
        let row = Row { id: "another".into(), ..self.rig.environment.snapshot().unwrap().topic("t").unwrap().unwrap() };
        let runs = vec![Run { handle: row.handle("t"), partition: 0, drafts: Drafts::default() }];
        self.rig.environment.commit(Change::Append(Append { runs, ..Append::default() })).unwrap_err();
    }

    fn tidy(&mut self) {
        let all = self.chance.below(2) == 0;
        let keys_max = (self.chance.below(3) == 0).then_some(1 + self.chance.below(4) as usize);
        let cut_off = (self.chance.below(3) == 0).then(|| self.chance.below(3) as usize);
        let house = match cut_off {
            Some(steps) => self.rig.house_of(steps),
            None => self.rig.environment.house(),
        };
        let done = self.rig.tend(&House { keys_max, ..house }, self.now, all);
        assert!(done.is_ok() || cut_off.is_some(), "{done:?}");
        if all && cut_off.is_none() && self.lag == 0 {
            let found = self.rig.all();
            let with_key = found.iter().filter(|(_, record)| record.key.is_some()).count();
            let keys: std::collections::BTreeSet<_> =
                found.iter().filter_map(|(_, record)| record.key.as_ref()).collect();
            assert_eq!(with_key, keys.len(), "a key has two records");
        }
    }

    fn read_on(&mut self) {
        let found = self.rig.read(&mut self.reader);
        let expected: Vec<_> = self.rig.all().into_iter().filter(|(offset, _)| *offset >= self.read_to).collect();
        assert_eq!(found, expected);
        self.read_to = self.rig.offsets().end;
    }

    fn check(&self) {
        let by_time = self.lag > 0;
        let found = self.rig.all();
        assert_eq!(self.rig.offsets(), crate::log::Offsets { begin: 0, end: self.records.len() as i64 });
        for (offset, record) in &found {
            assert_eq!(*record, self.records[*offset as usize].0, "offset {offset}");
        }
        assert!(found.is_sorted_by(|(one, _), (other, _)| one < other));
        let all = || self.records.iter().map(|(record, _)| record);
        for by_time in [by_time, false] {
            assert_eq!(state(found.iter().map(|(_, record)| record), by_time), state(all(), by_time));
        }
        let stays: std::collections::BTreeSet<i64> = found.iter().map(|(offset, _)| *offset).collect();
        let newest = all().map(|record| record.timestamp).max().unwrap_or_default();
        for (offset, (record, appended)) in (0..).zip(&self.records) {
            let young = self.lag > 0 && record.timestamp > self.now.min(newest) - self.lag;
            let later = || self.records[offset as usize + 1..].iter().any(|(other, _)| other.key == record.key);
            let kept = record.key.is_none()
                || young
                || !later() && (record.value.is_some() || self.now < appended + self.keep);
            assert!(!kept || stays.contains(&offset), "offset {offset} is gone: {record:?}, now {}", self.now);
        }
        self.rig.check_rows();
    }
}

#[test]
fn whatever_is_written_and_compacted_in_whatever_order_a_reader_finds_the_last_of_each_key() {
    let now = || std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let given = std::env::var("MILLSTREAM_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let (first, sequences) = given.map_or_else(|| (now(), SEQUENCES), |seed| (seed, 1));
    for seed in (0..sequences).map(|i| first.wrapping_add(i)) {
        println!("MILLSTREAM_TEST_SEED={seed}");
        let mut model = Model::new(seed);
        for _ in 0..25 {
            match model.chance.below(8) {
                0..4 => model.append(),
                4..6 => model.tidy(),
                6 => model.read_on(),
                _ => model.refused(),
            }
            model.now += model.chance.below(60) as i64;
            model.check();
        }
    }
}

// === one by one ===

const COMPACT: (&str, &str) = ("cleanup.policy", "compact");

#[test]
fn offsets_stay_and_the_file_gets_its_pages_back() {
    let rig = Rig::new(&[COMPACT]);
    let value = vec![7; 1_000];
    let some: Vec<Written> = (0..4_000).map(|i| written(&format!("key {}", i % 10), Some(&value), i)).collect();
    some.chunks(100).for_each(|some| rig.append(some));
    let (file, free) = rig.environment.space().unwrap();
    let work = rig.sweep(0);
    assert_eq!(work.compacted_records, 3_990);
    assert!(work.freed_bytes > 3_900_000, "{work:?}");
    assert_eq!(rig.all().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), (3_990..4_000).collect::<Vec<_>>());
    let after = rig.environment.space().unwrap();
    assert!(after.1 > free + 3_500_000 && after.0 < file + (2 << 20), "{file} {free} {after:?}");
    rig.check_rows();
    assert_eq!(rig.sweep(0), Work::default(), "nothing is left to do");
}

/// As a count with few keys does: its changelog is written and compacted for as long as it runs.
#[test]
fn two_hundred_thousand_updates_of_a_hundred_keys_fit_into_a_small_file() {
    let rig = Rig::new(&[COMPACT]);
    let house = rig.environment.house();
    let mut largest = 0;
    for round in 0..400 {
        let value = |i: i64| i.to_be_bytes();
        let one = |i: i64| written(&format!("key {}", i % 100), Some(&value(i)), i);
        rig.append(&(round * 500..(round + 1) * 500).map(one).collect::<Vec<_>>());
        rig.tend(&house, 0, false).unwrap();
        largest = largest.max(rig.environment.space().unwrap().0);
    }
    let found = rig.all();
    let last: BTreeMap<_, _> = found.iter().map(|(offset, record)| (record.key.clone(), *offset)).collect();
    assert_eq!((last.len(), last.values().min()), (100, Some(&199_900)));
    println!("200,000 records of 43 bytes, in a file of {largest} bytes at most; {} records left", found.len());
    assert!(largest < 6 << 20, "{largest}");
}

#[test]
fn little_is_left_alone_until_it_is_worth_it() {
    let rig = Rig::new(&[COMPACT]);
    let house = rig.environment.house();
    let value = vec![7; 1_000];
    rig.append(&(0..500).map(|i| written("k", Some(&value), i)).collect::<Vec<_>>());
    assert_eq!(rig.tend(&house, 0, false).unwrap(), Work::default(), "half a MiB");
    rig.append(&(0..600).map(|i| written(&format!("{i}"), Some(&value), i)).collect::<Vec<_>>());
    assert_eq!(rig.tend(&house, 0, false).unwrap().compacted_records, 499);
    rig.append(&(0..400).map(|i| written("k", Some(&value), i)).collect::<Vec<_>>());
    assert_eq!(rig.tend(&house, 0, false).unwrap(), Work::default(), "less than the clean part and than a MiB");
}

#[test]
fn a_tombstone_goes_after_its_time_and_nothing_comes_back() {
    let rig = Rig::new(&[COMPACT, ("delete.retention.ms", "100")]);
    rig.append(&[written("a", Some(b"1"), 0), written("b", Some(b"1"), 0), written("a", None, 0)]);
    let offsets = || rig.all().iter().map(|(offset, _)| *offset).collect::<Vec<_>>();
    assert_eq!(rig.sweep(1_000).compacted_records, 1);
    assert_eq!(rig.sweep(1_099), Work::default());
    assert_eq!(offsets(), [1, 2]);
    assert_eq!(rig.sweep(1_100).compacted_records, 1);
    assert_eq!(offsets(), [1]);
    assert_eq!(rig.offsets().end, 3);
    rig.check_rows();
}

#[test]
fn a_topic_that_deletes_loses_its_oldest_batches_by_age_and_by_size() {
    let rig = Rig::new(&[("retention.ms", "100")]);
    (0..10).for_each(|i| rig.append(&[written("k", Some(b"v"), i * 50), written("k", Some(b"v"), 0)]));
    assert_eq!(rig.sweep(400).deleted_records, 12);
    assert_eq!((rig.offsets().begin, rig.offsets().end), (12, 20));
    assert_eq!(rig.all().len(), 8);
    assert_eq!(rig.sweep(10_000).deleted_records, 8);
    assert_eq!((rig.offsets().begin, rig.offsets().end), (20, 20));
    rig.append(&[written("k", Some(b"v"), 10_000)]);
    assert_eq!(rig.all()[0].0, 20);
    rig.check_rows();

    let rig = Rig::new(&[("retention.bytes", "3000")]);
    (0..10).for_each(|i| rig.append(&[written("k", Some(&[1; 948]), i)]));
    assert_eq!(rig.sweep(0).deleted_records, 7, "10 batches of 1,001 bytes; what is left is not less than the bound");
    assert_eq!(rig.offsets().begin, 7);
    rig.check_rows();
}

/// The store behind such a changelog goes by the time of its records, and would miss them.
#[test]
fn records_of_another_year_are_not_old_in_a_topic_that_is_compacted_too() {
    let both = ("cleanup.policy", "compact,delete");
    let rig = Rig::new(&[both, ("retention.ms", "100"), ("delete.retention.ms", "0")]);
    (0..5).for_each(|i| rig.append(&[written(&format!("{i}"), Some(b"v"), i * 50)]));
    let year = 31_536_000_000;
    let taken = |work: Work| (work.compacted_records, work.deleted_records);
    assert_eq!(taken(rig.sweep(50 * year)), (0, 2));
    rig.append(&[written("9", Some(b"v"), 170), written("4", Some(b"v"), 180)]);
    assert_eq!(taken(rig.sweep(50 * year)), (0, 0), "the greatest timestamp stays known");
    assert_eq!(rig.all().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
}

#[test]
fn a_reader_below_the_first_offset_is_told() {
    let rig = Rig::new(&[("retention.ms", "100")]);
    (0..3).for_each(|i| rig.append(&[written("k", Some(b"v"), i * 100)]));
    let mut cursor = Cursor::open(rig.handle.clone(), 0, 1).unwrap();
    rig.sweep(300);
    let snapshot = rig.environment.snapshot().unwrap();
    assert_eq!(cursor.read(&snapshot).unwrap().truncated, Some(1));
}

#[test]
fn damage_is_told_and_nothing_behind_it_is_touched() {
    let rig = Rig::new(&[COMPACT]);
    (0..3).for_each(|i| rig.append(&[written("k", Some(b"v"), i)]));
    let (house, key) = (rig.environment.house(), batch_key(rig.handle.number, 0, 1));
    let mut txn = house.env.write_txn().unwrap();
    house.tables.batches.put(&mut txn, &key, b"not a batch").unwrap();
    txn.commit().unwrap();
    let error = rig.tend(&house, 0, true).unwrap_err();
    assert!(error.to_string().contains("the batch at offset 1"), "{error}");
    let snapshot = house.snapshot().unwrap();
    assert_eq!(snapshot.tables.batches.len(&snapshot.txn).unwrap(), 3);
}

#[test]
fn two_janitors_do_no_harm() {
    let rig = Rig::new(&[COMPACT, ("segment.bytes", "100"), ("delete.retention.ms", "0")]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..60 {
                    // One that finds its batches changed has lost its work.
                    let _ = rig.tend(&rig.environment.house(), 0, true);
                }
            });
        }
        for i in 0..60 {
            rig.append(&(0..20).map(|k| written(&format!("{k}"), Some(&[i; 40]), 0)).collect::<Vec<_>>());
        }
    });
    rig.sweep(0);
    let values: Vec<_> = rig.all().into_iter().map(|(_, record)| record.value).collect();
    assert_eq!(values, vec![Some(vec![59; 40]); 20]);
    let bytes = |rig: &Rig| {
        let snapshot = rig.environment.snapshot().unwrap();
        snapshot.tables.extent(&snapshot.txn, &rig.handle, 0).unwrap().bytes
    };
    assert!(bytes(&rig) < 5_000, "{}", bytes(&rig));
}
