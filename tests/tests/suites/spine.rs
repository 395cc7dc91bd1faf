//! From topic to topic, in process: the shortest way through all rooms, on each log and each kind of store.

use std::collections::BTreeMap;

use tests::application::Application;
use tests::logs::each_log;

const LINES: [&str; 4] = ["the mill turns", "The wheel, the stone", "the mill", "turns turns"];

/// The newest count of each word, after checking that the counts of each went 1, 2, 3….
fn counts(application: &Application) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for record in application.read("counts") {
        let word = String::from_utf8(record.key.expect("a count has its word")).expect("words are text");
        let count = i64::from_be_bytes(record.value.expect("no tombstones").try_into().expect("eight bytes"));
        let before = counts.insert(word.clone(), count).unwrap_or(0);
        assert_eq!(count, before + 1, "{word}");
    }
    counts
}

#[test]
fn every_word_is_counted_once_and_counting_goes_on_after_a_restart() {
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            for guarantee in ["exactly-once", "at-least-once"] {
                let manifest = format!("guarantee = \"{guarantee}\"\n[state]\nprovider = \"{provider}\"\n");
                let application =
                    Application::new(log, "plugins/word-count", &manifest, &[("lines", 3), ("counts", 2)]);
                let lines = application.topic("lines");
                for (partition, line) in LINES.iter().enumerate() {
                    log.produce(&lines, partition as i32 % 3, &[line]);
                }
                application.run_to_end();
                let expected = [("the", 4), ("mill", 2), ("turns", 3), ("wheel", 1), ("stone", 1)];
                let expected: BTreeMap<String, i64> = expected.map(|(word, n)| (word.to_owned(), n)).into();
                assert_eq!(counts(&application), expected, "{provider} {guarantee}");

                log.produce(&lines, 0, &["stone stone"]);
                application.run_to_end();
                assert_eq!(counts(&application)["stone"], 3, "{provider} {guarantee}");
            }
        }
    });
}
