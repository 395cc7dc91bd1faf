//! How much compiling one component may cost.

use std::time::Duration;

use millstream_engine::config::ByteSize;

/// CPU of all the child's threads. A Python component, the largest kind there is (18 MiB), takes some 20 s.
const CPU: Duration = Duration::from_secs(60);

/// By the clock on the wall, on a machine that is busy with other things.
const WALL: Duration = Duration::from_secs(90);

/// Address space of the child. Most of what a large component takes is its own code, some ten times over.
const ADDRESS_SPACE: ByteSize = ByteSize::gib(2);

/// Machine code of one component: no larger than the child could hold beside what it needs to make it.
pub(super) const CODE: ByteSize = ByteSize::mib(512);

/// What the child may say on stderr: an error's text.
pub(super) const MESSAGE_BYTES: u64 = 16 << 10;

/// Threads that compile, and arenas of the allocator: each reserves address space, so that a machine with many cores
/// would meet the bound with a small component.
pub(super) const THREADS: &str = "4";
pub(super) const ARENAS: &str = "2";

/// Below everything that processes records.
pub(super) const NICE: i32 = 10;

/// The bounds that a test narrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// In whole seconds, as the system counts it.
    pub cpu: Duration,
    pub wall: Duration,
    pub address_space: ByteSize,
    /// What the child may give, and the cache may keep, of one component.
    pub code: ByteSize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { cpu: CPU, wall: WALL, address_space: ADDRESS_SPACE, code: CODE }
    }
}
