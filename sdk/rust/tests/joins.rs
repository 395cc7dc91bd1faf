//! Joins and grouped tables of the DSL against cases worked by hand.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

/// Pipes records of text, each committed before the next, and reads `out` as text: `key=value@time`.
fn run(topology: fn(&mut Topology), records: &[(&str, &str, Option<&str>, i64)]) -> Vec<String> {
    let mut driver = Driver::new(topology).unwrap();
    for (topic, key, value, time) in records {
        driver.pipe(topic, Record::new(key.to_string(), value.map(str::to_owned), *time)).unwrap();
    }
    shown(driver.read("out").unwrap())
}

fn shown(records: Vec<Record<String, Option<String>>>) -> Vec<String> {
    let text = |record: Record<String, Option<String>>| {
        format!("{}={}@{}", record.key, record.value.as_deref().unwrap_or("-"), record.timestamp)
    };
    records.into_iter().map(text).collect()
}

type Rows = Table<String, String, millstream_sdk::Deletes>;

fn both(app: &mut Topology) -> (Rows, Rows) {
    (app.table("left", "lefts"), app.table("right", "rights"))
}

/// Of `f|n`: `f`.
fn foreign_key(_: &String, value: String) -> Option<String> {
    value.split_once('|').map(|(key, _)| key.to_owned())
}

fn row(left: Option<String>, right: Option<String>) -> String {
    format!("{}{}", left.as_deref().unwrap_or("?"), right.as_deref().unwrap_or("?"))
}

#[test]
fn a_stream_meets_the_row_that_is_there_when_it_comes() {
    let records = [
        ("stream", "a", Some("1"), 1),
        ("table", "a", Some("x"), 9),
        ("stream", "a", Some("2"), 3),
        ("stream", "a", None, 4),
        ("table", "a", None, 5),
        ("stream", "a", Some("3"), 6),
    ];
    let inner = run(
        |app| {
            let table = app.table::<String, String>("table", "rows");
            let stream = app.stream::<String, Option<String>>("stream");
            stream.join(&table, |left, right| row(left, Some(right))).to("out");
        },
        &records,
    );
    assert_eq!(inner, ["a=2x@3"]);
    let left = run(
        |app| {
            let table = app.table::<String, String>("table", "rows");
            app.stream::<String, Option<String>>("stream").left_join(&table, row).to("out");
        },
        &records,
    );
    assert_eq!(left, ["a=1?@1", "a=2x@3", "a=3?@6"]);
}

/// What waits goes in the order of time when time has passed it by the grace, and meets the row of its own time.
#[test]
fn a_stream_with_grace_waits_for_the_row_of_its_time() {
    let records = [
        ("stream", "b", Some("1"), 10),
        ("stream", "a", Some("2"), 8),
        ("table", "a", Some("x"), 7),
        ("table", "a", Some("y"), 9),
        ("stream", "a", Some("3"), 14),
        ("stream", "a", Some("4"), 8), // too late to wait
        ("stream", "a", Some("5"), 9), // just in time
        ("stream", "a", Some("6"), 30),
    ];
    let met = run(
        |app| {
            let history = Materialized::named("rows").retention(Duration::from_millis(100));
            let table = app.versioned_table::<String, String>("table", history);
            let stream = app.stream::<String, String>("stream");
            let grace = Duration::from_millis(5);
            let shown = |left, right: Option<String>| row(Some(left), right);
            stream.left_join_with_grace(&table, shown, grace).to("out");
        },
        &records,
    );
    assert_eq!(met, ["a=2x@8", "a=4x@8", "a=5y@9", "b=1?@10", "a=3y@14"]);
}

