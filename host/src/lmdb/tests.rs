#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use heed::EnvOpenOptions;
use heed::types::Bytes;
use millstream_engine::config::ByteSize;
use millstream_engine::store::{Base, Changes, Error, GlobalTables, KeyRange, OFFSETS, Position, StoreChanges};

use super::*;

mod free_pages;
mod spoilt;

const SIZE: ByteSize = ByteSize::mib(64);
const STORES: &[&str] = &["counts", "other"];

fn directory() -> (tempfile::TempDir, TaskDirectory) {
    let root = tempfile::tempdir().unwrap();
    let task = TaskDirectory::of(root.path(), "in", 0);
    (root, task)
}

fn put(base: &mut LmdbBase, keys: std::ops::Range<u32>, offset: i64) {
    let changes: Changes =
        keys.map(|key| (key.to_be_bytes().to_vec(), Some(format!("value {key}").into_bytes()))).collect();
    let position = Some(Position { offset });
    base.apply(&[StoreChanges { store: 0, changes: &changes, position }]).unwrap();
}

/// A state of a few hundred pages, left as a killed process leaves it.
fn fill(task: &TaskDirectory) {
    let mut base = task.open(STORES, SIZE).unwrap();
    put(&mut base, 0..20_000, 7);
}

fn offset(base: &LmdbBase) -> Option<i64> {
    base.position(0).unwrap().map(|position| position.offset)
}

fn quarantines(task: &TaskDirectory) -> usize {
    let names = fs::read_dir(task.path().parent().unwrap()).unwrap();
    names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".quarantine-")).count()
}

#[test]
fn what_was_applied_is_there_again() {
    let (_root, task) = directory();
    fill(&task);
    let mut base = task.open(STORES, SIZE).unwrap();
    assert_eq!((offset(&base), base.entries(0).unwrap(), base.position(1).unwrap()), (Some(7), 20_000, None));
    base.close().unwrap();
    let base = task.open(STORES, SIZE).unwrap();
    assert_eq!((offset(&base), quarantines(&task)), (Some(7), 0));
}

/// The base lies where the marker says another boot, as after a power cut: what LMDB left unsynced may be any mixture.
#[test]
fn a_machine_that_went_down_is_not_trusted() {
    let (_root, task) = directory();
    fill(&task);
    fs::write(task.path().join("open"), "open 00000000-0000-0000-0000-000000000000").unwrap();
    assert_eq!(offset(&task.open(STORES, SIZE).unwrap()), None);
    assert_eq!(quarantines(&task), 1);
}

/// A look through its pages cannot tell: neither a copy nor an answer may be made of it.
#[test]
fn a_machine_that_went_down_leaves_nothing_to_read_or_to_copy() {
    let (root, task) = directory();
    fill(&task);
    Environment::open_read_only(task.path()).unwrap();
    for left in ["open 00000000-0000-0000-0000-000000000000", "opening 1 00000000-0000-0000-0000-000000000000", "?"] {
        fs::write(task.path().join("open"), left).unwrap();
        let refused = Environment::open_read_only(task.path()).err().unwrap();
        assert!(matches!(&refused, Error::Corrupted(why) if why.ends_with(marker::OUTLIVED)), "{refused}");
        let copied = back_up(task.path().parent().unwrap(), &root.path().join("copy"), 0);
        assert!(matches!(copied, Err(Error::Corrupted(_))), "{copied:?}");
    }
}

#[test]
fn a_clean_close_is_trusted_after_another_boot() {
    let (_root, task) = directory();
    fill(&task);
    task.open(STORES, SIZE).unwrap().close().unwrap();
    assert!(!task.path().join("open").exists());
    assert_eq!(offset(&task.open(STORES, SIZE).unwrap()), Some(7));
}

/// A damaged page can kill the process that maps it; the fifth must not die of it again. Those before may have been killed
/// by somebody else.
#[test]
fn four_processes_that_died_opening_are_not_followed() {
    let boot = super::marker::boot_id().unwrap_or_default();
    for (died, left) in [("opening", None), ("opening 4", None), ("opening 3", Some(7))] {
        let (_root, task) = directory();
        fill(&task);
        let boot = if died == "opening" { "" } else { &boot };
        fs::write(task.path().join("open"), format!("{died} {boot}")).unwrap();
        assert_eq!(offset(&task.open(STORES, SIZE).unwrap()), left, "{died}");
        assert_eq!(quarantines(&task), usize::from(left.is_none()), "{died}");
    }
}

