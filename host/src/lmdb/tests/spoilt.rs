//! Files whose bytes somebody has changed.

use super::*;

/// The two pages that LMDB believes, with bytes that nobody wrote: looked at before LMDB does, and never a panic. What
/// passes is at least as long as it says.
#[test]
fn any_bytes_in_the_first_pages_are_judged() {
    let (_root, task) = directory();
    fill(&task);
    let data = task.path().join("data.mdb");
    let whole = fs::read(&data).unwrap();
    let seed = u64::from(std::process::id()) ^ 0x9e37_79b9_7f4a_7c15;
    println!("seed {seed}");
    let mut state = seed;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut bytes = whole.clone();
        for _ in 0..=below(3) {
            // In one of the two pages, among the fields that are read.
            let at = below(2) * 4096 + below(152);
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff, below(256) as u8][below(6)];
        }
        bytes.truncate([bytes.len(), below(bytes.len() + 1), 4096, 8192][below(4)]);
        fs::write(&data, &bytes).unwrap();
        refused += usize::from(super::file_check::damage(&data).unwrap().is_some());
    }
    assert!((500..2_000).contains(&refused), "{refused} of 2000 were refused");
}

/// A state with everything in it that LMDB has: inner pages, values larger than a page, free pages, two stores.
fn fill_variously(task: &TaskDirectory, random: &mut dyn FnMut(u64) -> u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut base = task.open(STORES, SIZE).unwrap();
    let mut expected = BTreeMap::new();
    for round in 0..30 {
        let mut changes = Changes::new();
        for len in [Some(40), None, Some(9_000)] {
            let start = random(3_000);
            let keys = start..start + random(if len == Some(9_000) { 8 } else { 400 });
            let change = |key: u64| (key.to_be_bytes().to_vec(), len.map(|len| vec![round; len]));
            changes.extend(keys.map(change));
        }
        changes.by_key().for_each(|change| match change.value {
            Some(value) => drop(expected.insert(change.key.to_vec(), value.to_vec())),
            None => drop(expected.remove(change.key)),
        });
        let position = Some(Position { offset: round.into() });
        let of = |store| StoreChanges { store, changes: &changes, position };
        base.apply(&[of(0), of(1)]).unwrap();
    }
    expected
}

fn rows(base: &impl Base, store: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.insert(key.to_vec(), value.to_vec());
        std::ops::ControlFlow::Continue(())
    };
    base.scan(store, KeyRange::default(), false, visit).unwrap();
    rows
}

/// Bits that flip anywhere while nobody runs (F17): found, or where nobody reads. Never a wrong answer, never a dead
/// process, neither at the opening nor by what is written afterwards.
#[test]
fn bits_that_flipped_are_found_or_change_nothing() {
    let (_root, task) = directory();
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut state = seed;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let expected = fill_variously(&task, &mut random);
    let data = task.path().join("data.mdb");
    let whole = fs::read(&data).unwrap();
    assert_eq!(file_check::damage(&data).unwrap(), None);
    let mut found = 0;
    for round in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..[1, 1, 1, 8, 100][random(5) as usize] {
            // Half of them where pages begin: among their headers and the places of their entries.
            let page = random(whole.len() as u64 / 4096) as usize * 4096;
            let within = [64, 4096][random(2) as usize];
            let at = page + random(within) as usize;
            bytes[at] ^= 1 << random(8);
        }
        fs::write(&data, &bytes).unwrap();
        if file_check::damage(&data).unwrap().is_some() {
            found += 1;
            continue;
        }
        let mut base = task.open(STORES, SIZE).unwrap();
        if base.entries(0).unwrap() == 0 {
            continue; // The format itself.
        }
        for store in 0..2 {
            assert_eq!(rows(&base, store), expected, "round {round}");
            assert_eq!(base.position(store).unwrap(), Some(Position { offset: 29 }), "round {round}");
        }
        put(&mut base, 0..500, 30);
        drop(base);
        assert_eq!(file_check::damage(&data).unwrap(), None, "round {round}");
    }
    assert!((100..400).contains(&found), "{found} of 400 were found");
}

/// Prints what the walk costs of what lies in the page cache; [`super::pages`] says it.
#[test]
fn a_large_file_is_walked_through_and_nothing_is_found() {
    let (_root, task) = directory();
    let mut base = task.open(STORES, ByteSize::mib(256)).unwrap();
    for part in 0..10 {
        put(&mut base, part * 100_000..(part + 1) * 100_000, 7);
    }
    drop(base);
    let data = task.path().join("data.mdb");
    let begun = std::time::Instant::now();
    assert_eq!(file_check::damage(&data).unwrap(), None);
    let mib = fs::metadata(&data).unwrap().len() as f64 / f64::from(1 << 20);
    let per_mib = begun.elapsed().as_secs_f64() * 1000.0 / mib;
    println!("{per_mib:.2} ms per MiB of {mib:.0} MiB");
}

/// A row whose bytes change while its state is open: an error from then on, never an answer.
#[test]
fn a_row_that_changed_under_way_is_damage() {
    for what in [&b"value 777"[..], &777u32.to_be_bytes()] {
        let (_root, task) = directory();
        let mut base = task.open(STORES, SIZE).unwrap();
        put(&mut base, 0..1_000, 7);
        let data = task.path().join("data.mdb");
        let bytes = fs::read(&data).unwrap();
        let file = fs::File::options().write(true).open(&data).unwrap();
        for at in (0..bytes.len() - what.len()).filter(|at| bytes[*at..].starts_with(what)) {
            file.write_all_at(&[bytes[at + what.len() - 1] ^ 0x01], (at + what.len() - 1) as u64).unwrap();
        }
        let mut visited = 0;
        let visit = &mut |_: &[u8], _: &[u8]| {
            visited += 1;
            std::ops::ControlFlow::Continue(())
        };
        let scanned = base.scan(0, KeyRange::default(), false, visit).unwrap_err();
        assert_eq!(visited, 777);
        let read = base.get_many(0, &[&777u32.to_be_bytes()], &mut |_, _| ()).unwrap_err();
        for error in [scanned, read] {
            assert!(matches!(error, millstream_engine::store::Error::Corrupted(_)), "{error:?}");
        }
        base.wipe().unwrap();
        assert_eq!((offset(&base), base.entries(0).unwrap(), quarantines(&task)), (None, 0, 1));
    }
}
