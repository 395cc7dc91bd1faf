//! Pages of committed windows: what a query reads of a store, and what it costs.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use millstream_engine::store::{
    CommittedScan, KeyRange, MemoryBase, SizeLimits, StoreKind, StoreSlot, TaskStores, committed_rows, place_key,
};
use rig::walked::Walked;

const KIND: StoreKind = StoreKind::Window { size_ms: 10, retention_ms: 100_000, duplicates: false, closing: false };

const VALUE_BYTES: usize = 1_000;

/// Of one key so many windows, over several segments; and how many rows were walked.
fn windows(count: i64) -> (TaskStores, Arc<AtomicUsize>) {
    let walked = Arc::new(AtomicUsize::new(0));
    let slot = StoreSlot { number: 0, name: "w".to_owned(), base: 0, slot: 0, logged: false, kind: KIND };
    let mut stores =
        TaskStores::new(vec![slot], vec![Box::new(Walked(MemoryBase::new(1), walked.clone()))], SizeLimits::default());
    for at in 0..count {
        stores.windows_mut(0).put(b"k", at * 10, Some(&[7; VALUE_BYTES]), at * 10).unwrap();
    }
    stores.seal(&mut |_, _| {});
    stores.apply_sealed(&[None]).unwrap();
    walked.store(0, Relaxed);
    (stores, walked)
}

#[test]
fn a_page_reads_what_it_holds_and_all_pages_have_every_row_once() {
    const ROWS: i64 = 9_000;
    let (stores, walked) = windows(ROWS);
    let (base, slot) = stores.committed(0);
    for reverse in [false, true] {
        let (mut starts, mut pages) = (Vec::new(), 0);
        let mut place: Option<Vec<u8>> = None;
        loop {
            let scan = CommittedScan {
                keys: KeyRange::default(),
                times: (i64::MIN, i64::MAX),
                reverse,
                begin: place.as_deref(),
                rows: 1_000,
                bytes: 100 * VALUE_BYTES,
                walked: usize::MAX,
                walked_bytes: usize::MAX,
            };
            let behind = |row: &[u8]| place.as_deref().is_none_or(|at| if reverse { row < at } else { row > at });
            let found = committed_rows((base, slot, KIND), scan, &|row| behind(&row.place)).unwrap().rows;
            assert!(found.len() < 100 * 4, "{} rows for a page of 100", found.len());
            pages += 1;
            let page = &found[..found.len().min(100)];
            starts.extend(page.iter().map(|row| row.start));
            match page.last() {
                Some(last) if found.len() > page.len() => place = Some(last.place.clone()),
                _ => break,
            }
        }
        starts.sort_unstable();
        assert_eq!(starts, (0..ROWS).map(|at| at * 10).collect::<Vec<_>>());
        let walked = walked.swap(0, Relaxed);
        assert!(walked < pages * 100 * 5, "{walked} rows walked for {pages} pages of 100");
    }
}

#[test]
fn one_window_is_found_without_its_neighbours() {
    let (stores, counted) = windows(9_000);
    let (base, slot) = stores.committed(0);
    let keys = KeyRange { lower: Some(b"k"), upper: Some(b"k") };
    let (times, walked_max) = ((50_000, 50_000), usize::MAX);
    let (bytes, walked, walked_bytes) = (1 << 20, walked_max, usize::MAX);
    let scan = CommittedScan { keys, times, reverse: false, begin: None, rows: 1, bytes, walked, walked_bytes };
    let found = committed_rows((base, slot, KIND), scan, &|_| true).unwrap().rows;
    assert_eq!(found.iter().map(|row| row.start).collect::<Vec<_>>(), [50_000]);
    let walked = counted.swap(0, Relaxed);
    assert!(walked <= 2, "{walked} rows walked");
}

/// A thousand keys, of which few have a window at the time asked for.
#[test]
fn a_scan_that_finds_nothing_ends_all_the_same_and_goes_on_where_it_was() {
    const WALKED: usize = 1_000;
    let (mut stores, walked) = windows(0);
    for at in 0..9_000_i64 {
        let key = (at / 9).to_be_bytes();
        stores.windows_mut(0).put(&key, at % 9 * 10 + i64::from(at == 8_995), Some(b"v"), at).unwrap();
    }
    stores.seal(&mut |_, _| {});
    stores.apply_sealed(&[None]).unwrap();
    let (base, slot) = stores.committed(0);
    for reverse in [false, true] {
        let (mut place, mut starts, mut scans): (Option<Vec<u8>>, _, _) = (None, Vec::new(), 0);
        loop {
            walked.store(0, Relaxed);
            let (keys, begin) = (KeyRange::default(), place.as_deref());
            let (times, walked_bytes) = ((41, 41), usize::MAX);
            let scan =
                CommittedScan { keys, times, reverse, begin, rows: 10, bytes: 1 << 20, walked: WALKED, walked_bytes };
            let found = committed_rows((base, slot, KIND), scan, &|_| true).unwrap();
            assert!(walked.load(Relaxed) <= WALKED, "{} rows walked", walked.load(Relaxed));
            starts.extend(found.rows.iter().map(|row| row.start));
            scans += 1;
            match found.end {
                Some(end) => place = Some(end),
                None => break,
            }
        }
        assert_eq!(starts, [41]);
        assert!((9..=11).contains(&scans), "{scans} scans");
    }
}

