//! Joins of streams, with each other and with tables.

use millstream_sdk::prelude::*;

use crate::{DAY, Rows, or_none, say};

pub fn topology(app: &mut Topology, clicks: &Stream<String, String>, views: &Stream<String, String>, users: &Rows) {
    let near = JoinWindows::of(Duration::from_millis(300)).grace(DAY);
    let seen = clicks.join_stream(views, |click, view| format!("{click} {view}"), near).named("near");
    say(&seen, "seen");

    let named = clicks.left_join(users, |click, user| format!("{click} {}", or_none(user.flatten())));
    say(&named, "named");
    let known = clicks.join(users, |click, user| format!("{click} {}", or_none(user)));
    say(&known, "known");

    // All tariffs there will be are read before the first click, so each click meets the one of its time.
    let tariffs = app.versioned_table::<String, String>("tariffs", Materialized::named("tariffs").retention(10 * DAY));
    let price = |click, tariff| format!("{click} {}", or_none(tariff));
    say(&clicks.left_join_with_grace(&tariffs, price, Duration::from_secs(1)).named("waiting"), "priced");

    // All places there will be are read before anything else.
    let places = app.global_table::<String, String>("places", "places");
    say(
        &clicks.left_join_global(
            &places,
            |_, click| place(click),
            |click, place| format!("{click} {}", or_none(place)),
        ),
        "placed",
    );
    say(&clicks.join_global(&places, |_, click| place(click), |click, place| format!("{click} {place}")), "found");
}

/// A click's last digit says where it was.
fn place(click: &str) -> Option<String> {
    Some(format!("p{}", click.chars().last()?))
}

/// Whoever has a partner meets it, however late it comes; who has none is given away when a day is over: of either side by
/// the outer join, and questions alone by the left one.
pub fn of_questions(asks: &Stream<String, String>, answers: &Stream<String, String>) {
    let both = |ask, answer| format!("{} {}", or_none(ask), or_none(answer));
    let answered = asks.outer_join_stream(answers, both, JoinWindows::of(DAY)).named("answers");
    say(&answered, "answered");

    let or_alone = |ask, answer| format!("{ask} {}", or_none(answer));
    let asked = asks.left_join_stream(answers, or_alone, JoinWindows::of(DAY)).named("replies");
    say(&asked, "asked");
}
