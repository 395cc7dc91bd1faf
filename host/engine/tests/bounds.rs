//! What a guest or a record may make a task do, and where it ends: as the record's own failure, and never as an
//! interval that the log refuses again and again.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;

use millstream_engine::functions::Fault;
use millstream_engine::record::{Headers, Record, push_header};
use millstream_engine::store::{
    AccessError, GlobalTables, Latest, MemoryBase, ScanRequest, SizeLimits, StoreKind, StoreSlot, TaskStores,
    TimedRequest,
};
use millstream_engine::task::{Cut, FailedRecord, Failure, Inputs, Settings, Step, Task};
use rig::{Answer, asked, cut, give, no_code, plan, record, run, task};

const MIB: usize = 1 << 20;

/// From `in` through one node to `out`.
fn through(op: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},{{"name":"it","op":"{op}","inputs":["in"]}},
            {{"name":"out","op":"sink","inputs":["it"]}}]}}"#
    )
}

const COUNT: &str = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
    {"name":"count","op":"count","inputs":["in"],"store":"counts"}],
    "stores":[{"name":"counts","kind":"key-value","key":"bytes","value":"i64"}]}"#;

fn failed(result: Result<(), Failure>) -> FailedRecord {
    match result {
        Err(Failure::Record(failed)) => *failed,
        other => panic!("expected a failed record, got {other:?}"),
    }
}

/// Rejects everything, at length.
fn complains(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    (0..asked(frame)).for_each(|at| answer.outcome(at, 4, "ä".repeat(1 << 20).as_bytes()));
    answer.finish(out);
    Ok(())
}

/// The dead letter of a record, from a topic that takes so many bytes: its sizes and its headers.
fn letter(record: Record<'_>, max: usize) -> Result<(usize, usize, BTreeMap<String, String>), Failure> {
    let topics = [("in", MIB), ("out", MIB), ("letters", max)];
    let plan = plan("on_error = \"dead-letter:letters\"", &through("filter"), &topics).unwrap();
    let mut task = task(plan, Settings::default(), complains);
    give(&mut task, 0, [record]);
    run(&mut task)?;
    let (outgoing, _) = cut(&mut task, 1);
    let (_, letter) = outgoing.iter().next().unwrap();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
    let headers = letter.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
    let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    assert!(letter.bytes() + 128 <= max, "{} bytes for a topic of {max}", letter.bytes());
    Ok((len(letter.key), len(letter.value), headers))
}

#[test]
fn a_letter_that_does_not_fit_leaves_out_what_it_must_and_says_so() {
    const OMITTED: &str = "__millstream.errors.omitted";
    let mut headers = Vec::new();
    push_header(&mut headers, "own", Some(&[b'h'; 9_000]));
    let (key, value) = ([b'k'; 9_000], vec![b'v'; 997_000]);
    let record = Record { key: Some(&key[..9]), value: Some(&value), headers: Headers(&[]), timestamp: 0 };
    let omitted = |record, max| {
        let (key, value, headers) = letter(record, max).unwrap();
        assert!(headers["__streams.errors.message"].len() < 5_000, "a message of a guest is bounded");
        assert_eq!(headers["__streams.errors.offset"], "0");
        (key, value, headers.get(OMITTED).cloned(), headers.contains_key("own"))
    };
    let small = Record { value: Some(b"v"), ..record };
    assert_eq!(omitted(small, MIB), (9, 1, None, false));
    assert_eq!(omitted(record, MIB), (9, 0, Some("value".into()), false));
    let with_headers = Record { headers: Headers(&headers), ..record };
    assert_eq!(omitted(with_headers, MIB), (9, 0, Some("value".into()), true));
    assert_eq!(omitted(with_headers, 10_000), (9, 0, Some("value,headers".into()), false));
    let large_key = Record { key: Some(&key), ..small };
    assert_eq!(omitted(large_key, 10_000), (0, 0, Some("value,headers,key".into()), false));
}

#[test]
fn a_letter_that_fits_nowhere_fails_its_record() {
    let failed = failed(letter(record(b"k", b"v", 0), 2_000).map(drop));
    let fix = "its dead letter does not fit into topic letters, which takes 1872 bytes";
    assert!(failed.message.ends_with(fix), "{}", &failed.message[4_000..]);
}

#[test]
fn what_a_topic_does_not_take_is_its_records_failure() {
    let description =
        r#"{"version":1,"nodes":[{"name":"in","op":"source"},{"name":"out","op":"sink","inputs":["in"]}]}"#;
    let plan = plan("on_error = \"skip\"", description, &[("in", MIB), ("out", 1_000)]).unwrap();
    let mut task = task(plan, Settings::default(), no_code);
    let values = [vec![0; 871], vec![0; 872], vec![0; 10]];
    give(&mut task, 0, values.iter().map(|value| record(b"k", value, 0)));
    run(&mut task).unwrap();
    let sizes: Vec<usize> = cut(&mut task, 1).0.iter().map(|(_, record)| record.value.unwrap().len()).collect();
    assert_eq!((sizes, task.dropped().skipped), (vec![871, 10], 1));
}

