//! Windows that go downstream as they close: once, whatever is aborted, restarted or rebuilt in between, and without a look at
//! those that are open.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_engine::functions::Fault;
use millstream_engine::record::{Headers, Outgoing, Record, Records, push_header};
use millstream_engine::store::{MemoryBase, SizeLimits, StoreSlot, TaskStores};
use millstream_engine::task::{Cut, Inputs, Metadata, Settings, Start, Step, Task};
use rig::walked::Walked;
use rig::{Answer, Native, asked, cut, give, no_code, plan, record, run, task};

fn description(window: &str, store: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},
        {{"name":"count","op":"count","inputs":["in"],"store":"counts","window":{window},"emit":"on-window-close"}},
        {{"name":"change","op":"to-stream","inputs":["count"]}},
        {{"name":"out","op":"sink","inputs":["change"]}}],
        "stores":[{{"name":"counts","key":"bytes","value":"i64",{store}}}]}}"#
    )
}

fn tumbling(grace_ms: i64) -> String {
    let window = format!(r#"{{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":{grace_ms}}}"#);
    description(&window, &format!(r#""kind":"window","window_size_ms":10,"retention_ms":{}"#, 100_000 + grace_ms))
}

const TOPICS: [(&str, usize); 3] = [("in", 1 << 20), ("out", 1 << 20), ("seen", 1 << 20)];

fn counting() -> Task {
    task(plan("", &tumbling(0), &TOPICS).unwrap(), Settings::default(), no_code)
}

/// Start and count of what went out, with the count's key.
fn given(out: &Outgoing) -> Vec<(String, i64, i64)> {
    let row = |(_, record): (_, Record<'_>)| {
        let (key, times) = record.key.unwrap().split_at(record.key.unwrap().len() - 16);
        let start = i64::from_be_bytes(times[..8].try_into().unwrap());
        let count = i64::from_be_bytes(record.value.unwrap().try_into().unwrap());
        (String::from_utf8(key.to_vec()).unwrap(), start, count)
    };
    out.iter().map(row).collect()
}

fn entry(key: &str, start: i64, count: i64) -> (String, i64, i64) {
    (key.to_owned(), start, count)
}

#[test]
fn an_aborted_interval_gives_its_windows_away_again() {
    let mut task = counting();
    let offset = give(&mut task, 0, [record(b"k", b"", 5), record(b"l", b"", 12)]);
    run(&mut task).unwrap();
    assert_eq!(given(&cut(&mut task, 0).0), [entry("k", 0, 1)]);
    for _ in 0..2 {
        give(&mut task, offset, [record(b"m", b"", 31)]);
        run(&mut task).unwrap();
        task.abort();
    }
    give(&mut task, offset, [record(b"m", b"", 31)]);
    run(&mut task).unwrap();
    assert_eq!(given(&cut(&mut task, 1).0), [entry("l", 10, 1)]);
}

/// Seals, commits, and answers what went out, what was logged, and the text beside the first offset.
fn interval(task: &mut Task, sequence: i64) -> (Outgoing, Outgoing, Metadata) {
    let mut cut = Cut::default();
    task.seal(sequence, Inputs::All, &mut cut);
    task.on_committed();
    task.apply_committed(&BTreeMap::new()).unwrap();
    let metadata = Metadata::decode(&cut.offsets[0].metadata).unwrap();
    (cut.outgoing, cut.changelog, metadata)
}

#[test]
fn a_store_that_is_rebuilt_gives_nothing_away_twice() {
    let mut before = counting();
    let offset = give(&mut before, 0, [record(b"k", b"", 5), record(b"l", b"", 12), record(b"m", b"", 23)]);
    run(&mut before).unwrap();
    let (out, changelog, metadata) = interval(&mut before, 0);
    assert_eq!(given(&out), [entry("k", 0, 1), entry("l", 10, 1)]);
    assert_eq!(metadata.values.get("reached:counts"), Some(&23));

    let mut after = heir(&before, offset, &changelog, metadata);
    let offset = give(&mut after, offset, [record(b"n", b"", 29)]);
    run(&mut after).unwrap();
    assert!(given(&interval(&mut after, 1).0).is_empty());
    give(&mut after, offset, [record(b"n", b"", 30)]);
    run(&mut after).unwrap();
    assert_eq!(given(&interval(&mut after, 2).0), [entry("m", 20, 1), entry("n", 20, 1)]);
}

/// A task that goes on from what is beside the offset, on a store that was rebuilt from its changelog alone.
fn heir(before: &Task, offset: i64, changelog: &Outgoing, metadata: Metadata) -> Task {
    let plan = before.plan().clone();
    let mut records = Records::default();
    for (offset, (_, Record { key, value, timestamp, .. })) in changelog.iter().enumerate() {
        records.push(offset as i64, Record { key, value, timestamp, headers: Headers(&[]) });
    }
    let input = before.inputs().next().unwrap();
    let start = Start { input, source: 0, offset, metadata: Some(metadata.clone()) };
    let mut after = Task::new(before.id(), plan.clone(), Settings::default(), &[start], 0);
    // Taking the task says it again.
    let mut taking = Cut::default();
    after.seal_taking(&mut taking);
    let reached = |metadata: &Metadata| metadata.values.iter().filter(|(name, _)| name.starts_with("reached")).count();
    let taken = Metadata::decode(&taking.offsets[0].metadata).unwrap();
    assert_eq!(reached(&taken), reached(&metadata));
    assert_eq!(taken.values.get("reached:counts"), metadata.values.get("reached:counts"));
    after.on_committed();
    after.open(rig::stores(&plan), Box::new(Native(no_code)));
    after.apply_committed(&BTreeMap::new()).unwrap();
    after.restore(0, &records, records.len() as i64 - 1).unwrap();
    after.end_restore(0).unwrap();
    after
}

#[test]
fn what_closes_is_found_without_a_look_at_what_is_open() {
    const OPEN: usize = 20_000;
    let sliding = description(
        r#"{"type":"sliding","difference_ms":10,"grace_ms":14}"#,
        r#""kind":"window","window_size_ms":10,"retention_ms":100000"#,
    );
    let session =
        description(r#"{"type":"session","gap_ms":10,"grace_ms":14}"#, r#""kind":"session","retention_ms":100000"#);
    for (what, description) in [("time", tumbling(14)), ("sliding", sliding), ("session", session)] {
        let plan = Arc::new(plan("", &description, &TOPICS).unwrap());
        let walked = Arc::new(AtomicUsize::new(0));
        let kind = plan.stores[0].kind;
        let slot = StoreSlot { number: 0, name: "counts".into(), base: 0, slot: 0, logged: true, kind };
        let base = Walked(MemoryBase::new(1), walked.clone());
        let stores = TaskStores::new(vec![slot], vec![Box::new(base)], SizeLimits::default());
        let mut task = task((*plan).clone(), Settings::default(), no_code);
        task.open(stores, Box::new(Native(no_code)));
        // One window that will close, and many that stay open.
        let mut offset = give(&mut task, 0, [record(b"k", b"", 95)]);
        for number in 0..OPEN as u32 {
            offset = give(&mut task, offset, [record(&number.to_be_bytes(), b"", 109)]);
        }
        run(&mut task).unwrap();
        cut(&mut task, 0);
        walked.store(0, Ordering::Relaxed);
        give(&mut task, offset, [record(b"l", b"", 110), record(b"l", b"", 121)]);
        run(&mut task).unwrap();
        assert_eq!(cut(&mut task, 1).0.len(), 1, "{what}");
        let walked = walked.load(Ordering::Relaxed);
        assert!(walked < 50, "{what}: {walked} of {OPEN} rows walked over");
    }
}

/// More than one portion of what closes.
const MANY: usize = 25_000;

fn many() -> Vec<String> {
    (0..MANY).map(|at| format!("key-{at:05}")).collect()
}

/// Takes many windows, commits them, and answers the next offset.
fn open_many(task: &mut Task, keys: &[String]) -> i64 {
    let offset = give(task, 0, keys.iter().map(|key| record(key.as_bytes(), b"", 5)));
    run(task).unwrap();
    assert_eq!(given(&cut(task, 0).0), []);
    offset
}

fn counted_once(keys: &[String]) -> Vec<(String, i64, i64)> {
    keys.iter().map(|key| entry(key, 0, 1)).collect()
}

#[test]
fn windows_that_close_together_go_in_portions_before_the_next_record_does() {
    let keys = many();
    let passing =
        tumbling(0).replace(r#"{"name":"change""#, r#"{"name":"seen","op":"sink","inputs":["in"]},{"name":"change""#);
    let mut task = task(plan("", &passing, &TOPICS).unwrap(), Settings::default(), no_code);
    let offset = give(&mut task, 0, keys.iter().map(|key| record(key.as_bytes(), b"", 5)));
    run(&mut task).unwrap();
    cut(&mut task, 0);
    // Behind the one that closes all of them others come in its batch, and close one each.
    give(&mut task, offset, [record(b"m", b"", 12), record(b"n", b"", 23), record(b"o", b"", 34)]);
    run(&mut task).unwrap();
    let (outgoing, _) = cut(&mut task, 1);
    let out: Vec<&[u8]> = outgoing.iter().map(|(_, record)| record.key.unwrap()).collect();
    let place = |key: &[u8]| out.iter().position(|found| *found == key).unwrap();
    let (passed, closed): (Vec<&[u8]>, Vec<&[u8]>) = out.iter().partition(|key| key.len() == 1);
    assert_eq!(passed, [b"m", b"n", b"o"]);
    let expected = keys.iter().map(String::as_bytes).chain([&b"m"[..], b"n"]);
    assert!(closed.iter().map(|key| &key[..key.len() - 16]).eq(expected), "all of them once, in their order");
    assert!(
        place(b"m") < MANY && place(b"n") > MANY,
        "the rest of them goes behind the record and before the next one"
    );
    assert_eq!(task.processed(), MANY as u64 + 3);
}

#[test]
fn a_portion_that_is_committed_is_not_given_again_and_one_that_is_not_is() {
    let keys = many();
    let mut task = counting();
    let offset = open_many(&mut task, &keys);
    give(&mut task, offset, [record(b"m", b"", 12)]);
    let mut out = Vec::new();
    let mut metadata = Metadata::default();
    // The first two steps are committed one by one: the record with a portion, and another portion.
    for sequence in 1..=2 {
        assert_eq!(task.step(0, usize::MAX).unwrap(), Step::Ran);
        let (outgoing, _, beside) = interval(&mut task, sequence);
        let rows = given(&outgoing);
        assert!(!rows.is_empty() && rows.len() < MANY / 2, "a portion of {}", rows.len());
        out.extend(rows);
        metadata = beside;
    }
    // What follows is aborted, and the task goes on elsewhere, by what is beside its offset.
    assert_eq!(task.step(0, usize::MAX).unwrap(), Step::Ran);
    task.abort();
    let input = task.inputs().next().unwrap();
    let (plan, id) = (task.plan().clone(), task.id());
    let stores = std::mem::take(task.stores_mut());
    let source = plan.inputs(&plan.subtopologies[0])[0].0;
    let start = Start { input, source, offset: offset + 1, metadata: Some(metadata) };
    let mut heir = Task::new(id, plan, Settings::default(), &[start], 1);
    heir.open(stores, Box::new(Native(no_code)));
    give(&mut heir, offset + 1, []);
    run(&mut heir).unwrap();
    out.extend(given(&cut(&mut heir, 3).0));
    assert!(out == counted_once(&keys), "all of them once, in their order");
    give(&mut heir, offset + 1, [record(b"n", b"", 23)]);
    run(&mut heir).unwrap();
    assert_eq!(given(&cut(&mut heir, 4).0), [entry("m", 10, 1)]);
}

/// The rebuilt store knows of no such time as that which closed them: it was never a record's.
#[test]
fn portions_that_the_clock_on_the_wall_began_go_on_in_a_store_that_was_rebuilt() {
    let keys = many();
    let advances = plan("[task]\nidle_advance = \"1s\"", &tumbling(0), &TOPICS).unwrap();
    let mut before = task(advances, Settings::default(), no_code);
    let offset = give(&mut before, 0, keys.iter().map(|key| record(key.as_bytes(), b"", 5)));
    while before.step(10_000, usize::MAX).unwrap() == Step::Ran {}
    let (out, changelog, _) = interval(&mut before, 0);
    assert_eq!(given(&out), []);
    assert_eq!(before.step(11_000, usize::MAX).unwrap(), Step::Ran);
    let (out, more, metadata) = interval(&mut before, 1);
    assert_eq!((more.iter().count(), given(&out).len() < MANY), (0, true));
    let mut all = given(&out);

    let mut after = heir(&before, offset, &changelog, metadata);
    give(&mut after, offset, []);
    run(&mut after).unwrap();
    all.extend(given(&interval(&mut after, 2).0));
    assert!(all == counted_once(&keys), "all of them once, in their order");
    give(&mut after, offset, [record(b"n", b"", 1_010), record(b"o", b"", 1_021)]);
    run(&mut after).unwrap();
    assert_eq!(given(&interval(&mut after, 3).0), [entry("n", 1_010, 1)]);
}

/// A cache is emptied when its flush has ended: a portion must not go into it meanwhile.
#[test]
fn portions_that_go_into_a_cache_are_not_lost_as_it_is_flushed() {
    let keys = many();
    let again = tumbling(0).replace(
        r#"{"name":"out","op":"sink","inputs":["change"]}"#,
        r#"{"name":"again","op":"count","inputs":["change"],"store":"again"},
        {"name":"changes","op":"to-stream","inputs":["again"]},{"name":"out","op":"sink","inputs":["changes"]}"#,
    );
    let again =
        again.replace(r#""stores":["#, r#""stores":[{"name":"again","key":"bytes","value":"i64","kind":"key-value"},"#);
    let cached = plan("[stores.again]\ncache = \"16MiB\"", &again, &TOPICS).unwrap();
    let mut task = task(cached, Settings::default(), no_code);
    let offset = give(&mut task, 0, keys.iter().map(|key| record(key.as_bytes(), b"", 5)));
    run(&mut task).unwrap();
    let mut out = Vec::new();
    let mut commit = |task: &mut Task| {
        // Now and then whoever flushes lets the task have its turn.
        for flush in 0.. {
            if task.flush(0).unwrap() == Step::Idle {
                break;
            }
            if flush % 3 == 0 {
                task.step(0, usize::MAX).unwrap();
            }
        }
        out.extend(given(&cut(task, 0).0));
    };
    commit(&mut task);
    give(&mut task, offset, [record(b"m", b"", 12)]);
    for _ in 0..10 {
        task.step(0, usize::MAX).unwrap();
        commit(&mut task);
    }
    assert!(out == counted_once(&keys), "{} of them", out.len());
}

/// At least once, a changelog may have what the committed offsets do not: read again it is not late.
#[test]
fn what_is_read_again_behind_a_changelog_that_is_ahead_is_not_late() {
    for (guarantee, count) in [("at-least-once", 2), ("exactly-once", 1)] {
        let manifest = format!("guarantee = \"{guarantee}\"");
        let mut before = task(plan(&manifest, &tumbling(0), &TOPICS).unwrap(), Settings::default(), no_code);
        give(&mut before, 0, [record(b"k", b"", 5), record(b"z", b"", 30)]);
        run(&mut before).unwrap();
        let (_, changelog, _) = interval(&mut before, 0);
        let mut after = heir(&before, 0, &changelog, Metadata::default());
        give(&mut after, 0, [record(b"k", b"", 5), record(b"z", b"", 30)]);
        run(&mut after).unwrap();
        let given = given(&interval(&mut after, 1).0);
        assert_eq!((given, after.dropped().late), (vec![entry("k", 0, count)], 2 - count as u64), "{guarantee}");
    }
}

/// Notes the most elements that a guest was asked about in one call.
fn note_asked(most: &AtomicUsize, frame: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    most.fetch_max(asked(frame) as usize, Ordering::Relaxed);
    Answer::default().finish(out);
    Ok(())
}

const ON_CLOSE: &str =
    r#""op":"count","window":{"type":"time","size_ms":10,"advance_ms":10,"grace_ms":0},"emit":"on-window-close""#;

/// Nodes and stores of windows that close, the last of which goes by a guest.
fn closing(nodes: &str, last: &str, stores: &str) -> String {
    format!(
        r#"{{"version":1,"nodes":[{{"name":"in","op":"source"}},{nodes},
        {{"name":"change","op":"to-stream","inputs":["{last}"]}},{{"name":"seen","op":"peek","inputs":["change"]}},
        {{"name":"out","op":"sink","inputs":["seen"]}}],"stores":[{stores}]}}"#
    )
}

fn windows(name: &str) -> String {
    format!(
        r#"{{"name":"{name}","key":"bytes","value":"i64","kind":"window","window_size_ms":10,"retention_ms":100000}}"#
    )
}

#[test]
fn of_windows_behind_a_cache_the_rest_goes_in_portions_before_its_next_row() {
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let keys = many();
    let cached = format!(
        r#"{{"name":"rows","op":"to-table","inputs":["in"],"store":"rows"}},
        {{"name":"changes","op":"to-stream","inputs":["rows"]}},
        {{"name":"count","inputs":["changes"],"store":"counts",{ON_CLOSE}}}"#
    );
    let rows = r#"{"name":"rows","kind":"key-value","key":"bytes","value":"bytes"}"#;
    let cached = closing(&cached, "count", &format!("{rows},{}", windows("counts")));
    let asks = |_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>| note_asked(&MOST, frame, out);
    let cached = plan("[stores.rows]\ncache = \"16MiB\"", &cached, &TOPICS).unwrap();
    let mut task = task(cached, Settings::default(), asks);
    let offset = give(&mut task, 0, keys.iter().map(|key| record(key.as_bytes(), b"", 5)));
    let mut all = Vec::new();
    let mut commit = |task: &mut Task| {
        run(task).unwrap();
        while task.flush(0).unwrap() == Step::Ran {}
        all.extend(given(&cut(task, 0).0));
    };
    commit(&mut task);
    give(&mut task, offset, [record(b"m", b"", 12), record(b"n", b"", 23), record(b"o", b"", 34)]);
    (0..3).for_each(|_| commit(&mut task));
    let expected = counted_once(&keys).into_iter().chain([entry("m", 10, 1), entry("n", 20, 1)]);
    assert!(all.into_iter().eq(expected), "all of them once, in their order");
    let most = MOST.load(Ordering::Relaxed);
    assert!(most <= 10_000, "{most} asked in one call");
}

#[test]
fn of_windows_in_a_row_those_that_are_behind_give_their_rest_first() {
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let keys = many();
    let in_a_row = format!(
        r#"{{"name":"first","inputs":["in"],"store":"first",{ON_CLOSE}}},
        {{"name":"closed","op":"to-stream","inputs":["first"]}},
        {{"name":"second","inputs":["closed"],"store":"second",{}}}"#,
        ON_CLOSE.replace(r#""grace_ms":0"#, r#""grace_ms":5"#)
    );
    let in_a_row = closing(&in_a_row, "second", &[windows("first"), windows("second")].join(","));
    let asks = |_: u32, frame: &[u8], _: &mut TaskStores, out: &mut Vec<u8>| note_asked(&MOST, frame, out);
    let mut task = task(plan("", &in_a_row, &TOPICS).unwrap(), Settings::default(), asks);
    let mut offset = give(&mut task, 0, keys.iter().map(|key| record(key.as_bytes(), b"", 5)));
    // The last one of the first portion closes what is behind.
    let late = keys.iter().enumerate().map(|(at, key)| record(key.as_bytes(), b"", if at == 9_999 { 16 } else { 13 }));
    offset = give(&mut task, offset, late);
    run(&mut task).unwrap();
    assert_eq!(cut(&mut task, 0).0.len(), 0);
    give(&mut task, offset, [record(b"z", b"", 23)]);
    run(&mut task).unwrap();
    let (outgoing, _) = cut(&mut task, 1);
    assert_eq!((outgoing.len(), task.processed()), (MANY, 2 * MANY as u64 + 1));
    let most = MOST.load(Ordering::Relaxed);
    assert!(most <= 10_000, "{most} asked in one call");
}

/// Only what the cache itself leads to is to be gone before it is flushed.
#[test]
fn commits_come_between_portions_that_go_into_a_cache() {
    let keys = many();
    let again = tumbling(0).replace(
        r#"{"name":"out","op":"sink","inputs":["change"]}"#,
        r#"{"name":"again","op":"count","inputs":["change"],"store":"again"},
        {"name":"changes","op":"to-stream","inputs":["again"]},{"name":"out","op":"sink","inputs":["changes"]}"#,
    );
    let again =
        again.replace(r#""stores":["#, r#""stores":[{"name":"again","key":"bytes","value":"i64","kind":"key-value"},"#);
    let cached = plan("[stores.again]\ncache = \"16MiB\"", &again, &TOPICS).unwrap();
    let mut task = task(cached, Settings::default(), no_code);
    let offset = open_many(&mut task, &keys);
    give(&mut task, offset, [record(b"m", b"", 12)]);
    let mut all = Vec::new();
    for most in [10_000, 20_000, MANY] {
        assert_eq!(task.step(0, usize::MAX).unwrap(), Step::Ran);
        while task.flush(0).unwrap() == Step::Ran {}
        all.extend(given(&cut(&mut task, 0).0));
        assert_eq!(all.len(), most);
    }
}

/// They go with each row of the first portion.
#[test]
fn the_headers_of_a_record_count_for_what_it_closes() {
    let keys = many();
    let mut task = counting();
    let offset = open_many(&mut task, &keys);
    let mut headers = Vec::new();
    push_header(&mut headers, "h", Some(&vec![b'h'; 14 << 10]));
    give(&mut task, offset, [Record { headers: Headers(&headers), ..record(b"m", b"", 12) }]);
    assert_eq!(task.step(0, usize::MAX).unwrap(), Step::Ran);
    let (first, _) = cut(&mut task, 1);
    assert!((500..600).contains(&first.len()), "{} of them with 14 KiB each", first.len());
    run(&mut task).unwrap();
    assert_eq!(first.len() + cut(&mut task, 2).0.len(), MANY);
}
