//! What every committed state owes the stores above it, whatever keeps it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use millstream::lmdb::TaskDirectory;
use millstream::wasm::{ProviderBase, ProviderStore};
use millstream_engine::config::ByteSize;
use millstream_engine::record::{Headers, Record, Records};
use millstream_engine::store::{
    Base, Changes, KeyRange, MemoryBase, Position, SizeLimits, StoreChanges, StoreKind, StoreSlot, TaskStores,
};
use proptest::prelude::*;
use tests::providers::map_store;

/// Runs a clause on every base, with two empty stores.
fn on_every_base(clause: impl Fn(&mut dyn Base)) {
    clause(&mut MemoryBase::new(2));
    let root = tempfile::tempdir().unwrap();
    clause(&mut TaskDirectory::of(root.path(), "in", 0).open(&["a", "b"], ByteSize::mib(64)).unwrap());
    let stores = ["a", "b"].map(|store| ProviderStore {
        id: format!("in/0/{store}"),
        kind: StoreKind::KeyValue,
        changelog: None,
    });
    clause(&mut ProviderBase::open(map_store().unwrap(), stores.into(), 1).unwrap());
}

fn changes(rows: &[(&str, Option<&str>)]) -> Changes {
    rows.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()))).collect()
}

fn apply(base: &mut dyn Base, store: usize, rows: &[(&str, Option<&str>)], offset: Option<i64>) {
    let position = offset.map(|offset| Position { offset });
    base.apply(&[StoreChanges { store, changes: &changes(rows), position }]).unwrap();
}

type Row = (Vec<u8>, Vec<u8>);

fn scan(base: &dyn Base, lower: Option<&[u8]>, upper: Option<&[u8]>, reverse: bool, limit: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        if rows.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    base.scan(0, KeyRange { lower, upper }, reverse, visit).unwrap();
    rows
}