#[test]
fn what_a_changelog_does_not_take_is_its_records_failure() {
    let manifest = "on_error = \"skip\"\n[changelog]\ntopic_configs = { \"max.message.bytes\" = \"1000\" }";
    let mut task = task(plan(manifest, COUNT, &[("in", MIB)]).unwrap(), Settings::default(), no_code);
    let keys = [vec![b'k'; 864], vec![b'k'; 865]];
    give(&mut task, 0, keys.iter().map(|key| record(key, b"", 0)));
    run(&mut task).unwrap();
    assert_eq!((cut(&mut task, 1).1.len(), task.dropped().skipped), (1, 1));
}

/// Gives each element back a hundred times, unchanged.
fn hundred(_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut answer = Answer::default();
    (0..asked(frame)).for_each(|at| (0..100).for_each(|_| answer.element(at, None, 0)));
    answer.finish(out);
    Ok(())
}

#[test]
fn the_same_value_a_hundred_times_is_a_hundred_values() {
    let topics = [("in", MIB), ("out", MIB)];
    let mut task = task(plan("", &through("flat-map"), &topics).unwrap(), Settings::default(), hundred);
    let value = vec![0; 80_000];
    let offset = give(&mut task, 0, [record(b"k", &value, 0)]);
    run(&mut task).unwrap();
    assert_eq!(cut(&mut task, 1).0.len(), 100);
    let value = vec![0; 90_000];
    give(&mut task, offset, [record(b"k", &value, 0)]);
    let failed = failed(run(&mut task));
    assert_eq!(failed.message, "more than 8388608 bytes for one record ([limits] output_bytes)");
}

#[test]
fn a_record_cannot_become_more_than_the_host_holds() {
    let flat_map = |name, input| format!(r#"{{"name":"{name}","op":"flat-map","inputs":["{input}"]}}"#);
    let sink = |at: usize| format!(r#"{{"name":"out{at}","op":"sink","inputs":["b"],"topic":"out"}}"#);
    let nodes = [flat_map("a", "in"), flat_map("b", "a")].into_iter().chain((0..250).map(sink));
    let nodes: Vec<String> = nodes.collect();
    let description = format!(r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},{}]}}"#, nodes.join(","));
    let mut task = task(plan("", &description, &[("in", MIB), ("out", MIB)]).unwrap(), Settings::default(), hundred);
    give(&mut task, 0, [record(b"", b"", 0)]);
    let failed = failed(run(&mut task));
    assert!(failed.message.starts_with("one record became more than"), "{}", failed.message);
}

fn keys(count: u32) -> Vec<u8> {
    let mut keys = count.to_le_bytes().to_vec();
    (0..count).for_each(|_| keys.extend([1, 0, 0, 0, b'k']));
    keys
}

fn entered(rows: u32) -> TaskStores {
    let mut stores = rig::stores(&plan("", COUNT, &[("in", MIB)]).unwrap());
    (0..rows).for_each(|row| stores.put(0, &row.to_be_bytes(), None, 0));
    stores.enter(&[0], [0].into_iter());
    stores
}

#[test]
fn user_code_does_not_write_a_store_whose_changelog_is_its_source_topic() {
    let mut stores = entered(1);
    // One write: element 0, the key `k`, the value `v`.
    let writes = [&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0][..], b"kv"].concat();
    stores.apply_writes(0, &writes).unwrap();
    stores.set_of_sources(|store| store == 0);
    let error = stores.apply_writes(0, &writes).unwrap_err();
    assert!(matches!(&error, AccessError::Overrun(what) if what.contains("reuse_source_topic")), "{error}");
    stores.get_many(0, &keys(1), &mut Vec::new()).unwrap();
}

/// One write of element 0, the key `k` and the value `v`, with this timestamp.
fn dated(timestamp: i64) -> Vec<u8> {
    [&[1, 0, 0, 0, 0, 0, 0, 128, 1, 0, 0, 0, 1, 0, 0, 0][..], &timestamp.to_le_bytes(), b"kv"].concat()
}

#[test]
fn a_write_has_its_elements_timestamp_or_one_of_its_own() {
    let mut stores = entered(0);
    let element = [&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0][..], b"kv"].concat();
    for (writes, timestamp) in [(&element, 0), (&dated(70), 70), (&element, 0)] {
        stores.apply_writes(0, writes).unwrap();
        assert_eq!(stores.get(0, b"k").unwrap().unwrap().timestamp, timestamp);
    }
}

