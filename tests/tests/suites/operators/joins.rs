//! Joins with tables by their own and by a foreign key, grouped tables, cogroups, and streams read as tables. What is
//! joined by a foreign key comes from two tasks, so one side is there before the other begins.

use tests::application::Input;

use super::runs::each_run;
use super::shown::{Shown, i64, shown, stored, utf8};

pub fn inputs() -> Vec<Input> {
    let text = |at, topic: &'static str, key: &str, value: &str| Input::at(at, topic).key(key).value(value);
    let age = |at, key: &str, n: i64| Input::at(at, "ages").key(key).value(n.to_be_bytes());
    vec![
        text(1, "cities", "rome", "italy"),
        text(2, "cities", "bonn", "germany"),
        age(3, "ann", 30),
        age(4, "cem", 50),
        text(55, "clicks", "ann", "/a"),
        text(60, "users", "ann", "rome"),
        text(61, "users", "bob", "bonn"),
        text(62, "clicks", "ann", "/b"),
        text(63, "clicks", "bob", "/c"),
        text(64, "users", "ann", "bonn"),
        text(65, "logouts", "x", "ann"),
        text(66, "clicks", "ann", "/d"),
        Input::at(67, "users").key("bob"),
        text(10, "shops", "s1", "rome"),
        text(11, "shops", "s2", "bonn").partition(1),
        text(40, "sales", "x", "s1|a"),
        text(41, "sales", "x", "s2|w"),
        text(55, "shops", "s1", "oslo"),
        Input::at(56, "shops").key("s2").partition(1),
        text(60, "sales", "y", "s1|b"),
        text(62, "sales", "y", "s2|v"),
        text(63, "sales", "y", "none"),
        text(5, "tariffs", "tea", "1"),
        text(20, "tariffs", "tea", "2"),
        text(12, "requests", "tea", "a"),
        text(22, "requests", "tea", "b"),
        text(30, "requests", "tea", "c"),
        text(55, "tariffs", "tea", "9"),
        text(60, "requests", "tea", "d"),
        text(75, "requests", "tea", "f"),
        text(51, "requests", "tea", "g"),
    ]
}

fn check(sink: &str, value: Shown, expected: &[&str]) {
    each_run(|run| assert_eq!(shown(run.topic(sink), utf8, value), expected, "{sink}"));
}

fn check_store(store: &str, value: Shown, expected: &[&str]) {
    each_run(|run| assert_eq!(stored(run.store(store), utf8, value), expected, "{store}"));
}

#[test]
fn a_stream_meets_the_row_of_its_time() {
    check("located", utf8, &["ann=/b from rome@62", "bob=/c from bonn@63", "ann=/d from bonn@66"]);
    check("foreign-clicks", utf8, &["ann=/a ?@55", "ann=/b ?@62", "bob=/c <bonn>@63", "ann=/d <bonn>@66"]);
}

/// What waits at the restart comes out behind it, once and in the order of time; what is later than the grace does not wait.
#[test]
fn a_stream_waits_for_the_row_of_its_time_across_a_restart() {
    check("priced-requests", utf8, &["tea=a 1@12", "tea=b 2@22", "tea=c 2@30", "tea=d 9@60", "tea=g 2@51"]);
    each_run(|run| {
        let waiting: Vec<&[u8]> = run.store("priced-Buffer").keys().map(|key| &key[9..12]).collect();
        assert_eq!(waiting, [b"tea"]);
    });
}

/// All that its topic had when the run began is there before the first record, from whatever partition.
#[test]
fn a_stream_meets_a_global_table_by_a_key_of_its_own() {
    check("placed-sales", utf8, &["x=s1|a rome@40", "x=s2|w bonn@41", "y=s1|b oslo@60"]);
    let all = ["x=s1|a rome@40", "x=s2|w bonn@41", "y=s1|b oslo@60", "y=s2|v ?@62", "y=none ?@63"];
    check("all-sales", utf8, &all);
    check_store("shops", utf8, &["s1=oslo@55"]);
}

#[test]
fn a_processor_reads_a_global_table_from_any_task() {
    let read = [
        "x=s1|a of s1,s2 rome@40",
        "x=s2|w of s1,s2 bonn@41",
        "y=s1|b of s1 oslo@60",
        "y=s2|v of s1 ?@62",
        "y=none of s1 ?@63",
    ];
    check("read-sales", utf8, &read);
}

#[test]
fn tables_are_joined_across_a_restart() {
    let outer = ["ann=? 30@3", "cem=? 50@4", "ann=rome 30@60", "bob=bonn ?@61", "ann=bonn 30@64", "bob=-@67"];
    check("people-changes", utf8, &outer);
    check_store("people", utf8, &["ann=bonn 30@64", "cem=? 50@4"]);
    check("known-people", utf8, &["ann=rome 30@60", "ann=bonn 30@64"]);
}

#[test]
fn tables_are_joined_by_a_foreign_key_across_topics() {
    check_store("homes", utf8, &["ann=bonn in germany@64"]);
    // An answer to a row that has changed meanwhile is dropped, so only the last ones are sure.
    each_run(|run| {
        let homes = shown(run.topic("home-changes"), utf8, utf8);
        assert!(homes.ends_with(&["ann=bonn in germany@64".to_owned(), "bob=-@67".to_owned()]), "{homes:?}");
    });
}

#[test]
fn a_grouped_table_subtracts_and_adds() {
    check("dweller-counts", i64, &["rome=1@60", "bonn=1@61", "rome=0@64", "bonn=2@64", "bonn=1@67"]);
    check("dweller-changes", utf8, &["rome=ann@60", "bonn=bob@61", "rome=@64", "bonn=bobann@64", "bonn=ann@67"]);
}

/// The logout comes through a repartition topic, so its place among the clicks is nobody's promise.
#[test]
fn several_streams_make_one_aggregate() {
    each_run(|run| {
        let gatherings = stored(run.store("gatherings"), utf8, utf8);
        assert_eq!(gatherings[1], "bob=+/c@63");
        let ann = gatherings[0].replacen('.', "", 1);
        assert_eq!((ann.as_str(), ann.len() + 1), ("ann=+/a+/b+/d@66", gatherings[0].len()));
    });
}

#[test]
fn a_stream_read_as_a_table_keeps_the_latest() {
    check("last-page-changes", utf8, &["ann=/a@55", "ann=/b@62", "bob=/c@63", "ann=/d@66"]);
    check_store("last-pages", utf8, &["ann=/d@66", "bob=/c@63"]);
}
