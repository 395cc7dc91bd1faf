//! Windows that go downstream once, as they close (KIP-825): Kafka Streams' maybeForwardFinalResult, without its throttle.

use crate::record::NO_TIMESTAMP;
use crate::store::TimeSpan;
use crate::topology::Window;

/// Up to when a window that has ended is closed, at this stream time.
pub(super) fn close_time(window: Window, stream_time: i64) -> i64 {
    match window {
        Window::Time { grace_ms, .. } | Window::Sliding { grace_ms, .. } => stream_time.saturating_sub(grace_ms),
        Window::Session { gap_ms, grace_ms } => stream_time.saturating_sub(grace_ms).saturating_sub(gap_ms),
    }
}

/// The times of the windows (starts) or sessions (ends) that are closed at `close` and were not at `last`; `None`: there
/// can be none.
pub(super) fn closed_since(window: Window, last: i64, close: i64) -> Option<TimeSpan> {
    if close <= last {
        return None;
    }
    let is_first = last == NO_TIMESTAMP;
    let (from, to) = match window {
        Window::Time { size_ms, advance_ms, .. } => {
            let to = close.saturating_sub(size_ms);
            let from = if is_first { 0 } else { last.saturating_sub(size_ms).max(0).saturating_add(1) };
            // Below zero there is no window; otherwise the last start says whether one has closed at all.
            let last_start = if to < 0 { -1 } else { to / advance_ms * advance_ms };
            (from, last_start)
        }
        Window::Sliding { difference_ms, .. } => {
            let from = if is_first { 0 } else { last.saturating_sub(difference_ms).max(0) };
            (from, close.saturating_sub(difference_ms).saturating_sub(1))
        }
        Window::Session { .. } => (last.max(0), close.saturating_sub(1)),
    };
    (from <= to).then(|| TimeSpan::new(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_closes_once_as_in_kafka_streams() {
        let tumbling = Window::Time { size_ms: 10, advance_ms: 10, grace_ms: 0 };
        assert_eq!(closed_since(tumbling, NO_TIMESTAMP, 9), None);
        assert_eq!(closed_since(tumbling, NO_TIMESTAMP, 10), Some(TimeSpan::new(0, 0)));
        assert_eq!(closed_since(tumbling, 10, 19), None);
        assert_eq!(closed_since(tumbling, 10, 20), Some(TimeSpan::new(1, 10)));
        let sliding = Window::Sliding { difference_ms: 10, grace_ms: 0 };
        assert_eq!(closed_since(sliding, NO_TIMESTAMP, 10), None);
        assert_eq!(closed_since(sliding, 11, 12), Some(TimeSpan::new(1, 1)));
        let session = Window::Session { gap_ms: 10, grace_ms: 0 };
        assert_eq!(closed_since(session, NO_TIMESTAMP, 0), None);
        assert_eq!(closed_since(session, 5, 6), Some(TimeSpan::new(5, 5)));
    }
}
