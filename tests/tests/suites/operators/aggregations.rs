//! Folds by key: every update goes out, with the greatest timestamp of the group so far.

use tests::application::Input;

use super::runs::{Run, each_run};
use super::shown::{Shown, i64, shown, stored, utf8};

pub fn inputs() -> Vec<Input> {
    let none = |at, key: &str| Input::at(at, "amounts").key(key);
    let amount = |at, key, n: i64| none(at, key).value(n.to_be_bytes());
    vec![
        amount(10, "a", 5),
        amount(20, "b", 3),
        amount(15, "a", -5),
        amount(12, "a", 2),
        none(21, "b"),
        amount(60, "a", 1),
        amount(55, "b", 4),
        amount(70, "c", 0),
        Input { key: None, ..amount(71, "", 9) },
    ]
}

/// What went to the sink is what went to the changelog.
fn check(run: &Run, sink: &str, store: &str, value: Shown, expected: &[&str]) {
    assert_eq!(shown(run.topic(sink), utf8, value), expected, "{sink}");
    if run.logs_every_write {
        assert_eq!(shown(run.changelog(store), utf8, value), expected, "the changelog of {store}");
    }
}

#[test]
fn count_starts_at_one_and_leaves_null_out() {
    let expected = ["a=1@10", "b=1@20", "a=2@15", "a=3@15", "a=4@60", "b=2@55", "c=1@70"];
    each_run(|run| {
        check(run, "counted", "amount-counts", i64, &expected);
        assert_eq!(stored(run.store("amount-counts"), utf8, i64), ["a=4@60", "b=2@55", "c=1@70"]);
    });
}

#[test]
fn reduce_starts_with_the_first_value() {
    let expected = ["a=5@10", "b=3@20", "a=5@15", "a=5@15", "a=5@60", "b=4@55", "c=0@70"];
    each_run(|run| {
        check(run, "reduced", "maxima", i64, &expected);
        assert_eq!(stored(run.store("maxima"), utf8, i64), ["a=5@60", "b=4@55", "c=0@70"]);
    });
}

#[test]
fn aggregate_starts_with_its_initial_value() {
    let expected = [
        r#"a=["5"]@10"#,
        r#"b=["3"]@20"#,
        r#"a=["5","-5"]@15"#,
        r#"a=["5","-5","2"]@15"#,
        r#"a=["5","-5","2","1"]@60"#,
        r#"b=["3","4"]@55"#,
        r#"c=["0"]@70"#,
    ];
    each_run(|run| check(run, "aggregated", "histories", utf8, &expected));
}

#[test]
fn an_aggregate_of_null_deletes_and_begins_anew() {
    // The tombstone comes where nothing was, too; a deleted key has no timestamp that the next one could inherit.
    let expected = ["a=5@10", "b=3@20", "a=-@15", "a=2@12", "a=3@60", "b=7@55", "c=-@70"];
    each_run(|run| {
        check(run, "settled", "balances", i64, &expected);
        assert_eq!(stored(run.store("balances"), utf8, i64), ["a=3@60", "b=7@55"]);
    });
}
