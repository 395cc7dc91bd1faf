//! Places where a test may end the process as a crash would: at once, with nothing closed, flushed or told.
//!
//! Inert unless the environment names one, `MILLSTREAM_FAIL_POINT=POINT` or `MILLSTREAM_FAIL_POINT=POINT:N` for its
//! N-th time. [`Point`] lists them; what each is for stands in `docs/faults.md`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names the point that ends this process.
pub const VARIABLE: &str = "MILLSTREAM_FAIL_POINT";

/// A place between two steps that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// An interval is cut, nothing of it is submitted.
    Cut,
    /// The same, of one that changes a store: behind a start, the first that would be newer than what was restored.
    CutLogged,
    /// The log has an interval, no store has it.
    LogCommitted,
    /// A store's transaction is written, not committed.
    StateCommit,
    /// A store is whole again, others may not be.
    Restore,
    /// A new component is in its place, nothing it did is committed.
    Swap,
    /// A component that has passed its trial lies beside the state; passed before it is named there, and again behind.
    SwapKept,
    /// A store is emptied, its transaction is not committed.
    StoreWipe,
    /// Records of the embedded log are compacted or deleted, the transaction is not committed.
    LogTidy,
    /// A step of such a clean-up is committed, others follow.
    LogTidied,
}

struct Armed {
    point: Point,
    /// How often it is passed before it ends the process.
    left: AtomicU64,
}

/// Ends the process when the environment says so; costs a load otherwise.
pub fn pass(point: Point) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| read(&std::env::var(VARIABLE).ok()?));
    if let Some(armed) = armed.as_ref().filter(|armed| armed.point == point)
        && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        eprintln!("{VARIABLE}: {point:?}");
        std::process::abort();
    }
}

/// `None` for what names no point: a mistake there must not stop a host.
fn read(text: &str) -> Option<Armed> {
    let (name, times) = text.split_once(':').unwrap_or((text, "1"));
    let point = match name {
        "cut" => Point::Cut,
        "cut-logged" => Point::CutLogged,
        "log-committed" => Point::LogCommitted,
        "state-commit" => Point::StateCommit,
        "restore" => Point::Restore,
        "swap" => Point::Swap,
        "swap-kept" => Point::SwapKept,
        "store-wipe" => Point::StoreWipe,
        "log-tidy" => Point::LogTidy,
        "log-tidied" => Point::LogTidied,
        _ => return None,
    };
    Some(Armed { point, left: AtomicU64::new(times.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_name_and_a_number() {
        let armed = |text: &str| read(text).map(|armed| (armed.point, armed.left.into_inner()));
        assert_eq!(armed("cut"), Some((Point::Cut, 1)));
        assert_eq!(armed("restore:20"), Some((Point::Restore, 20)));
        for nothing in ["", "cut:x", "nowhere"] {
            assert_eq!(armed(nothing), None, "{nothing}");
        }
    }
}
