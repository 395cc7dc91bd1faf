//! A store that is of another kind after a restart than before it, under the same name.

use tests::application::{Application, Input};
use tests::logs::{Owned, TestLog, each_log};
use tests::redis::Redis;

const GUEST: &str = "tests/guests/cases";

const COUNTS: &str = "kind = \"group_agg\"\nagg = \"count\"\n";

/// To a broker these records are old.
const KEPT: &str = "commit_interval = \"10ms\"\n[changelog]\ntopic_configs = { \"retention.ms\" = \"-1\" }\n";

fn versions() -> String {
    format!("{COUNTS}store_history = 100000\n")
}

fn manifest(state: &str, topology: &str) -> String {
    format!("{KEPT}{state}[config.topology]\n{topology}")
}

fn records(from: i64, keys: &[&str]) -> Vec<Input> {
    (from..).zip(keys).map(|(at, key)| Input::at(at, "in").key(*key).value("x")).collect()
}

/// What comes out when each part of the input meets the topology beside it.
fn counted(log: &TestLog, state: &str, parts: &[(&str, &str)]) -> Vec<(Option<Vec<u8>>, Option<Vec<u8>>)> {
    let mut application = Application::new(log, GUEST, &manifest(state, parts[0].0), &[]);
    for (at, (topology, keys)) in (0..).zip(parts) {
        application.reconfigure(&manifest(state, topology));
        application.produce(&records(100 * at, &keys.split(' ').collect::<Vec<_>>()));
        application.run_to_end();
    }
    application.read("out").into_iter().map(|Owned { key, value, .. }| (key, value)).collect()
}

/// Neither finds a row of the other, and both have the same changelog.
#[test]
fn a_count_that_keeps_versions_from_now_on_goes_on_from_what_it_had_and_back_again() {
    let redis = Redis::start();
    each_log(|log| {
        let parts = ["a b a", "a", "b a", "a", "b"];
        let plain = parts.map(|keys| (COUNTS, keys));
        let expected = counted(log, "", &plain);
        assert_eq!(expected.len(), 8, "{expected:?}");
        let versions = versions();
        let kinds = [COUNTS, &versions, COUNTS, &versions, &versions];
        let changing: Vec<(&str, &str)> = kinds.into_iter().zip(parts).collect();
        for (provider, section) in [("memory", String::new()), ("lmdb", String::new()), ("redis", redis.section())] {
            let state = format!("{section}[state]\nprovider = \"{provider}\"\n");
            assert_eq!(counted(log, &state, &changing), expected, "{provider}");
        }
    });
}

/// Its changelog has keys with windows from then on, and keys without.
#[test]
fn a_store_of_rows_that_is_to_hold_windows_is_refused_under_its_name() {
    each_log(|log| {
        let state = "[state]\nprovider = \"lmdb\"\n";
        let mut application = Application::new(log, GUEST, &manifest(state, COUNTS), &[]);
        application.produce(&records(0, &["a"]));
        application.run_to_end();
        let windows = "kind = \"windowed_agg\"\nagg = \"count\"\n[config.topology.window]\ntype = \"time\"\nsize = 10\ngrace = 0\n";
        application.reconfigure(&manifest(state, windows));
        let refused = application.try_start().err().unwrap();
        assert_eq!((refused.code, refused.name), ("E0216", "StoreKindChanged"), "{refused:?}");
        assert_eq!(refused.to_json()["changelog_topic"], application.changelog("store"));
        application.reconfigure(&manifest(state, COUNTS));
        application.produce(&records(10, &["a"]));
        application.run_to_end();
        assert_eq!(application.read("out").len(), 2);
    });
}
