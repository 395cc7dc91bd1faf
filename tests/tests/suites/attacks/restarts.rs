//! An application that traps at every record, again after every start (F22): it has its restarts, with longer and longer
//! waits, and then it is FAILED alone. Its neighbour in the process is exact all the time.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::chaos::outside::Values;
use tests::http::get;
use tests::logs::eventually;

use super::neighbour::{Street, half_rate};
use super::{Attack, DEFAULT};

/// What the budget gives.
const RESTARTS: usize = 5;

/// The waits before them: 1, 2, 4, 8 and 16 s.
const WAITS: Duration = Duration::from_secs(31);

/// Starting six times, on a machine that has more to do.
const STARTS: Duration = Duration::from_secs(60);

/// Of one core for the whole process while the attacker rests and the neighbour has nothing to do.
const CPU_SHARE: f64 = 0.3;

#[test]
fn t24_who_traps_at_every_record_is_started_again_within_its_budget_and_fails_alone() {
    let attack = Attack { id: "T24", guest: "deep-recursion", ..DEFAULT };
    let rate = half_rate();
    let mut street = attack.street("");
    let begun = Instant::now();
    street.start(&["neighbour", "attacker"]);
    let rests = eventually("it waits for its first restart", || {
        let status = street.status("attacker");
        reason(&status).contains("number 1 of").then_some(status)
    });
    assert_eq!(rests["state"], "DEGRADED", "{rests}");
    assert!(reason(&rests).contains("call stack exhausted"), "{rests}");
    // While it fails again and again.
    attack.tell(&street.feed(rate));
    let busy = tests::process::cpu_time(street.id());
    let since = Instant::now();
    let failed = until_it_failed(&street, begun);
    let share = (tests::process::cpu_time(street.id()) - busy).as_secs_f64() / since.elapsed().as_secs_f64();
    println!("T24  FAILED after {:?}; {:.1} % of a core while it was started again", begun.elapsed(), 100.0 * share);
    assert!(begun.elapsed() >= WAITS, "the waits are longer than {:?}", begun.elapsed());
    assert!(share < CPU_SHARE, "it costs {share} of a core");
    assert!(reason(&failed).contains("call stack exhausted"), "{failed}");
    // And afterwards.
    street.produce("lines", 1, ["afterwards".to_owned()]);
    eventually("the neighbour counts on", || {
        let counts = street.outside("counts", Values::Number);
        counts.into_iter().find(|count| count.key == "afterwards")
    });
    assert_eq!(street.status("neighbour")["state"], "RUNNING");
    assert_eq!(street.status("attacker")["state"], "FAILED");
    assert_eq!(get(street.address(), "/readyz").is(200).json()["ready"], Value::Bool(true));
    let output = street.stop().fails(1);
    let again = output.stderr.matches("the application failed and is started again").count();
    assert_eq!(again, RESTARTS, "{}", output.stderr);
    assert!(output.stderr.contains("the application has failed; the others go on"), "{}", output.stderr);
    assert!(output.stderr.contains("E0801"), "{}", output.stderr);
}

fn reason(status: &Value) -> &str {
    status["reason"].as_str().unwrap_or_default()
}

fn until_it_failed(street: &Street, begun: Instant) -> Value {
    loop {
        let status = street.status("attacker");
        if status["state"] == "FAILED" {
            return status;
        }
        assert!(begun.elapsed() < WAITS + STARTS, "it is not FAILED yet: {status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What was refused once is refused again: that costs no restart.
#[test]
fn t24_who_refuses_a_record_has_failed_at_once() {
    let manifest = "[config]\nword = \"hunter2\"";
    let mut street = Attack { id: "T24", guest: "spy", manifest, ..DEFAULT }.street("");
    street.start(&["neighbour", "attacker"]);
    eventually("its failure", || (street.status("attacker")["state"] == "FAILED").then_some(()));
    assert!(!street.stop().fails(1).stderr.contains("started again"));
}
