//! Every kind of store over memory, against its model.
#![allow(clippy::unwrap_used)]

mod model;

use std::ops::ControlFlow;

use millstream_engine::record::{Headers, Record, Records};
use millstream_engine::store::{
    Base, Error, KeyRange, MemoryBase, SizeLimits, StoreKind, StoreSlot, TaskStores, TimeSpan,
};
use model::{Bases, Shared, try_every_kind};

/// Memory that outlives the stores over it, as if the process had kept it.
struct InMemory(Shared);

impl Bases for InMemory {
    fn reopen(&mut self, _: StoreKind) -> Box<dyn Base> {
        Box::new(self.0.clone())
    }

    fn empty(&mut self, kind: StoreKind) -> Box<dyn Base> {
        self.0 = memory();
        self.reopen(kind)
    }
}

/// Each is [`model::KINDS`] sequences: 10,400.
const SEEDS: u64 = 1_300;

#[test]
fn every_kind_is_its_model_whatever_is_done() {
    try_every_kind(SEEDS, "cargo test --release -p millstream-engine --test kinds every_kind", &mut InMemory(memory()));
}

fn memory() -> Shared {
    Shared::new(MemoryBase::new(1))
}

fn stores(kind: StoreKind, base: &Shared) -> TaskStores {
    let slot = StoreSlot { number: 0, name: "store".into(), base: 0, slot: 0, logged: true, kind };
    TaskStores::new(vec![slot], vec![Box::new(base.clone())], SizeLimits::default())
}

fn window(retention_ms: i64, closing: bool) -> StoreKind {
    StoreKind::Window { size_ms: 10, retention_ms, duplicates: false, closing }
}

fn commit(stores: &mut TaskStores) -> usize {
    let mut sent = 0;
    stores.keep_batch();
    stores.seal(&mut |_, _| sent += 1);
    stores.apply_sealed(&[None]).unwrap();
    sent
}

#[test]
fn what_has_expired_goes_a_little_with_each_commit_and_is_not_logged() {
    let base = memory();
    let mut stores = stores(window(120_000, false), &base);
    for number in 0..25_000u32 {
        stores.windows_mut(0).put(&number.to_be_bytes(), 5, Some(b"v"), 5).unwrap();
    }
    commit(&mut stores);
    assert_eq!(base.entries(0).unwrap(), 25_001);
    stores.windows_mut(0).put(b"k", 400_000, Some(b"v"), 400_000).unwrap();
    let mut sizes = Vec::new();
    for time in 400_001..400_005 {
        stores.windows_mut(0).put(b"k", time, Some(b"v"), time).unwrap();
        assert!(commit(&mut stores) <= 2, "a clean-up is not logged");
        sizes.push(base.entries(0).unwrap());
    }
    assert_eq!(sizes, [25_003, 15_004, 5_005, 6]);
}

#[test]
fn what_has_expired_goes_from_the_order_of_time_too() {
    let base = memory();
    for kind in [window(120_000, true), StoreKind::Session { retention_ms: 120_000, closing: true }] {
        let mut stores = stores(kind, &base);
        let put = |stores: &mut TaskStores, key: &[u8], time| match kind {
            StoreKind::Window { .. } => stores.windows_mut(0).put(key, time, Some(b"v"), time).unwrap(),
            _ => stores.sessions_mut(0).put(key, (time, time), Some(b"v"), time).unwrap(),
        };
        (0..100u32).for_each(|number| assert!(put(&mut stores, &number.to_be_bytes(), 5)));
        assert_eq!(commit(&mut stores), 100, "rows by time are not logged");
        assert_eq!((base.entries(0).unwrap(), stores.entries(0).unwrap()), (201, 100));
        for time in [400_000, 400_001] {
            put(&mut stores, b"k", time);
            commit(&mut stores);
        }
        assert_eq!(base.entries(0).unwrap(), 1 + 2 * 2, "{kind:?}");
        stores.wipe_damaged().unwrap();
    }
}