#[test]
fn a_write_dated_where_no_changelog_takes_it_is_refused_and_changes_nothing() {
    let mut stores = entered(0);
    stores.apply_writes(0, &dated(7)).unwrap();
    stores.date_until(Latest { now: 100, ahead_max_ms: 50 });
    stores.apply_writes(0, &dated(150)).unwrap();
    let error = stores.apply_writes(0, &dated(151)).unwrap_err();
    let wanted = "store `counts` is dated 151, 51 ms ahead of the clock; what its node writes takes 50";
    assert!(matches!(&error, AccessError::Overrun(what) if what.contains(wanted)), "{error}");
    assert!(matches!(stores.apply_writes(0, &dated(-1)), Err(AccessError::Malformed)));
    assert_eq!(stores.get(0, b"k").unwrap().unwrap().timestamp, 150);
    // The next call is not bound by this one.
    stores.enter(&[0], [0].into_iter());
    stores.apply_writes(0, &dated(151)).unwrap();
}

#[test]
fn user_code_reads_a_global_table_and_does_not_write_it() {
    let mut stores = entered(1);
    let mut globals = GlobalTables::new(Box::new(MemoryBase::new(2)), 1);
    globals.set_whole(true);
    stores.add_global(7, "shops", globals.table(0));
    stores.enter(&[stores.place(7).unwrap()], [0].into_iter());
    let writes = [&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0][..], b"kv"].concat();
    let error = stores.apply_writes(7, &writes).unwrap_err();
    assert!(matches!(&error, AccessError::Overrun(what) if what.contains("global table")), "{error}");
    stores.get_many(7, &keys(1), &mut Vec::new()).unwrap();
    // The others are not opened by that.
    assert!(matches!(stores.get_many(0, &keys(1), &mut Vec::new()), Err(AccessError::UnknownStore)));
}

fn overrun<T: std::fmt::Debug>(answer: Result<T, AccessError>) {
    let error = answer.unwrap_err();
    assert!(matches!(&error, AccessError::Overrun(what) if what.contains("1000000")), "{error}");
}

#[test]
fn the_work_of_a_call_is_bounded_over_all_its_calls_into_the_host() {
    let (mut stores, mut out) = (entered(0), Vec::new());
    let keys = keys(300_000);
    (0..3).for_each(|_| stores.get_many(0, &keys, &mut out).unwrap());
    overrun(stores.get_many(0, &keys, &mut out));
    overrun(stores.approximate_entries(0));
    stores.enter(&[0], [0].into_iter());
    stores.get_many(0, &keys, &mut out).unwrap();
}

#[test]
fn tiny_writes_count() {
    let mut stores = entered(0);
    let mut writes = 400_000u32.to_le_bytes().to_vec();
    (0..400_000).for_each(|_| writes.extend([0, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, b'k']));
    (0..2).for_each(|_| stores.apply_writes(0, &writes).unwrap());
    overrun(stores.apply_writes(0, &writes));
}

#[test]
fn walking_over_deletions_is_work() {
    let (mut stores, mut out) = (entered(300_000), Vec::new());
    let request = ScanRequest { limit: 10, ..ScanRequest::default() };
    (0..3).for_each(|_| assert!(!stores.scan_page(0, request, &mut out).unwrap()));
    overrun(stores.scan_page(0, request, &mut out));
}

/// Those that end later are neither asked for nor walked over.
#[test]
fn sessions_that_end_before_a_time_are_found_whatever_ends_after_it() {
    const LATE: i64 = 1_000_000;
    let kind = StoreKind::Session { retention_ms: 2 * LATE, closing: false };
    let slot = StoreSlot { number: 0, name: "s".to_owned(), base: 0, slot: 0, logged: false, kind };
    let mut stores = TaskStores::new(vec![slot], vec![Box::new(MemoryBase::new(1))], SizeLimits::default());
    for key in 0..300_000u32 {
        stores.sessions_mut(0).put(&key.to_be_bytes(), (LATE, LATE + 1), Some(b"late"), LATE).unwrap();
    }
    stores.sessions_mut(0).put(b"early", (5, 10), Some(b"v"), 10).unwrap();
    // In the segment of what is asked for, and past it.
    stores.sessions_mut(0).put(b"next", (5, 21), Some(b"v"), 21).unwrap();
    stores.enter(&[0], [0].into_iter());
    let request = TimedRequest {
        key: None,
        lower: None,
        upper: None,
        from: i64::MIN,
        to: 20,
        latest_end: Some(20),
        after: None,
        reverse: false,
        limit: 10,
    };
    for reverse in [false, true] {
        for _ in 0..10 {
            let mut out = Vec::new();
            assert_eq!(stores.scan_timed(0, TimedRequest { reverse, ..request }, &mut out).unwrap(), None);
            assert_eq!((out[0], &out[out.len() - 6..]), (1, &b"earlyv"[..]));
        }
    }
    let none = TimedRequest { from: 20, latest_end: Some(10), ..request };
    let mut out = Vec::new();
    (0..10).for_each(|_| assert_eq!(stores.scan_timed(0, none, &mut out).unwrap(), None));
    let open = TimedRequest { latest_end: None, ..request };
    (0..3).for_each(|_| assert_eq!(stores.scan_timed(0, open, &mut out).unwrap(), None));
    overrun(stores.scan_timed(0, open, &mut out));
}

