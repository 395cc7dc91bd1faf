//! Joins of two streams of the DSL against cases worked by hand.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

const WINDOWS: JoinWindows = JoinWindows::of(Duration::from_millis(10));

/// Pipes records of text, each committed before the next, and reads `out` as text: `key=value@time`.
fn run(topology: fn(&mut Topology), records: &[(&str, &str, &str, i64)]) -> Vec<String> {
    let mut driver = Driver::new(topology).unwrap();
    for (topic, key, value, time) in records {
        driver.pipe(topic, Record::new(key.to_string(), value.to_string(), *time)).unwrap();
    }
    let text = |record: Record<String, String>| format!("{}={}@{}", record.key, record.value, record.timestamp);
    driver.read("out").unwrap().into_iter().map(text).collect()
}

fn both(app: &mut Topology) -> (Stream<String, String>, Stream<String, String>) {
    (app.stream("left"), app.stream("right"))
}

fn shown(left: Option<String>, right: Option<String>) -> String {
    format!("{}{}", left.as_deref().unwrap_or("?"), right.as_deref().unwrap_or("?"))
}

#[test]
fn records_meet_within_their_windows_and_take_the_later_time() {
    let records = [
        ("right", "k", "r1", 100),
        ("left", "k", "a", 89),
        ("left", "k", "b", 90),
        ("left", "other", "c", 100),
        ("left", "k", "d", 110),
        ("left", "k", "e", 111),
        ("right", "k", "r2", 100),
    ];
    let topology = |app: &mut Topology| {
        let (left, right) = both(app);
        let windows = WINDOWS.grace(Duration::from_millis(100));
        left.join_stream(&right, |left, right| left + &right, windows).named("j").to("out");
    };
    assert_eq!(run(topology, &records), ["k=br1@100", "k=dr1@110", "k=br2@100", "k=dr2@110"]);
}

#[test]
fn before_and_after_are_seen_from_the_left() {
    let records =
        [("left", "k", "a", 100), ("right", "k", "r", 99), ("right", "k", "s", 100), ("right", "k", "t", 105)];
    let topology = |app: &mut Topology| {
        let (left, right) = both(app);
        let windows = WINDOWS.before(Duration::ZERO).after(Duration::from_millis(4)).grace(Duration::from_millis(100));
        left.join_stream(&right, |left, right| left + &right, windows).to("out");
    };
    assert_eq!(run(topology, &records), ["k=as@100"]);
}

#[test]
fn a_left_record_without_a_partner_comes_when_window_and_grace_are_over() {
    let topology = |app: &mut Topology| {
        let (left, right) = both(app);
        let windows = WINDOWS.grace(Duration::from_millis(5));
        left.left_join_stream(&right, |left, right| shown(Some(left), right), windows).to("out");
    };
    let mut records = vec![("left", "a", "1", 100), ("left", "a", "2", 100), ("right", "b", "x", 101)];
    records.push(("right", "c", "y", 115));
    assert_eq!(run(topology, &records), [""; 0]);
    records.push(("left", "c", "3", 116));
    assert_eq!(run(topology, &records), ["a=1?@100", "a=2?@100", "c=3y@116"]);
}

#[test]
fn an_outer_join_has_the_lonely_of_both_sides_in_the_order_of_time() {
    let topology = |app: &mut Topology| {
        let (left, right) = both(app);
        left.outer_join_stream(&right, shown, WINDOWS).to("out");
    };
    let records =
        [("left", "a", "1", 101), ("right", "b", "x", 100), ("left", "b", "2", 150), ("right", "b", "y", 151)];
    assert_eq!(run(topology, &records), ["b=?x@100", "a=1?@101", "b=2y@151"]);
}

/// Both inputs are regrouped, and meet in one task.
#[test]
fn changed_keys_go_through_a_topic_in_front_of_the_join() {
    let topology = |app: &mut Topology| {
        let (left, right) = both(app);
        let left = left.select_key(|_, value| value.chars().take(1).collect::<String>());
        let right = right.select_key(|key, _| key.to_uppercase());
        left.join_stream(&right, |left, right| left + &right, WINDOWS).named("j").to("out");
    };
    assert_eq!(run(topology, &[("left", "x", "A1", 5), ("right", "a", "r", 7)]), ["A=A1r@7"]);
}

/// One stream with itself: each record meets itself once, seen from the right.
#[test]
fn a_stream_joins_itself() {
    let topology = |app: &mut Topology| {
        let stream = app.stream::<String, String>("left");
        stream.join_stream(&stream, |left, right| left + &right, WINDOWS).to("out");
    };
    let joined = run(topology, &[("left", "k", "a", 5), ("left", "k", "b", 6)]);
    assert_eq!(joined, ["k=aa@5", "k=ba@6", "k=ab@6", "k=bb@6"]);
}

/// More than the guest is asked about for one record: the rest comes with the next ones, each row once and in order.
#[test]
fn whoever_waits_in_great_numbers_is_given_away_in_portions() {
    let topology = |app: &mut Topology| {
        let (left, right) = both(app);
        left.left_join_stream(&right, |left, right| shown(Some(left), right), WINDOWS).to("out");
    };
    const WAITING: usize = 150_000;
    let mut driver = Driver::new(topology).unwrap();
    let record = |key: String, time| Record::new(key, "v".to_owned(), time);
    driver.pipe_all("left", (0..WAITING).map(|at| record(format!("{at:06}"), 100))).unwrap();
    let mut given = Vec::new();
    for (step, time) in [1_000, 1_001, 1_002].into_iter().enumerate() {
        driver.pipe("right", record("x".to_owned(), time)).unwrap();
        given.extend(driver.read::<String, String>("out").unwrap().into_iter().map(|record| record.key));
        assert_eq!(given.len(), [100_000, WAITING, WAITING][step]);
    }
    assert!(given.iter().enumerate().all(|(at, key)| *key == format!("{at:06}")));
}
