//! A departure as it was scheduled and as it took place.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scheduled {
    pub dest: String,
    /// In ms since the epoch: its record's timestamp, which a join does not see.
    pub scheduled: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flown {
    pub dest: String,
    /// In ms since the epoch.
    pub departed: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Departure {
    pub dest: String,
    pub scheduled: Option<i64>,
    pub departed: Option<i64>,
    /// Minutes behind schedule, where both are known.
    pub delay: Option<i64>,
}

impl Json for Scheduled {}
impl Json for Flown {}
impl Json for Departure {}

const MINUTE_MS: i64 = 60_000;

impl Departure {
    /// Of either one or both.
    pub fn of(scheduled: Option<Scheduled>, flown: Option<Flown>) -> Departure {
        let times = (scheduled.as_ref().map(|one| one.scheduled), flown.as_ref().map(|one| one.departed));
        let delay = times.0.zip(times.1).map(|(scheduled, departed)| (departed - scheduled) / MINUTE_MS);
        let dest = scheduled.map(|one| one.dest).or(flown.map(|one| one.dest)).unwrap_or_default();
        Departure { dest, scheduled: times.0, departed: times.1, delay }
    }
}
