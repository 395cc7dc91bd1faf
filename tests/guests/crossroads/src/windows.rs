//! Windows and sessions that say each of their updates.

use millstream_sdk::prelude::*;

use crate::{DAY, say};

pub fn topology(clicks: &Stream<String, String>) {
    let clicks = clicks.group_by_key();
    let tumbling = TimeWindows::of(Duration::from_secs(2)).grace(DAY);
    let counts = clicks.windowed_by(tumbling).count("tumbling").to_stream();
    say(&counts.map(|window, count| (window.key, format!("{} {count}", window.start))), "tumbled");

    let hopping = tumbling.advance_by(Duration::from_secs(1));
    let counts = clicks.windowed_by(hopping).aggregate(|| 0i64, |_, _, count| count + 1, "hopping").to_stream();
    say(&counts.map(|window, count| (window.key, format!("{} {count}", window.start))), "hopped");

    let sessions = SessionWindows::with_gap(Duration::from_millis(600)).grace(DAY);
    let visits = clicks.windowed_by(sessions).count("sessions").to_stream();
    let visits = visits.map(|visit, count| {
        let count = count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        (visit.key, format!("{} {} {count}", visit.start, visit.end))
    });
    say(&visits, "visited");
}
