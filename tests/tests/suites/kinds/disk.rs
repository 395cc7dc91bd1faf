//! In LMDB.

use std::fs;

use millstream::lmdb::TaskDirectory;
use millstream_engine::config::STATE_BYTES_MAX;
use millstream_engine::store::{Base, StoreKind};

use super::model::{Bases, Shared, try_every_kind};

/// Each is [`super::model::KINDS`] sequences: 3,200.
const SEEDS: u64 = 400;

/// So many sequences and restores begin in the files of the one before, which are emptied; then there are new ones.
const EMPTIED: u32 = 20;

/// A task directory, which is opened again whenever the process dies, and which what comes next has too.
struct OnDisk {
    dir: tempfile::TempDir,
    number: i32,
    emptied: u32,
    base: Option<Shared>,
}

impl OnDisk {
    fn directory(&self) -> TaskDirectory {
        TaskDirectory::of(self.dir.path(), "task", self.number)
    }
}

impl Bases for OnDisk {
    fn reopen(&mut self, _: StoreKind) -> Box<dyn Base> {
        // The last handle goes first: an environment is open once.
        self.base = None;
        let base = Shared::new(self.directory().open(&["store"], STATE_BYTES_MAX).unwrap());
        self.base = Some(base.clone());
        Box::new(base)
    }

    fn empty(&mut self, kind: StoreKind) -> Box<dyn Base> {
        self.emptied += 1;
        match &mut self.base {
            Some(base) if !self.emptied.is_multiple_of(EMPTIED) => {
                base.wipe_store(0).unwrap();
                Box::new(base.clone())
            }
            base => {
                *base = None;
                drop(fs::remove_dir_all(self.directory().path()));
                self.number += 1;
                self.reopen(kind)
            }
        }
    }
}

#[test]
fn every_kind_on_disk_is_its_model_whatever_is_done() {
    let mut bases = OnDisk { dir: tempfile::tempdir().unwrap(), number: 0, emptied: 0, base: None };
    try_every_kind(SEEDS, "cargo test --release -p tests kinds::disk", &mut bases);
}
