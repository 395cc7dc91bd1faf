//! The manifests that the page of stores shows, each as it stands, run: beside the components that they name.

use std::path::Path;

use millstream::log::NewTopic;
use millstream_engine::config::Manifest;
use rustix::process::Signal;
use serde_json::Value;
use tests::http::get;
use tests::logs::{TestLog, compacted_topic, embedded, eventually, new_topic};
use tests::millstream::{Millstream, Running};
use tests::redis::{self, Redis};
use tests::source::{blocks, text};
use tests::{guests, providers};

/// What the page has in place of an address, and in place of a password.
const SERVER: &str = "127.0.0.1:6379";
const PASSWORD: &str = "not-on-the-page";

/// All that any of them names, beside this one.
fn project(log: &TestLog, manifest: &str) -> Millstream {
    let mill = Millstream::new(log.log.url());
    let engine = providers::engine().unwrap();
    for (name, file) in [
        ("words.wasm", guests::plugin(engine, "plugins/word-count").unwrap()),
        ("flights.wasm", guests::plugin(engine, "plugins/flights").unwrap()),
        ("map-store.wasm", providers::file("plugins/map-store").unwrap()),
        ("redis-store.wasm", providers::file(redis::STORE).unwrap()),
    ] {
        std::fs::copy(file, mill.dir().join(name)).unwrap();
    }
    mill.write("app.toml", manifest);
    mill
}

/// With the secrets that the page's manifests take from the environment.
fn start(mill: &Millstream, verb: &[&str]) -> Running {
    mill.start_with(verb, |command| {
        command.env("STORE_PASSWORD", PASSWORD).env("REDIS_PASSWORD", PASSWORD);
    })
}

/// The topics that its users have, and those that a start may not make itself.
fn create_topics(log: &TestLog, mill: &Millstream, is_words: bool) {
    let sources = match is_words {
        true => vec![new_topic("lines", 2), new_topic("counts", 2)],
        false => {
            let named = ["flights", "airport-delays", "carrier-delays"].map(|name| new_topic(name, 2));
            named.into_iter().chain([compacted_topic("airlines", 2)]).collect()
        }
    };
    sources.iter().for_each(|topic| log.log.create(topic).unwrap());
    let planned = start(mill, &["changelogs", "plan", ".", "-o", "json"]).finish().ok().json();
    for topic in planned.as_array().unwrap().iter().filter(|topic| topic["exists"] == false) {
        let configs = topic["configs"].as_object().unwrap().iter();
        let configs = configs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        let (name, partitions) = (topic["topic"].as_str().unwrap(), topic["partitions"].as_i64().unwrap());
        log.log.create(&NewTopic { configs, ..new_topic(name, partitions as i32) }).unwrap();
    }
}

/// Runs it until all of its tasks do, and the words that come are counted.
fn run(log: &TestLog, manifest: &str) {
    let id = Manifest::parse(manifest, "app.toml").unwrap().id;
    let (mill, is_words) = (project(log, manifest), id == "words");
    create_topics(log, &mill, is_words);
    if is_words {
        log.produce("lines", 0, &["the mill turns the wheel"]);
    }
    let mut running = start(&mill, &["run", ".", "--http", "0"]);
    let address = running.ready();
    eventually("all tasks run", || {
        let status = get(&address, &format!("/v1/apps/{id}/status")).is(200).json();
        let tasks = status["tasks"].as_array().unwrap();
        let runs = |task: &Value| task["state"] == "RUNNING";
        (status["state"] == "RUNNING" && !tasks.is_empty() && tasks.iter().all(runs)).then_some(())
    });
    if is_words {
        eventually("the words are counted", || {
            let answer = get(&address, "/v1/apps/words/stores/word-counts/entries/the");
            (answer.status == 200 && answer.json()["value"] == 2).then_some(())
        });
    }
    running.signal(Signal::TERM);
    running.finish().ok();
}

#[test]
fn what_the_page_of_stores_shows_runs_as_it_stands() {
    let page = text(Path::new("host/docs/stores.md")).unwrap().unwrap();
    let server = Redis::with(&format!("requirepass {PASSWORD}\n"));
    let manifests = blocks(&page, "toml");
    assert!(manifests.len() > 5, "{manifests:?}");
    for manifest in manifests {
        println!("{manifest}");
        run(&embedded(), &manifest.replace(SERVER, &server.address().to_string()));
    }
}