/// Deaths are counted until it is open again.
#[test]
fn a_death_while_opening_is_counted() {
    let (_root, task) = directory();
    fill(&task);
    let marker = super::marker::Marker::of(task.path());
    let boot = super::marker::boot_id();
    marker.set_opening(1, boot.as_deref()).unwrap();
    drop(task.open(STORES, SIZE).unwrap());
    assert_eq!(marker.read().unwrap(), super::marker::Left::Open { boot });
}

#[test]
fn damage_is_put_aside_and_never_kills() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("cut to half", |data| {
            let file = fs::File::options().write(true).open(data).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("cut by a byte", |data| {
            let file = fs::File::options().write(true).open(data).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        }),
        ("cut to less than its first pages", |data| fs::write(data, vec![0; 100]).unwrap()),
        ("zeroed first pages", |data| {
            fs::File::options().write(true).open(data).unwrap().write_all_at(&[0; 8192], 0).unwrap();
        }),
        ("another file", |data| fs::write(data, vec![b'x'; 1 << 20]).unwrap()),
        ("one bad first page", |data| {
            fs::File::options().write(true).open(data).unwrap().write_all_at(&[0xFF; 32], 4096).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let (_root, task) = directory();
        fill(&task);
        damage(&task.path().join("data.mdb"));
        assert!(Environment::open_read_only(task.path()).is_err(), "{name}");
        let mut base = task.open(STORES, SIZE).unwrap();
        assert_eq!((offset(&base), base.entries(0).unwrap()), (None, 0), "{name}");
        assert_eq!(quarantines(&task), 1, "{name}");
        put(&mut base, 0..10, 3);
    }
}

#[test]
fn only_the_last_quarantines_are_kept() {
    let (_root, task) = directory();
    for _ in 0..QUARANTINES_MAX + 2 {
        fill(&task);
        fs::write(task.path().join("data.mdb"), b"no").unwrap();
        task.open(STORES, SIZE).unwrap();
    }
    assert_eq!(quarantines(&task), QUARANTINES_MAX);
    assert_eq!(task_directories(task.path().parent().unwrap()).unwrap(), [task.path()]);
}

#[test]
fn another_format_is_refused_and_left_as_it_is() {
    let (_root, task) = directory();
    fill(&task);
    let mut options = EnvOpenOptions::new();
    options.max_dbs(4);
    let env = unsafe { options.open(task.path()) }.unwrap();
    let mut txn = env.write_txn().unwrap();
    let meta = env
        .create_databases_and_commit(txn, |opener, txn| {
            let mut options = opener.database_options().types::<Bytes, Bytes>();
            Ok::<_, heed::Error>(heed::CommitOrAbort::<_, ()>::Commit(options.name(layout::META).create(txn)?))
        })
        .unwrap()
        .unwrap_commit();
    txn = env.write_txn().unwrap();
    meta.put(&mut txn, b"format", &3u32.to_le_bytes()).unwrap();
    txn.commit().unwrap();
    env.prepare_for_closing().wait();
    let before = fs::read(task.path().join("data.mdb")).unwrap();
    for error in [Environment::open_read_only(task.path()).err(), task.open(STORES, SIZE).err()] {
        let Some(Error::Refused(problem)) = error else { panic!("{error:?}") };
        assert_eq!(problem.code, "E0703");
        assert!(problem.message.contains("has format 3, and this host reads format 2"), "{problem}");
    }
    assert!(fs::read(task.path().join("data.mdb")).unwrap() == before, "nothing of it was changed");
    assert_eq!(quarantines(&task), 0);
}

/// Forty at once: more than one opening empties, and still none comes back with what it held.
#[test]
fn a_store_that_was_gone_begins_empty() {
    let (_root, task) = directory();
    let names: Vec<String> = (0..40).map(|number| format!("store {number}")).collect();
    let stores: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut base = task.open(&stores, SIZE).unwrap();
    let changes = Changes::from_iter([(b"k", Some(b"v"))]);
    let position = Some(Position { offset: 1 });
    let all = (0..stores.len()).map(|store| StoreChanges { store, changes: &changes, position });
    base.apply(&all.collect::<Vec<_>>()).unwrap();
    drop(base);
    drop(task.open(&stores[..1], SIZE).unwrap());
    let base = task.open(&stores, SIZE).unwrap();
    assert_eq!((offset(&base), base.entries(0).unwrap()), (Some(1), 1));
    for store in 1..stores.len() {
        assert_eq!((base.entries(store).unwrap(), base.position(store).unwrap()), (0, None), "store {store}");
    }
}

#[test]
fn a_full_map_loses_nothing_and_says_the_way_on() {
    let (_root, task) = directory();
    let mut base = task.open(STORES, ByteSize::mib(1)).unwrap();
    put(&mut base, 0..1000, 1);
    let large: Changes = (0..1000u32).map(|key| (key.to_le_bytes().to_vec(), Some(vec![0; 4000]))).collect();
    let position = Some(Position { offset: 2 });
    let error = base.apply(&[StoreChanges { store: 1, changes: &large, position }]).unwrap_err();
    let Error::Full(problem) = &error else { panic!("{error:?}") };
    assert_eq!((problem.name, problem.code), ("StateFull", "E0705"));
    for part in [task.path().to_str().unwrap(), "1.0 MiB", "max_size"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!((offset(&base), base.entries(0).unwrap(), base.entries(1).unwrap()), (Some(1), 1000, 0));
    put(&mut base, 0..1, 3);
    drop(base);
    let mut base = task.open(STORES, ByteSize::mib(16)).unwrap();
    base.apply(&[StoreChanges { store: 1, changes: &large, position }]).unwrap();
    assert_eq!((base.entries(1).unwrap(), quarantines(&task)), (1000, 0));
}

#[test]
fn a_state_that_is_full_when_it_is_opened_says_how_much_it_may_have() {
    let (_root, task) = directory();
    let mut base = task.open(STORES, ByteSize::mib(1)).unwrap();
    let mut key = 0u32;
    for rows in [50, 1] {
        loop {
            let row = |row: u32| ((key + row).to_le_bytes().to_vec(), Some(vec![0; 1000]));
            let changes: Changes = (0..rows).map(row).collect();
            if base.apply(&[StoreChanges { store: 0, changes: &changes, position: None }]).is_err() {
                break;
            }
            key += rows;
        }
    }
    drop(base);
    // There is no room for so many names either.
    let names: Vec<String> = (0..500).map(|store| format!("{store} {}", "x".repeat(200))).collect();
    let stores: Vec<&str> = STORES.iter().copied().chain(names.iter().map(String::as_str)).collect();
    let error = task.open(&stores, ByteSize::mib(1)).err();
    let Some(Error::Full(problem)) = error else { panic!("{error:?}") };
    assert!(problem.message.contains("1.0 MiB"), "{problem}");
}

#[test]
fn a_key_that_lmdb_cannot_hold_is_refused_by_length() {
    let (_root, task) = directory();
    let mut base = task.open(STORES, SIZE).unwrap();
    let longest = millstream_engine::config::limits::LMDB_KEY_BYTES_MAX as usize;
    let change = |len: usize| Changes::from_iter([(vec![b'k'; len], Some([]))]);
    base.apply(&[StoreChanges { store: 0, changes: &change(longest), position: None }]).unwrap();
    let error = base.apply(&[StoreChanges { store: 0, changes: &change(longest + 1), position: None }]).unwrap_err();
    let Error::Refused(problem) = error else { panic!("{error}") };
    assert_eq!(problem.code, "E0704");
    assert!(problem.message.contains("1982 bytes"), "{problem}");
    base.get_many(0, &[&vec![b'k'; longest + 1]], &mut |_, value| assert_eq!(value, None)).unwrap();
}

/// LMDB need not write free pages at its file's end; nor is anything else that it does taken for damage.
#[test]
fn a_whole_file_is_never_taken_for_one_cut_off() {
    let (_root, task) = directory();
    let mut base = task.open(STORES, SIZE).unwrap();
    let mut seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..400 {
        // Whole leaves are filled and emptied in one commit, among values larger than a page.
        let mut changes = Changes::new();
        for len in [Some(100), None, Some(20_000)] {
            let start = random(5_000);
            let keys = start..start + random(if len == Some(20_000) { 20 } else { 1_000 });
            changes.extend(keys.map(|key| (key.to_be_bytes().to_vec(), len.map(|len| vec![7; len]))));
        }
        base.apply(&[StoreChanges { store: 0, changes: &changes, position: None }]).unwrap();
        assert_eq!(file_check::damage(&task.path().join("data.mdb")).unwrap(), None, "round {round}");
    }
}

/// A task goes from one thread of the process to another.
#[test]
fn the_next_owner_waits_for_the_last_one() {
    let (_root, task) = directory();
    let mut base = task.open(STORES, SIZE).unwrap();
    put(&mut base, 0..3, 5);
    let last = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(base);
    });
    assert_eq!(offset(&task.open(STORES, SIZE).unwrap()), Some(5));
    last.join().unwrap();
}

/// The file is overwritten while it is open, as a failing disk would. Nothing walks through it any more.
#[test]
fn damage_found_later_is_put_aside_by_wiping() {
    let (_root, task) = directory();
    fill(&task);
    let mut base = task.open(STORES, SIZE).unwrap();
    let data = fs::File::options().read(true).write(true).open(task.path().join("data.mdb")).unwrap();
    let len = data.metadata().unwrap().len();
    data.write_all_at(&vec![0; len as usize - 8192], 8192).unwrap();
    for _ in 0..2 {
        let error = base.entries(0).and_then(|_| base.get_many(0, &[b"k"], &mut |_, _| ())).unwrap_err();
        assert!(matches!(error, millstream_engine::store::Error::Corrupted(_)), "{error:?}");
    }
    base.wipe().unwrap();
    assert_eq!((offset(&base), base.entries(0).unwrap(), quarantines(&task)), (None, 0, 1));
    put(&mut base, 0..3, 5);
    base.wipe().unwrap();
    assert_eq!((offset(&base), base.entries(0).unwrap(), quarantines(&task)), (None, 0, 1));
}

#[test]
fn a_closed_base_answers_no_more() {
    let (_root, task) = directory();
    let mut base = task.open(STORES, SIZE).unwrap();
    base.close().unwrap();
    let error = base.position(0).unwrap_err();
    assert!(error.to_string().contains("is not open"), "{error}");
}

#[test]
fn another_process_reads_what_was_left() {
    let (_root, task) = directory();
    fill(&task);
    let environment = Environment::open_read_only(task.path()).unwrap();
    assert_eq!(environment.stores().collect::<Vec<_>>(), STORES);
    let mut rows = BTreeMap::new();
    let upper = 1u32.to_be_bytes();
    let range = KeyRange { lower: None, upper: Some(&upper) };
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.insert(key.to_vec(), value.to_vec());
        std::ops::ControlFlow::Continue(())
    };
    environment.scan(0, range, false, visit).unwrap();
    assert_eq!(rows.into_values().collect::<Vec<_>>(), [b"value 0", b"value 1"]);
    assert!(Environment::open_read_only(&task.path().join("nowhere")).is_err());
}