#[test]
fn old_versions_go_and_the_latest_of_each_key_stays() {
    let base = memory();
    let mut stores = stores(StoreKind::Versioned { history_ms: 100 }, &base);
    for time in 0..50 {
        stores.versions_mut(0).put(b"moves", Some(b"v"), time).unwrap();
    }
    stores.versions_mut(0).put(b"stays", Some(b"v"), 3).unwrap();
    stores.versions_mut(0).put(b"goes", Some(b"v"), 4).unwrap();
    stores.versions_mut(0).put(b"goes", None, 5).unwrap();
    commit(&mut stores);
    for time in 1_000..1_003 {
        stores.versions_mut(0).put(b"clock", Some(b"v"), time).unwrap();
        commit(&mut stores);
    }
    let mut found = Vec::new();
    let mut visit = |key: &[u8], _: millstream_engine::store::Version<'_>| {
        found.push(key.to_vec());
        ControlFlow::Continue(())
    };
    stores.versions(0).scan(KeyRange::default(), false, &mut visit).unwrap();
    assert_eq!(found, [&b"clock"[..], b"moves", b"stays"]);
    // What was observed; one of `moves`, one of `stays`, three of `clock` and what two of these took the place of.
    assert_eq!(base.entries(0).unwrap(), 1 + 1 + 1 + 3 + 2);
}

#[test]
fn a_fetch_walks_over_no_other_key() {
    let base = memory();
    let mut stores = stores(window(120_000, false), &base);
    // Keys whose bytes read like the empty key's times.
    for number in 0..2_000u64 {
        stores.windows_mut(0).put(&number.to_be_bytes(), 5, Some(b"v"), 5).unwrap();
    }
    stores.windows_mut(0).put(b"", 7, Some(b"mine"), 7).unwrap();
    commit(&mut stores);
    let mut found = Vec::new();
    let mut visit = |row: millstream_engine::store::WindowRow<'_>| {
        found.push((row.key.to_vec(), row.start));
        ControlFlow::Continue(())
    };
    stores.windows(0).fetch(b"", TimeSpan::ALL, &mut visit).unwrap();
    assert_eq!(found, [(Vec::new(), 7)]);
}

#[test]
fn a_store_with_another_retention_is_found_out_and_not_read_wrong() {
    let base = memory();
    let window = |retention_ms| window(retention_ms, false);
    let mut written = stores(window(300_000), &base);
    written.windows_mut(0).put(b"k", 200_000, Some(b"v"), 1).unwrap();
    commit(&mut written);
    assert!(matches!(stores(window(900_000), &base).position(0), Err(Error::Corrupted(_))));
    // As long as its segments stay the same, it may keep more or less.
    assert!(stores(window(300_001), &base).position(0).is_ok());
    // Its rows do not stand in the order of time.
    assert!(matches!(stores(window(300_000).with_closing(), &base).position(0), Err(Error::Corrupted(_))));
}

#[test]
fn the_last_word_of_a_changelog_on_a_key_is_its_latest_version() {
    let mut stores = stores(StoreKind::Versioned { history_ms: 100 }, &memory());
    for (value, time) in [(&b"new"[..], 20), (b"old", 10)] {
        stores.versions_mut(0).put(b"k", Some(value), time).unwrap();
        stores.keep_batch();
        let mut said = Vec::new();
        stores.seal(&mut |_, record| said.push((record.value.map(<[u8]>::to_vec), record.timestamp)));
        stores.apply_sealed(&[None]).unwrap();
        assert_eq!(said.last(), Some(&(Some(b"new".to_vec()), 20)));
    }
}

#[test]
fn what_has_expired_is_not_restored_in_whatever_order_it_is_read() {
    for kind in [window(120_000, false), StoreKind::Session { retention_ms: 120_000, closing: false }] {
        let (mut source, mut log) = (stores(kind, &memory()), Vec::new());
        for time in [0, 1, 400_000, 400_001] {
            match kind {
                StoreKind::Window { .. } => source.windows_mut(0).put(b"k", time, Some(b"v"), time).unwrap(),
                _ => source.sessions_mut(0).put(b"k", (time, time), Some(b"v"), time).unwrap(),
            };
            source.keep_batch();
            source.seal(&mut |_, record| log.push((record.key.unwrap().to_vec(), record.timestamp)));
            source.apply_sealed(&[None]).unwrap();
        }
        assert_eq!(log.len(), 4);
        for _ in 0..2 {
            let base = memory();
            let (mut restored, mut records) = (stores(kind, &base), Records::default());
            for (offset, (key, timestamp)) in (0..).zip(&log) {
                let (key, value) = (Some(&key[..]), Some(&b"v"[..]));
                records.push(offset, Record { key, value, headers: Headers(b""), timestamp: *timestamp });
            }
            restored.restore(0, &records, 3).unwrap();
            restored.end_restore(0).unwrap();
            assert_eq!(base.entries(0).unwrap(), 1 + 2, "{kind:?}: its clock, and what is alive");
            log.reverse();
        }
    }
}
