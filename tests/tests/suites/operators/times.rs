//! The order in which a task takes the records of its inputs, by the time that a function finds in them.

use tests::application::Input;
use tests::logs::THEN;

use super::runs::each_run;
use super::shown::{shown, utf8};

pub fn inputs() -> Vec<Input> {
    let told = |at, key: &str, time: i64| Input::at(at, "told").key(key).value(time.to_be_bytes());
    let seen = |at, key: &str| Input::at(at, "seen").key(key).value("seen");
    vec![
        told(40, "a", THEN + 10),
        told(41, "c", THEN + 30),
        told(42, "no", -1),
        told(43, "e", THEN + 40),
        seen(20, "b"),
        seen(35, "d"),
        told(60, "g", THEN + 90),
        seen(80, "f"),
    ]
}

#[test]
fn records_are_taken_in_the_order_of_the_times_that_a_function_finds_in_them() {
    let expected = ["a=told@10", "b=seen@20", "c=told@30", "d=seen@35", "e=told@40", "f=seen@80", "g=told@90"];
    each_run(|run| assert_eq!(shown(run.topic("in-order"), utf8, utf8), expected));
}
