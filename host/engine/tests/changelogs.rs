//! A coalesced changelog is the full one with only the last entry of each key, in the order of those.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::HashSet;

use millstream_engine::task::Settings;
use proptest::prelude::*;
use proptest::test_runner::Config;
use rig::{cut, give, no_code, plan, record, run, task};

/// Two stores, one whose values a record carries and one that counts.
const DESCRIPTION: &str = r#"{"version":1,"nodes":[{"name":"in","op":"table-source","store":"table"},
    {"name":"stream","op":"to-stream","inputs":["in"]},
    {"name":"count","op":"count","inputs":["stream"],"store":"counts"},
    {"name":"change","op":"to-stream","inputs":["count"]},
    {"name":"out","op":"sink","inputs":["change"]}],
    "stores":[{"name":"table","kind":"key-value","key":"bytes","value":"bytes"},
    {"name":"counts","kind":"key-value","key":"bytes","value":"i64"}]}"#;

type Entry = (u32, Vec<u8>, Option<Vec<u8>>, i64);

/// Outputs, and the changelogs by interval.
fn played(intervals: &[Vec<(u8, Option<u8>, u8)>], coalesce: bool, batch: usize) -> (Vec<Entry>, Vec<Vec<Entry>>) {
    let settings = Settings { coalesce, batch_records: batch, ..Settings::default() };
    let topics = [("in", 1 << 20), ("out", 1 << 20)];
    let mut task = task(plan("", DESCRIPTION, &topics).unwrap(), settings, no_code);
    let (mut outputs, mut changelogs, mut offset) = (Vec::new(), Vec::new(), 0);
    for (number, interval) in intervals.iter().enumerate() {
        let values: Vec<_> = interval.iter().map(|(key, value, time)| ([*key], value.map(|v| [v]), *time)).collect();
        let records = values.iter().map(|(key, value, time)| {
            let value = value.as_ref().map(|value| &value[..]);
            millstream_engine::record::Record { value, ..record(key, b"", i64::from(*time)) }
        });
        offset = give(&mut task, offset, records);
        run(&mut task).unwrap();
        let (out, log) = cut(&mut task, number as i64);
        let owned = |outgoing: millstream_engine::record::Outgoing| -> Vec<Entry> {
            let entry =
                |(to, r): (millstream_engine::record::TopicPartition, millstream_engine::record::Record<'_>)| {
                    (to.topic.0, r.key.unwrap().to_vec(), r.value.map(<[u8]>::to_vec), r.timestamp)
                };
            outgoing.iter().map(entry).collect()
        };
        outputs.extend(owned(out));
        changelogs.push(owned(log));
    }
    (outputs, changelogs)
}

fn last_of_each_key(entries: &[Entry]) -> Vec<Entry> {
    let mut seen = HashSet::new();
    let mut kept: Vec<Entry> =
        entries.iter().rev().filter(|(topic, key, ..)| seen.insert((*topic, key.clone()))).cloned().collect();
    kept.reverse();
    kept
}

proptest! {
    // The failing records are printed whole.
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]
    #[test]
    fn coalesced_changelogs_are_the_last_entries_of_the_full_ones(
        intervals in prop::collection::vec(
            prop::collection::vec((0u8..6, prop::option::weighted(0.8, any::<u8>()), any::<u8>()), 0..30), 1..5),
        batch in prop::sample::select(vec![1usize, 2, 7, 500]),
    ) {
        let (outputs, full) = played(&intervals, false, 1);
        let (coalesced_outputs, coalesced) = played(&intervals, true, batch);
        prop_assert_eq!(outputs, coalesced_outputs);
        let expected: Vec<Vec<Entry>> = full.iter().map(|entries| last_of_each_key(entries)).collect();
        prop_assert_eq!(expected, coalesced);
    }
}
