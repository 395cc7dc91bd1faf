//! Dead letters: what they carry, and when they are there.

use std::time::{SystemTime, UNIX_EPOCH};

use tests::application::{Application, Input};
use tests::logs::{Kind, Owned, THEN, each_log, eventually};

use millstream_engine::partitioner::partition;

use super::commands::{
    GUEST, application, command, committed, everywhere, from_outside, read, read_full, values, with_provider,
};

const LETTERS: &str = "on_error = \"dead-letter:letters\"\nretry = { attempts = 0, backoff = \"1ms\" }";

fn header<'a>(letter: &'a Owned, name: &str) -> &'a str {
    let name = format!("__streams.errors.{name}");
    let mut found = letter.headers.iter().filter(|(header, _)| *header == name);
    let (_, value) = found.next().unwrap_or_else(|| panic!("no header {name}"));
    assert!(found.next().is_none(), "{name} is there once");
    std::str::from_utf8(value.as_deref().expect("it is not null")).expect("it is text")
}

/// Value, node, exception, message.
const CASES: [(&[u8], &str, &str, &str); 7] = [
    (b"dead-letter", "judge", "dead-letter", "dead on arrival"),
    (b"fail", "judge", "fail", "no good"),
    (b"early fail", "verdict", "fail", "no good"),
    (b"retry", "judge", "retry", "not yet"),
    (b"panic", "judge", "trap", "the guest broke"),
    (b"huge", "judgements", "fail", ", which takes "),
    (b"\xff", "verdict", "fail", "the value does not decode as utf8: invalid utf-8 sequence of 1 bytes from index 0"),
];

#[test]
fn a_letter_is_the_record_with_the_reason_in_its_headers() {
    everywhere(LETTERS, |application| {
        let input = |(at, (value, ..)): (usize, &(&[u8], &str, &str, &str))| {
            command(at as i64 + 1, value).header("own", Some(b"1")).header("own", None)
        };
        let inputs: Vec<Input> = CASES.iter().enumerate().map(input).collect();
        application.produce([&command(0, "ok")].into_iter().chain(&inputs));
        application.run_to_end();
        let letters = read(&application, "letters");
        assert_eq!(letters.len(), CASES.len());
        for ((letter, input), (_, node, exception, message)) in letters.iter().zip(&inputs).zip(CASES) {
            assert_eq!((&letter.key, &letter.value), (&input.key, &input.value));
            assert_eq!(letter.timestamp, input.timestamp);
            let own: Vec<_> = letter.headers.iter().take(2).map(|(name, value)| (&**name, value.as_deref())).collect();
            assert_eq!(own, [("own", Some(&b"1"[..])), ("own", None)], "the record's own headers come first");
            assert_eq!(header(letter, "exception"), exception);
            assert!(header(letter, "message").contains(message), "{exception}: {}", header(letter, "message"));
            assert_eq!(header(letter, "topic"), application.topic("commands"));
            assert_eq!(header(letter, "partition"), "0");
            assert_eq!(header(letter, "offset"), (input.timestamp - THEN).to_string());
            assert_eq!(header(letter, "node"), node);
            let backtrace = header(letter, "stacktrace");
            assert_eq!(!backtrace.is_empty(), exception == "trap", "{exception}: {backtrace}");
        }
        assert_eq!(values(&application, "judgements"), ["ok"]);
    });
}

#[test]
fn letters_of_one_key_stay_together() {
    each_log(|log| {
        let application = Application::new(log, GUEST, LETTERS, &[("letters", 5)]);
        let inputs: Vec<Input> = (0..20).map(|at| command(at, "fail")).collect();
        application.produce(&inputs);
        application.run_to_end();
        let letters = read_full(&application, &application.topic("letters"));
        assert_eq!(letters.iter().map(Vec::len).sum::<usize>(), inputs.len());
        for (number, letters) in letters.iter().enumerate() {
            let of = |letter: &Owned| partition(letter.key.as_deref().expect("commands have keys"), 5);
            assert!(letters.iter().all(|letter| of(letter) == number as i32));
            assert!(letters.iter().map(|letter| letter.timestamp).is_sorted());
        }
    });
}

/// Long enough that no test sees its end.
const LONG: &str = "commit_interval = \"10m\"";

#[test]
fn a_letter_is_committed_with_its_neighbours_and_not_before() {
    each_log(|log| {
        for provider in super::commands::PROVIDERS {
            let application = application(log, provider, &format!("{LETTERS}\n{LONG}"));
            application.produce(&[command(0, "ok"), command(1, "fail"), command(2, "ok")]);
            let app = application.start();
            eventually("the letter is written", || (app.handle().counters().dead_letters == 1).then_some(()));
            let topics = ["letters", "judgements"].map(|name| application.topic(name));
            let ends = |topic: &String| from_outside(&application, |outside| outside.ends(topic));
            assert_eq!(topics.each_ref().map(ends), [[0], [0]], "before the commit");
            assert_eq!(committed(&application), 0);
            app.stop(false).expect("it stops well");
            assert_eq!(values(&application, "letters"), ["fail"]);
            assert_eq!(values(&application, "judgements"), ["ok", "ok"]);
            assert_eq!(committed(&application), 3);
            if log.kind == Kind::Kafka {
                // One transaction: a single marker stands behind each.
                assert_eq!(topics.each_ref().map(ends), [[2], [3]]);
            }
        }
    });
}

#[test]
fn a_letter_without_a_topic_stops_the_application() {
    each_log(|log| {
        for on_error in ["fail", "skip"] {
            let manifest = with_provider(&format!("on_error = \"{on_error}\""), "memory");
            let application = Application::new(log, GUEST, &manifest, &[]);
            application.produce(&[command(0, "ok"), command(1, "dead-letter"), command(2, "ok")]);
            let problem = application.run_to_failure();
            assert_eq!(problem.name, "RecordFailed");
            assert!(problem.message.contains("dead on arrival"), "{}", problem.message);
            assert!(problem.fix.contains("dead-letter:TOPIC"), "{}", problem.fix);
            assert_eq!(values(&application, "judgements"), ["ok"]);
        }
    });
}

/// Half an hour, which a topic takes by default.
const AHEAD_MS: i64 = 1_800_000;

/// The broker would refuse the whole interval for it, again and again.
#[test]
fn a_record_too_far_ahead_of_the_clock_for_a_changelog_meets_its_policy() {
    let manifest =
        format!("{LETTERS}\n[changelog]\ntopic_configs = {{ \"message.timestamp.after.max.ms\" = \"60000\" }}");
    everywhere(&manifest, |application| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64;
        let (before, behind) = (command(0, "ok"), command(2, "ok"));
        let ahead = command(now - THEN + AHEAD_MS, "ok");
        application.produce([&before, &ahead, &behind]);
        application.run_to_end();
        let letters = read(&application, "letters");
        assert_eq!(letters.len(), 1);
        assert_eq!((letters[0].timestamp, header(&letters[0], "offset")), (ahead.timestamp, "1"));
        let message = header(&letters[0], "message");
        assert!(
            message.contains("ahead of the clock") && message.contains("message.timestamp.after.max.ms"),
            "{message}"
        );
        assert_eq!(values(&application, "judgements"), ["ok", "ok"]);
    });
}
