//! Source topics in the place of changelogs: nothing is written beside them, and a restore ends where the input was
//! committed (semantics.md AC-30).

use std::collections::BTreeMap;

use millstream::app::reset::Reset;
use millstream::app::{App, Options};
use millstream::desk::query::Keys;
use millstream::lmdb::StateDirectory;
use tests::application::{Application, Input, entries_of};
use tests::chance::Chance;
use tests::flights::Flights;
use tests::january::{FLIGHTS, Totals};
use tests::logs::{DEADLINE, TestLog, compacted_topic, each_log, eventually};

const PARTITIONS: i32 = 2;

/// What says so of the table of prices.
const REUSED: &str = "[stores.prices.changelog]\nreuse_source_topic = true\n";

fn manifest(provider: &str, guarantee: &str, more: &str) -> String {
    format!("guarantee = \"{guarantee}\"\ncommit_interval = \"10ms\"\n[state]\nprovider = \"{provider}\"\n{more}")
}

fn application<'a>(log: &'a TestLog, manifest: &str) -> Application<'a> {
    let partitions = [("prices", PARTITIONS), ("orders", PARTITIONS)];
    Application::new(log, "tests/guests/operators", manifest, &partitions)
}

fn price(at_ms: i64, key: &str, price: Option<i64>) -> Input {
    let value = price.map(|price| price.to_be_bytes().to_vec());
    Input { value, ..Input::at(at_ms, "prices") }.key(key).partition(i32::from(key.as_bytes()[0]) % PARTITIONS)
}

fn order(at_ms: i64, key: &str, pieces: i64) -> Input {
    let order = Input::at(at_ms, "orders").key(key).value(pieces.to_be_bytes());
    order.partition(i32::from(key.as_bytes()[0]) % PARTITIONS)
}

fn number(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().unwrap())
}

/// The keys of what came out, in order of their names.
fn changed(application: &Application) -> String {
    let records = application.read("price-changes").into_iter();
    let mut keys: Vec<String> = records.map(|record| String::from_utf8(record.key.unwrap()).unwrap()).collect();
    keys.sort();
    keys.concat()
}

/// What orders came to, in order of their keys; 0: there was no price.
fn bills(application: &Application) -> BTreeMap<String, i64> {
    let bill = |value: Option<Vec<u8>>| value.as_deref().map_or(0, number);
    let records = application.read("bills").into_iter();
    records.map(|record| (String::from_utf8(record.key.unwrap()).unwrap(), bill(record.value))).collect()
}

fn held(app: &App, key: &str) -> Option<i64> {
    let page = app.handle().query("prices", Keys::One(key.into()), DEADLINE).ok()?;
    page.rows.first().map(|row| number(&row.value))
}

#[test]
fn what_comes_while_a_table_restores_goes_downstream_and_all_else_once() {
    each_log(|log| {
        for (provider, guarantee) in [
            ("memory", "exactly-once"),
            ("lmdb", "exactly-once"),
            ("memory", "at-least-once"),
            ("lmdb", "at-least-once"),
        ] {
            let application = application(log, &manifest(provider, guarantee, REUSED));
            application.produce(&[price(1, "a", Some(1)), price(2, "b", Some(2)), price(3, "c", Some(3))]);
            application.run_to_end();
            let app = application.start();
            application.produce(&[price(4, "d", Some(4))]);
            eventually("the restart", || held(&app, "a"));
            application.produce(&[price(5, "f", Some(5)), price(6, "g", Some(6)), price(7, "h", Some(7))]);
            eventually("all changes", || (changed(&application) == "abcdfgh").then_some(()));
            let found = entries_of(&application, &app, "prices", &application.topic("prices"));
            assert_eq!(found.len(), 7, "{provider} {guarantee}");
            let info = app.handle().stores().into_iter().find(|store| store.name == "prices").unwrap();
            assert_eq!((info.changelog_topic, info.reuses_source_topic), (Some(application.topic("prices")), true));
            app.stop(false).unwrap();
            assert!(log.log.describe(&[&application.changelog("prices")]).unwrap()[0].is_none(), "a second topic");
        }
    });
}

