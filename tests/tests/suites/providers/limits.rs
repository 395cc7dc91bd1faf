//! Keys and values as large as they may be, and a byte more: the same on every provider.

use tests::application::{Application, Input, fold};
use tests::logs::{TestLog, each_log};
use tests::providers::file;

/// The default, and as far as LMDB takes keys and the topics take values: `[limits]`, key and value in bytes.
const LIMITS: [(&str, usize, usize); 2] =
    [("", 1_024, 900 << 10), ("[limits]\nkey_bytes = \"1981B\"\nvalue_bytes = \"970KiB\"\n", 1_981, 970 << 10)];

const PROVIDERS: [&str; 3] = ["memory", "lmdb", "map"];

/// A script of commands over one store, whose refused ones are put aside.
fn script<'a>(log: &'a TestLog, provider: &str, limits: &str) -> Application<'a> {
    let component = file("plugins/map-store").unwrap();
    let manifest = format!(
        "on_error = \"dead-letter:letters\"\n[state]\nprovider = \"{provider}\"\n\
         [providers.map]\ncomponent = {component:?}\n{limits}[config.topology]\nkind = \"kv_store\"\n"
    );
    Application::new(log, "tests/guests/cases", &manifest, &[])
}

fn put(at: i64, key: &str, value_bytes: usize) -> Input {
    Input::at(at, "in").key(key).value(format!("PUT {}", "x".repeat(value_bytes)))
}

fn get(at: i64, key: &str) -> Input {
    Input::at(at, "in").key(key).value("GET")
}

/// Keys in the order in which they stand in a topic, cut short, and what they come to in bytes.
fn shown(key: &[u8]) -> (char, usize) {
    (char::from(key[0]), key.len())
}

#[test]
fn what_is_as_large_as_it_may_be_is_kept_and_a_byte_more_is_refused() {
    each_log(|log| {
        for (limits, key_bytes, value_bytes) in LIMITS {
            for provider in PROVIDERS {
                check(&script(log, provider, limits), (key_bytes, value_bytes), provider);
            }
        }
    });
}

#[track_caller]
fn check(script: &Application<'_>, (key_bytes, value_bytes): (usize, usize), provider: &str) {
    let key = |first: &str, bytes: usize| first.repeat(bytes);
    let (whole, both, over) = (key("k", key_bytes), key("b", key_bytes), key("o", key_bytes + 1));
    script.produce(&[
        put(0, &whole, 1),
        put(1, &over, 1),
        put(2, "v", value_bytes),
        put(3, "w", value_bytes + 1),
        put(4, &both, value_bytes),
        get(5, &over),
    ]);
    script.run_to_end();
    let refused: Vec<_> = script.read("letters").iter().map(|letter| shown(letter.key.as_ref().unwrap())).collect();
    assert_eq!(refused, [('o', key_bytes + 1), ('w', 1), ('o', key_bytes + 1)], "{provider}");
    let changelog = script.changelog("kv");
    let kept = fold(&script.read_full(&changelog));
    let kept: Vec<_> = kept.iter().map(|(key, (value, _))| (shown(key), value.len())).collect();
    let expected = [(('b', key_bytes), value_bytes), (('k', key_bytes), 1), (('v', 1), value_bytes)];
    assert_eq!(kept, expected, "{provider}: its changelog");
    // Found on the disk again, or restored.
    let gets = [&*whole, "v", "w", &*both];
    let gets: Vec<Input> = (6i64..).zip(gets).map(|(at, key)| get(at, key)).collect();
    script.produce(&gets);
    script.run_to_end();
    let value = |answer: &str| answer.matches('x').count();
    let found: Vec<_> = script.read("out").iter().map(|answer| value(&answer.text())).collect();
    assert_eq!(found, [1, value_bytes, 0, value_bytes], "{provider}: behind a restart");
    assert_eq!(script.read("letters").len(), 3, "{provider}");
}
