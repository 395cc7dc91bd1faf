//! Operators that remember nothing. Timestamps and headers go through all of them.

use tests::application::Input;

use super::runs::each_run;
use super::shown::{Shown, i64, shown, utf8};

pub fn inputs() -> Vec<Input> {
    let number = |at, key: &str, n: i64| Input::at(at, "numbers").key(key).value(n.to_be_bytes());
    vec![
        number(10, "a", 1).header("h", Some(b"x")),
        number(20, "b", 2),
        number(15, "a", 3),
        number(60, "c", -4).header("h", None).header("h", Some(b"")),
        number(55, "b", 4),
    ]
}

fn check(sink: &str, (key, value): (Shown, Shown), expected: &[&str]) {
    each_run(|run| assert_eq!(shown(run.topic(sink), key, value), expected, "{sink}"));
}

#[test]
fn filter_keeps_what_matches_and_filter_not_the_rest() {
    check("filtered", (utf8, i64), &["b=2@20", "c=-4@60 h=- h=", "b=4@55"]);
    check("filtered-not", (utf8, i64), &["a=1@10 h=x", "a=3@15"]);
}

#[test]
fn map_gives_new_keys_and_values() {
    check("mapped", (i64, utf8), &["1=a@10 h=x", "2=b@20", "3=a@15", "-4=c@60 h=- h=", "4=b@55"]);
}

#[test]
fn map_values_keeps_the_keys() {
    check("mapped-values", (utf8, i64), &["a=10@10 h=x", "b=20@20", "a=30@15", "c=-40@60 h=- h=", "b=40@55"]);
    check("mapped-with-key", (utf8, utf8), &["a=a1@10 h=x", "b=b2@20", "a=a3@15", "c=c-4@60 h=- h=", "b=b4@55"]);
}

#[test]
fn select_key_keeps_the_values() {
    check("re-keyed", (utf8, i64), &["a1=1@10 h=x", "b2=2@20", "a3=3@15", "c-4=-4@60 h=- h=", "b4=4@55"]);
}

#[test]
fn flat_maps_give_any_number_of_records() {
    let records = ["a0=0@10 h=x", "b0=0@20", "b1=1@20", "a0=0@15", "a1=1@15", "a2=2@15"];
    let later = ["b0=0@55", "b1=1@55", "b2=2@55", "b3=3@55"];
    check("flat-mapped", (utf8, i64), &[&records[..], &later].concat());
    let values = ["a=0@10 h=x", "b=0@20", "b=1@20", "a=0@15", "a=1@15", "a=2@15"];
    let later = ["b=0@55", "b=1@55", "b=2@55", "b=3@55"];
    check("flat-mapped-values", (utf8, i64), &[&values[..], &later].concat());
}

#[test]
fn peek_looks_at_each_record_and_changes_nothing() {
    check("peeked", (utf8, i64), &["a=1@10 h=x", "b=2@20", "a=3@15", "c=-4@60 h=- h=", "b=4@55"]);
    each_run(|run| assert_eq!(run.peeked, 5));
}
