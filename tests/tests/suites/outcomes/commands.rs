//! Commands to the guest `outcomes`, and what is left of them.

use std::collections::BTreeMap;

use tests::application::{Application, Input};
use tests::chaos::outside::Outside;
use tests::logs::{Owned, TestLog, each_log};
use tests::millstream::Millstream;

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

/// Looks at the log as somebody who knows nothing of the host.
pub fn from_outside<T>(application: &Application, look: impl FnOnce(Outside<'_>) -> T) -> T {
    let mill = Millstream::new(application.log.log.url());
    look(Outside::of(application.log, &mill))
}

/// The committed records of a topic, partition by partition.
pub fn read(application: &Application, topic: &str) -> Vec<Owned> {
    read_full(application, &application.topic(topic)).into_iter().flatten().collect()
}

/// The same of a topic by its full name, by partition.
pub fn read_full(application: &Application, topic: &str) -> Vec<Vec<Owned>> {
    from_outside(application, |outside| outside.read_bytes(topic))
}

/// How often each key was counted in a sink, after checking that its counts went 1, 2, 3….
pub fn counts(application: &Application, sink: &str) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for record in read(application, sink) {
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
    read(application, sink).iter().map(|record| record.text()).collect()
}

/// Next offset to process of the commands, as the group has it; 0 before the first commit.
pub fn committed(application: &Application) -> i64 {
    let (id, commands) = (application.id(), application.topic("commands"));
    from_outside(application, |outside| outside.committed(id, &commands, 0)).unwrap_or(0)
}
