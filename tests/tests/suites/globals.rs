//! Global tables under a running application: every task has all of them, they follow their topics by themselves, and a
//! restart goes on from where they stand.

use std::collections::BTreeSet;
use std::time::Instant;

use millstream::app::reset::Reset;
use millstream::app::status::AppState;
use millstream::app::{App, Options, Supervised, supervise};
use millstream::desk::query::Keys;
use millstream::lmdb::StateDirectory;
use millstream_engine::config::Manifest;
use millstream_engine::topology::{Blueprint, Description};
use serde_json::Value;
use tests::application::{Application, Input};
use tests::logs::{DEADLINE, TestLog, each_log, eventually, new_topic};

/// Each is a task that looks the table up, and the table's own topic has another number.
const SALES: i32 = 3;
const SHOPS: i32 = 2;

fn application<'a>(log: &'a TestLog, provider: &str) -> Application<'a> {
    let manifest = format!("commit_interval = \"10ms\"\n[state]\nprovider = \"{provider}\"\n");
    Application::new(log, "tests/guests/operators", &manifest, &[("sales", SALES), ("shops", SHOPS)])
}

/// What a shop's topic says, in a partition that says nothing of its key.
fn say(application: &Application, partition: i32, shop: &str, city: Option<&str>) {
    let input = Input { value: city.map(|city| city.as_bytes().to_vec()), ..Input::at(1, "shops") };
    application.produce(&[input.key(shop).partition(partition)]);
}

/// A sale in each task.
fn sell(application: &Application, shop: &str, name: &str) {
    let sale = |partition| Input::at(1, "sales").key("k").value(format!("{shop}|{name}")).partition(partition);
    application.produce(&(0..SALES).map(sale).collect::<Vec<_>>());
}

/// What came out for sales of this name, once all tasks have had theirs: of the join, and of the processor, which see the
/// same.
fn cities(application: &Application, name: &str) -> BTreeSet<String> {
    let [joined, read] = ["all-sales", "read-sales"].map(|sink| {
        eventually("all sales", || {
            let values = application.read(sink).into_iter().map(|record| String::from_utf8(record.value.unwrap()));
            let of_name = values.map(Result::unwrap).filter(|value| value.contains(&format!("|{name} ")));
            let cities: Vec<String> = of_name.map(|value| value.rsplit(' ').next().unwrap().to_owned()).collect();
            (cities.len() == SALES as usize).then(|| cities.into_iter().collect::<BTreeSet<_>>())
        })
    });
    assert_eq!(joined, read);
    joined
}

fn one(city: &str) -> BTreeSet<String> {
    BTreeSet::from([city.to_owned()])
}

/// Waits until the table says so of a shop.
fn heard(app: &App, shop: &str, city: Option<&str>) {
    eventually("the table has heard", || {
        let page = app.handle().query("shops", Keys::One(shop.into()), DEADLINE).ok()?;
        let held = page.rows.first().map(|row| String::from_utf8(row.value.clone()).unwrap());
        (held.as_deref() == city).then_some(())
    });
}

#[test]
fn every_task_sees_all_of_a_table_that_follows_its_topic() {
    each_log(|log| {
        for provider in ["memory", "lmdb"] {
            let application = application(log, provider);
            say(&application, 0, "a", Some("rome"));
            say(&application, 1, "b", Some("bonn"));
            sell(&application, "a", "1");
            sell(&application, "b", "2");
            let app = application.start();
            assert_eq!(
                (cities(&application, "1"), cities(&application, "2")),
                (one("rome"), one("bonn")),
                "{provider}"
            );
            say(&application, 0, "a", Some("oslo"));
            say(&application, 1, "b", None);
            heard(&app, "a", Some("oslo"));
            heard(&app, "b", None);
            sell(&application, "a", "3");
            sell(&application, "b", "4");
            assert_eq!((cities(&application, "3"), cities(&application, "4")), (one("oslo"), one("?")), "{provider}");
            let shops = app.handle().stores().into_iter().find(|store| store.name == "shops").unwrap();
            assert_eq!((shops.entries, shops.changelog_topic), (1, None));
            app.stop(false).unwrap();
            // Nobody runs: what is there at the start is there for the first record.
            sell(&application, "a", "5");
            say(&application, 1, "c", Some("wien"));
            sell(&application, "c", "6");
            let app = application.start();
            assert_eq!(
                (cities(&application, "5"), cities(&application, "6")),
                (one("oslo"), one("wien")),
                "{provider}"
            );
            app.stop(false).unwrap();
        }
    });
}

/// More than a megabyte of them.
const MANY_SHOPS: usize = 8_000;

