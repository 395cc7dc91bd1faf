//! Joins over several partitions: what comes out in the end is what is computed from the tables as they are in the end.

use std::collections::BTreeMap;

use millstream_engine::functions::Functions;
use millstream_engine::partitioner::partition;
use millstream_engine::record::{Headers, Record};
use millstream_engine::task::Settings;
use millstream_engine::topology::Description;
use millstream_sdk::Plugin;
use millstream_sdk::prelude::*;
use tests::chance::Chance;
use tests::rig::{KEPT, Rig, Setup};

const PARTITIONS: i32 = 3;
const CHANGES: u64 = 400;

type Rows = BTreeMap<String, String>;

fn topology(app: &mut Topology) {
    let left = app.table::<String, String>("left", "lefts");
    let right = app.table::<String, String>("right", "rights");
    // Of `f|n`: `f`.
    let key = |_: &String, value: String| value.split_once('|').map(|(key, _)| key.to_owned());
    let inner = left.foreign_key_join(&right, key, |left, right| format!("{left} {right}"));
    inner.named("inner").materialized("inner-rows").to_stream().to("inner-changes");
    let both = left.foreign_key_left_join(&right, key, |left, right| format!("{left} {right:?}"));
    both.named("both").materialized("both-rows").to_stream().to("both-changes");
    let groups = left.group_by(|key, value| (value.split('|').next().unwrap_or_default().to_owned(), key.clone()));
    groups.count("groups").to_stream().to("group-changes");
}

/// What the stores must hold for these tables.
fn expected(left: &Rows, right: &Rows) -> [Rows; 3] {
    let mut all = [Rows::new(), Rows::new(), Rows::new()];
    let mut groups: BTreeMap<String, i64> = BTreeMap::new();
    for (key, value) in left {
        let found = value.split_once('|').and_then(|(key, _)| right.get(key));
        if let Some(found) = found {
            all[0].insert(key.clone(), format!("{value} {found}"));
        }
        all[1].insert(key.clone(), format!("{value} {found:?}"));
        *groups.entry(value.split('|').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    all[2] = groups.into_iter().map(|(key, count)| (key, count.to_string())).collect();
    all
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn held(rig: &Rig, store: &str) -> Rows {
    let value = |value: &[u8]| match store {
        "groups" => i64::from_be_bytes(value.try_into().unwrap()).to_string(),
        _ => text(value),
    };
    let rows = rig.store(store).unwrap().into_iter().map(|(key, (_, found))| (text(&key), value(&found)));
    // A group without rows has a count of zero.
    rows.filter(|(_, value)| value != "0").collect()
}

#[test]
fn what_is_joined_over_partitions_is_what_the_tables_say() {
    let [inner, both, groups] = joined(true, |held, expected| assert_eq!(held, expected));
    assert!(inner.len() > 3 && both.len() > 5 && groups.len() > 2);
}

/// Answers that come late find other rows and are dropped. A left join is always answered again; an inner one, as in
/// Kafka Streams, is not where the new row has no partner, so the old result may stay.
#[test]
fn what_has_a_partner_is_joined_however_late_the_answers_are() {
    joined(false, |held, expected| {
        let of_partners = |key: &String| expected[0].contains_key(key);
        let mut held = held;
        held[0].retain(|key, _| of_partners(key));
        assert_eq!(held, expected);
    });
}

/// Random changes of both tables, each settled before the next or not; what came out at last.
fn joined(settles: bool, check: impl Fn([Rows; 3], [Rows; 3])) -> [Rows; 3] {
    let mut chance = Chance::new();
    let mut last = Default::default();
    let plugin = Plugin::new(topology, "{}").unwrap();
    let description: Description = serde_json::from_str(plugin.description()).unwrap();
    for kept in KEPT {
        let mut rig = Rig::open(&Setup {
            manifest: "id = \"app\"",
            description: &description,
            partitions: PARTITIONS,
            settings: Settings { batch_records: 7, ..Settings::default() },
            kept,
            functions: &|| -> Box<dyn Functions> { Box::new(plugin.clone()) },
        })
        .unwrap();
        let (mut left, mut right) = (Rows::new(), Rows::new());
        for at in 0..CHANGES {
            let is_left = chance.below(3) > 0;
            let (topic, rows) = if is_left { ("left", &mut left) } else { ("right", &mut right) };
            let key = format!("{}{}", if is_left { "l" } else { "f" }, chance.below(if is_left { 20 } else { 5 }));
            let value = match chance.below(6) {
                0 => None,
                1 if is_left => Some(format!("none {at}")),
                _ if is_left => Some(format!("f{}|{at}", chance.below(6))),
                _ => Some(format!("r{at}")),
            };
            let bytes = value.as_deref().map(str::as_bytes);
            let record =
                Record { key: Some(key.as_bytes()), value: bytes, headers: Headers(b""), timestamp: at as i64 };
            rig.append(topic, partition(key.as_bytes(), PARTITIONS), record);
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
            match chance.below(20) {
                _ if settles => rig.settle().unwrap(),
                0 => rig.settle().unwrap(),
                1 => rig.run().unwrap(),
                2 => rig.abort(),
                _ => {}
            }
        }
        rig.settle().unwrap();
        println!("on {kept:?}");
        last = ["inner-rows", "both-rows", "groups"].map(|store| held(&rig, store));
        check(last.clone(), expected(&left, &right));
    }
    last
}
