//! Who has a store on a server that several can reach.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use millstream::wasm::provider::Grant;
use millstream::wasm::provider::kit::check;
use millstream::wasm::{ProviderBase, ProviderStore};
use millstream_engine::config::Limits;
use millstream_engine::store::{Base, Changes, Error, Position, StoreChanges, StoreKind};
use tests::providers::load_granted;
use tests::redis::{Redis, STORE};

fn open(redis: &Redis, epoch: u64) -> Result<ProviderBase, Error> {
    let store = ProviderStore { id: "words/in-0/counts".to_owned(), kind: StoreKind::KeyValue, changelog: None };
    ProviderBase::open(redis.plain_provider(), vec![store], epoch)
}

fn put(base: &mut ProviderBase, value: &str, offset: i64) -> Result<(), Error> {
    let changes: Changes = [(b"k".to_vec(), Some(value.as_bytes().to_vec()))].into_iter().collect();
    base.apply(&[StoreChanges { store: 0, changes: &changes, position: Some(Position { offset }) }])
}

fn get(base: &ProviderBase) -> Result<String, Error> {
    let mut found = String::new();
    let keep = &mut |_, value: Option<&[u8]>| found = String::from_utf8(value.unwrap().to_vec()).unwrap();
    base.get_many(0, &[b"k"], keep)?;
    Ok(found)
}

#[track_caller]
fn has_another_owner<T>(answer: Result<T, Error>) {
    match answer {
        Err(Error::Retry(why)) => assert!(why.contains("another owner has the store"), "{why}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was done"),
    }
}

#[test]
fn what_an_earlier_owner_does_when_it_wakes_up_does_nothing() {
    let redis = Redis::start();
    let mut earlier = open(&redis, 1).unwrap();
    put(&mut earlier, "of the first", 0).unwrap();
    let mut later = open(&redis, 2).unwrap();
    assert_eq!(later.position(0).unwrap(), Some(Position { offset: 0 }), "it goes on where the first one was");
    put(&mut later, "of the second", 1).unwrap();
    for _ in 0..2 {
        has_another_owner(put(&mut earlier, "late", 1));
        has_another_owner(get(&earlier));
        has_another_owner(earlier.wipe());
        has_another_owner(open(&redis, 1));
        assert_eq!(get(&later).unwrap(), "of the second");
        redis.kill();
        redis.again();
    }
    assert_eq!(later.position(0).unwrap(), Some(Position { offset: 1 }));
}

/// Nothing is believed of a server that lost its scripts, and nothing is lost by it.
#[test]
fn a_server_that_has_lost_its_scripts_is_told_them_again() {
    let redis = Redis::start();
    let mut base = open(&redis, 1).unwrap();
    put(&mut base, "1", 0).unwrap();
    assert!(redis.ask(&["SCRIPT", "FLUSH"]).contains("OK"));
    put(&mut base, "2", 1).unwrap();
    assert_eq!(get(&base).unwrap(), "2");
}

#[test]
fn a_server_that_never_answers_is_waited_for_as_long_as_a_call_may_take() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let config = format!(r#"{{"url":"redis://{address}","timeout_ms":"200"}}"#);
    let grant = Grant::resolve(&[address]).unwrap();
    let provider = load_granted(STORE, Limits::default(), &config, Some(grant)).unwrap();
    let begun = Instant::now();
    let clauses = check(&provider, "silent", 7);
    for clause in &clauses {
        assert!(clause.found.contains("retry: ") && clause.found.contains("did not answer within 200ms"), "{clause:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2) * clauses.len() as u32, "{:?}", begun.elapsed());
}
