//! T15 for a provider with a grant: what it reaches, what it does not, and how long it may wait.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use millstream::wasm::Error;
use millstream::wasm::provider::Grant;
use millstream::wasm::provider::kit::check;
use millstream_engine::config::Limits;
use tests::application::Application;
use tests::logs::each_log;
use tests::providers::{file, load, load_granted};

/// Tries what its configuration says when it is opened.
const REACHING: &str = "tests/guests/reaching-store";

/// Long enough to connect on a busy machine.
const CALL: Duration = Duration::from_secs(5);

/// Short enough to be waited for in every clause.
const SHORT: Duration = Duration::from_millis(200);

/// What the guest says of one try, granted one address.
fn tried(tries: &str, at: &str, granted: SocketAddr) -> String {
    tried_within(CALL, tries, at, &granted.to_string())
}

fn tried_within(call: Duration, tries: &str, at: &str, granted: &str) -> String {
    let config = format!(r#"{{"tries":"{tries}","at":"{at}"}}"#);
    let grant = Grant::resolve(&[granted.to_owned()]).unwrap();
    let limits = Limits { call, ..Limits::default() };
    let provider = load_granted(REACHING, limits, &config, Some(grant)).unwrap();
    let clauses = check(&provider, tries, 7);
    clauses.into_iter().find(|clause| clause.clause == "opens-empty").unwrap().found
}

/// A server that answers as many as come: with `word`, or never.
fn server(word: Option<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            match word {
                Some(word) => {
                    let mut greeting = [0; 5];
                    drop(stream.read_exact(&mut greeting).and_then(|()| stream.write_all(word)));
                }
                None => silent.push(stream),
            }
        }
    });
    address
}

#[test]
fn a_granted_provider_talks_to_its_address_by_the_standard_library() {
    let address = server(Some(b"welcome"));
    let found = tried("greet", &address.to_string(), address);
    assert!(found.contains("greet found: welcome"), "{found}");
}

#[test]
fn everything_that_is_not_granted_is_denied() {
    let (granted, other) = (server(None), server(None));
    let dir = tempfile::tempdir().unwrap();
    let written = dir.path().join("written");
    let denied = [
        ("connect", other.to_string()),
        ("connect", format!("127.0.0.2:{}", granted.port())),
        ("connect", format!("0.0.0.0:{}", granted.port())),
        ("listen", "127.0.0.1:0".to_owned()),
        ("listen", "0.0.0.0:0".to_owned()),
        ("udp", "0.0.0.0:0".to_owned()),
        ("look-up", format!("localhost:{}", granted.port())),
        ("look-up", format!("example.com:{}", granted.port())),
        ("files", String::new()),
        ("write", written.display().to_string()),
    ];
    for (tries, at) in denied {
        let found = tried(tries, &at, granted);
        assert!(found.contains(&format!("{tries} failed: ")), "{tries} {at}: {found}");
    }
    for (tries, nothing) in [("environment", "0 variables"), ("arguments", "0 arguments"), ("input", "0 bytes")] {
        let found = tried(tries, "", granted);
        assert!(found.contains(nothing), "{tries}: {found}");
    }
    assert!(!written.exists());
    let exited = tried("exit", "", granted);
    assert!(!exited.contains("exit found"), "{exited}");
}

#[test]
fn a_granted_name_is_looked_up_and_its_addresses_are_reached_and_no_others() {
    let address = server(Some(b"welcome"));
    let (port, other) = (address.port(), server(None).port());
    let granted = format!("localhost:{port}");
    let try_it = |tries: &str, at: &str| tried_within(CALL, tries, at, &granted);
    for (tries, at, word) in [
        ("look-up", format!("localhost:{port}"), "127.0.0.1"),
        ("look-up", format!("LOCALHOST:{port}"), "127.0.0.1"),
        ("greet", format!("localhost:{port}"), "welcome"),
        ("greet", format!("127.0.0.1:{port}"), "welcome"),
    ] {
        let found = try_it(tries, &at);
        assert!(found.contains(&format!("{tries} found: ")) && found.contains(word), "{tries} {at}: {found}");
    }
    for (tries, at) in [
        ("look-up", format!("ip6-localhost:{port}")),
        ("look-up", format!("localhost.localdomain:{port}")),
        ("look-up", format!("example.com:{port}")),
        ("look-up", format!("xn--localhost:{port}")),
        ("connect", format!("localhost:{other}")),
        ("connect", format!("127.0.0.1:{other}")),
        ("connect", format!("127.0.0.2:{port}")),
    ] {
        let found = try_it(tries, &at);
        assert!(found.contains(&format!("{tries} failed: ")), "{tries} {at}: {found}");
    }
}

#[test]
fn one_instance_has_a_bounded_number_of_sockets() {
    let granted = server(None);
    let found = tried("flood", &granted.to_string(), granted);
    assert!(!found.contains("10000 connections"), "{found}");
}

#[test]
fn a_call_that_waits_ends_at_its_deadline_as_one_that_loops_does() {
    let silent = server(None);
    for (tries, at) in [("greet", silent.to_string()), ("sleep", String::new())] {
        let begun = Instant::now();
        let found = tried_within(SHORT, tries, &at, &silent.to_string());
        assert!(found.contains("waited longer than 200ms ([limits] call)"), "{tries}: {found}");
        // Every clause opens, and waits once or twice; the guest would wait for an hour.
        assert!(begun.elapsed() < Duration::from_secs(60), "{tries}: {:?}", begun.elapsed());
    }
}

/// The task is not held up for ever: the application stops, and names its provider.
#[test]
fn a_server_that_accepts_and_never_answers_stops_no_more_than_its_application() {
    each_log(|log| {
        let silent = server(None);
        let manifest = format!(
            "[limits]\ncall = \"1s\"\n[providers.silent]\ncomponent = {:?}\n\
             config = {{ tries = \"greet\", at = \"{silent}\" }}\nnetwork = [\"{silent}\"]\n\
             [state]\nprovider = \"silent\"\n",
            file(REACHING).unwrap()
        );
        let words = Application::new(log, "plugins/word-count", &manifest, &[("lines", 1), ("counts", 1)]);
        let problem = words.run_to_failure();
        assert_eq!(problem.name, "ProviderFailed", "{problem}");
        assert!(problem.message.contains("silent") && problem.message.contains("waited longer"), "{problem}");
    });
}

#[test]
fn sockets_without_a_grant_are_refused_by_name() {
    let refused = load(REACHING, Limits::default(), "{}").err().unwrap();
    let Some(Error::NoGrant { names }) = refused.downcast_ref() else { panic!("{refused}") };
    assert!(names.iter().any(|name| name.starts_with("wasi:sockets/tcp@")), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("wasi:sockets/")), "{names:?}");
}
