//! T23 and T15: store providers that lie, trap and reach out, each under an application of its own beside the neighbour.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;
use tests::chaos::outside::Values;
use tests::logs::eventually;
use tests::providers::{FAULTY, file};

use super::neighbour::{Street, check_counts, half_rate};
use super::{Attack, DEFAULT};

/// What a provider does wrong once, and in which call that could.
const LIES: [(&str, u32); 8] = [
    ("position-behind", 6),
    ("position-ahead", 3),
    ("position-gone", 5),
    ("position-garbage", 4),
    ("leaves-its-position", 3),
    ("answers-no-values", 3),
    ("writes-half", 6),
    ("writes-and-traps", 6),
];

/// Lines of each application that works on one, and the pause between them.
const LINES: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);
const LINE: &str = "the mill turns the stone";

/// One that lies in every call.
const LIAR: &str = "liar";

#[test]
fn t23_providers_that_lie_and_trap_beside_each_other() {
    let rate = half_rate();
    let mut street = Street::new();
    let ids: Vec<String> = (0..LIES.len()).map(|number| format!("lied-to-{number}")).collect();
    for (id, (fault, call)) in ids.iter().zip(LIES) {
        over_faulty(&street, id, &format!("fault = \"{fault}\", call = \"{call}\""));
    }
    over_faulty(&street, LIAR, "fault = \"position-garbage\"");
    let apps: Vec<&str> = ["neighbour", LIAR].into_iter().chain(ids.iter().map(String::as_str)).collect();
    street.start(&apps);
    std::thread::scope(|scope| {
        let street = &street;
        let feeding = scope.spawn(|| feed(street, &apps[1..]));
        Attack { id: "T23", guest: "providers", ..DEFAULT }.tell(&street.feed(rate));
        feeding.join().expect("lines can be written");
    });
    // A lie costs a restore and no result.
    for (id, (fault, _)) in ids.iter().zip(LIES) {
        let words = LINES * LINE.split(' ').count();
        let counts = street.outside_once(&format!("{id}-out"), words, Values::Number);
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        LINE.split(' ').for_each(|word| *expected.entry(word).or_default() += LINES);
        check_counts(&counts, expected);
        assert_eq!(street.status(id)["state"], "RUNNING", "{fault}");
    }
    // Who does nothing else has failed alone, and is named.
    let failed = failed(&street, LIAR);
    let reason = failed["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("faulty") && reason.contains("a position that is not the host's"), "{failed}");
    assert_eq!(street.status("neighbour")["state"], "RUNNING");
    street.stop().fails(1);
}

/// An application that counts words in a provider with this configuration.
fn over_faulty(street: &Street, id: &str, config: &str) {
    let component = file(FAULTY).unwrap();
    counting(
        street,
        id,
        &format!("[providers.faulty]\ncomponent = {component:?}\nconfig = {{ {config} }}\n"),
        "faulty",
    );
}

/// An application that counts words in this provider.
fn counting(street: &Street, id: &str, provider: &str, name: &str) {
    [format!("{id}-in"), format!("{id}-out")].iter().for_each(|topic| street.topic(topic, 1));
    let manifest = format!(
        "commit_interval = \"20ms\"\n{provider}[state]\nprovider = \"{name}\"\n\
         [sources.lines]\ntopic = \"{id}-in\"\n[sinks.counts]\ntopic = \"{id}-out\"\n"
    );
    street.app(id, &manifest);
}

/// A line each, again and again.
fn feed(street: &Street, ids: &[&str]) {
    for _ in 0..LINES {
        ids.iter().for_each(|id| street.produce(&format!("{id}-in"), 1, [LINE.to_owned()]));
        std::thread::sleep(PAUSE);
    }
}

fn failed(street: &Street, id: &str) -> Value {
    eventually("its failure", || {
        let status = street.status(id);
        (status["state"] == "FAILED").then_some(status)
    })
}

/// T15: a provider has its grant and nothing else, and what it may not have it does not get by asking.
#[test]
fn t15_providers_that_reach_beyond_their_grant() {
    let (granted, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    other.set_nonblocking(true).unwrap();
    let (granted, elsewhere) = (granted.local_addr().unwrap(), other.local_addr().unwrap());
    let rate = half_rate();
    let mut street = Street::new();
    let written = street.mill.dir().join("written");
    let tries =
        [("connect", elsewhere.to_string()), ("write", written.display().to_string()), ("listen", "0.0.0.0:0".into())];
    let component = file("tests/guests/reaching-store").unwrap();
    for (what, at) in &tries {
        let provider = format!(
            "[providers.reaching]\ncomponent = {component:?}\nnetwork = [\"{granted}\"]\n\
             config = {{ tries = \"{what}\", at = {at:?} }}\n"
        );
        counting(&street, what, &provider, "reaching");
        street.produce(&format!("{what}-in"), 1, [LINE.to_owned()]);
    }
    street.start(&["neighbour", "connect", "write", "listen"]);
    Attack { id: "T15", guest: "reaching-store", ..DEFAULT }.tell(&street.feed(rate));
    for (what, _) in &tries {
        let failed = failed(&street, what);
        let reason = failed["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(&format!("{what} failed: ")), "{failed}");
    }
    assert!(other.accept().is_err(), "somebody has come through");
    assert!(!written.exists());
    assert_eq!(street.status("neighbour")["state"], "RUNNING");
    street.stop().fails(1);
}
