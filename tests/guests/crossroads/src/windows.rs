//! Windows and sessions that say each of their updates.

use millstream_sdk::prelude::*;

use crate::{DAY, say};

/// What a view counts beside a click's one: more than there are clicks in any window.
const VIEW: i64 = 1_000_000;

pub fn topology(clicks: &Stream<String, String>, views: &Stream<String, String>) {
    let (clicks, views) = (clicks.group_by_key(), views.group_by_key());
    let tumbling = TimeWindows::of(Duration::from_secs(2)).grace(DAY);
    let counts = clicks.windowed_by(tumbling).count("tumbling").to_stream();
    say(&counts.map(|window, count| (window.key, format!("{} {count}", window.start))), "tumbled");

    let hopping = tumbling.advance_by(Duration::from_secs(1));
    let counts = clicks.windowed_by(hopping).aggregate(|| 0i64, |_, _, count| count + 1, "hopping").to_stream();
    say(&counts.map(|window, count| (window.key, format!("{} {count}", window.start))), "hopped");

    let sliding = SlidingWindows::of(Duration::from_millis(300)).grace(DAY);
    let counts = clicks.windowed_by(sliding).count("sliding").to_stream();
    say(&counts.map(|window, count| (window.key, format!("{} {count}", window.start))), "slid");

    let more = |number: i64| move |_: &String, _: String, so_far: i64| so_far + number;
    let both = clicks.cogroup(more(1)).cogroup(&views, more(VIEW));
    let counts = both.windowed_by(tumbling).aggregate(|| 0, "gathering").to_stream();
    let both = |count: i64| format!("{} {}", count % VIEW, count / VIEW);
    say(&counts.map(move |window, count| (window.key, format!("{} {}", window.start, both(count)))), "gathered");

    let sessions = SessionWindows::with_gap(Duration::from_millis(600)).grace(DAY);
    let visits = clicks.windowed_by(sessions).count("sessions").to_stream();
    let visits = visits.map(|visit, count| {
        let count = count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        (visit.key, format!("{} {} {count}", visit.start, visit.end))
    });
    say(&visits, "visited");
}
