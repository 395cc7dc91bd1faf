//! Results that are kept as versions, and tables of windows that are joined: over a restart, behind which both are what they
//! were.

use tests::application::Input;

use super::runs::each_run;
use super::shown::{shown, utf8};

pub fn inputs() -> Vec<Input> {
    let number = |at, topic: &'static str, key: &str, n: i64| Input::at(at, topic).key(key).value(n.to_be_bytes());
    let check = |at, name: &str| Input::at(at, "checks").key("nut").value(name);
    vec![
        number(10, "moves", "nut", 5),
        number(30, "moves", "nut", 3),
        number(20, "moves", "nut", 2),
        check(35, "a"),
        check(12, "b"),
        check(9, "c"),
        number(60, "moves", "nut", 4),
        check(70, "d"),
        check(51, "e"),
        number(2, "arrivals", "gate", 1),
        number(3, "departures", "gate", 1),
        number(5, "arrivals", "gate", 1),
        number(62, "arrivals", "gate", 1),
        number(65, "departures", "gate", 1),
        number(66, "departures", "door", 1),
    ]
}

/// The newest record of an aggregate says how old it is: what comes late is in the row of the latest one.
#[test]
fn a_stream_meets_the_aggregate_of_its_own_time_on_either_side_of_a_restart() {
    let expected = ["nut=a, of 10 then@35", "nut=b, of 5 then@12", "nut=d, of 14 then@70", "nut=e, of 10 then@51"];
    each_run(|run| assert_eq!(shown(run.topic("checked"), utf8, utf8), expected));
}

#[test]
fn the_latest_version_of_an_aggregate_is_what_a_query_finds() {
    each_run(|run| assert_eq!(run.timed["stock"], ["nut=\0\0\0\0\0\0\0\x0e"]));
}

#[test]
fn tables_of_windows_meet_in_each_key_and_window() {
    let expected = ["gate@0=1/1@3", "gate@0=2/1@5", "gate@60=1/1@65"];
    each_run(|run| assert_eq!(shown(run.topic("traffic"), utf8, utf8), expected));
}
