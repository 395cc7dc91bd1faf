//! Punctuations that fail: there is no record to judge, so the policy is the application's.

use tests::application::{Application, Input};
use tests::logs::{THEN, each_log};

use super::commands::{PROVIDERS, application, values, with_provider};

fn states(states: &[(i64, &str)]) -> Vec<Input> {
    states.iter().map(|(at, state)| Input::at(*at, "alarms").value(state)).collect()
}

fn check_failure(application: &Application) {
    let problem = application.run_to_failure();
    let shown = problem.to_json();
    assert_eq!(problem.name, "RecordFailed");
    assert_eq!(shown["topic"], format!("punctuation ring at {}", THEN + 1000));
    assert_eq!((&shown["offset"], &shown["node"]), (&(-1).into(), &"alarm".into()));
    assert_eq!(values(application, "rings"), ["!"]);
}

#[test]
fn a_punctuation_that_fails_stops_the_application_or_is_skipped_without_a_trace() {
    each_log(|log| {
        for provider in PROVIDERS {
            let mut application = application(log, provider, "");
            application.produce(&states(&[(0, "good"), (500, "broken"), (1000, "broken"), (1500, "good")]));
            check_failure(&application);
            // It is still due.
            check_failure(&application);
            application.reconfigure(&with_provider("on_error = \"skip\"", provider));
            application.run_to_end();
            assert_eq!(values(&application, "rings"), ["!"]);
            application.produce(&states(&[(2000, "good")]));
            application.run_to_end();
            // What the failed one wrote is undone.
            assert_eq!(values(&application, "rings"), ["!", "!!"]);
        }
    });
}
