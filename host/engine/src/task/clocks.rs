//! A task's clocks and timers. They are layered like its stores: what a batch moved is undone with it.

use std::collections::BTreeMap;

use crate::record::NO_TIMESTAMP;
use crate::topology::PunctuationTime;

/// Behind all time there is: a schedule that stands here fires no more.
const NEVER: i64 = i64::MAX;

/// When each schedule fires next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The node, by place in the plan, and which of its punctuations.
    pub node: usize,
    pub punctuation: u16,
    pub time: PunctuationTime,
    pub every_ms: i64,
    /// `None`: wall clock, not started yet.
    pub next: Option<i64>,
}

impl Timer {
    /// Whether it is due at `now` of its own clock.
    pub fn is_due(&self, now: i64) -> bool {
        self.next.is_some_and(|next| next <= now && next != NEVER)
    }

    /// Moves to the next point of its grid behind `now`: missed points collapse into one (semantics.md B20).
    pub fn fire(&mut self, now: i64) {
        if let Some(next) = self.next {
            let (next, now, every) = (i128::from(next), i128::from(now), i128::from(self.every_ms.max(1)));
            let behind = next + every * ((now - next).max(0) / every + 1);
            self.next = Some(i64::try_from(behind).unwrap_or(NEVER));
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Highest timestamp seen on each input, in the order of the task's queues; -1 = none.
    pub partition_times: Vec<i64>,
    pub timers: Vec<Timer>,
}

impl Clocks {
    pub fn new(inputs: usize, timers: Vec<Timer>) -> Clocks {
        Clocks { partition_times: vec![NO_TIMESTAMP; inputs], timers }
    }

    /// The highest timestamp the task has seen; never goes back.
    pub fn stream_time(&self) -> i64 {
        self.partition_times.iter().copied().max().unwrap_or(NO_TIMESTAMP)
    }

    pub fn observe(&mut self, input: usize, timestamp: i64) {
        let time = &mut self.partition_times[input];
        *time = (*time).max(timestamp);
    }

    /// The earliest stream-time timer that is due.
    pub fn due_by_stream_time(&self) -> Option<usize> {
        let now = self.stream_time();
        self.first_due(PunctuationTime::Stream, now).filter(|_| now > NO_TIMESTAMP)
    }

    pub fn due_by_wall_clock(&self, now: i64) -> Option<usize> {
        self.first_due(PunctuationTime::WallClock, now)
    }

    fn first_due(&self, time: PunctuationTime, now: i64) -> Option<usize> {
        let due = self.timers.iter().enumerate().filter(|(_, timer)| timer.time == time && timer.is_due(now));
        due.min_by_key(|(_, timer)| timer.next).map(|(at, _)| at)
    }

    /// The first wall-clock firing is one interval after the task began to run.
    pub fn start_wall_clock(&mut self, now: i64) {
        for timer in &mut self.timers {
            if timer.time == PunctuationTime::WallClock && timer.next.is_none() {
                timer.next = Some(now.saturating_add(timer.every_ms));
            }
        }
    }

    /// The next wall-clock firing.
    pub fn next_wall_clock(&self) -> Option<i64> {
        let wall = self.timers.iter().filter(|timer| timer.time == PunctuationTime::WallClock);
        wall.filter_map(|timer| timer.next).min()
    }
}

/// Names under which stream-time timers travel in the committed metadata. A wall-clock grid begins anew with every start,
/// as in Kafka Streams.
pub fn timer_values(clocks: &Clocks, name: impl Fn(&Timer) -> String) -> BTreeMap<String, i64> {
    let stream = clocks.timers.iter().filter(|timer| timer.time == PunctuationTime::Stream);
    stream.filter_map(|timer| Some((name(timer), timer.next?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(time: PunctuationTime, next: Option<i64>) -> Clocks {
        Clocks::new(1, vec![Timer { node: 0, punctuation: 0, time, every_ms: 10, next }])
    }

    #[test]
    fn stream_time_timers_fire_once_after_a_jump_and_return_to_their_grid() {
        let mut clocks = timer(PunctuationTime::Stream, Some(0));
        let mut fired = Vec::new();
        for timestamp in [0, 5, 10, 15, 47, 48, 50] {
            clocks.observe(0, timestamp);
            while let Some(at) = clocks.due_by_stream_time() {
                let now = clocks.stream_time();
                clocks.timers[at].fire(now);
                fired.push(now);
            }
        }
        assert_eq!(fired, [0, 10, 47, 50]);
    }

    /// A guest may give a record any time there is.
    #[test]
    fn a_timer_at_the_end_of_time_fires_once_and_no_more() {
        let mut clocks = timer(PunctuationTime::Stream, Some(0));
        let mut fired = Vec::new();
        for timestamp in [i64::MAX - 3, i64::MAX - 1, i64::MAX] {
            clocks.observe(0, timestamp);
            while let Some(at) = clocks.due_by_stream_time() {
                clocks.timers[at].fire(timestamp);
                fired.push(timestamp);
            }
        }
        assert_eq!(fired, [i64::MAX - 3]);
        let mut clocks = timer(PunctuationTime::WallClock, None);
        clocks.start_wall_clock(i64::MAX - 3);
        assert_eq!(clocks.due_by_wall_clock(i64::MAX), None);
    }

    #[test]
    fn wall_clock_timers_keep_their_first_grid() {
        let mut clocks = timer(PunctuationTime::WallClock, None);
        clocks.start_wall_clock(0);
        let mut fired = Vec::new();
        for now in [5, 10, 35, 39, 40] {
            if let Some(at) = clocks.due_by_wall_clock(now) {
                clocks.timers[at].fire(now);
                fired.push(now);
            }
        }
        assert_eq!(fired, [10, 35, 40]);
    }
}
