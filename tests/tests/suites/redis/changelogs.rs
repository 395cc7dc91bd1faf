//! What the server keeps goes with its changelog and with its application, and what else a task keeps stays.

use std::time::{SystemTime, UNIX_EPOCH};

use millstream::app::reset::Reset;
use millstream::lmdb::StateDirectory;
use millstream_engine::record::{Headers, Record};
use tests::application::{Application, entries};
use tests::guests::described_as;
use tests::logs::{TestLog, compacted_topic, each_log, eventually, pair, unique};
use tests::millstream::Millstream;
use tests::providers::counts;
use tests::redis::Redis;

const PARTITIONS: i32 = 2;

fn words<'a>(log: &'a TestLog, redis: &Redis, keys: &str) -> Application<'a> {
    let manifest = format!("commit_interval = \"5ms\"\n{keys}{}", redis.manifest(""));
    Application::new(log, "plugins/word-count", &manifest, &[("lines", PARTITIONS), ("counts", PARTITIONS)])
}

fn feed(application: &Application<'_>, lines: &[&str]) {
    (0..PARTITIONS).for_each(|partition| application.log.produce(&application.topic("lines"), partition, lines));
    application.run_to_end();
}

/// An offset that both have says nothing of whether it is the same changelog.
#[test]
fn rows_on_the_server_are_not_mixed_with_a_changelog_that_has_grown_past_them_under_its_old_name() {
    each_log(|log| {
        let redis = Redis::start();
        let application = words(log, &redis, "");
        feed(&application, &["the mill turns", "the wheel turns"]);
        let changelog = application.changelog("word-counts");
        let ends: Vec<i64> = (0..PARTITIONS).map(|at| log.log.offsets(&changelog, at).unwrap().end).collect();
        log.log.delete(&changelog).unwrap();
        log.log.create(&compacted_topic(&changelog, PARTITIONS)).unwrap();
        let mut writer = log.log.writer().unwrap();
        for (partition, end) in ends.iter().enumerate() {
            let (key, value) = (format!("other-{partition}"), 7i64.to_be_bytes());
            let record = Record { key: Some(key.as_bytes()), value: Some(&value), headers: Headers(&[]), timestamp: 1 };
            (0..=*end).for_each(|_| writer.send(&changelog, Some(partition as i32), record).unwrap());
        }
        writer.flush().unwrap();
        let others = |app: &millstream::app::App| {
            entries(&application, app, "word-counts").into_keys().map(|key| String::from_utf8(key).unwrap())
        };
        for _ in 0..2 {
            let found: Vec<String> = application.run_to_end_and(|app| others(app).collect());
            assert_eq!(found, ["other-0", "other-1"], "the store is what the changelog that is there adds up to");
        }
    });
}

/// Without a changelog nothing else says how far the store is.
#[test]
fn a_reset_empties_what_the_server_keeps() {
    each_log(|log| {
        let redis = Redis::start();
        let application = words(log, &redis, "[stores.word-counts]\nchangelog = false\n");
        feed(&application, &["mill mill"]);
        assert_eq!(counts(&application, true)["mill"], 4);
        let directory = StateDirectory::path_of(application.state(), application.id());
        let reset = Reset::look(&*log.log, &application.loaded.blueprint, &directory).unwrap();
        assert_eq!(
            reset.provided.iter().map(|one| (&*one.store, &*one.provider)).collect::<Vec<_>>(),
            [("word-counts", "redis")]
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        {
            let directory = StateDirectory::open(application.state(), application.id()).unwrap();
            reset.run(&*log.log, &application.loaded, &directory, now).unwrap();
        }
        assert_eq!(redis.ask(&["KEYS", "*:values"]).trim(), "", "rows are left");
        let before = application.read("counts").len();
        application.run_to_end();
        let again = application.read("counts");
        let last = again
            .iter()
            .filter_map(|record| record.value.clone())
            .map(|value| i64::from_be_bytes(value.try_into().unwrap()));
        assert_eq!((again.len() > before, last.max()), (true, Some(4)), "it has counted on from what was there");
    });
}

/// A server that does not answer is no reason to forget the rest and keep what it has.
#[test]
fn a_reset_that_cannot_empty_the_server_says_so_and_can_be_done_again() {
    let log = &tests::logs::embedded();
    let redis = Redis::start();
    let application = words(log, &redis, "");
    feed(&application, &["mill"]);
    let directory = StateDirectory::path_of(application.state(), application.id());
    let reset = Reset::look(&*log.log, &application.loaded.blueprint, &directory).unwrap();
    let run = || {
        let directory = StateDirectory::open(application.state(), application.id()).unwrap();
        reset.run(&*log.log, &application.loaded, &directory, i64::MAX)
    };
    redis.kill();
    let problem = run().unwrap_err();
    assert_eq!((problem.code, problem.to_json()["provider"].as_str()), ("E0802", Some("redis")));
    assert!(application.try_start().is_err(), "half reset");
    redis.again();
    run().unwrap();
}

/// Two stores of one task: `fleeting` on the server, `lasting` on disk, and nothing but the disk has it.
const DESCRIPTION: &str = r#"{"version":1,"nodes":[
    {"name":"in","op":"source","key":"utf8","value":"utf8"},
    {"name":"one","op":"count","inputs":["in"],"store":"fleeting"},
    {"name":"other","op":"count","inputs":["in"],"store":"lasting"}],
"stores":[
    {"name":"fleeting","kind":"key-value","key":"utf8","value":"i64"},
    {"name":"lasting","kind":"key-value","key":"utf8","value":"i64","changelog":false}]}"#;

#[test]
fn a_server_that_forgets_takes_nothing_from_the_other_stores_of_a_task() {
    each_log(|log| {
        let (redis, mill, id) = (Redis::start(), Millstream::new(log.log.url()), unique("neighbours"));
        let input = log.topic("in", 1);
        std::fs::write(mill.dir().join("counts.wasm"), described_as(DESCRIPTION).unwrap()).unwrap();
        let manifest = format!(
            "id = \"{id}\"\ncomponent = \"counts.wasm\"\nstate_dir = \"state\"\n{}[stores.lasting]\nprovider = \"lmdb\"\n\
             changelog = false\n[sources.in]\ntopic = \"{input}\"\n",
            redis.manifest("")
        );
        mill.write("app.toml", &manifest);
        let count = |store: &str| {
            let output = mill.run(&["store", "scan", ".", store, "-o", "jsonl"]);
            // While a store restores nobody answers for it.
            let rows = if output.code == Some(0) { output.jsonl() } else { Vec::new() };
            rows.first().and_then(|row| row["value"].as_i64()).unwrap_or_default()
        };
        let feed = |all: i64| {
            let mut writer = log.log.writer().unwrap();
            writer.send(&input, Some(0), pair("k", "v")).unwrap();
            writer.flush().unwrap();
            eventually("it is counted", || (count("fleeting") >= all && count("lasting") >= all).then_some(()));
        };
        let mut running = mill.start(&["run", ".", "--http", "0"]);
        running.ready();
        feed(1);
        assert!(redis.ask(&["FLUSHALL"]).contains("OK"));
        feed(2);
        assert_eq!((count("fleeting"), count("lasting")), (2, 2));
        assert!(!running.said().contains("E0809"), "{}", running.said());
        running.kill();
    });
}
