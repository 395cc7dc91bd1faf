//! Joins of streams with each other and with tables.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Evidence, Outcome, Said, by_key};
use super::feed;
use super::windows::numbers;

/// As the guest has it.
const NEAR_MS: i64 = 300;

/// What is to be said, by key: texts and their times.
type Expected = BTreeMap<String, Vec<(String, i64)>>;

#[track_caller]
pub fn check(evidence: &Evidence) {
    evidence.compare("seen", &seen(evidence));
    evidence.compare("answered", &answered(evidence));
    evidence.compare("asked", &asked(evidence));
    evidence.compare("priced", &priced(evidence));
    let (placed, found) = placed(evidence);
    evidence.compare("placed", &placed);
    evidence.compare("found", &found);
    check_named(evidence);
    check_known(evidence);
}

/// Every click with every view near it, once.
fn seen(evidence: &Evidence) -> Expected {
    let (clicks, views) = (by_key(evidence.lines("click")), by_key(evidence.lines("view")));
    let mut expected = Expected::new();
    for (key, clicks) in clicks {
        let views = views.get(key).map_or(&[][..], Vec::as_slice);
        let near = |click: &Said, view: &Said| (click.time - view.time).abs() <= NEAR_MS;
        let pairs = clicks.iter().flat_map(|click| views.iter().map(move |view| (*click, *view)));
        let said = pairs.filter(|(click, view)| near(click, view)).map(|(click, view)| pair(Some(click), Some(view)));
        expected.insert(key.to_owned(), said.collect());
    }
    expected
}

/// Every question with every answer to it, and either of them alone where nothing belongs to it.
fn answered(evidence: &Evidence) -> Expected {
    let (asks, answers) = (by_key(evidence.lines("ask")), by_key(evidence.lines("answer")));
    let keys = asks.keys().chain(answers.keys());
    let none = Vec::new();
    let said = |key: &&str| {
        let (asks, answers) = (asks.get(key).unwrap_or(&none), answers.get(key).unwrap_or(&none));
        match (asks.is_empty(), answers.is_empty()) {
            (false, true) => {
                asks.iter().filter(|ask| ask.time < evidence.closing).map(|ask| pair(Some(ask), None)).collect()
            }
            (true, _) => answers.iter().map(|answer| pair(None, Some(answer))).collect(),
            _ => asks.iter().flat_map(|ask| answers.iter().map(|answer| pair(Some(ask), Some(answer)))).collect(),
        }
    };
    keys.map(|key| ((*key).to_owned(), said(key))).collect()
}

/// Every question with every answer to it, and alone where there is none.
fn asked(evidence: &Evidence) -> Expected {
    let answers = by_key(evidence.lines("answer"));
    let said = |(key, asks): (&str, Vec<&Said>)| {
        let said: Vec<_> = match answers.get(key) {
            Some(answers) => {
                asks.iter().flat_map(|ask| answers.iter().map(|answer| pair(Some(ask), Some(answer)))).collect()
            }
            None => asks.iter().filter(|ask| ask.time < evidence.closing).map(|ask| pair(Some(ask), None)).collect(),
        };
        (key.to_owned(), said)
    };
    by_key(evidence.lines("ask")).into_iter().map(said).collect()
}

fn pair(left: Option<&Said>, right: Option<&Said>) -> (String, i64) {
    let value = |said: Option<&Said>| said.and_then(|said| said.value.clone()).unwrap_or_else(|| "-".to_owned());
    let time = left.iter().chain(right.iter()).map(|said| said.time).max();
    (format!("{} {}", value(left), value(right)), time.expect("one of them is there"))
}

/// Every click with the tariff of its time, once it has waited for those that may still come.
fn priced(evidence: &Evidence) -> Expected {
    let tariffs = by_key(&evidence.tariffs);
    let mut expected = Expected::new();
    for (key, clicks) in by_key(evidence.lines("click")) {
        let of_key = tariffs.get(key).map_or(&[][..], Vec::as_slice);
        let said = clicks.into_iter().filter(|click| click.time < evidence.closing).map(|click| {
            let valid = of_key.iter().rfind(|tariff| tariff.time <= click.time);
            (pair(Some(click), valid.copied()).0, click.time)
        });
        expected.insert(key.to_owned(), said.collect());
    }
    expected
}

