//! Files with many free pages, whose lists LMDB writes anew with every commit.

use heed::{CommitOrAbort, EnvFlags};

use super::*;

/// Pages that are freed at once.
const FREED: u64 = 12_000;

const COMMITS: u64 = 300;

type Table = heed::Database<'static, Bytes, Bytes>;

/// A new file with one table.
fn environment(dir: &Path) -> (heed::Env, Table) {
    let mut options = EnvOpenOptions::new();
    options.map_size(1 << 30).max_dbs(1);
    // SAFETY: nobody else has the directory; without syncing only a power cut could spoil it.
    let env = unsafe { options.flags(EnvFlags::NO_SYNC).open(dir) }.unwrap();
    let created: heed::Result<_> = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, txn| {
        opener.create_database::<Bytes, Bytes>(txn, Some("t")).map(CommitOrAbort::<_, ()>::Commit)
    });
    (env, created.unwrap().commit().unwrap())
}

/// The list that a commit shortens keeps the pages that it had before, one more than it needs whenever its length goes
/// past the end of a page: that is a whole file.
#[test]
fn lists_of_free_pages_that_get_shorter_are_never_taken_for_damage() {
    let mut seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data.mdb");
        let (env, table) = environment(dir.path());
        let mut txn = env.write_txn().unwrap();
        // A few large values, for the file has to be a young one: the fewer transactions, the longer each list.
        let values = 10 + random(20);
        for key in 0..values {
            let len = (FREED / values * 4096 + random(4096)) as usize;
            table.put(&mut txn, &key.to_be_bytes(), &vec![7; len]).unwrap();
        }
        txn.commit().unwrap();
        let mut txn = env.write_txn().unwrap();
        table.clear(&mut txn).unwrap();
        txn.commit().unwrap();
        for commit in 0..COMMITS {
            let mut txn = env.write_txn().unwrap();
            for _ in 0..random(3) {
                let len = [20, 3_000, 30_000][random(3) as usize];
                table.put(&mut txn, &random(50).to_be_bytes(), &vec![8; len]).unwrap();
            }
            table.put(&mut txn, b"commit", &commit.to_be_bytes()).unwrap();
            txn.commit().unwrap();
            assert_eq!(file_check::damage(&data).unwrap(), None, "round {round}, commit {commit}");
        }
    }
}

/// As those of a log: what is large has checksums of its own, and is not read.
struct Unread;

impl super::super::Rows for Unread {
    fn reads(&self, _: &[u8]) -> bool {
        false
    }

    fn row(&mut self, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), &'static str> {
        Ok(())
    }

    fn end(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// All other pages find room among those that were freed before.
#[test]
fn a_large_value_at_the_end_that_was_cut_off_is_found_though_nobody_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data.mdb");
    let (env, table) = environment(dir.path());
    let fill = |commit: fn(&mut heed::RwTxn<'_>, Table)| {
        let mut txn = env.write_txn().unwrap();
        commit(&mut txn, table);
        txn.commit().unwrap();
    };
    fill(|txn, table| (0..60_u64).for_each(|key| table.put(txn, &key.to_be_bytes(), &[7; 1_900]).unwrap()));
    fill(|txn, table| table.clear(txn).unwrap());
    (0..3).for_each(|_| fill(|txn, table| table.put(txn, b"small", b"value").unwrap()));
    fill(|txn, table| table.put(txn, b"large", &[8; 400_000]).unwrap());
    assert_eq!(file_check::damage_by(&data, Unread).unwrap(), None);
    let file = fs::File::options().write(true).open(&data).unwrap();
    file.set_len(file.metadata().unwrap().len() - 50 * 4_096).unwrap();
    let why = file_check::damage_by(&data, Unread).unwrap().unwrap();
    assert!(why.contains("cut off"), "{why}");
}
