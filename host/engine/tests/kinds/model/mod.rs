//! Random operations on a store of each kind, against a model that keeps everything in lists and maps and looks through all
//! of it. Batches are kept and undone, intervals committed and aborted; the process dies before the log has an interval,
//! between the log's commit and the store's, and in the middle of a restore; everything is rebuilt from the changelog.
//!
//! | file | holds |
//! |---|---|
//! | `subject` | the store under test, its base and its changelog, and what may befall them |
//! | `timed` | windows, sessions and versions against their model |
//! | `keyed` | keys and values, with a cache and without |

mod keyed;
mod subject;
mod timed;

use std::panic::AssertUnwindSafe;

use keyed::Keyed;
use millstream_engine::store::StoreKind;
pub use subject::{Bases, Shared};
use timed::Timed;

/// A generator whose whole state is its seed (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

/// Keys that begin each other, that hold what times hold, and the empty one.
const KEYS: [&[u8]; 8] = [b"", b"a", b"a\0", b"a\0\0\0\0\0\0\0\x01", b"ab", b"b", b"\0\0\0\0\0\0\0\0\0", &[255; 9]];

/// Steps of one sequence.
const STEPS: usize = 60;

/// What one seed is tried with.
#[derive(Clone, Copy, Debug)]
enum Tried {
    Timed(StoreKind),
    /// With a cache of so many bytes.
    Keyed(Option<usize>),
}

/// Sequences of one seed.
pub const KINDS: u64 = 8;

fn tried(chance: &mut Chance) -> [Tried; KINDS as usize] {
    let retention = |chance: &mut Chance| chance.one_of(&[1, 90, 60_000, 120_000, 200_000]);
    let window =
        |retention_ms, duplicates, closing| StoreKind::Window { size_ms: 1, retention_ms, duplicates, closing };
    [
        Tried::Timed(window(retention(chance), false, false)),
        Tried::Timed(window(retention(chance), true, false)),
        Tried::Timed(StoreKind::Session { retention_ms: retention(chance), closing: false }),
        Tried::Timed(window(retention(chance), false, true)),
        Tried::Timed(StoreKind::Session { retention_ms: retention(chance), closing: true }),
        Tried::Timed(StoreKind::Versioned { history_ms: chance.one_of(&[0, 90, 5_000, 120_000]) }),
        Tried::Keyed(None),
        Tried::Keyed(Some(chance.one_of(&[0, 300, 1 << 20]))),
    ]
}

/// Tries every kind with so many seeds; more, or another first one, as the environment asks. `again` is the command that
/// runs the test alone: a sequence that fails prints it with its seed.
pub fn try_every_kind(seeds: u64, again: &str, bases: &mut dyn Bases) {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = asked("MILLSTREAM_TEST_SEED").unwrap_or(1);
    let seeds = asked("MILLSTREAM_TEST_SEQUENCES").unwrap_or(seeds);
    println!("{} sequences: {KINDS} of each seed from {first} on, {seeds} seeds", KINDS * seeds);
    for seed in first..first + seeds {
        for tried in tried(&mut Chance(seed)) {
            let run = AssertUnwindSafe(|| match tried {
                Tried::Timed(kind) => Timed::new(kind, seed, bases).run(STEPS),
                Tried::Keyed(cache) => Keyed::new(cache, seed, bases).run(STEPS),
            });
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("{tried:?}; again:\nMILLSTREAM_TEST_SEED={seed} MILLSTREAM_TEST_SEQUENCES=1 {again}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}
