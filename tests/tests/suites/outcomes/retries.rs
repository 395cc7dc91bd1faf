//! The outcome `retry`: again after a while, in a fresh instance, and not for ever.

use std::time::{Duration, Instant};

use tests::guest_log::guest_log;

use super::commands::{command, everywhere, values};

const BACKOFF: Duration = Duration::from_millis(200);

const RETRY: &str = "on_error = \"skip\"\nretry = { attempts = 3, backoff = \"200ms\" }";

#[test]
fn after_its_last_attempt_a_record_meets_its_policy() {
    guest_log();
    everywhere(RETRY, |application| {
        application.produce(&[command(0, "ok"), command(1, "retry"), command(2, "ok")]);
        let begun = Instant::now();
        application.run_to_end();
        assert!(begun.elapsed() >= 3 * BACKOFF, "{:?}", begun.elapsed());
        // Once in its batch, once alone, and three times again.
        assert_eq!(guest_log().count(application.id(), "tried"), 1 + 1 + 3);
        assert_eq!(values(&application, "judgements"), ["ok", "ok"]);
    });
}

#[test]
fn what_works_at_a_later_attempt_is_kept_as_if_nothing_had_been() {
    everywhere(RETRY, |application| {
        application.produce(&[command(0, "mark"), command(1, "second-try"), command(2, "ok")]);
        application.run_to_end();
        assert_eq!(values(&application, "judgements"), ["mark", "second-try", "ok"]);
    });
}
