//! What is seen of an interval that is not committed yet.

use rustix::process::Signal;
use tests::http::get;
use tests::logs::{each_log, eventually};
use tests::providers;
use tests::sample::Words;

/// Nothing is committed while a process runs, but its outputs are out.
const OPEN: &str = "guarantee = \"at-least-once\"\ncommit_interval = \"1h\"\nstate_dir = \"state\"\n";

#[test]
fn a_query_sees_nothing_of_an_interval_before_it_is_committed() {
    let map = providers::file("plugins/map-store").expect("the provider builds");
    let component = format!("[providers.map]\ncomponent = {map:?}\n[state]\nprovider = \"map\"");
    each_log(|log| {
        for state in ["[state]\nprovider = \"memory\"", "[state]\nprovider = \"lmdb\"", &component] {
            let words = Words::on(log, &format!("{OPEN}{state}"));
            let mut running = words.mill.start(&["run", ".", "--http", "0"]);
            let address = running.ready();
            eventually("all counts are out", || {
                let out = [0, 1].map(|partition| log.read(&words.counts, partition).len());
                (out.iter().sum::<usize>() == 6).then_some(())
            });
            let path = format!("/v1/apps/{}/stores/word-counts/entries", words.id);
            get(&address, &format!("{path}/the")).is(404);
            assert_eq!(get(&address, &path).is(200).json()["entries"], serde_json::json!([]), "{state}");
            running.signal(Signal::TERM);
            running.finish().ok();
            let found = words.run(&["store", "get", ".", "word-counts", "the", "-o", "json"]);
            assert_eq!(found["value"], 2, "{state}: {found}");
        }
    });
}