#[test]
fn an_application_has_its_directory_for_itself() {
    let root = tempfile::tempdir().unwrap();
    let first = StateDirectory::open(root.path(), "app").unwrap();
    let error = StateDirectory::open(root.path(), "app").unwrap_err();
    let problem = error.problem();
    assert_eq!((problem.name, problem.fields[1].1.as_u64()), ("StateDirectoryLocked", Some(std::process::id().into())));
    assert!(problem.message.contains(&format!("process {}", std::process::id())), "{problem}");
    let other = StateDirectory::open(root.path(), "other").unwrap();
    assert_ne!(first.instance(), other.instance());
    let instance = first.instance().to_owned();
    drop(first);
    assert_eq!(StateDirectory::open(root.path(), "app").unwrap().instance(), instance);
    fs::write(root.path().join("app/instance"), b"\xFF").unwrap();
    assert_ne!(StateDirectory::open(root.path(), "app").unwrap().instance(), instance);
}

#[test]
fn when_it_was_whole_is_kept_with_it_and_a_state_that_does_not_say_is_older_than_any() {
    let (_root, task) = directory();
    fill(&task);
    let mut base = task.open(STORES, SIZE).unwrap();
    assert_eq!(base.whole_at().unwrap(), Some(0));
    base.mark_whole(77).unwrap();
    put(&mut base, 0..3, 8);
    drop(base);
    assert_eq!(task.open(STORES, SIZE).unwrap().whole_at().unwrap(), Some(77));
}

