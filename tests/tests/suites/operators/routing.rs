//! Forwarding to all children and to a named one.

use tests::application::Input;

use super::runs::each_run;
use super::shown::{shown, utf8};

pub fn inputs() -> Vec<Input> {
    let trip = |at, key: &str, way: &str| Input::at(at, "trips").key(key).value(way);
    vec![
        trip(10, "x", "left").header("h", Some(b"1")),
        trip(11, "x", "right"),
        trip(12, "x", "later"),
        trip(60, "y", "left"),
        trip(61, "y", "all"),
    ]
}

#[test]
fn a_processor_of_fixed_keys_changes_values_times_and_nothing_else() {
    let stamped = ["x=left of 0@11 h=1", "x=right of 1@12", "x=later of 2@13", "y=left of 3@61", "y=all of 4@62"];
    each_run(|run| assert_eq!(shown(run.topic("stamped"), utf8, utf8), stamped));
}

#[test]
fn a_record_for_a_named_child_goes_there_and_one_for_all_everywhere() {
    let left = [
        "x=left from trips-0@0@10 h=1 routed=-",
        "x=later from trips-0@2@13 routed=-",
        "y=left from trips-0@3@60 routed=-",
        "y=all from trips-0@4@61 routed=-",
    ];
    let right = [
        "x=RIGHT FROM TRIPS-0@1@11 routed=-",
        "x=LATER FROM TRIPS-0@2@13 routed=-",
        "y=ALL FROM TRIPS-0@4@61 routed=-",
    ];
    each_run(|run| {
        assert_eq!(shown(run.topic("left"), utf8, utf8), left);
        assert_eq!(shown(run.topic("right"), utf8, utf8), right);
        assert_eq!(shown(run.topic("everywhere"), utf8, utf8), [left[1], left[3]]);
    });
}
