//! Window, session and versioned stores on disk, against their model; in memory the engine's own tests do it.

#[path = "../../../host/engine/tests/kinds/model.rs"]
mod model;

use millstream::lmdb::TaskDirectory;
use millstream_engine::config::STATE_BYTES_MAX;
use millstream_engine::store::Base;
use model::{Bases, Chance, Sequence, kinds};

/// Of each kind.
const SEQUENCES: u64 = 30;

/// Task directories one after the other; the last one is opened again.
struct OnDisk {
    dir: tempfile::TempDir,
    number: i32,
}

impl Bases for OnDisk {
    fn reopen(&mut self) -> Box<dyn Base> {
        let directory = TaskDirectory::of(self.dir.path(), "task", self.number);
        Box::new(directory.open(&["store"], STATE_BYTES_MAX).unwrap())
    }

    fn empty(&mut self) -> Box<dyn Base> {
        self.number += 1;
        self.reopen()
    }
}

#[test]
fn every_kind_on_disk_is_its_model_whatever_is_done() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = asked("MILLSTREAM_TEST_SEED").unwrap_or(1);
    for seed in first..first + asked("MILLSTREAM_TEST_SEQUENCES").unwrap_or(SEQUENCES) {
        for kind in kinds(&mut Chance(seed)) {
            let ran = std::panic::catch_unwind(|| {
                let mut bases = OnDisk { dir: tempfile::tempdir().unwrap(), number: 0 };
                Sequence::new(kind, seed, &mut bases).run(60);
            });
            if let Err(panic) = ran {
                eprintln!("MILLSTREAM_TEST_SEED={seed} MILLSTREAM_TEST_SEQUENCES=1, {kind:?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}