#[test]
fn a_store_is_emptied_in_a_directory_that_nobody_has_open() {
    let (root, task) = directory();
    task.wipe_store("counts", SIZE).unwrap();
    assert!(!task.path().exists(), "nothing is made where nothing was");
    fill(&task);
    let mut base = task.open(STORES, SIZE).unwrap();
    let changes: Changes = [(b"k".to_vec(), Some(b"v".to_vec()))].into_iter().collect();
    let position = Some(Position { offset: 3 });
    base.apply(&[StoreChanges { store: 1, changes: &changes, position }]).unwrap();
    drop(base);
    task.wipe_store("counts", SIZE).unwrap();
    task.wipe_store("unknown", SIZE).unwrap();
    let base = TaskDirectory::of(root.path(), "in", 0).open(STORES, SIZE).unwrap();
    assert_eq!((offset(&base), base.entries(0).unwrap()), (None, 0));
    assert_eq!((base.position(1).unwrap(), base.entries(1).unwrap()), (position, 1));
}

/// Who has only opened it, and died, has not told that what was there is gone.
#[test]
fn why_a_state_was_put_aside_is_known_until_somebody_has_asked() {
    let (_root, task) = directory();
    fill(&task);
    fs::File::options().write(true).open(task.path().join("data.mdb")).unwrap().set_len(20_000).unwrap();
    for _ in 0..2 {
        put(&mut task.open(STORES, SIZE).unwrap(), 0..3, 5);
    }
    let base = task.open(STORES, SIZE).unwrap();
    (0..2).for_each(|store| assert!(base.emptied_at_open(store).is_some()));
    drop(base);
    assert_eq!(task.open(STORES, SIZE).unwrap().emptied_at_open(1), None);
    assert_eq!(quarantines(&task), 1);
}

