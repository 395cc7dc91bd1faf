//! Chance that can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// Names the seed of a run that failed.
pub const SEED: &str = "MILLSTREAM_TEST_SEED";

/// A run of numbers out of a seed (splitmix64).
pub struct Chance(u64);

impl Chance {
    /// From the environment, else another one every time. A test that fails has printed it.
    pub fn new() -> Chance {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64;
        let seed = std::env::var(SEED).map_or_else(|_| now(), |seed| seed.parse().expect("a seed is a number"));
        println!("again with: {}", again(seed));
        Chance(seed)
    }

    /// From a seed that the caller prints.
    pub fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    /// Another run of numbers, drawn from this one: for a thread of its own.
    pub fn fork(&mut self) -> Chance {
        Chance(self.below(u64::MAX))
    }

    /// From `0` to `end - 1`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// How many times as often a fault is done as in a run that anybody waits for.
const TIMES: &str = "MILLSTREAM_TEST_TIMES";

/// So often as the environment wants it, which is `usual` when it says nothing.
pub fn times(usual: usize) -> usize {
    let factor = std::env::var(TIMES).map_or(1, |times| times.parse().expect("a whole number of times"));
    usual * factor
}

/// The line that runs this test again with its seed.
fn again(seed: u64) -> String {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    format!("{SEED}={seed} tests/run -- -p tests {test}")
}

impl Default for Chance {
    fn default() -> Chance {
        Chance::new()
    }
}