/// Every click with its place, and those alone that have one.
fn placed(evidence: &Evidence) -> (Expected, Expected) {
    let (mut placed, mut found) = (Expected::new(), Expected::new());
    for click in evidence.lines("click") {
        let value = click.value.as_deref().unwrap_or_default();
        let [number] = numbers(value);
        let digit = number as u64 % 10;
        if digit < feed::PLACES {
            found.entry(click.key.clone()).or_default().push((format!("{value} at{digit}"), click.time));
        }
        let place = if digit < feed::PLACES { format!("at{digit}") } else { "-".to_owned() };
        placed.entry(click.key.clone()).or_default().push((format!("{value} {place}"), click.time));
    }
    (placed, found)
}

/// Every click with one of its user's rows, once; what was said later has not an older row.
fn check_named(evidence: &Evidence) {
    let users = by_key(evidence.lines("user"));
    let outcomes = evidence.outcomes("named");
    for (key, clicks) in by_key(evidence.lines("click")) {
        let rows = users.get(key).map_or(&[][..], Vec::as_slice);
        let rows: Vec<&str> =
            std::iter::once("-").chain(rows.iter().map(|row| row.value.as_deref().unwrap_or("-"))).collect();
        let mut left: BTreeMap<(&str, i64), i64> = BTreeMap::new();
        let mut row = 0;
        for outcome in outcomes.get(key).into_iter().flatten() {
            let (click, user) = outcome.text.split_once(' ').expect("a click and its user");
            *left.entry((click, outcome.time)).or_default() += 1;
            // At least once, a row may come back with a click that is done again.
            let from = if evidence.is_exact { row } else { 0 };
            let found = rows[from..].iter().position(|row| *row == user);
            row = from
                + found.unwrap_or_else(|| panic!("an unknown row, or an old one: {outcome:?} of {:?}", &rows[from..]));
        }
        for click in &clicks {
            *left.entry((click.value.as_deref().unwrap_or_default(), click.time)).or_default() -= 1;
        }
        let wrong: Vec<_> = left.iter().filter(|(_, times)| **times < 0 || evidence.is_exact && **times > 0).collect();
        assert!(wrong.is_empty(), "named {key}: too often, or too seldom: {wrong:?}");
    }
}

/// Both joins meet the same row with the same click: the inner one says what the left one does, and nothing of a click whose
/// user has no row. At least once a click may be done again, with another row: what was said of it with a row alone is said
/// here too.
fn check_known(evidence: &Evidence) {
    let (named, known) = (evidence.outcomes("named"), evidence.outcomes("known"));
    let stranger = known.keys().find(|key| !named.contains_key(**key));
    assert!(stranger.is_none(), "{stranger:?} is known and was never named");
    for (key, named) in &named {
        let known = known.get(key).map_or(&[][..], Vec::as_slice);
        if evidence.is_exact {
            let texts = |of: &[&Outcome]| of.iter().map(|one| (one.text.clone(), one.time)).collect::<Vec<_>>();
            let with_rows: Vec<&Outcome> = named.iter().copied().filter(|outcome| has_row(outcome)).collect();
            assert_eq!(texts(known), texts(&with_rows), "known {key}");
            continue;
        }
        let without: BTreeSet<&str> = named.iter().filter(|outcome| !has_row(outcome)).map(|one| click(one)).collect();
        let said: BTreeSet<&str> = known.iter().map(|outcome| click(outcome)).collect();
        let lost = named.iter().find(|outcome| !without.contains(click(outcome)) && !said.contains(click(outcome)));
        assert!(lost.is_none(), "known {key}: nothing was said of {lost:?}");
        let nobody = known.iter().find(|outcome| !has_row(outcome));
        assert!(nobody.is_none(), "known {key}: there is no row in {nobody:?}");
    }
}

/// Of what was said of a click and its user.
fn click(outcome: &Outcome) -> &str {
    outcome.text.split(' ').next().unwrap_or_default()
}

fn has_row(outcome: &Outcome) -> bool {
    outcome.text.split(' ').nth(1) != Some("-")
}
