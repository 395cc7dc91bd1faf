//! Guilty records in the middle of a batch, amid neighbours that remember.

use std::collections::BTreeMap;

use tests::application::{Application, Input, entries, fold};

use super::commands::{by_key, command, commands, counts, everywhere, read, read_full, values};

/// As many as one batch holds.
const RECORDS: usize = 500;

/// By place among the commands.
const GUILTY: [(usize, &str); 12] = [
    (0, "fail"),
    (37, "panic"),
    (38, "panic"),
    (101, "early fail"),
    (102, "early panic"),
    (250, "drop"),
    (251, "early drop"),
    (300, "parse"),
    (400, "retry"),
    (444, "late fail"),
    (445, "late panic"),
    (499, "fail"),
];

/// Commands, the guilty ones among them.
fn batch() -> Vec<Input> {
    let guilty: BTreeMap<usize, &str> = GUILTY.into();
    let mut batch = commands(&(0..RECORDS).map(|at| guilty.get(&at).copied().unwrap_or("ok")).collect::<Vec<_>>());
    // One whose value does not decode, and one whose key does not.
    batch[200] = command(200, b"\xff");
    batch[201] = Input { key: None, ..command(201, "ok") };
    batch
}

fn value(command: &Input) -> &[u8] {
    command.value.as_deref().unwrap_or_default()
}

/// What becomes of a command before the repartition topic.
fn is_rejected(command: &Input) -> bool {
    let rejected = [&b"fail"[..], b"panic", b"early fail", b"early panic", b"parse", b"retry", b"\xff"];
    command.key.is_none() || rejected.contains(&value(command))
}

fn is_rejected_late(command: &Input) -> bool {
    [&b"late fail"[..], b"late panic"].contains(&value(command))
}

/// Each neighbour has counted exactly the commands that are not guilty, in order and without a gap.
fn check_neighbours(application: &Application, batch: &[Input]) {
    let kept: Vec<&Input> = batch.iter().filter(|command| !is_rejected(command)).collect();
    assert_eq!(counts(application, "arrivals"), by_key(kept.iter().copied()), "arrivals");
    let judged: Vec<String> = kept.iter().map(|command| String::from_utf8_lossy(value(command)).into_owned()).collect();
    assert_eq!(values(application, "judgements"), judged, "judgements");
    let passed = kept.iter().copied().filter(|command| value(command) != b"early drop");
    assert_eq!(counts(application, "passes"), by_key(passed), "passes");
    let received = kept.iter().copied().filter(|command| !is_rejected_late(command));
    assert_eq!(counts(application, "receipts"), by_key(received), "receipts");
}

/// The processor's own store has counted the same.
fn check_store(application: &Application, batch: &[Input]) {
    let stored = application.run_to_end_and(|app| entries(application, app, "judged"));
    assert_eq!(fold(&read_full(application, &application.changelog("judged"))), stored, "judged and its changelog");
    let text = |key: Vec<u8>| String::from_utf8(key).expect("keys are text");
    let count = |value: Vec<u8>| i64::from_be_bytes(value.try_into().expect("eight bytes"));
    let stored: BTreeMap<String, i64> = stored.into_iter().map(|(k, (v, _))| (text(k), count(v))).collect();
    assert_eq!(stored, by_key(batch.iter().filter(|command| !is_rejected(command))), "judged");
}

#[test]
fn under_skip_the_guilty_are_gone_without_a_trace() {
    everywhere("on_error = \"skip\"\nretry = { attempts = 1, backoff = \"10ms\" }", |application| {
        let batch = batch();
        application.produce(&batch);
        let counters = application.run_to_end_and(|app| {
            tests::logs::eventually("the counters", || {
                let counters = app.handle().counters();
                (counters.dropped_records.get("skipped") == Some(&12)).then_some(counters)
            })
        });
        check_neighbours(&application, &batch);
        check_store(&application, &batch);
        // `drop` and `early drop`; replays are not counted.
        assert_eq!(counters.dropped_records["guest"], 2);
        assert_eq!(counters.dead_letters, 0);
    });
}

#[test]
fn under_dead_letter_exactly_the_guilty_are_sent() {
    let manifest = "on_error = \"dead-letter:letters\"\nretry = { attempts = 1, backoff = \"10ms\" }";
    everywhere(manifest, check_letters);
    everywhere(&format!("guarantee = \"at-least-once\"\n{manifest}"), check_letters);
}

fn check_letters(application: Application<'_>) {
    let batch = batch();
    application.produce(&batch);
    application.run_to_end();
    check_neighbours(&application, &batch);
    check_store(&application, &batch);
    let letters = read(&application, "letters");
    let is_late = |letter: &&tests::logs::Owned| {
        let sent = application.repartition("sent");
        letter.headers.iter().any(|(_, value)| value.as_deref() == Some(sent.as_bytes()))
    };
    let (late, direct): (Vec<_>, Vec<_>) = letters.iter().partition(is_late);
    let whole = |letters: Vec<&tests::logs::Owned>| {
        letters.into_iter().map(|l| (l.key.clone(), l.value.clone(), l.timestamp)).collect::<Vec<_>>()
    };
    let sent = |guilty: fn(&Input) -> bool| {
        let guilty = batch.iter().filter(|command| guilty(command));
        guilty.map(|c| (c.key.clone(), c.value.clone(), c.timestamp)).collect::<Vec<_>>()
    };
    assert_eq!(whole(direct), sent(is_rejected));
    assert_eq!(whole(late), sent(is_rejected_late));
}

/// Run record by record, each record's effects in one node are undone when another node rejects it.
#[test]
fn nodes_that_share_a_store_undo_a_record_together() {
    everywhere("on_error = \"skip\"\nretry = { attempts = 0, backoff = \"1ms\" }", |application| {
        let values = ["ok", "fail", "ok", "panic", "drop", "retry", "ok"];
        let input = |(at, value): (usize, &&str)| Input::at(at as i64, "shared").key("k").value(value);
        application.produce(&values.iter().enumerate().map(input).collect::<Vec<_>>());
        application.run_to_end();
        let marks = |sink: &str| {
            let marks = read(&application, sink).into_iter().filter_map(|record| record.value);
            marks.map(|mark| i64::from_be_bytes(mark.try_into().expect("eight bytes"))).collect::<Vec<_>>()
        };
        assert_eq!(marks("first-marks"), [1, 3, 5, 7]);
        assert_eq!(marks("second-marks"), [2, 4, 6, 8]);
    });
}
