//! What was held back is judged by itself as it is let go: neither the record that lets it go nor any behind it is lost.

use tests::application::{Application, Input};
use tests::logs::{Owned, eventually};

use super::commands::{everywhere, read};

/// Sinks behind a window that closes, a suppression and a join of streams, each with the node in front of it.
const SINKS: [(&str, &str); 3] = [("closed", "closes"), ("let-go", "is-let-go"), ("gave-up", "gives-up")];

fn held(at: i64, key: &str) -> Input {
    Input::at(at, "held").key(key).value("v")
}

/// Two keys that strike as they are let go, amid others; then two records that let go what was held.
fn produce(application: &Application<'_>) {
    let keys = ["k1", "fail", "k2", "panic", "k3"];
    let rows: Vec<Input> = keys.map(|key| held(2, key)).into_iter().chain([held(100, "t"), held(200, "u")]).collect();
    application.produce(&rows);
}

fn keys(records: &[Owned]) -> Vec<String> {
    // A row of a window has its start and its end behind the key.
    let name = |key: &[u8]| key.split_last_chunk::<16>().map_or(key, |(key, _)| key).to_vec();
    let text =
        |record: &Owned| String::from_utf8(name(record.key.as_ref().expect("it has a key"))).expect("it is text");
    records.iter().map(text).collect()
}

fn check_sinks(application: &Application<'_>) {
    for (sink, _) in SINKS {
        assert_eq!(keys(&read(application, sink)), ["k1", "k2", "k3", "t"], "{sink}");
    }
}

#[test]
fn under_skip_what_is_refused_as_it_is_let_go_is_gone_alone() {
    everywhere("on_error = \"skip\"", |application| {
        produce(&application);
        let skipped = 2 * SINKS.len() as u64;
        let counters = application.run_to_end_and(|app| {
            eventually("the counters", || {
                let counters = app.handle().counters();
                (counters.dropped_records.get("skipped") == Some(&skipped)).then_some(counters)
            })
        });
        check_sinks(&application);
        assert_eq!(counters.guest_faults.get("trap"), Some(&(SINKS.len() as u64)), "once each");
    });
}

#[test]
fn under_dead_letter_it_is_a_letter_of_its_own_with_the_place_of_the_record_that_let_it_go() {
    everywhere("on_error = \"dead-letter:letters\"", |application| {
        produce(&application);
        application.run_to_end();
        check_sinks(&application);
        let letters = read(&application, "letters");
        assert_eq!(letters.len(), 2 * SINKS.len());
        for (_, node) in SINKS {
            let of_node: Vec<Owned> = letters.iter().filter(|letter| said(letter, "node") == node).cloned().collect();
            assert_eq!(keys(&of_node), ["fail", "panic"], "{node}");
            for (letter, why) in of_node.iter().zip(["no good", "the guest broke"]) {
                let message = said(letter, "message");
                assert!(message.starts_with("of what it let go: ") && message.contains(why), "{message}");
                assert_eq!(
                    (said(letter, "topic"), said(letter, "offset")),
                    (application.topic("held"), "5".to_owned())
                );
            }
        }
    });
}

fn said(letter: &Owned, name: &str) -> String {
    let value = letter.headers.iter().find(|(found, _)| *found == format!("__streams.errors.{name}"));
    let value = value.and_then(|(_, value)| value.clone()).expect("the letter has its reasons");
    String::from_utf8(value).expect("they are text")
}
