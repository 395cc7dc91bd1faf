//! Files with many free pages, whose lists LMDB writes anew with every commit.

use heed::{CommitOrAbort, EnvFlags};

use super::*;

/// Pages that are freed at once.
const FREED: u64 = 12_000;

const COMMITS: u64 = 300;

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
        let mut options = EnvOpenOptions::new();
        options.map_size(1 << 30).max_dbs(1);
        // SAFETY: nobody else has the directory; without syncing only a power cut could spoil it.
        let env = unsafe { options.flags(EnvFlags::NO_SYNC).open(dir.path()) }.unwrap();
        let created: heed::Result<_> = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, txn| {
            opener.create_database::<Bytes, Bytes>(txn, Some("t")).map(CommitOrAbort::<_, ()>::Commit)
        });
        let table = created.unwrap().commit().unwrap();
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
