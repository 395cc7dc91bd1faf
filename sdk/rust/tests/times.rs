//! When a source's records happened, in the words of the SDK.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

/// `time value` by `extract`, as they leave.
fn piped(
    consumed: impl Fn() -> Consumed<String, i64> + Send + Sync + 'static,
    values: &[(i64, i64)],
) -> (Vec<(i64, i64)>, u64) {
    let topology = move |app: &mut Topology| app.stream(consumed()).to("out");
    let mut driver = Driver::new(topology).unwrap();
    let records = values.iter().map(|(timestamp, value)| Record::new("k".to_string(), *value, *timestamp));
    driver.pipe_all("in", records).unwrap();
    let out = driver.read::<String, i64>("out").unwrap();
    (out.iter().map(|record| (record.timestamp, record.value)).collect(), driver.dropped())
}

#[test]
fn a_source_goes_by_the_time_that_a_function_finds_in_the_record() {
    let by_value = || Consumed::named("in").extract_timestamp(|record: &Record<String, i64>, _| record.value * 10);
    assert_eq!(piped(by_value, &[(7, 1), (8, 3), (9, 2)]).0, [(10, 1), (30, 3), (20, 2)]);
}

#[test]
fn a_function_is_told_the_records_own_time_and_how_far_its_partition_has_come() {
    let own_or_partitions = || {
        Consumed::named("in").extract_timestamp(|record: &Record<String, i64>, partition_time| match record.value {
            0 => partition_time,
            _ => record.timestamp + 1,
        })
    };
    assert_eq!(piped(own_or_partitions, &[(7, 1), (9, 0), (3, 2), (1, 0)]).0, [(8, 1), (8, 0), (4, 2), (8, 0)]);
}

#[test]
fn a_record_without_a_time_does_what_its_source_says() {
    let skips = || Consumed::named("in").on_invalid_timestamp(InvalidTimestamp::Skip);
    assert_eq!(piped(skips, &[(5, 1), (-1, 2), (6, 3)]), (vec![(5, 1), (6, 3)], 1));
    let goes_on = || Consumed::named("in").on_invalid_timestamp(InvalidTimestamp::PartitionTime);
    assert_eq!(piped(goes_on, &[(5, 1), (-1, 2), (6, 3)]), (vec![(5, 1), (5, 2), (6, 3)], 0));
    let mut driver = Driver::new(|app: &mut Topology| app.stream::<String, i64>("in").to("out")).unwrap();
    let error = driver.pipe("in", Record::new("k".to_string(), 1i64, -1)).unwrap_err().to_string();
    assert!(error.contains("its timestamp is -1"), "{error}");
}

#[test]
fn a_value_that_does_not_decode_fails_its_record_and_a_function_may_drop_one() {
    let topology = |app: &mut Topology| {
        let consumed =
            Consumed::named("in").try_extract_timestamp(|record: &Record<String, i64>, _| match record.value {
                0 => Err(Failure::drop()),
                time => Ok(time),
            });
        app.stream(consumed).to("out");
    };
    let mut driver = Driver::with_manifest(topology, "id = \"app\"\non_error = \"skip\"").unwrap();
    let values =
        [1i64.to_be_bytes().to_vec(), b"short".to_vec(), 0i64.to_be_bytes().to_vec(), 4i64.to_be_bytes().to_vec()];
    driver.pipe_all("in", values.map(|value| Record::new("k".to_string(), value, 9))).unwrap();
    let out = driver.read::<String, i64>("out").unwrap();
    assert_eq!(out.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(driver.dropped(), 2);
}

#[test]
fn a_tables_rows_have_the_time_that_a_function_gives_them() {
    let topology = |app: &mut Topology| {
        let consumed = Consumed::named("rows").extract_timestamp(|row: &Record<String, i64>, _| row.value);
        app.table(consumed, "rows").to_stream().to("out");
    };
    let mut driver = Driver::new(topology).unwrap();
    driver.pipe("rows", Record::new("k".to_string(), 77i64, 1)).unwrap();
    assert_eq!(driver.read::<String, i64>("out").unwrap()[0].timestamp, 77);
}
