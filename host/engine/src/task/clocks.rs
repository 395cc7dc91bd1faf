//! A task's clocks and timers. They are layered like its stores: what a batch moved is undone with it.

use std::collections::BTreeMap;

use super::TaskId;
use crate::operator::{Reached, UnderWay};
use crate::record::NO_TIMESTAMP;
use crate::topology::{Plan, PunctuationTime};

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

    /// Of the wall clock: the next point is never further away than one interval. It is when that clock went back, and
    /// without this the timer would be silent for as long as it went.
    fn keep_near(&mut self, now: i64) {
        if let Some(next) = self.next.filter(|next| *next != NEVER) {
            let (far, every) = (i128::from(next) - i128::from(now), i128::from(self.every_ms.max(1)));
            if far > every {
                self.next = Some(i64::try_from(i128::from(now) + (far - 1) % every + 1).unwrap_or(NEVER));
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Highest timestamp seen on each input, in the order of the task's queues; -1 = none.
    pub partition_times: Vec<i64>,
    /// How far stream time has gone on without records; -1 = not at all.
    pub advanced: i64,
    pub timers: Vec<Timer>,
    pub reached: Reached,
    /// The names of the schedules that were made while it ran, by the numbers of their timers.
    pub scheduled: BTreeMap<u16, String>,
    /// The punctuation that goes on before anything else.
    pub under_way: Option<UnderWay>,
}

impl Clocks {
    pub fn new(inputs: usize, timers: Vec<Timer>) -> Clocks {
        Clocks {
            partition_times: vec![NO_TIMESTAMP; inputs],
            advanced: NO_TIMESTAMP,
            timers,
            reached: Reached::default(),
            scheduled: BTreeMap::new(),
            under_way: None,
        }
    }

    /// The highest timestamp the task has seen, or how far time has gone on since; never goes back.
    pub fn stream_time(&self) -> i64 {
        self.partition_times.iter().copied().max().unwrap_or(NO_TIMESTAMP).max(self.advanced)
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

    /// The first wall-clock firing is one interval after the task began to run. The clock may have gone back since the
    /// last look.
    pub fn look_at_wall_clock(&mut self, now: i64) {
        for timer in self.timers.iter_mut().filter(|timer| timer.time == PunctuationTime::WallClock) {
            match timer.next {
                None => timer.next = Some(now.saturating_add(timer.every_ms)),
                Some(_) => timer.keep_near(now),
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
    let declared = |timer: &&Timer| !clocks.scheduled.contains_key(&timer.punctuation);
    let stream = clocks.timers.iter().filter(|timer| timer.time == PunctuationTime::Stream).filter(declared);
    stream.filter_map(|timer| Some((name(timer), timer.next?))).collect()
}

/// The times of a task's operators that travel beside the offsets, by store and input.
pub(super) fn times(plan: &Plan, id: TaskId) -> Vec<(usize, u16)> {
    let nodes = plan.subtopologies[id.subtopology as usize].nodes.iter().map(|node| &plan.nodes[*node]);
    nodes.flat_map(|node| (0..node.times()).filter_map(move |input| Some((node.store?, input)))).collect()
}

pub(super) fn timers(plan: &Plan, id: TaskId) -> Vec<Timer> {
    let nodes = &plan.subtopologies[id.subtopology as usize].nodes;
    let mut timers = Vec::new();
    for &node in nodes {
        for (number, punctuation) in plan.nodes[node].punctuations.iter().enumerate() {
            timers.push(Timer {
                node,
                punctuation: number as u16,
                time: punctuation.time,
                every_ms: punctuation.every_ms,
                // The base of a stream-time grid is stream time 0, so it fires with the first record.
                next: (punctuation.time == PunctuationTime::Stream).then_some(0),
            });
        }
    }
    timers
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
        clocks.look_at_wall_clock(i64::MAX - 3);
        assert_eq!(clocks.due_by_wall_clock(i64::MAX), None);
    }

    #[test]
    fn wall_clock_timers_keep_their_first_grid() {
        let mut clocks = timer(PunctuationTime::WallClock, None);
        clocks.look_at_wall_clock(0);
        assert_eq!(fired(&mut clocks, &[5, 10, 35, 39, 40]), [10, 35, 40]);
    }

    /// When it fires, of the times at which somebody looks.
    fn fired(clocks: &mut Clocks, looks: &[i64]) -> Vec<i64> {
        let mut fired = Vec::new();
        for &now in looks {
            clocks.look_at_wall_clock(now);
            if let Some(at) = clocks.due_by_wall_clock(now) {
                clocks.timers[at].fire(now);
                fired.push(now);
            }
        }
        fired
    }

    #[test]
    fn a_wall_clock_that_steps_is_followed_on_the_grid() {
        let mut clocks = timer(PunctuationTime::WallClock, None);
        clocks.look_at_wall_clock(1_000);
        // An hour ahead fires once, an hour back fires at the next point of the grid.
        let (ahead, back) = (3_601_005, 1_013);
        assert_eq!(fired(&mut clocks, &[1_010, ahead, ahead + 1, back, 1_019, 1_020]), [1_010, ahead, 1_020]);
        // A step that is shorter than the interval makes one wait longer, by less than the interval.
        assert_eq!(fired(&mut clocks, &[1_029, 1_020, 1_021, 1_030]), [1_030]);
    }
}
