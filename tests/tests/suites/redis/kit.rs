//! The conformance kit on it, as a library and from the command line.

use millstream::wasm::provider::kit::{Clause, check};
use millstream_engine::config::Limits;
use tests::millstream::Millstream;
use tests::providers::file;
use tests::redis::{Redis, STORE};

fn broken(clauses: &[Clause]) -> Vec<&Clause> {
    clauses.iter().filter(|clause| !clause.ok).collect()
}

#[test]
fn the_store_on_redis_keeps_every_clause() {
    let redis = Redis::start();
    let clauses = check(&redis.provider(Limits::default(), &[]), "kept", 7);
    assert!(broken(&clauses).is_empty(), "{clauses:#?}");
    let of = |name: &str| &clauses.iter().find(|clause| clause.clause == name).unwrap().found;
    assert!(of("opens-empty").contains("outlives the instance"), "{clauses:#?}");
    assert!(of("survives-a-crash").contains("holds the write"), "{clauses:#?}");
    let owners: Vec<String> = redis.ask(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    assert!(owners.iter().all(|key| key.ends_with(":place")), "only owners are left: {owners:?}");
}

#[test]
fn the_command_line_grants_the_address_and_checks_it() {
    let (redis, mill) = (Redis::with("requirepass a-secret\n"), Millstream::without_log());
    let (component, address) = (file(STORE).unwrap(), redis.address().to_string());
    let url = format!(r#"{{"url":"redis://:a-secret@{address}/3"}}"#);
    let args = ["provider", "check", component.to_str().unwrap(), "--config", &url, "-o", "jsonl"];
    let rows = mill.run(&[&args[..], &["--network", &address]].concat()).ok().jsonl();
    assert!(rows.len() > 20 && rows.iter().all(|row| row["ok"] == true), "{rows:?}");

    let ungranted = mill.run(&[&args[..], &["--error-format", "json"]].concat()).fails(78).problem();
    assert_eq!((&ungranted["error"], &ungranted["code"]), (&"NoGrant".into(), &"E0319".into()));
    let imports = ungranted["imports"].as_array().unwrap();
    assert!(imports.iter().all(|import| import.as_str().unwrap().starts_with("wasi:sockets/")), "{ungranted}");

    let elsewhere = mill.run(&[&args[..], &["--network", "127.0.0.1:1"]].concat()).fails(1).stdout.clone();
    assert!(elsewhere.contains("the host does not let it connect to"), "{elsewhere}");

    let unknown = mill.run(&[&args[..], &["--network", "nowhere.invalid:1", "--error-format", "json"]].concat());
    let unknown = unknown.fails(78).problem();
    assert_eq!((&unknown["error"], &unknown["code"]), (&"UnknownHost".into(), &"E0322".into()));
    assert_eq!(
        mill.run(&[&args[..], &["--network", "127.0.0.1", "--error-format", "json"]].concat()).fails(2).problem()["error"],
        "Usage"
    );
}
