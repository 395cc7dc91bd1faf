//! A topic as a table, tables made of it, and a stream that looks keys up in it.

use tests::application::Input;

use super::runs::each_run;
use super::shown::{Shown, i64, shown, stored, utf8};

pub fn inputs() -> Vec<Input> {
    let gone = |at, key: &str| Input::at(at, "prices").key(key);
    let price = |at, key, n: i64| gone(at, key).value(n.to_be_bytes());
    let order = |at, key: &str, n: i64| Input::at(at, "orders").key(key).value(n.to_be_bytes());
    vec![
        price(1, "a", 5),
        price(10, "a", 20),
        price(12, "b", 3),
        price(20, "a", 7),
        gone(52, "b"),
        price(60, "c", 30),
        gone(62, "c"),
        Input { key: None, ..price(63, "", 9) },
        gone(64, "d"),
        order(5, "a", 2),
        order(15, "a", 2),
        order(16, "b", 1),
        order(55, "a", 3),
        order(56, "b", 1),
        order(61, "c", 1),
        order(65, "c", 1),
    ]
}

fn check(sink: &str, value: Shown, expected: &[&str]) {
    each_run(|run| assert_eq!(shown(run.topic(sink), utf8, value), expected, "{sink}"));
}

fn check_store(store: &str, value: Shown, expected: &[&str], changelog: &[&str]) {
    each_run(|run| {
        assert_eq!(stored(run.store(store), utf8, value), expected, "{store}");
        if run.logs_every_write {
            assert_eq!(shown(run.changelog(store), utf8, value), changelog, "the changelog of {store}");
        }
    });
}

const CHANGES: [&str; 8] = ["a=5@1", "a=20@10", "b=3@12", "a=7@20", "b=-@52", "c=30@60", "c=-@62", "d=-@64"];

#[test]
fn a_table_follows_its_topic_and_leaves_null_keys_out() {
    check("price-changes", i64, &CHANGES);
    check_store("prices", i64, &["a=7@20"], &CHANGES);
}

#[test]
fn a_filtered_table_deletes_only_what_had_passed() {
    let dear = ["a=20@10", "a=-@20", "c=30@60", "c=-@62"];
    check("dear", i64, &dear);
    check("dear-kept", i64, &dear);
    check_store("dear-prices", i64, &[], &dear);
    check("cheap", i64, &["a=5@1", "a=-@10", "b=3@12", "a=7@20", "b=-@52"]);
}

#[test]
fn a_mapped_table_passes_deletions_on() {
    check("doubled", i64, &["a=10@1", "a=40@10", "b=6@12", "a=14@20", "b=-@52", "c=60@60", "c=-@62", "d=-@64"]);
    let tagged = ["a=a 5@1", "a=a 20@10", "b=b 3@12", "a=a 7@20", "b=-@52", "c=c 30@60", "c=-@62", "d=-@64"];
    check("tagged", utf8, &tagged);
    check_store("tags", utf8, &["a=a 7@20"], &tagged);
}

#[test]
fn a_stream_sees_the_table_as_it_was_at_its_records_time() {
    check("bills", i64, &["a=10@5", "a=40@15", "b=3@16", "a=21@55", "b=-@56", "c=30@61", "c=-@65"]);
}
