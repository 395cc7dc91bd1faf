//! Faults F28 and F29: a provider that traps, stalls, does not answer or lies in the middle of the work costs a restore
//! and no result; one that does nothing else stops its application by name.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::application::{Application, entries};
use tests::logs::{TestLog, each_log, eventually};
use tests::providers::{FAULTY, counts, file};

/// Lines that each of two tasks' sources gets half of.
const ROUNDS: usize = 16;
const LINES: [&str; 3] = ["the mill turns", "the wheel turns the stone", "a mill a wheel"];

/// Words over one provider with a fault that shows in the `call`th call that could, or always.
fn words<'a>(log: &'a TestLog, guarantee: &str, fault: &str, call: Option<u32>) -> Application<'a> {
    let call = call.map_or(String::new(), |call| format!(", call = \"{call}\""));
    // The limits are the application's too, which must not meet them when the machine is busy.
    let limit = match fault {
        "hoards" => "[limits]\nmemory = \"32MiB\"\n",
        fault if fault.starts_with("stalls") => "[limits]\ncall = \"3s\"\n",
        _ => "",
    };
    let manifest = format!(
        "guarantee = \"{guarantee}\"\ncommit_interval = \"5ms\"\n{limit}[providers.faulty]\n\
         component = {:?}\nconfig = {{ fault = \"{fault}\"{call} }}\n[state]\nprovider = \"faulty\"\n",
        file(FAULTY).unwrap()
    );
    Application::new(log, "plugins/word-count", &manifest, &[("lines", 2), ("counts", 2)])
}

/// Feeds an application that runs, in two halves with a look at its store behind each, and at all that came of it.
fn survives(log: &TestLog, guarantee: &str, fault: &str, call: u32) {
    let application = words(log, guarantee, fault, Some(call));
    let app = application.start();
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    let mut stored = BTreeMap::new();
    for round in 0..ROUNDS {
        let line = LINES[round % LINES.len()];
        line.split(' ').for_each(|word| *expected.entry(word.to_owned()).or_default() += 1);
        log.produce(&application.topic("lines"), (round % 2) as i32, &[line]);
        std::thread::sleep(Duration::from_millis(15));
        if (round + 1) % (ROUNDS / 2) == 0 {
            let is_counted = |counts: BTreeMap<String, i64>| {
                expected.iter().all(|(word, count)| counts.get(word).is_some_and(|found| found >= count))
            };
            // Counted and committed: what was counted at least once may be counted again until then.
            eventually("the end", || {
                let is_done = || app.is_at_end().expect("the log answers") && is_counted(counts(&application, false));
                (app.has_ended() || is_done()).then_some(())
            });
            if app.has_ended() {
                break;
            }
            stored = entries(&application, &app, "word-counts");
        }
    }
    app.stop(false).unwrap_or_else(|problem| panic!("{fault}: {problem}"));
    let is_exact = guarantee == "exactly-once";
    let counts = counts(&application, is_exact);
    if is_exact {
        assert_eq!(counts, expected, "{fault}");
    }
    for (word, count) in &expected {
        assert!(counts[word] >= *count, "{fault}: {word}");
    }
    let stored = stored
        .into_iter()
        .map(|(word, (count, _))| (String::from_utf8(word).unwrap(), i64::from_be_bytes(count.try_into().unwrap())));
    assert_eq!(stored.collect::<BTreeMap<_, _>>(), counts, "{fault}");
}

/// What shows itself to the host, and in which of an instance's calls that could. One that traps is a new instance behind
/// it, which does so again: not so often that the application is stopped.
const FAULTS: [(&str, u32); 19] = [
    ("traps-in-get-many", 6),
    ("traps-in-scan", 4),
    ("traps-in-apply", 6),
    ("traps-in-position", 2),
    ("stalls-in-apply", 6),
    ("no-answer-in-get-many", 2),
    ("no-answer-in-scan", 4),
    ("no-answer-in-apply", 3),
    ("position-behind", 6),
    ("position-ahead", 3),
    ("position-gone", 5),
    ("position-garbage", 4),
    ("leaves-its-position", 3),
    ("answers-no-values", 3),
    ("writes-half", 6),
    ("writes-and-traps", 6),
    ("sorts-wrongly", 4),
    ("grows-at-once", 6),
    // With every write, until an instance is full.
    ("hoards", 0),
];

#[test]
fn exactly_once_holds_over_providers_that_trap_stall_and_lie() {
    each_log(|log| FAULTS.iter().for_each(|(fault, call)| survives(log, "exactly-once", fault, *call)));
}

#[test]
fn at_least_once_loses_nothing_over_providers_that_trap_stall_and_lie() {
    each_log(|log| {
        for (fault, call) in [("traps-in-apply", 6), ("position-behind", 6), ("writes-half", 6)] {
            survives(log, "at-least-once", fault, call);
        }
    });
}

/// Not restored for ever: the application stops, and names the provider.
#[test]
fn a_provider_that_does_nothing_else_stops_its_application_by_name() {
    each_log(|log| {
        for (fault, error, words_of_it) in [
            ("traps-in-apply", "ProviderFailed", "apply traps"),
            ("grows-at-once", "ProviderFailed", "linear memory"),
            ("position-garbage", "ProviderFailed", "stands at a position that is not the host's"),
            ("refuses", "ProviderRefused", "the password is wrong"),
        ] {
            let application = words(log, "exactly-once", fault, None);
            log.produce(&application.topic("lines"), 0, &["the mill"]);
            let problem = application.run_to_failure();
            assert_eq!(problem.name, error, "{fault}: {problem}");
            assert!(problem.message.contains(words_of_it) && problem.message.contains("faulty"), "{fault}: {problem}");
        }
    });
}