#[test]
fn a_count_that_is_none_stops_the_application_with_its_reason() {
    let mut task = task(plan("on_error = \"skip\"", COUNT, &[("in", MIB)]).unwrap(), Settings::default(), no_code);
    let mut held = millstream_engine::record::Records::default();
    held.push(0, record(b"k\n", b"four", 0));
    task.restore(0, &held, 0).unwrap();
    task.end_restore(0).unwrap();
    give(&mut task, 0, [record(b"other", b"", 0), record(b"k\n", b"", 0)]);
    for _ in 0..2 {
        let Err(Failure::Unreadable(unreadable)) = run(&mut task) else { panic!("it was read") };
        let expected = "node `count`: store `counts` holds something else for key \"k\\n\": 4 bytes, and a count has 8";
        assert_eq!(unreadable.to_string(), expected);
    }
}

fn punctuated(names: &[String]) -> String {
    let punctuation = |name: &String| format!(r#"{{"name":"{name}","time":"stream","every_ms":1}}"#);
    let punctuations: Vec<String> = names.iter().map(punctuation).collect();
    format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
            {{"name":"it","op":"process","inputs":["in"],"punctuations":[{}]}}]}}"#,
        punctuations.join(",")
    )
}

fn quiet(_: u32, _: &[u8], _: &mut TaskStores, out: &mut Vec<u8>) -> Result<(), Fault> {
    Answer::default().finish(out);
    Ok(())
}

#[test]
fn records_at_the_end_of_time_come_to_an_end() {
    let description = punctuated(&["tick".into()]);
    let mut task = task(plan("", &description, &[("in", MIB)]).unwrap(), Settings::default(), quiet);
    let times = [0, i64::MAX - 1, i64::MAX, i64::MAX, 5];
    give(&mut task, 0, times.map(|time| record(b"", b"", time)));
    run(&mut task).unwrap();
    assert_eq!((task.processed(), task.stream_time()), (5, i64::MAX));
}

#[test]
fn timers_that_do_not_fit_beside_an_offset_are_refused_by_name() {
    let names = |count| (0..count).map(|at| format!("punctuation-number-{at:03}")).collect::<Vec<String>>();
    plan("", &punctuated(&names(60)), &[("in", MIB)]).unwrap();
    let problem = plan("", &punctuated(&names(80)), &[("in", MIB)]).unwrap_err();
    assert_eq!((problem.name, problem.code), ("OffsetMetadataTooLarge", "E0210"));
    assert!(problem.message.contains("it:punctuation-number-079"), "{}", problem.message);
}

fn wants(task: &Task) -> bool {
    task.wants(task.inputs().next().unwrap())
}

#[test]
fn a_queue_is_full_of_bytes_before_it_is_full_of_records() {
    let mut task =
        task(plan("", &through("filter"), &[("in", MIB), ("out", MIB)]).unwrap(), Settings::default(), quiet);
    let value = vec![0; MIB];
    give(&mut task, 0, (0..7).map(|_| record(b"k", &value, 0)));
    assert!(wants(&task));
    give(&mut task, 7, [record(b"k", &value, 0)]);
    assert!(!wants(&task));
    run(&mut task).unwrap();
    assert!(wants(&task));
}

#[test]
fn nothing_is_cut_while_an_interval_is_in_flight() {
    let mut task = task(plan("", COUNT, &[("in", MIB)]).unwrap(), Settings::default(), no_code);
    let offset = give(&mut task, 0, [record(b"k", b"", 0)]);
    run(&mut task).unwrap();
    task.seal(1, Inputs::Moved, &mut Cut::default());
    give(&mut task, offset, [record(b"k", b"", 0)]);
    assert_eq!(task.step(0, 10).unwrap(), Step::Ran);
    let mut second = Cut::default();
    task.seal(2, Inputs::Moved, &mut second);
    assert!(second.is_empty() && second.changelog.is_empty());
    task.on_committed();
    task.apply_committed(&BTreeMap::new()).unwrap();
    let (_, changelog) = cut(&mut task, 3);
    let value = changelog.iter().map(|(_, record)| record.value.unwrap().to_vec()).collect::<Vec<_>>();
    assert_eq!(value, [2i64.to_be_bytes().to_vec()]);
}