#[test]
fn a_table_that_is_full_says_so_and_a_run_to_the_end_that_meets_it_ends_by_its_name() {
    each_log(|log| {
        let manifest = "[state]\nprovider = \"lmdb\"\n[stores.shops]\nmax_size = \"1MiB\"\n";
        let topics = [("sales", SALES), ("shops", SHOPS)];
        let application = Application::new(log, "tests/guests/operators", manifest, &topics);
        let shop = |number: usize| Input::at(1, "shops").key(number.to_string()).value("x".repeat(200));
        application.produce(&(0..MANY_SHOPS).map(shop).collect::<Vec<_>>());
        sell(&application, "1", "1");
        let app = application.start();
        let status = eventually("its status says so", || {
            let status = app.handle().status();
            status.reason.clone().is_some_and(|why| why.starts_with("E0705 StateFull: ")).then_some(status)
        });
        assert_eq!(status.state, AppState::Degraded);
        assert_eq!(app.stop(false).unwrap_err().code, "E0705");
        let options = Options { state_dir: Some(application.state().to_owned()), ..Options::default() };
        let supervised = Supervised::start(application.loaded.clone(), log.log.clone(), options).unwrap();
        let start = Instant::now();
        let problem = supervise(vec![supervised], true, false, &mut || start.elapsed() > DEADLINE).unwrap_err();
        assert_eq!(problem.code, "E0705", "{problem}");
        assert!(start.elapsed() < DEADLINE, "it ended only when it was stopped");
    });
}

/// The offsets that are kept with a table are another topic's, though this one has records there too.
#[test]
fn a_table_whose_topic_was_made_anew_begins_anew() {
    each_log(|log| {
        let application = application(log, "lmdb");
        say(&application, 0, "a", Some("rome"));
        let app = application.start();
        heard(&app, "a", Some("rome"));
        app.stop(false).unwrap();
        let topic = application.topic("shops");
        log.log.delete(&topic).unwrap();
        eventually("it is gone", || log.log.describe(&[&topic]).unwrap()[0].is_none().then_some(()));
        eventually("it is there again", || log.log.create(&new_topic(&topic, SHOPS)).ok());
        for shop in ["b", "c", "d"] {
            say(&application, 0, shop, Some("bonn"));
        }
        let app = application.start();
        ["b", "c", "d"].iter().for_each(|shop| heard(&app, shop, Some("bonn")));
        heard(&app, "a", None);
        app.stop(false).unwrap();
    });
}

#[test]
fn a_global_table_in_a_providers_component_is_refused() {
    let nodes = r#"{"version":1,"nodes":[{"name":"in","op":"source"},
        {"name":"places","op":"global-table-source","store":"places","key":"utf8","value":"utf8"},
        {"name":"placed","op":"stream-global-join","inputs":["in","places"],"join":"inner"}],
        "stores":[{"name":"places","kind":"key-value","key":"utf8","value":"utf8"}]}"#;
    let description: Description = serde_json::from_str(nodes).unwrap();
    let of = |own: &str| {
        let text = format!("id = \"app\"\n[state]\nprovider = \"map\"\n[providers.map]\ncomponent = \"m.wasm\"\n{own}");
        Blueprint::new(Manifest::parse(&text, "app.toml").unwrap(), &description).map(drop)
    };
    let problem = of("").unwrap_err();
    assert_eq!(problem.code, "E0201");
    assert!(problem.message.contains("[stores.places] provider"), "{problem}");
    of("[stores.places]\nprovider = \"lmdb\"").unwrap();
}

/// Its topic is another's; what a process has copied of it is the application's own.
#[test]
fn a_reset_takes_the_local_copy_and_leaves_the_topic() {
    each_log(|log| {
        let application = application(log, "lmdb");
        say(&application, 0, "a", Some("rome"));
        let app = application.start();
        heard(&app, "a", Some("rome"));
        let (own, copy) = (app.directory().path().to_owned(), app.directory().globals().path().to_owned());
        app.stop(false).unwrap();
        assert!(copy.join("data.mdb").exists());
        let topic = application.topic("shops");
        // As a component before would have left it that kept a store's changelog in this topic.
        let record = own.join("stores.json");
        let mut kept: Value = serde_json::from_str(&std::fs::read_to_string(&record).unwrap()).unwrap();
        kept["abandoned"] = serde_json::json!([&topic]);
        std::fs::write(&record, kept.to_string()).unwrap();
        let reset = Reset::look(&*log.log, &application.loaded.blueprint, &own).unwrap();
        assert!(!reset.topics.contains(&topic) && !reset.topics.is_empty(), "{reset:?}");
        assert!(reset.state.contains(&copy), "{reset:?}");
        {
            let directory = StateDirectory::open(application.state(), application.id()).unwrap();
            reset.run(&*log.log, &application.loaded, &directory, 0).unwrap();
        }
        assert!(!copy.exists());
        assert_eq!(application.read("shops").len(), 1);
        let app = application.start();
        heard(&app, "a", Some("rome"));
        app.stop(false).unwrap();
    });
}
