//! The policy `fail`: the application stops at the guilty record, and goes on from there.

use tests::application::Application;

use super::commands::{
    PROVIDERS, by_key, command, commands, committed, counts, everywhere, read, values, with_provider,
};
use tests::logs::each_log;

/// Value, node, exception, and whether there is a backtrace.
const CASES: [(&[u8], &str, &str, bool); 5] = [
    (b"fail", "judge", "fail", false),
    (b"early panic", "verdict", "trap", true),
    (b"panic", "judge", "trap", true),
    (b"retry", "judge", "retry", false),
    (b"\xff", "verdict", "fail", false),
];

const AT: usize = 250;

fn check_all_before(application: &Application) {
    let before = commands(&["ok"; AT]);
    for sink in ["arrivals", "passes"] {
        assert_eq!(counts(application, sink), by_key(&before), "{sink}");
    }
    assert_eq!(values(application, "judgements").len(), AT);
    assert_eq!(committed(application), AT as i64);
}

#[test]
fn the_application_stops_at_the_guilty_record_with_everything_before_it_committed() {
    let manifest = "retry = { attempts = 1, backoff = \"1ms\" }";
    everywhere(manifest, |application| {
        let (value, node, exception, has_backtrace) = CASES[0];
        check_stop(&application, (value, node, exception, has_backtrace));
    });
    // The other cases differ in nothing that logs and stores would see.
    let log = tests::logs::embedded();
    for case in CASES {
        check_stop(&super::commands::application(&log, "memory", manifest), case);
    }
}

fn check_stop(application: &Application, (value, node, exception, has_backtrace): (&[u8], &str, &str, bool)) {
    let mut inputs = commands(&["ok"; 2 * AT]);
    inputs[AT] = command(AT as i64, value);
    application.produce(&inputs);
    // Started again, it stops at the same record.
    for _ in 0..2 {
        let problem = application.run_to_failure();
        assert_eq!((problem.name, problem.exit), ("RecordFailed", millstream_engine::error::exit::FAILED));
        let shown = problem.to_json();
        assert_eq!(shown["application"], application.id());
        assert_eq!(shown["topic"], application.topic("commands"));
        assert_eq!((&shown["partition"], &shown["offset"]), (&0.into(), &AT.into()));
        assert_eq!((&shown["node"], &shown["exception"]), (&node.into(), &exception.into()));
        assert_eq!(shown.get("backtrace").is_some(), has_backtrace, "{shown}");
        check_all_before(application);
    }
}

#[test]
fn under_another_policy_it_goes_on_where_it_stopped() {
    each_log(|log| {
        for provider in PROVIDERS {
            let mut application = super::commands::application(log, provider, "");
            let mut inputs = commands(&["ok"; 2 * AT]);
            inputs[AT] = command(AT as i64, "fail");
            application.produce(&inputs);
            application.run_to_failure();
            application.reconfigure(&with_provider("on_error = \"skip\"", provider));
            application.run_to_end();
            inputs.remove(AT);
            for sink in ["arrivals", "passes", "receipts"] {
                assert_eq!(counts(&application, sink), by_key(&inputs), "{sink}");
            }
        }
    });
}

#[test]
fn a_guest_that_never_ends_is_stopped_and_its_record_alone_is_judged() {
    let manifest = "on_error = \"dead-letter:letters\"\n[limits]\ncall = \"1s\"";
    everywhere(manifest, |application| {
        let mut inputs = commands(&["ok"; 50]);
        inputs[20] = command(20, "loop");
        application.produce(&inputs);
        application.run_to_end();
        let letters = read(&application, "letters");
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].text(), "loop");
        let reason = letters[0].headers.iter().find(|(name, _)| name == "__streams.errors.exception");
        assert_eq!(reason.and_then(|(_, value)| value.as_deref()), Some(&b"deadline"[..]));
        inputs.remove(20);
        for sink in ["arrivals", "passes", "receipts"] {
            assert_eq!(counts(&application, sink), by_key(&inputs), "{sink}");
        }
    });
}