/// What was not committed yet comes as input, in its turn: an order in front of it meets the price before.
#[test]
fn a_restore_ends_where_the_input_was_committed_and_not_at_the_end_of_the_topic() {
    each_log(|log| {
        for (provider, disk_lost) in [("memory", false), ("lmdb", false), ("lmdb", true)] {
            let application = application(log, &manifest(provider, "exactly-once", REUSED));
            application.produce(&[price(1, "a", Some(10)), price(1, "b", Some(20)), price(2, "gone", Some(5))]);
            application.produce(&[price(3, "gone", None)]);
            application.run_to_end();
            application.produce(&[price(9, "a", Some(11)), price(9, "b", None)]);
            application.produce(&[order(8, "a", 2), order(8, "b", 2), order(8, "gone", 2), order(8, "none", 2)]);
            if disk_lost {
                std::fs::remove_dir_all(state(&application)).unwrap();
            }
            application.run_to_end_and(|app| {
                eventually("the newest price", || (held(app, "a") == Some(11)).then_some(()));
                assert_eq!(held(app, "b"), None);
            });
            let expected = [("a", 20), ("b", 40), ("gone", 0), ("none", 0)];
            assert_eq!(bills(&application), expected.map(|(key, bill)| (key.to_owned(), bill)).into(), "{provider}");
        }
    });
}

fn state(application: &Application) -> std::path::PathBuf {
    StateDirectory::path_of(application.state(), application.id())
}

#[test]
fn a_table_goes_from_a_changelog_of_its_own_to_its_topic_and_not_back_unasked() {
    each_log(|log| {
        let mut application = application(log, &manifest("lmdb", "exactly-once", ""));
        let topic = application.topic("prices");
        application.produce(&[price(1, "a", Some(10)), price(2, "a", Some(11)), price(3, "c", Some(12))]);
        application.run_to_end();
        application.reconfigure(&manifest("lmdb", "exactly-once", REUSED));
        let refused = application.try_start().err().unwrap();
        assert_eq!((refused.code, &refused.to_json()["store"]), ("E0220", &"prices".into()));
        log.log.delete(&topic).unwrap();
        eventually("it is gone", || log.log.describe(&[&topic]).unwrap()[0].is_none().then_some(()));
        eventually("it is there again", || log.log.create(&compacted_topic(&topic, PARTITIONS)).ok());
        application.produce(&[price(1, "x", Some(1)), price(2, "y", Some(2)), price(3, "a", Some(3))]);
        let options = Options { allow_recreated_topics: true, ..Options::default() };
        let app = App::start(&application.loaded, log.log.clone(), &options).unwrap();
        eventually("the topic's rows", || held(&app, "y"));
        // Of the old changelog nothing is left, though its positions would do.
        let found = entries_of(&application, &app, "prices", &topic);
        assert_eq!(found.keys().map(|key| key[0]).collect::<Vec<_>>(), b"axy");
        app.stop(false).unwrap();
        let kept = Reset::look(&*log.log, &application.loaded.blueprint, &state(&application)).unwrap();
        assert!(!kept.topics.contains(&topic) && kept.topics.contains(&application.changelog("prices")), "{kept:?}");
        application.reconfigure(&manifest("lmdb", "exactly-once", ""));
        let refused = application.try_start().err().unwrap();
        assert_eq!((refused.code, &refused.to_json()["changelog_topics"][0]), ("E0212", &topic.clone().into()));
        // A machine that is new to it knows it from the log.
        application.forget_state();
        let refused = application.try_start().err().unwrap();
        assert_eq!((refused.code, &refused.to_json()["changelog_topics"][0]), ("E0212", &topic.into()));
    });
}

/// Each says why.
#[test]
fn a_topic_that_is_not_the_table_row_by_row_is_refused() {
    let log = tests::logs::embedded();
    let refused = |manifest: &str| {
        let application = application(&log, "");
        let text = format!("id = \"{}\"\n{manifest}", application.id());
        let parsed = millstream_engine::config::Manifest::parse(&text, "app.toml").unwrap();
        let problem =
            millstream_engine::topology::Blueprint::new(parsed, &application.loaded.description).err().unwrap();
        assert_eq!(problem.code, "E0224", "{problem:?}");
        problem.why
    };
    let source = |line: &str| refused(&format!("[sources.prices]\n{line}\n{REUSED}"));
    assert!(source("on_error = \"skip\"").contains("on_error"));
    assert!(source("start = \"latest\"").contains("latest"));
    assert!(refused("[stores.dear-prices.changelog]\nreuse_source_topic = true").contains("no table is read"));
    let why = refused("[stores.versions.changelog]\nreuse_source_topic = true");
    assert!(why.contains("no table is read"), "{why}");
}

