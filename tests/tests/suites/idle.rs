//! Topics on which nothing comes any more: what was held back is given away all the same where the manifest lets time go
//! on, each once, over restarts too (semantics.md AC-53).

use millstream::app::App;
use tests::application::{Application, Input};
use tests::logs::{Owned, THEN, TestLog, each_log, eventually};

/// Every sink behind something that holds back, and how its values are read.
const SINKS: [(&str, Value); 7] = [
    ("closed-windows", number),
    ("closed-sessions", number),
    ("final-windows", number),
    ("thinned", number),
    ("all-pairs", text),
    ("left-pairs", text),
    ("priced-requests", text),
];

type Value = fn(&[u8]) -> String;

/// Changelogs whose records are of years ago stay whole on a broker too.
fn manifest(provider: &str, guarantee: &str, idle: &str) -> String {
    format!(
        "guarantee = \"{guarantee}\"\ncommit_interval = \"20ms\"\n[state]\nprovider = \"{provider}\"\n{idle}\
         [changelog]\ntopic_configs = {{ \"min.compaction.lag.ms\" = \"9223372036854775807\", \"retention.ms\" = \"-1\" }}\n"
    )
}

const ADVANCES: &str = "[task]\nidle_advance = \"100ms\"\n";

fn number(bytes: &[u8]) -> String {
    i64::from_be_bytes(bytes.try_into().unwrap()).to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn tap(at_ms: i64, key: &str, n: i64) -> Input {
    Input::at(at_ms, "taps").key(key).value(n.to_be_bytes())
}

fn word(topic: &'static str, at_ms: i64, key: &str, value: &str) -> Input {
    Input::at(at_ms, topic).key(key).value(value)
}

/// `key=value@ms`, as sorted text: of what is given away at one look nobody promises an order between keys.
fn given(application: &Application, sink: &str, value: Value) -> Vec<String> {
    let show = |record: Owned| {
        let key = text(&record.key.unwrap());
        format!("{key}={}@{}", record.value.map_or("-".to_owned(), |bytes| value(&bytes)), record.timestamp - THEN)
    };
    let mut given: Vec<String> = application.read(sink).into_iter().map(show).collect();
    given.sort();
    given
}

/// Waits until every sink has as many records as are expected, and compares.
fn check(application: &Application, expected: [&[&str]; 7]) {
    for ((sink, value), expected) in SINKS.into_iter().zip(expected) {
        let found = eventually(&format!("{} records in {sink}", expected.len()), || {
            Some(given(application, sink, value)).filter(|given| given.len() >= expected.len())
        });
        assert_eq!(found, expected, "{sink}");
    }
}

fn late(app: &App) -> u64 {
    app.handle().counters().dropped_records.get("late").copied().unwrap_or(0)
}

/// The same input, held back in the state of an application that has been stopped.
fn held_back<'a>(log: &'a TestLog, provider: &str, guarantee: &str) -> Application<'a> {
    let application = Application::new(log, "tests/guests/operators", &manifest(provider, guarantee, ""), &[]);
    application.produce(&[tap(1, "a", 1), tap(3, "b", 2), tap(4, "a", 3)]);
    application.produce(&[word("lefts", 1, "a", "l1"), word("rights", 2, "b", "r1")]);
    application.produce(&[word("tariffs", 5, "tea", "1"), word("requests", 12, "tea", "x")]);
    application.run_to_end();
    check(&application, [&[]; 7]);
    application
}

#[test]
fn what_is_held_back_is_given_away_once_on_topics_where_nothing_comes_any_more() {
    each_log(|log| {
        for (provider, guarantee, is_lost) in
            [("lmdb", "exactly-once", false), ("lmdb", "exactly-once", true), ("memory", "at-least-once", false)]
        {
            let mut application = held_back(log, provider, guarantee);
            application.reconfigure(&manifest(provider, guarantee, ADVANCES));
            let app = application.start();
            check(
                &application,
                [
                    &["a0=2@4", "b0=1@3"],
                    &["a1=4@4", "b3=2@3"],
                    &["a0=4@4", "b0=2@3"],
                    &["a=3@4", "b=2@3"],
                    &["a=l1 ?@1", "b=? r1@2"],
                    &["a=l1 ?@1"],
                    &["tea=x 1@12"],
                ],
            );
            // What comes now is late for what was given away, and changes none of it: for the windows that close, for the
            // sessions, for those that a suppression held, and for the cogroup.
            application.produce(&[tap(5, "a", 9)]);
            eventually("the late record is counted", || (late(&app) >= 4).then_some(()));
            assert_eq!(late(&app), 4, "{provider} {guarantee}");
            app.stop(false).unwrap();
            if is_lost {
                application.forget_state();
            }

            let app = application.start();
            application.produce(&[tap(100_000, "z", 1)]);
            application.produce(&[word("lefts", 3, "c", "l2"), word("rights", 100_000, "z", "r2")]);
            application.produce(&[word("requests", 13, "tea", "y"), word("requests", 100_000, "tea", "z")]);
            check(
                &application,
                [
                    &["a0=2@4", "b0=1@3", "z0=1@100000"],
                    &["a1=4@4", "b3=2@3", "z0=1@100000"],
                    &["a0=4@4", "b0=2@3", "z0=1@100000"],
                    &["a=3@4", "a=9@5", "b=2@3", "z=1@100000"],
                    &["a=l1 ?@1", "b=? r1@2", "c=l2 ?@3", "z=? r2@100000"],
                    &["a=l1 ?@1", "c=l2 ?@3"],
                    &["tea=x 1@12", "tea=y 1@13", "tea=z 1@100000"],
                ],
            );
            app.stop(false).unwrap();
        }
    });
}