fn keys(rows: Vec<Row>) -> String {
    rows.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn keys_come_in_byte_order_both_ways() {
    on_every_base(|base| {
        let rows = ["b", "a", "ab", "B", "é", "aa"].map(|key| (key, Some("x")));
        apply(base, 0, &rows, None);
        assert_eq!(keys(scan(base, None, None, false, 99)), "B a aa ab b é");
        assert_eq!(keys(scan(base, None, None, true, 99)), "é b ab aa a B");
        assert_eq!(keys(scan(base, None, None, false, 2)), "B a");
        assert_eq!(keys(scan(base, None, None, true, 1)), "é");
    });
}

#[test]
fn ranges_take_both_their_ends() {
    on_every_base(|base| {
        apply(base, 0, &["a", "b", "c", "d"].map(|key| (key, Some("x"))), None);
        let range = |lower: Option<&str>, upper: Option<&str>| {
            let (lower, upper) = (lower.map(str::as_bytes), upper.map(str::as_bytes));
            let (forward, backward) = (scan(base, lower, upper, false, 99), scan(base, lower, upper, true, 99));
            assert!(forward.iter().eq(backward.iter().rev()));
            keys(forward)
        };
        assert_eq!(range(Some("b"), Some("c")), "b c");
        assert_eq!(range(Some("aa"), Some("bb")), "b");
        assert_eq!(range(None, Some("b")), "a b");
        assert_eq!(range(Some("c"), None), "c d");
        assert_eq!(range(Some("b"), Some("b")), "b");
        assert_eq!(range(Some("c"), Some("b")), "");
        assert_eq!(range(Some(""), Some("")), "");
        assert_eq!(range(Some("e"), None), "");
    });
}

#[test]
fn keys_and_values_may_be_empty() {
    on_every_base(|base| {
        apply(base, 0, &[("", Some("")), ("a", Some(""))], None);
        let mut found = Vec::new();
        base.get_many(0, &[b"a", b"", b"b"], &mut |index, value| found.push((index, value.map(<[u8]>::len)))).unwrap();
        assert_eq!(found, [(0, Some(0)), (1, Some(0)), (2, None)]);
        assert_eq!(scan(base, Some(b""), Some(b""), false, 99), [(vec![], vec![])]);
        assert_eq!(base.entries(0).unwrap(), 2);
        apply(base, 0, &[("", None)], None);
        assert_eq!(base.entries(0).unwrap(), 1);
    });
}

#[test]
fn stores_do_not_meet() {
    on_every_base(|base| {
        apply(base, 0, &[("k", Some("of a"))], Some(1));
        apply(base, 1, &[("k", Some("of b"))], Some(2));
        apply(base, 1, &[("k", None)], None);
        base.get_many(0, &[b"k"], &mut |_, value| assert_eq!(value, Some(b"of a".as_slice()))).unwrap();
        assert_eq!((base.entries(0).unwrap(), base.entries(1).unwrap()), (1, 0));
        assert_eq!(base.position(0).unwrap(), Some(Position { offset: 1 }));
        assert_eq!(base.position(1).unwrap(), Some(Position { offset: 2 }));
    });
}

#[test]
fn a_position_stays_until_a_newer_one() {
    on_every_base(|base| {
        assert_eq!(base.position(0).unwrap(), None);
        apply(base, 0, &[], Some(0));
        apply(base, 0, &[("a", Some("x"))], None);
        assert_eq!(base.position(0).unwrap(), Some(Position { offset: 0 }));
    });
}

#[test]
fn a_wiped_base_is_as_new() {
    on_every_base(|base| {
        apply(base, 0, &[("a", Some("x"))], Some(4));
        apply(base, 1, &[("b", Some("y"))], Some(5));
        base.wipe().unwrap();
        for store in 0..2 {
            assert_eq!((base.entries(store).unwrap(), base.position(store).unwrap()), (0, None));
        }
        apply(base, 0, &[("c", Some("z"))], Some(0));
        assert_eq!(keys(scan(base, None, None, false, 99)), "c");
    });
}

/// Values of this size make a run of some eighty records.
const LARGE: usize = 100 << 10;

/// Records of a changelog from one offset to another.
fn logged(offsets: std::ops::Range<i64>) -> Records {
    let mut records = Records::default();
    for offset in offsets {
        let (key, value) = (format!("key-{}", offset % 150), vec![offset as u8; LARGE]);
        let record =
            Record { key: Some(key.as_bytes()), value: Some(&value), headers: Headers(&[]), timestamp: offset };
        records.push(offset, record);
    }
    records
}

/// A crash in the middle: what had reached the disk in runs is not read again (F12).
#[test]
fn a_restore_that_was_cut_off_goes_on_behind_its_last_run() {
    const END: i64 = 250;
    let root = tempfile::tempdir().unwrap();
    let open = || {
        let base = TaskDirectory::of(root.path(), "in", 0).open(&["a"], ByteSize::mib(256)).unwrap();
        let kind = StoreKind::KeyValue;
        let slot = StoreSlot { number: 0, name: "a".into(), base: 0, slot: 0, logged: true, kind };
        TaskStores::new(vec![slot], vec![Box::new(base)], SizeLimits::default())
    };
    let mut stores = open();
    for from in (0..END - 30).step_by(10) {
        stores.restore(0, &logged(from..from + 10), from + 9).unwrap();
    }
    drop(stores);
    let mut stores = open();
    let held = stores.position(0).unwrap().expect("whole runs are on the disk").offset;
    assert!((80..END - 30).contains(&held), "{held}");
    stores.restore(0, &logged(held + 1..END), END - 1).unwrap();
    stores.end_restore(0).unwrap();
    assert_eq!(stores.position(0).unwrap(), Some(Position { offset: END - 1 }));
    let mut found = 0;
    stores
        .scan(0, KeyRange::default(), false, &mut |key, timestamp, value| {
            let number: i64 = std::str::from_utf8(key).unwrap()[4..].parse().unwrap();
            let last = if number + 150 < END { number + 150 } else { number };
            assert_eq!((timestamp, value), (last, &vec![last as u8; LARGE][..]), "key {number}");
            found += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(found, 150);
}

/// An interval of other tasks is aborted while a store restores: what has come for it is not asked for again.
#[test]
fn what_restoring_left_waiting_outlives_an_abort_and_no_new_beginning() {
    let slot = StoreSlot { number: 0, name: "a".into(), base: 0, slot: 0, logged: true, kind: StoreKind::KeyValue };
    let mut stores = TaskStores::new(vec![slot], vec![Box::new(MemoryBase::new(1))], SizeLimits::default());
    for (begins_again, expected) in [(false, 10), (true, 10)] {
        let from = if begins_again { 10 } else { 0 };
        stores.restore(0, &logged(from..from + 10), from + 9).unwrap();
        stores.drop_open();
        stores.drop_sealed();
        if begins_again {
            stores.drop_restored();
        }
        stores.end_restore(0).unwrap();
        assert_eq!(stores.entries(0).unwrap(), expected);
        assert_eq!(stores.position(0).unwrap(), Some(Position { offset: 9 }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written, a base answers as a sorted map does.
    #[test]
    fn a_base_is_a_sorted_map(
        commits in prop::collection::vec(prop::collection::vec(("[ab]{0,3}", prop::option::of("[xy]{0,2}")), 0..6), 1..6),
        bounds in prop::collection::vec((prop::option::of("[ab]{0,3}"), prop::option::of("[ab]{0,3}"), any::<bool>()), 4),
    ) {
        on_every_base(|base| {
            let mut model = BTreeMap::new();
            for commit in &commits {
                let rows: Vec<(&str, Option<&str>)> =
                    commit.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                apply(base, 0, &rows, None);
                for change in changes(&rows).iter() {
                    match change.value {
                        Some(value) => drop(model.insert(change.key.to_vec(), value.to_vec())),
                        None => drop(model.remove(change.key)),
                    }
                }
            }
            assert_eq!(base.entries(0).unwrap(), model.len() as u64);
            for (lower, upper, reverse) in &bounds {
                let (lower, upper) = (lower.as_ref().map(String::as_bytes), upper.as_ref().map(String::as_bytes));
                let range = KeyRange { lower, upper };
                let mut expected: Vec<Row> = model.clone().into_iter().filter(|(key, _)| range.contains(key)).collect();
                if *reverse {
                    expected.reverse();
                }
                assert_eq!(scan(base, lower, upper, *reverse, 99), expected);
            }
        });
    }
}

#[test]
fn one_store_is_emptied_without_its_neighbours() {
    on_every_base(|base| {
        for store in 0..2 {
            apply(base, store, &[("a", Some("x")), ("b", Some("y"))], Some(7));
        }
        base.wipe_store(0).unwrap();
        assert_eq!((base.entries(0).unwrap(), base.position(0).unwrap()), (0, None));
        assert_eq!((base.entries(1).unwrap(), base.position(1).unwrap()), (2, Some(Position { offset: 7 })));
        apply(base, 0, &[("c", Some("z"))], Some(9));
        assert_eq!(keys(scan(base, None, None, false, 99)), "c");
        assert_eq!(base.position(0).unwrap(), Some(Position { offset: 9 }));
    });
}
