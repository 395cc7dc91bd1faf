//! A provider from topic to topic: every kind of store, restarts, beside stores of other providers.

use tests::application::{Application, Input, entries};
use tests::logs::each_log;
use tests::providers::file;

fn manifest(guarantee: &str, rest: &str) -> String {
    let component = file("plugins/map-store").unwrap();
    format!("guarantee = \"{guarantee}\"\n[providers.map]\ncomponent = {component:?}\n{rest}")
}

#[test]
fn words_are_counted_in_a_provider_and_restored_from_the_changelog() {
    each_log(|log| {
        for guarantee in ["exactly-once", "at-least-once"] {
            let manifest = manifest(guarantee, "[state]\nprovider = \"map\"\n");
            let words = Application::new(log, "plugins/word-count", &manifest, &[("lines", 3), ("counts", 2)]);
            for round in 1..=3i64 {
                words.produce(&[Input::at(round, "lines").value("the mill the wheel")]);
                let counts = words.run_to_end_and(|app| entries(&words, app, "word-counts"));
                let count = |word: &str| i64::from_be_bytes(counts[word.as_bytes()].0.clone().try_into().unwrap());
                assert_eq!((count("the"), count("mill"), count("wheel")), (2 * round, round, round), "{guarantee}");
            }
        }
    });
}

/// A store may change its provider: the new one begins with what the changelog holds.
#[test]
fn a_store_goes_from_one_provider_to_another_with_all_it_has() {
    each_log(|log| {
        let on =
            |provider: &str| manifest("exactly-once", &format!("[stores.word-counts]\nprovider = \"{provider}\"\n"));
        let mut words = Application::new(log, "plugins/word-count", &on("lmdb"), &[("lines", 1), ("counts", 1)]);
        for (round, provider) in (1i64..).zip(["lmdb", "map", "memory", "map", "lmdb"]) {
            words.reconfigure(&on(provider));
            words.produce(&[Input::at(round, "lines").value("mill")]);
            let counts = words.run_to_end_and(|app| entries(&words, app, "word-counts"));
            assert_eq!(counts[&b"mill"[..]].0, round.to_be_bytes(), "{provider}");
        }
    });
}
