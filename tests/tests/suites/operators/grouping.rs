//! Grouping, and repartition topics where the key was changed.

use std::collections::BTreeMap;

use millstream_engine::partitioner::partition;
use tests::application::Input;

use super::runs::each_run;
use super::shown::{i64, number, shown, sorted, stored, utf8};

pub fn inputs() -> Vec<Input> {
    let visit = |at, page: &str| Input::at(at, "visits").value(page);
    vec![
        visit(10, "home").key("anna").header("h", Some(b"1")),
        visit(11, "home"),
        visit(60, "shop").key("anna"),
        visit(59, "shop").key("anna"),
        visit(12, "home").key("ben").partition(1),
        visit(13, "").key("ben").partition(1),
        visit(61, "shop").key("ben").partition(1),
    ]
}

#[test]
fn a_group_by_its_own_key_needs_no_repartition_and_leaves_null_keys_out() {
    let expected = ["anna=1@10 h=1", "anna=2@60", "anna=3@60", "ben=1@12", "ben=2@13", "ben=3@61"];
    each_run(|run| {
        assert_eq!(sorted(run.topic("visitors"), utf8, i64), expected);
        assert_eq!(stored(run.store("by-visitor"), utf8, i64), ["anna=3@60", "ben=3@61"]);
    });
}

#[test]
fn a_group_by_a_new_key_meets_in_one_task() {
    each_run(|run| {
        for (store, sink) in [("by-page", "pages"), ("by-page-spread", "pages-spread")] {
            assert_eq!(stored(run.store(store), utf8, i64), ["home=3@12", "shop=3@61"], "{store}");
            let mut counts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            for record in run.topic(sink) {
                let (page, count) = (record.key.as_deref().expect("a key"), record.value.as_deref().expect("a count"));
                counts.entry(utf8(page)).or_default().push(number(count));
            }
            assert_eq!(counts, [("home".into(), vec![1, 2, 3]), ("shop".into(), vec![1, 2, 3])].into(), "{sink}");
        }
    });
}

#[test]
fn repartition_topics_carry_the_records_whole_to_where_java_would_send_them() {
    // Without a key, as for the page without a name, a record goes nowhere.
    let expected = ["home=home@10 h=1", "home=home@11", "home=home@12", "shop=shop@59", "shop=shop@60", "shop=shop@61"];
    each_run(|run| {
        for (topic, partitions) in [("by-page", 2), ("spread", 8)] {
            assert_eq!(sorted(run.topic(topic), utf8, utf8), expected, "{topic}");
            assert_eq!(run.partitions(topic).len(), partitions, "{topic}");
            for (number, records) in run.partitions(topic).iter().enumerate() {
                for record in records {
                    let key = record.key.as_deref().expect("a repartition topic has keys");
                    assert_eq!(partition(key, partitions as i32), number as i32, "{topic}");
                }
            }
        }
        assert_eq!(sorted(run.topic("spread-out"), utf8, utf8), expected);
    });
}

#[test]
fn records_of_one_partition_keep_their_order_through_a_repartition() {
    each_run(|run| {
        let shops = shown(run.topic("spread-out"), utf8, utf8).into_iter();
        let annas: Vec<String> = shops.filter(|shown| ["shop=shop@60", "shop=shop@59"].contains(&&**shown)).collect();
        assert_eq!(annas, ["shop=shop@60", "shop=shop@59"]);
    });
}
