//! Commands to the guest `outcomes`, and what is left of them.

use std::collections::BTreeMap;

use tests::application::{Application, Input};
use tests::logs::{TestLog, each_log};

pub const GUEST: &str = "tests/guests/outcomes";

pub const PROVIDERS: [&str; 2] = ["memory", "lmdb"];

/// Runs a case on each log with each kind of store. `manifest` is what stands in front of its tables.
pub fn everywhere(manifest: &str, case: impl Fn(Application<'_>)) {
    each_log(|log| PROVIDERS.into_iter().for_each(|provider| case(application(log, provider, manifest))));
}

pub fn application<'a>(log: &'a TestLog, provider: &str, manifest: &str) -> Application<'a> {
    Application::new(log, GUEST, &with_provider(manifest, provider), &[])
}

pub fn with_provider(manifest: &str, provider: &str) -> String {
    format!("{manifest}\n[state]\nprovider = \"{provider}\"\n")
}

/// One command a millisecond, of five keys in turn.
pub fn commands(values: &[&str]) -> Vec<Input> {
    let command = |(at, value): (usize, &&str)| command(at as i64, value);
    values.iter().enumerate().map(command).collect()
}

pub fn command(at: i64, value: impl AsRef<[u8]>) -> Input {
    Input::at(at, "commands").key(format!("k{}", at % 5)).value(value)
}

/// How often each key was counted in a sink, after checking that its counts went 1, 2, 3….
pub fn counts(application: &Application, sink: &str) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for record in application.read(sink) {
        let key = String::from_utf8(record.key.expect("a count has a key")).expect("keys are text");
        let count = i64::from_be_bytes(record.value.expect("no tombstones").try_into().expect("eight bytes"));
        let before = counts.insert(key.clone(), count).unwrap_or(0);
        assert_eq!(count, before + 1, "{sink}: {key}");
    }
    counts
}

/// How often each key occurs among commands.
pub fn by_key<'a>(commands: impl IntoIterator<Item = &'a Input>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for key in commands.into_iter().filter_map(|command| command.key.clone()) {
        *counts.entry(String::from_utf8(key).expect("keys are text")).or_default() += 1;
    }
    counts
}

/// The values that reached a sink.
pub fn values(application: &Application, sink: &str) -> Vec<String> {
    application.read(sink).iter().map(|record| record.text()).collect()
}

/// Next offset to process of the commands, as the group has it; 0 before the first commit.
pub fn committed(application: &Application) -> i64 {
    let at = [(application.topic("commands"), 0)];
    let committed = application.log.log.committed(application.id(), &at).expect("the log answers");
    committed.into_iter().flatten().next().map_or(0, |committed| committed.offset)
}
