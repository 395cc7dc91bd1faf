//! Windows and sessions that say every update. Nothing is late, so what they come to is the clicks' own.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Outcome, by_key};

/// As the guest has them.
const SIZE_MS: i64 = 2_000;
const ADVANCE_MS: i64 = 1_000;
const GAP_MS: i64 = 600;
const SLIDING_MS: i64 = 300;

#[track_caller]
pub fn check(evidence: &Evidence) {
    check_windows(evidence, "tumbled", SIZE_MS);
    check_windows(evidence, "hopped", ADVANCE_MS);
    check_sliding(evidence);
    check_gathered(evidence);
    check_sessions(evidence);
}

/// Windows by key and start: how many clicks, and the latest one's time.
type Windows<'e> = BTreeMap<(&'e str, i64), (i64, i64)>;

/// Each window counts 1, 2, 3 … to the number of its clicks, and its last update has the latest click's time.
fn check_windows(evidence: &Evidence, sink: &str, advance: i64) {
    let mut model = Windows::new();
    for click in evidence.lines("click") {
        let last = click.time / advance * advance;
        let starts = (0..SIZE_MS / advance).map(|back| last - back * advance).filter(|start| *start >= 0);
        for start in starts {
            let (count, latest) = model.entry((&click.key, start)).or_default();
            (*count, *latest) = (*count + 1, click.time.max(*latest));
        }
    }
    let mut found = Windows::new();
    for outcome in evidence.outcomes(sink).into_values().flatten() {
        let [start, count] = numbers(&outcome.text);
        let (before, latest) = found.entry((&outcome.key, start)).or_default();
        assert!(!evidence.is_exact || count == *before + 1, "a gap or a repeat behind {before}: {outcome:?}");
        assert!(!evidence.is_exact || outcome.time >= *latest, "time went back from {latest}: {outcome:?}");
        (*before, *latest) = (count.max(*before), outcome.time.max(*latest));
    }
    if evidence.is_exact {
        assert_eq!(found, model, "{sink}");
    }
    for (window, (count, _)) in &model {
        let said = found.get(window).map_or(0, |(count, _)| *count);
        assert!(said >= *count, "{sink}: {window:?} has {count} clicks, and {said} were counted");
    }
}

/// A window ends at each click, and one begins right behind it where another click is in it. However they came, each window
/// counts what is in it in the end, and never less than before.
fn check_sliding(evidence: &Evidence) {
    let outcomes = evidence.outcomes("slid");
    for (key, clicks) in by_key(evidence.lines("click")) {
        let times: Vec<i64> = clicks.iter().map(|click| click.time).collect();
        let counted =
            |start: i64| times.iter().filter(|time| (start..=start + SLIDING_MS).contains(time)).count() as i64;
        let starts = times.iter().flat_map(|time| [time - SLIDING_MS, time + 1]);
        let model: BTreeMap<i64, i64> =
            starts.map(|start| (start, counted(start))).filter(|(_, count)| *count > 0).collect();
        let mut found: BTreeMap<i64, i64> = BTreeMap::new();
        for outcome in outcomes.get(key).into_iter().flatten() {
            let [start, count] = numbers(&outcome.text);
            let before = found.entry(start).or_default();
            assert!(!evidence.is_exact || count >= *before, "fewer than {before}: {outcome:?}");
            *before = count.max(*before);
        }
        if evidence.is_exact {
            assert_eq!(found, model, "sliding windows of {key}");
        }
        for (start, count) in &model {
            let said = found.get(start).copied().unwrap_or(0);
            assert!(said >= *count, "slid {key}: at {start} are {count} clicks, and {said} were counted");
        }
    }
}

/// Each window counts its clicks and its views, one more of either with each update.
fn check_gathered(evidence: &Evidence) {
    type Counts<'e> = BTreeMap<(&'e str, i64), [i64; 2]>;
    let (mut model, mut found) = (Counts::new(), Counts::new());
    for (side, kind) in ["click", "view"].into_iter().enumerate() {
        for said in evidence.lines(kind) {
            model.entry((&said.key, said.time / SIZE_MS * SIZE_MS)).or_default()[side] += 1;
        }
    }
    for outcome in evidence.outcomes("gathered").into_values().flatten() {
        let [start, clicks, views] = numbers(&outcome.text);
        let before = found.entry((&outcome.key, start)).or_default();
        let more = [clicks - before[0], views - before[1]];
        assert!(
            !evidence.is_exact || [[1, 0], [0, 1]].contains(&more),
            "a gap or a repeat behind {before:?}: {outcome:?}"
        );
        *before = [clicks.max(before[0]), views.max(before[1])];
    }
    if evidence.is_exact {
        assert_eq!(found, model, "gathered");
    }
    for (window, [clicks, views]) in &model {
        let said = found.get(window).copied().unwrap_or_default();
        assert!(said[0] >= *clicks && said[1] >= *views, "gathered: {window:?} has {clicks} and {views}, not {said:?}");
    }
}

/// Sessions that live, by start and end: how many clicks.
type Sessions = BTreeMap<(i64, i64), i64>;

/// Each click makes one session of those it is near: they are taken back, and it is said. So the clicks of a key's sessions
/// are at any time as many as updates were said.
fn check_sessions(evidence: &Evidence) {
    let outcomes = evidence.outcomes("visited");
    for (key, clicks) in by_key(evidence.lines("click")) {
        let model = sessions(clicks.iter().map(|click| click.time).collect());
        let found = live(evidence, outcomes.get(key).map_or(&[], Vec::as_slice));
        if evidence.is_exact {
            assert_eq!(found, model, "sessions of {key}");
        }
        for (session, clicks) in &model {
            let counted = found.get(session).copied().unwrap_or(0);
            assert!(counted >= *clicks, "{key}: {session:?} has {clicks} clicks, and {counted} were counted");
        }
    }
}

/// Times no further apart than the gap are one session.
fn sessions(mut times: Vec<i64>) -> Sessions {
    times.sort_unstable();
    let of = times.chunk_by(|one, next| next - one <= GAP_MS);
    of.map(|times| ((times[0], times[times.len() - 1]), times.len() as i64)).collect()
}

/// The sessions of a key that were said and not taken back.
fn live(evidence: &Evidence, outcomes: &[&Outcome]) -> Sessions {
    let (mut live, mut updates, mut clicks) = (Sessions::new(), 0, 0);
    for outcome in outcomes {
        let (session, count) = outcome.text.rsplit_once(' ').expect("a session has bounds");
        let [start, end] = numbers(session);
        assert_eq!(outcome.time, end, "a session has the time of its end: {outcome:?}");
        if count == "-" {
            let known = live.remove(&(start, end));
            assert!(!evidence.is_exact || known.is_some(), "no such session lives: {outcome:?}");
            clicks -= known.unwrap_or(0);
            continue;
        }
        let [count] = numbers(count);
        let before = live.insert((start, end), count);
        (updates, clicks) = (updates + 1, clicks + count - before.unwrap_or(0));
        // As in Kafka Streams: a session of one moment that stays what it was is not taken back.
        assert!(!evidence.is_exact || before.is_none() || start == end, "it lives already: {outcome:?}");
        assert!(!evidence.is_exact || clicks == updates, "{clicks} clicks in {updates} updates: {outcome:?}");
    }
    live
}

/// Numbers with blanks between.
pub fn numbers<const N: usize>(text: &str) -> [i64; N] {
    let numbers: Vec<i64> = text.split(' ').map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("not {N} numbers: {text}"))
}
