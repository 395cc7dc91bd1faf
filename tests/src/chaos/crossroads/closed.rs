//! Windows and sessions that say their last result. The taps are one partition, so each task behind it sees its part of
//! them in their order, and what is late is as certain as all else.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Said, Stored};
use super::windows::numbers;
use super::{REPARTITIONED, murmur2};

/// As the guest has them.
const SIZE_MS: i64 = 2_000;
const GAP_MS: i64 = 300;
const GRACE_MS: i64 = 500;

#[track_caller]
pub fn check(evidence: &Evidence) {
    let mut tasks: Vec<Vec<&Said>> = vec![Vec::new(); REPARTITIONED as usize];
    for tap in &evidence.taps {
        tasks[murmur2::partition(&tap.key, REPARTITIONED) as usize].push(tap);
    }
    let (mut closed, mut ended, mut stored, mut late) = (Results::new(), Results::new(), Stored::new(), 0);
    for taps in &tasks {
        late += close_windows(taps, &mut closed, &mut stored);
        end_sessions(taps, &mut ended);
    }
    println!("{late} taps were late");
    compare(evidence, "closed", &closed);
    compare(evidence, "suppressed", &closed);
    compare(evidence, "ended", &ended);
    for store in ["closed-windows", "open-windows"] {
        assert!(!evidence.is_exact || evidence.store(store) == &stored, "{store}: {:?}", evidence.store(store));
    }
}

/// By key, and by what stands in front of the count: how many taps. A session may close, grow by a late tap and close again.
type Results<'e> = BTreeMap<(&'e str, String), i64>;

/// Counts the taps of a task in its windows, which stay in their store; all of them close in the end but those of the
/// closers themselves. How many were late.
fn close_windows<'e>(taps: &[&'e Said], closed: &mut Results<'e>, stored: &mut Stored) -> usize {
    let (mut time, mut late) = (i64::MIN, 0);
    let mut windows: BTreeMap<(&str, i64), i64> = BTreeMap::new();
    for tap in taps {
        time = time.max(tap.time);
        let start = tap.time / SIZE_MS * SIZE_MS;
        if start + SIZE_MS > time - GRACE_MS {
            *windows.entry((&tap.key, start)).or_default() += 1;
        } else {
            late += 1;
        }
    }
    stored.extend(windows.iter().map(|((key, start), count)| (((*key).to_owned(), Some(*start)), count.to_string())));
    let is_closed = |start: i64| start + SIZE_MS <= time - GRACE_MS;
    let all = windows.into_iter().filter(|((_, start), _)| is_closed(*start));
    closed.extend(all.map(|((key, start), count)| ((key, start.to_string()), count)));
    late
}

/// A session, and whether it was said.
struct Session {
    start: i64,
    end: i64,
    count: i64,
    is_said: bool,
}

fn end_sessions<'e>(taps: &[&'e Said], ended: &mut Results<'e>) {
    let mut time = i64::MIN;
    let mut sessions: BTreeMap<&str, Vec<Session>> = BTreeMap::new();
    for tap in taps {
        time = time.max(tap.time);
        let over = time - GRACE_MS - GAP_MS;
        let of_key = sessions.entry(&tap.key).or_default();
        let is_near = |one: &Session| one.end >= tap.time - GAP_MS && one.start <= tap.time + GAP_MS;
        let mut merged = Session { start: tap.time, end: tap.time, count: 1, is_said: false };
        for near in of_key.iter().filter(|one| is_near(one)) {
            merged.start = merged.start.min(near.start);
            merged.end = merged.end.max(near.end);
            merged.count += near.count;
        }
        if merged.end >= over {
            of_key.retain(|one| !is_near(one));
            of_key.push(merged);
        }
        for (key, all) in &mut sessions {
            for session in all.iter_mut().filter(|session| !session.is_said && session.end < over) {
                session.is_said = true;
                ended.insert((key, format!("{} {}", session.start, session.end)), session.count);
            }
        }
    }
}

/// Each result is said once, and of one key in the order of time.
fn compare(evidence: &Evidence, sink: &str, model: &Results<'_>) {
    let mut found = Results::new();
    for (key, outcomes) in evidence.outcomes(sink) {
        let mut ends = Vec::new();
        for outcome in outcomes {
            let (what, count) = outcome.text.rsplit_once(' ').expect("a result has a count");
            let [count] = numbers(count);
            let before = found.insert((key, what.to_owned()), count);
            assert!(!evidence.is_exact || before.is_none(), "it was said before: {outcome:?}");
            ends.push(what.rsplit(' ').next().map(|end| numbers::<1>(end)[0]));
        }
        assert!(!evidence.is_exact || ends.is_sorted(), "{sink} {key}: {ends:?}");
    }
    if evidence.is_exact {
        assert_eq!(&found, model, "{sink}");
    }
    for (result, count) in model {
        let said = found.get(result).copied().unwrap_or(0);
        assert!(said >= *count, "{sink}: {result:?} has {count} taps, and {said} were counted");
    }
}