/// Large values of which none is asked for: a page that gives nothing back has not read all of them.
#[test]
fn a_scan_passes_by_no_more_bytes_than_it_may_and_goes_on_where_it_was() {
    const ROWS: usize = 200;
    const PASSED_BYTES: usize = 20 * VALUE_BYTES;
    let (mut stores, walked) = windows(0);
    for at in 0..ROWS as i64 {
        let start = if at == 150 { 41 } else { at % 4 * 10 };
        stores.windows_mut(0).put(&at.to_be_bytes(), start, Some(&[7; VALUE_BYTES]), 50).unwrap();
    }
    stores.seal(&mut |_, _| {});
    stores.apply_sealed(&[None]).unwrap();
    let (base, slot) = stores.committed(0);
    for reverse in [false, true] {
        let (mut place, mut starts, mut scans): (Option<Vec<u8>>, _, _) = (None, Vec::new(), 0);
        loop {
            walked.store(0, Relaxed);
            let scan = CommittedScan {
                keys: KeyRange::default(),
                times: (41, 41),
                reverse,
                begin: place.as_deref(),
                rows: 10,
                bytes: 1 << 20,
                walked: usize::MAX,
                walked_bytes: PASSED_BYTES,
            };
            let found = committed_rows((base, slot, KIND), scan, &|_| true).unwrap();
            // The row where the scan before has ended is looked at again.
            assert!(walked.load(Relaxed) <= 21, "{} rows walked", walked.load(Relaxed));
            starts.extend(found.rows.iter().map(|row| row.start));
            scans += 1;
            match found.end {
                Some(end) => place = Some(end),
                None => break,
            }
        }
        starts.dedup();
        assert_eq!(starts, [41]);
        assert!(scans >= ROWS / 21, "{scans} scans");
    }
}

/// Many large values of one key at one time, which differ in their numbers alone.
#[test]
fn a_scan_of_duplicates_goes_on_where_it_was_and_looks_at_none_of_them_again() {
    const ROWS: usize = 300;
    const PAGE: usize = 20;
    let kind = StoreKind::Window { size_ms: 10, retention_ms: 100_000, duplicates: true, closing: false };
    let slot = StoreSlot { number: 0, name: "w".to_owned(), base: 0, slot: 0, logged: false, kind };
    let walked = Arc::new(AtomicUsize::new(0));
    let base = Box::new(Walked(MemoryBase::new(1), walked.clone()));
    let mut stores = TaskStores::new(vec![slot], vec![base], SizeLimits::default());
    for _ in 0..ROWS {
        stores.windows_mut(0).put(b"k", 50, Some(&[7; VALUE_BYTES]), 50).unwrap();
    }
    stores.seal(&mut |_, _| {});
    stores.apply_sealed(&[None]).unwrap();
    let (base, slot) = stores.committed(0);
    for reverse in [false, true] {
        let (mut place, mut places): (Option<Vec<u8>>, _) = (None, Vec::new());
        loop {
            walked.store(0, Relaxed);
            let scan = CommittedScan {
                keys: KeyRange::default(),
                times: (50, 50),
                reverse,
                begin: place.as_deref(),
                rows: ROWS,
                bytes: usize::MAX,
                walked: usize::MAX,
                walked_bytes: PAGE * VALUE_BYTES,
            };
            let found = committed_rows((base, slot, kind), scan, &|_| true).unwrap();
            assert!(walked.load(Relaxed) <= PAGE + 1, "{} rows walked", walked.load(Relaxed));
            assert!(found.rows.len() >= PAGE - 1 || found.end.is_none(), "{} rows of a page", found.rows.len());
            places.extend(found.rows.into_iter().map(|row| row.place));
            match found.end {
                Some(end) => place = Some(end),
                None => break,
            }
        }
        assert!(places.is_sorted_by(|one, next| if reverse { one >= next } else { one <= next }));
        places.dedup();
        assert_eq!(places.len(), ROWS);
    }
}

#[test]
fn a_place_is_one_of_the_stores_kind_or_none() {
    let (stores, _) = windows(1);
    let (base, slot) = stores.committed(0);
    let scan = CommittedScan {
        keys: KeyRange::default(),
        times: (i64::MIN, i64::MAX),
        reverse: false,
        begin: None,
        rows: 1,
        bytes: 1 << 20,
        walked: usize::MAX,
        walked_bytes: usize::MAX,
    };
    let place = committed_rows((base, slot, KIND), scan, &|_| true).unwrap().rows.remove(0).place;
    assert_eq!(place_key("window", &place), Some(b"k".to_vec()));
    assert_eq!(place_key("session", &place), None);
    assert_eq!(place_key("key-value", &place), None);
    for cut in 0..place.len() {
        assert_eq!(place_key("window", &place[..cut]), None, "cut at {cut}");
    }
    let mut between = place.clone();
    between[3] = 1;
    assert_eq!(place_key("window", &between), None);
}
