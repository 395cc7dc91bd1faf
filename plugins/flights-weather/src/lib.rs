//! Departures from New York in time: the delays of each airport's hours with the weather of the hour, the rotations of
//! each aircraft, and what was scheduled beside what left.

mod departure;
mod flight;
mod hour;
mod rotation;
#[cfg(test)]
mod tests;

use departure::{Departure, Flown, Scheduled};
use flight::Flight;
use hour::{Delays, Hour, Weather, hour_of};
use millstream_sdk::prelude::*;
use rotation::Rotation;

const HOUR: Duration = Duration::from_secs(3600);
const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

/// An aircraft that is to leave New York again within this time comes back in between.
const TURN: Duration = Duration::from_secs(10 * 3600);

/// A departure is the one that was scheduled when it is at most this early or this late.
const EARLY: Duration = HALF_AN_HOUR;
const LATE: Duration = Duration::from_secs(2 * 3600);

/// How long after its time a record may still come where a partition is read in its own order. The files are in order of
/// time; a live feed is not quite.
const GRACE: Duration = Duration::from_secs(600);

/// The same behind a change of the key: each partition of the flights is read at its own pace, so that in a backlog a flight
/// may come as much later than others as the backlog is long. Hours are kept for it, and nothing waits for their end.
const BACKLOG: Duration = Duration::from_secs(40 * 24 * 3600);

fn topology(app: &mut Topology) {
    let flights = app.stream::<Option<String>, Flight>("flights");
    hourly_delays(&flights, &app.table("weather", "weather"));
    rotations(&flights);
    departures(&app.stream("scheduled"), &app.stream("flown"));
}

/// Hours that begin every half hour, each with the weather of the hour in which it begins.
fn hourly_delays(flights: &Stream<Option<String>, Flight>, weather: &Table<String, Weather, Deletes>) {
    let hours = TimeWindows::of(HOUR).advance_by(HALF_AN_HOUR).grace(BACKLOG);
    flights
        .group_by(|_, flight| flight.origin.clone())
        .windowed_by(hours)
        .aggregate(Delays::default, |_, flight, delays| delays.with(&flight), "hours")
        // A window expires, and is no table that a join could look up. As a table of its own each hour stays, and weather
        // that comes late, or is corrected, changes the hours it is of.
        .to_stream()
        .to_table("latest-hours")
        .foreign_key_left_join(weather, |hour, _| Some(hour_of(&hour.key, hour.start)), Hour::with)
        .named("weather-of-hour")
        .to_stream()
        .flat_map(|window, hour| hour.map(|hour| (window.key.clone(), hour.at(&window))))
        .to("hourly-delays");
}

/// Departures of one aircraft that follow each other.
fn rotations(flights: &Stream<Option<String>, Flight>) {
    flights
        .filter(|_, flight| flight.dep_time.is_some())
        .group_by_key()
        .windowed_by(SessionWindows::with_gap(TURN).grace(GRACE))
        .aggregate(Rotation::default, |_, leg, so_far| so_far.with(leg), |_, a, b| a.and(b), "rotation-sessions")
        .to_stream()
        // One that grows is another session: what it was is deleted in front of it, which says nothing new here.
        .flat_map(|session, rotation| rotation.map(|rotation| (session.key.clone(), rotation.at(&session))))
        .to("rotations");
}

/// Each scheduled departure with the one that took place, or either alone where they are too far apart: a flight that was
/// cancelled or is very late, one that leaves when none is scheduled.
fn departures(scheduled: &Stream<String, Scheduled>, flown: &Stream<String, Flown>) {
    let windows = JoinWindows::of(LATE).before(EARLY).grace(GRACE);
    scheduled.outer_join_stream(flown, Departure::of, windows).named("departed").to("departures");
}

millstream_sdk::plugin!(topology);