/// A filter and a map of a table that keeps versions are worked out of the rows of the stream's time.
#[test]
fn what_is_made_of_versions_is_looked_up_as_of_a_time() {
    let met = run(
        |app| {
            let history = Materialized::named("rows").retention(Duration::from_millis(100));
            let table = app.versioned_table::<String, String>("table", history);
            let table = table.filter(|_, value| value != "no").map_values(|value| format!("<{value}>"));
            let stream = app.stream::<String, String>("stream");
            let shown = |left, right: Option<String>| row(Some(left), right);
            stream.left_join_with_grace(&table, shown, Duration::ZERO).to("out");
        },
        &[
            ("table", "a", Some("x"), 10),
            ("table", "a", Some("no"), 20),
            ("table", "a", Some("y"), 30),
            ("stream", "a", Some("1"), 15),
            ("stream", "a", Some("2"), 25),
            ("stream", "a", Some("3"), 30),
            ("stream", "a", Some("4"), 5),
        ],
    );
    assert_eq!(met, ["a=1<x>@15", "a=2?@25", "a=3<y>@30", "a=4?@5"]);
}

/// A record asks by a key of its value; what the table hears makes no result, and has no time.
#[test]
fn a_stream_meets_a_global_table_by_a_key_of_its_value() {
    let topology = |app: &mut Topology| {
        let table = app.global_table::<String, String>("table", "rows");
        let stream = app.stream::<String, Option<String>>("stream");
        let key = |_: &String, value: &Option<String>| foreign_key(&String::new(), value.clone()?);
        let inner = |left: Option<String>, right: String| row(left, Some(right));
        stream.join_global(&table, key, inner).to("inner");
        stream.left_join_global(&table, key, row).to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    for (topic, key, value, time) in [
        ("table", "f", Some("x"), 90),
        ("stream", "a", Some("f|1"), 1),
        ("stream", "a", Some("g|2"), 2),
        ("stream", "a", Some("3"), 3),
        ("stream", "a", None, 4),
        ("table", "f", None, 5),
        ("stream", "b", Some("f|4"), 6),
        ("table", "g", Some("y"), 7),
    ] {
        driver.pipe(topic, Record::new(key.to_owned(), value.map(str::to_owned), time)).unwrap();
    }
    assert_eq!(shown(driver.read("out").unwrap()), ["a=f|1x@1", "a=g|2?@2", "a=3?@3", "b=f|4?@6"]);
    assert_eq!(shown(driver.read("inner").unwrap()), ["a=f|1x@1"]);
    assert_eq!(driver.entries::<String, String>("rows").unwrap(), [("g".to_owned(), "y".to_owned())]);
    assert_eq!(driver.get::<String, String>("rows", &"f".to_owned()).unwrap(), None);
    // Null values at both joins, and a key that the inner one has not.
    assert_eq!(driver.dropped(), 3);
}

/// A filter and a map that keep nothing are worked out of their parent's rows.
#[test]
fn a_table_without_a_store_is_looked_up_in_its_parents() {
    let results = run(
        |app| {
            let table = app.table::<String, String>("table", "rows");
            let table = table.filter(|_, value| value != "no").map_values(|value| format!("<{value}>"));
            app.stream::<String, Option<String>>("stream").left_join(&table, row).to("out");
        },
        &[
            ("table", "a", Some("x"), 1),
            ("stream", "a", Some("1"), 2),
            ("table", "a", Some("no"), 3),
            ("stream", "a", Some("2"), 4),
        ],
    );
    assert_eq!(results, ["a=1<x>@2", "a=2?@4"]);
}

#[test]
fn a_stream_under_a_new_key_meets_the_table_behind_a_repartition_topic() {
    let results = run(
        |app| {
            let table = app.table::<String, String>("table", "rows");
            let stream = app.stream::<String, Option<String>>("stream");
            let stream = stream.select_key(|_, value| value.clone().unwrap_or_default());
            stream.join(&table, |left, right| row(left, Some(right))).named("met").to("out");
        },
        &[("table", "1", Some("x"), 0), ("stream", "a", Some("1"), 1), ("stream", "b", Some("2"), 2)],
    );
    assert_eq!(results, ["1=1x@1"]);
}

#[test]
fn tables_are_joined_inner_left_and_outer() {
    let records = [
        ("left", "a", Some("1"), 1),
        ("right", "a", Some("x"), 9),
        ("left", "a", None, 3),
        ("right", "a", None, 4),
        ("right", "b", Some("y"), 5),
        ("right", "b", None, 6),
    ];
    let inner = run(
        |app| {
            let (left, right) = both(app);
            left.join(&right, |left, right| format!("{left}{right}")).to_stream().to("out");
        },
        &records,
    );
    assert_eq!(inner, ["a=1x@9", "a=-@9"]);
    let left = run(
        |app| {
            let (left, right) = both(app);
            left.left_join(&right, |left, right| row(Some(left), right)).to_stream().to("out");
        },
        &records,
    );
    assert_eq!(left, ["a=1?@1", "a=1x@9", "a=-@9"]);
    let outer = run(
        |app| {
            let (left, right) = both(app);
            left.outer_join(&right, row).materialized("joined").to_stream().to("out");
        },
        &records,
    );
    assert_eq!(outer, ["a=1?@1", "a=1x@9", "a=?x@9", "a=-@4", "b=?y@5", "b=-@6"]);
}

#[test]
fn rows_are_joined_by_a_key_in_their_values() {
    let records = [
        ("left", "a", Some("f|1"), 1),
        ("right", "f", Some("x"), 2),
        ("left", "b", Some("f|2"), 3),
        ("right", "f", Some("y"), 4),
        ("left", "a", Some("g|1"), 5),
        ("left", "b", None, 6),
    ];
    let inner = run(
        |app| {
            let (left, right) = both(app);
            left.foreign_key_join(&right, foreign_key, |left, right| format!("{left}{right}"))
                .named("by-key")
                .to_stream()
                .to("out");
        },
        &records,
    );
    assert_eq!(inner, ["a=f|1x@2", "b=f|2x@3", "a=f|1y@4", "b=f|2y@4", "a=-@5", "b=-@6"]);
    let left = run(
        |app| {
            let (left, right) = both(app);
            let joined = left.foreign_key_left_join(&right, foreign_key, |left, right| row(Some(left), right));
            joined.named("by-key").to_stream().to("out");
        },
        &records,
    );
    assert_eq!(left, ["a=f|1?@1", "a=f|1x@2", "b=f|2x@3", "a=f|1y@4", "b=f|2y@4", "a=g|1?@5", "b=-@6"]);
}

#[test]
fn a_grouped_table_takes_out_what_goes_and_adds_what_comes() {
    let records = [
        ("table", "a", Some("x"), 1),
        ("table", "b", Some("x"), 2),
        ("table", "a", Some("y"), 3),
        ("table", "b", None, 4),
    ];
    let counted = run(
        |app| {
            let rows = app.table::<String, String>("table", "rows");
            let counts = rows.group_by(|key, value| (value, key.clone())).count("counts");
            counts.map_values(|count| count.to_string()).to_stream().to("out");
        },
        &records,
    );
    assert_eq!(counted, ["x=1@1", "x=2@2", "x=1@3", "y=1@3", "x=0@4"]);
    let reduced = run(
        |app| {
            let rows = app.table::<String, String>("table", "rows").group_by(|key, value| (value, key.clone()));
            rows.reduce(|so_far, key| so_far + "+" + &key, |so_far, key| so_far + "-" + &key, "keys")
                .to_stream()
                .to("out");
        },
        &records,
    );
    assert_eq!(reduced, ["x=a@1", "x=a+b@2", "x=a+b-a@3", "y=a@3", "x=a+b-a-b@4"]);
    let folded = run(
        |app| {
            let rows = app.table::<String, String>("table", "rows").group_by(|key, value| (value, key.clone()));
            let add = |_: &String, key: String, so_far: Vec<String>| [so_far, vec![key]].concat();
            let subtract = |_: &String, key: String, mut so_far: Vec<String>| {
                so_far.retain(|found| *found != key);
                so_far
            };
            let folded = rows.aggregate(Vec::new, add, subtract, "keys");
            folded.map_values(|keys| keys.join(",")).to_stream().to("out");
        },
        &records,
    );
    assert_eq!(folded, ["x=a@1", "x=a,b@2", "x=b@3", "y=a@3", "x=@4"]);
}

#[test]
fn several_streams_make_one_aggregate() {
    let results = run(
        |app| {
            let (plus, minus) = (app.stream::<String, String>("plus"), app.stream::<String, String>("minus"));
            let both = plus.group_by_key().cogroup(|_, value, so_far: String| so_far + "+" + &value);
            let minus = minus.group_by(|_, value| value.clone());
            let both = both.cogroup(&minus, |_, value, so_far| so_far + "-" + &value);
            both.aggregate(|| "0".to_owned(), "both").to_stream().to("out");
        },
        &[
            ("plus", "a", Some("1"), 1),
            ("minus", "x", Some("a"), 2),
            ("plus", "a", None, 3),
            ("plus", "b", Some("2"), 4),
        ],
    );
    assert_eq!(results, ["a=0+1@1", "a=0+1-a@2", "b=0+2@4"]);
}

#[test]
fn a_stream_read_as_a_table_keeps_the_latest_value() {
    let mut driver = Driver::new(|app: &mut Topology| {
        let stream = app.stream::<String, Option<String>>("in").select_key(|key, _| format!("{key}!"));
        stream.to_table("rows").to_stream().to("out");
    })
    .unwrap();
    let record = |value: Option<&str>, time| Record::new("a".to_owned(), value.map(str::to_owned), time);
    driver.pipe_all("in", [record(Some("1"), 5), record(Some("2"), 3), record(None, 4), record(Some("3"), 6)]).unwrap();
    assert_eq!(shown(driver.read("out").unwrap()), ["a!=1@5", "a!=2@3", "a!=-@4", "a!=3@6"]);
    assert_eq!(driver.entries::<String, String>("rows").unwrap(), [("a!".to_owned(), "3".to_owned())]);
}

#[test]
fn a_join_with_what_is_not_kept_is_refused() {
    let refused = Driver::new(|app: &mut Topology| {
        let (left, right) = both(app);
        let joined = left.foreign_key_join(&right, |_, value| Some(value), |left, _| left).named("unkept");
        app.stream::<String, String>("in").join(&joined, |left, _| left).to("out");
    });
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("looks up the table `unkept`, which has no store"), "{error}");
}