/// How often an application is killed on its way through the month.
const KILLS: usize = 5;

/// Between progress that is seen and a kill.
const HESITATION_MS: u64 = 60;

/// Every flight has its airline's name whoever restored the table, and whenever.
#[test]
fn kills_in_the_middle_leave_a_table_in_its_source_topic_whole() {
    let totals = Totals::of_the_month();
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            let flights = Flights::reusing_source(log, provider, 2);
            let mut chance = Chance::new();
            let month = tests::january::flights();
            let lines: Vec<&str> = month.split_inclusive('\n').collect();
            for slice in lines.chunks(FLIGHTS.div_ceil(KILLS)) {
                let mut running = flights.start("state");
                flights.feed(&slice.concat());
                let enough = flights.progress() + 1 + chance.below(slice.len() as u64 / 2) as usize;
                eventually("progress", || (flights.progress() >= enough.min(FLIGHTS)).then_some(()));
                std::thread::sleep(std::time::Duration::from_millis(chance.below(HESITATION_MS)));
                running.kill();
            }
            flights.run_to_end();
            flights.check(&totals);
            let own = format!("{}-airlines-changelog", flights.id);
            assert!(log.log.describe(&[&own]).unwrap()[0].is_none(), "a second topic");
            look(&flights, provider);
        }
    });
}

/// Everything that shows changelogs knows of it.
fn look(flights: &Flights<'_>, provider: &str) {
    let topic = flights.topic("airlines");
    let rows = |args: &[&str]| flights.mill.run(args).json();
    let of = |list: &serde_json::Value, name: &str, value: &str| {
        list.as_array().unwrap().iter().find(|row| row[name] == value).unwrap().clone()
    };
    let stores = rows(&["store", "list", ".", "-o", "json"]);
    let airlines = of(&stores, "name", "airlines");
    assert_eq!(
        (&airlines["changelog_topic"], &airlines["reuses_source_topic"]),
        (&topic.as_str().into(), &true.into())
    );
    assert_eq!(airlines["entries"], tests::january::airlines().lines().count(), "{provider}");
    let shown = rows(&["topology", ".", "-o", "json"]);
    assert_eq!(of(&shown["stores"], "name", "airlines")["changelog_topic"], topic.as_str());
    let planned = of(&rows(&["changelogs", "plan", ".", "-o", "json"]), "topic", &topic);
    assert_eq!((&planned["kind"], &planned["store"]), (&"source".into(), &"airlines".into()));
    let commands = flights.mill.run(&["changelogs", "plan", ".", "-o", "kafka-topics"]).ok().stdout;
    assert!(!commands.contains(&topic), "{commands}");
    let retention = of(&rows(&["doctor", ".", "-o", "json"]), "practice", "retention");
    assert_eq!(retention["ok"], true, "{retention}");
    // Behind what is committed there is a row that nobody has yet.
    flights.mill.run_with(&["produce", &topic, "--format", "kv"], "ZZ\tNobody\n").ok();
    let verify = flights.mill.run(&["store", "verify", ".", "airlines", "-o", "json", "--error-format", "json"]);
    if provider == "memory" {
        // Nobody runs, so nobody holds it.
        assert_eq!(verify.fails(1).problem()["code"], "E0611");
    } else {
        let verified = verify.ok().json();
        assert!(verified.as_array().unwrap().iter().all(|row| row["ok"] == true), "{verified}");
    }
    flights.mill.write("rows", "{\"key\":\"AA\",\"value\":\"x\"}\n");
    let refused =
        flights.mill.run(&["store", "import", ".", "airlines", "rows", "--error-format", "json"]).fails(1).problem();
    assert_eq!(refused["code"], "E0620");
}