/// A table that has gone, or stands elsewhere among them, is not taken for one that holds what it once did.
#[test]
fn the_offsets_of_a_global_table_come_and_go_with_it() {
    let root = tempfile::tempdir().unwrap();
    let task = TaskDirectory::of_globals(root.path());
    let open = |tables: &[&str]| {
        let offsets: Vec<String> = tables.iter().map(|table| format!("{OFFSETS}{table}")).collect();
        let stores: Vec<&str> = tables.iter().copied().chain(offsets.iter().map(String::as_str)).collect();
        GlobalTables::new(Box::new(task.open(&stores, SIZE).unwrap()), tables.len())
    };
    let mut tables = open(&["a", "c"]);
    tables.begin(0, "of-a", &[5]).unwrap();
    tables.begin(1, "of-c", &[7]).unwrap();
    drop(tables);
    let tables = open(&["c", "a"]);
    let offsets = |tables: &GlobalTables, table, topic| tables.offsets(table, topic, 1).unwrap();
    assert_eq!((offsets(&tables, 0, "of-c"), offsets(&tables, 1, "of-a")), (Some(vec![7]), Some(vec![5])));
    assert_eq!(offsets(&tables, 1, "of-another"), None);
    drop(tables);
    assert_eq!(offsets(&open(&["a"]), 0, "of-a"), Some(vec![5]));
    let tables = open(&["a", "c"]);
    assert_eq!((offsets(&tables, 0, "of-a"), offsets(&tables, 1, "of-c")), (Some(vec![5]), None));
}