#[test]
fn a_joiner_is_given_the_key_where_it_asks_for_it() {
    let windows = || JoinWindows::of(Duration::from_millis(10));
    let mut driver = Driver::new(move |app: &mut Topology| {
        let orders = app.stream::<String, String>("orders");
        let prices = app.table::<String, String>("prices", "prices");
        let shops = app.global_table::<String, String>("shops", "shops");
        let text =
            |key: &String, left: String, right: Option<String>| format!("{key}:{left}{}", right.unwrap_or_default());
        let shop = |_: &String, order: &String| Some(order.clone());
        orders
            .join_with_key(&prices, move |key, left, right| text(key, left, Some(right)))
            .to(Produced::named("out1").topic("out"));
        orders.left_join_with_key(&prices, text).to(Produced::named("out2").topic("out"));
        orders
            .join_global_with_key(&shops, shop, move |key, left, right| text(key, left, Some(right)))
            .to(Produced::named("out3").topic("out"));
        orders.left_join_global_with_key(&shops, shop, text).to(Produced::named("out4").topic("out"));
        let offers = app.stream::<String, String>("offers");
        orders
            .join_stream_with_key(&offers, move |key, left, right| text(key, left, Some(right)), windows())
            .to(Produced::named("met5").topic("met"));
        offers.left_join_stream_with_key(&orders, text, windows()).to(Produced::named("met6").topic("met"));
        let either = move |key: &String, left: Option<String>, right| text(key, left.unwrap_or_default(), right);
        orders.outer_join_stream_with_key(&offers, either, windows()).to(Produced::named("met7").topic("met"));
    })
    .unwrap();
    for (topic, key, value) in [("prices", "a", "1"), ("shops", "b", "2"), ("orders", "a", "b"), ("offers", "a", "c")] {
        driver.pipe(topic, Record::new(key.to_owned(), Some(value.to_owned()), 7)).unwrap();
    }
    // The key is the record's own, whatever the table was asked for.
    assert_eq!(shown(driver.read("out").unwrap()), ["a=a:b1@7", "a=a:b1@7", "a=a:b2@7", "a=a:b2@7"]);
    assert_eq!(shown(driver.read("met").unwrap()), ["a=a:bc@7", "a=a:cb@7", "a=a:bc@7"]);
}
