//! What goes downstream late: windows as they close, what a table holds back, and who meets nobody in a join of streams.
//! Each comes once, over the restart too.

use tests::application::Input;

use super::runs::each_run;
use super::shown::{i64, shown, utf8};

pub fn inputs() -> Vec<Input> {
    let record = |topic, at, key: &str, n: i64| Input::at(at, topic).key(key).value(n.to_be_bytes());
    let click = |at, key, n| record("taps", at, key, n);
    let text = |topic, at, key: &str, value: &str| Input::at(at, topic).key(key).value(value);
    vec![
        click(1, "a", 1),
        click(3, "b", 2),
        click(9, "a", 3),
        click(14, "c", 4),
        // Late.
        click(7, "b", 9),
        record("refunds", 8, "b", 1),
        click(30, "a", 5),
        // Behind a restart.
        click(55, "b", 6),
        click(58, "a", 7),
        click(75, "z", 8),
        text("lefts", 1, "a", "l1"),
        text("rights", 2, "b", "r1"),
        text("rights", 5, "a", "r2"),
        text("rights", 49, "d", "r3"),
        text("lefts", 60, "c", "l2"),
        text("rights", 98, "z", "r4"),
    ]
}

fn check(sink: &str, expected: &[&str]) {
    each_run(|run| assert_eq!(shown(run.topic(sink), utf8, i64), expected, "{sink}"));
}

#[test]
fn a_window_goes_downstream_once_as_it_closes() {
    check("closed-windows", &["a0=2@9", "b0=1@3", "c10=1@14", "a30=1@30", "a50=1@58", "b50=1@55"]);
}

#[test]
fn a_session_goes_downstream_once_as_it_closes() {
    check("closed-sessions", &["a1=1@1", "b3=2@3", "a9=3@9", "c14=4@14", "a30=5@30", "b55=6@55", "a58=7@58"]);
}

#[test]
fn a_window_has_one_final_result() {
    check("final-windows", &["a0=4@9", "b0=2@3", "c10=4@14", "a30=5@30", "a50=7@58", "b50=6@55"]);
}

#[test]
fn a_table_is_thinned_out() {
    check("thinned", &["a=3@9", "b=2@3", "b=9@7", "c=4@14", "a=5@30", "b=6@55", "a=7@58"]);
}

#[test]
fn who_meets_nobody_is_given_away_once_alone() {
    let check = |sink: &str, expected: &[&str]| {
        each_run(|run| assert_eq!(shown(run.topic(sink), utf8, utf8), expected, "{sink}"));
    };
    check("all-pairs", &["b=? r1@2", "a=l1 r2@5", "d=? r3@49", "c=l2 ?@60"]);
    check("left-pairs", &["a=l1 r2@5", "c=l2 ?@60"]);
}

#[test]
fn a_cogroup_has_windows() {
    each_run(|run| {
        let mut found = shown(run.topic("balances-in-windows"), utf8, i64);
        found.retain(|row| row.starts_with("b0"));
        assert_eq!(found, ["b0=2@3", "b0=1@8"]);
    });
}
