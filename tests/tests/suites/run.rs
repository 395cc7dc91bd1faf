//! A running application from outside: `run`, `store`, `validate`, `topology` and HTTP, on each log.

use std::path::PathBuf;
use std::sync::LazyLock;

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::guests;
use tests::http::{Answer, get, request};
use tests::logs::{TestLog, each_log, eventually, unique};
use tests::millstream::{Millstream, Running};

static WORD_COUNT: LazyLock<PathBuf> = LazyLock::new(|| {
    let engine = Engine::new(Limits::default().stack, Compiler::in_process()).expect("the engine starts");
    guests::plugin(&engine, "plugins/word-count").expect("word-count builds")
});

/// An application of its own in a directory of its own, with four lines to count.
struct Words {
    mill: Millstream,
    id: String,
    lines: String,
    counts: String,
}

impl Words {
    fn on(log: &TestLog, more: &str) -> Words {
        let words = Words {
            mill: Millstream::new(log.log.url()),
            id: unique("words"),
            lines: log.topic("lines", 3),
            counts: log.topic("counts", 2),
        };
        let component = WORD_COUNT.display();
        let (id, lines, counts) = (&words.id, &words.lines, &words.counts);
        words.mill.write(
            "app.toml",
            &format!(
                "id = \"{id}\"\ncomponent = \"{component}\"\n{more}\n\
                 [sources.lines]\ntopic = \"{lines}\"\n[sinks.counts]\ntopic = \"{counts}\"\n"
            ),
        );
        words.feed(&["the mill turns", "The wheel the stone", "the mill", "turns turns"]);
        words
    }

    fn feed(&self, lines: &[&str]) {
        self.mill.run_with(&["produce", &self.lines, "--format", "kv"], lines.join("\n")).ok();
    }

    /// Every word and its count, from `store scan`.
    fn scan(&self, more: &[&str]) -> Vec<(String, i64)> {
        let rows = self.mill.run(&[&["store", "scan", ".", "word-counts"], more].concat()).ok().jsonl();
        let row =
            |row: &Value| (row["key"].as_str().unwrap_or_default().to_owned(), row["value"].as_i64().unwrap_or(-1));
        rows.iter().map(row).collect()
    }

    fn run_to_end(&self) {
        self.mill.run(&["run", ".", "--until-end"]).ok();
    }

    /// Runs it with HTTP until everything is counted.
    fn started(&self) -> (Running, String) {
        let mut running = self.mill.start(&["run", ".", "--http", "0"]);
        let address = running.address();
        eventually("ready", || (get(&address, "/readyz").status == 200).then_some(()));
        eventually("all is counted, committed and told", || {
            let status = get(&address, &format!("/v1/apps/{}/status", self.id)).json();
            let inputs =
                status["tasks"].as_array()?.iter().flat_map(|task| task["inputs"].as_array().into_iter().flatten());
            let caught_up =
                inputs.clone().count() > 0 && inputs.clone().all(|input| input["committed"] == input["end"]);
            let stores = get(&address, &format!("/v1/apps/{}/stores", self.id)).json();
            (caught_up && stores["stores"][0]["entries"] == 5).then_some(())
        });
        (running, address)
    }

    fn entry(&self, address: &str, key: &str) -> Answer {
        get(address, &format!("/v1/apps/{}/stores/word-counts/entries/{key}", self.id))
    }
}

fn all() -> Vec<(String, i64)> {
    [("mill", 2), ("stone", 1), ("the", 4), ("turns", 3), ("wheel", 1)]
        .map(|(key, count)| (key.to_owned(), count))
        .to_vec()
}

#[test]
fn a_store_is_read_from_the_running_application_and_from_what_it_left() {
    each_log(|log| {
        for more in ["", "[state]\nprovider = \"lmdb\"\n"] {
            let words = Words::on(log, more);
            words.run_to_end();
            assert_eq!(words.scan(&[]), all(), "left {more}");
            let (running, _) = words.started();
            assert_eq!(words.scan(&[]), all(), "running {more}");
            assert_eq!(words.scan(&["--reverse", "--limit", "2"]), [("wheel".to_owned(), 1), ("turns".to_owned(), 3)]);
            assert_eq!(words.scan(&["--from", "n", "--to", "the"]), [("stone".to_owned(), 1), ("the".to_owned(), 4)]);
            assert_eq!(words.scan(&["--prefix", "t"]), [("the".to_owned(), 4), ("turns".to_owned(), 3)]);
            let entry = words.mill.run(&["store", "get", ".", "word-counts", "the"]).ok().json();
            assert_eq!((&entry["key"], &entry["value"]), (&json!("the"), &json!(4)));
            assert!(entry["timestamp"].is_i64() && entry["task"].as_str().is_some_and(|task| task.starts_with("1_")));
            running.signal(Signal::INT);
            running.finish().ok();
            assert_eq!(words.scan(&[]), all(), "left again {more}");
            let listed = words.mill.run(&["store", "list", "."]).ok().json();
            assert_eq!(listed[0]["entries"], 5, "left again {more}");
            assert_eq!(listed[0]["codecs"], json!({"key": "utf8", "value": "i64"}));
            assert_eq!(listed[0]["changelog_topic"], format!("{}-word-counts-changelog", words.id));
        }
    });
}

#[test]
fn a_key_that_is_absent_and_a_store_that_is_unknown_are_errors() {
    each_log(|log| {
        let words = Words::on(log, "");
        words.run_to_end();
        let (running, _) = words.started();
        for _ in ["running", "left"] {
            let get = |store: &str, key: &str| {
                words.mill.run(&["store", "get", ".", store, key, "--error-format", "json"]).fails(1).problem()
            };
            assert_eq!(get("word-counts", "nothing")["error"], "KeyNotFound");
            assert_eq!(get("nowhere", "the")["stores"], json!(["word-counts"]));
            running.signal(Signal::TERM);
            eventually("the end", || {
                (!words.mill.dir().join(".millstream/state").join(&words.id).join("query.sock").exists()).then_some(())
            });
        }
        running.finish().ok();
    });
}

#[test]
fn other_codecs_can_be_asked_for() {
    each_log(|log| {
        let words = Words::on(log, "");
        words.run_to_end();
        let entry =
            words.mill.run(&["store", "get", ".", "word-counts", "base64:dGhl", "--value", "bytes"]).ok().json();
        assert_eq!(entry["value"], json!({"base64": "AAAAAAAAAAQ="}));
        let entry = words.mill.run(&["store", "get", ".", "word-counts", "the", "--key", "utf8"]).ok().json();
        assert_eq!((&entry["key"], &entry["value"]), (&json!("the"), &json!(4)));
        let output = words.mill.run(&["store", "scan", ".", "word-counts", "--value", "i32", "--error-format", "json"]);
        assert_eq!(output.fails(1).problem()["undecodable"], 5);
        // It has no windows and no versions.
        for more in [&["--start", "5"][..], &["--start", "5", "--end", "6"], &["--as-of", "7"]] {
            let get = [&["store", "get", ".", "word-counts", "the", "--error-format", "json"], more].concat();
            assert_eq!(words.mill.run(&get).fails(2).problem()["error"], "OtherStoreKind", "{more:?}");
        }
    });
}

#[test]
fn http_answers_status_stores_and_entries() {
    each_log(|log| {
        let words = Words::on(log, "");
        let (running, address) = words.started();
        let app = format!("/v1/apps/{}", words.id);
        let status = get(&address, &format!("{app}/status")).is(200).json();
        assert_eq!((&status["id"], &status["state"]), (&json!(words.id), &json!("RUNNING")));
        assert!(status["component"]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
        let first = json!({"id": "0_0", "state": "RUNNING", "stores": [],
            "inputs": [{"topic": words.lines, "partition": 0, "committed": status["tasks"][0]["inputs"][0]["end"], "end": status["tasks"][0]["inputs"][0]["end"]}]});
        assert_eq!(status["tasks"][0], first);
        assert_eq!(get(&address, "/v1/apps").is(200).json()["apps"][0]["id"], words.id.as_str());
        let stores = get(&address, &format!("{app}/stores")).is(200).json();
        assert_eq!((&stores["stores"][0]["kind"], &stores["stores"][0]["entries"]), (&json!("key-value"), &json!(5)));
        // Page by page, both ways.
        let entries = format!("{app}/stores/word-counts/entries");
        for (query, expected) in [
            ("", "mill stone the turns wheel"),
            ("reverse=true", "wheel turns the stone mill"),
            ("prefix=t", "the turns"),
        ] {
            let (mut keys, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = get(&address, &format!("{entries}?limit=2&{query}{cursor}")).is(200).json();
                let rows = page["entries"].as_array().expect("a page has rows");
                assert!(rows.len() <= 2, "{page}");
                keys.extend(rows.iter().map(|row| row["key"].as_str().unwrap_or_default().to_owned()));
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}").replace("=&", "&");
            }
            assert_eq!(keys.join(" "), expected, "{query}");
        }
        assert_eq!(words.entry(&address, "base64:dGhl").is(200).json()["value"], 4);
        running.signal(Signal::INT);
        running.finish().ok();
    });
}

#[test]
fn a_paused_application_keeps_its_tasks_and_its_state_and_goes_on_where_it_stood() {
    each_log(|log| {
        let words = Words::on(log, "");
        let (running, address) = words.started();
        let app = format!("/v1/apps/{}", words.id);
        let post = |verb: &str| request(&address, "POST", &format!("{app}/{verb}"), &[("host", &*address)]);
        let status = || get(&address, &format!("{app}/status")).json();
        let tasks = |status: &Value| {
            status["tasks"].as_array().unwrap().iter().map(|task| task["id"].clone()).collect::<Vec<_>>()
        };
        let mill = || get(&address, &format!("{app}/stores/word-counts/entries/mill")).json()["value"].clone();
        let before = tasks(&status());
        for _ in 0..2 {
            let paused = post("pause");
            assert_eq!((paused.status, &paused.json()["state"]), (200, &json!("PAUSED")));
        }
        words.feed(&["the mill", "mill"]);
        eventually("it has heard of them", || {
            let status = status();
            let mut inputs = status["tasks"].as_array()?.iter().flat_map(|task| task["inputs"].as_array().unwrap());
            inputs.any(|input| input["committed"] != input["end"]).then_some(())
        });
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(
            (mill(), status()["state"].clone()),
            (json!(2), json!("PAUSED")),
            "it has taken nothing, and answers"
        );
        assert_eq!(get(&address, "/readyz").status, 200);
        assert_eq!(post("resume").json()["state"], "RUNNING");
        eventually("it goes on", || (mill() == json!(4)).then_some(()));
        assert_eq!(tasks(&status()), before);
        assert_eq!(get(&address, &format!("{app}/pause")).status, 405);
        assert_eq!(post("nonsense").status, 404);
        running.signal(Signal::INT);
        running.finish().ok();
    });
}

#[test]
fn http_errors_are_problems_with_a_code() {
    each_log(|log| {
        let words = Words::on(log, "");
        let (running, address) = words.started();
        let app = format!("/v1/apps/{}", words.id);
        for (path, status, error) in [
            ("/nothing".to_owned(), 404, "NotFound"),
            ("/v1/apps/nobody/status".to_owned(), 404, "UnknownApplication"),
            (format!("{app}/stores/nowhere/entries/x"), 404, "UnknownStateStore"),
            (format!("{app}/stores/word-counts/entries/nothing"), 404, "KeyNotFound"),
            (format!("{app}/stores/word-counts/entries/base64:%2a"), 400, "InvalidRequest"),
            (format!("{app}/stores/word-counts/entries?limit=x"), 400, "InvalidRequest"),
            (format!("{app}/stores/word-counts/entries?limt=1"), 400, "InvalidRequest"),
            (format!("{app}/stores/word-counts/entries?cursor=x"), 400, "InvalidRequest"),
            // Of a task that does not hold the store, and of a key that is not asked for.
            (format!("{app}/stores/word-counts/entries?cursor=9_0.bWlsbA"), 400, "InvalidRequest"),
            (format!("{app}/stores/word-counts/entries?cursor=1_99.bWlsbA"), 400, "InvalidRequest"),
            (format!("{app}/stores/word-counts/entries?prefix=t&cursor=1_0.bWlsbA"), 400, "InvalidRequest"),
        ] {
            let answer = get(&address, &path).is(status);
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
            let problem = answer.json();
            assert_eq!((&problem["error"], &problem["status"]), (&json!(error), &json!(status)), "{path}");
            assert!(problem["code"].as_str().is_some_and(|code| code.starts_with('E')), "{path}");
        }
        request(&address, "DELETE", "/v1/apps", &[("host", &address)]).is(405);
        running.signal(Signal::INT);
        running.finish().ok();
    });
}

#[test]
fn strangers_are_not_served() {
    each_log(|log| {
        let words = Words::on(log, "");
        let (running, address) = words.started();
        let ask = |headers: &[(&str, &str)]| request(&address, "GET", "/v1/apps", headers).status;
        assert_eq!(ask(&[("host", &address), ("origin", "https://evil.example")]), 403);
        assert_eq!(ask(&[("host", "evil.example")]), 403);
        assert_eq!(ask(&[("host", &address), ("origin", &format!("http://{address}"))]), 200);
        running.signal(Signal::INT);
        running.finish().ok();
        words.mill.run(&["run", ".", "--http", "0.0.0.0:0"]).fails(2);
        words.mill.write("token", "secret\n");
        let mut running = words.mill.start(&["run", ".", "--http", "0", "--http-token", "token"]);
        let address = running.address();
        let ask = |path: &str, headers: &[(&str, &str)]| {
            request(&address, "GET", path, &[&[("host", &*address)], headers].concat())
        };
        ask("/v1/apps", &[]).is(401);
        ask("/metrics", &[("authorization", "Bearer wrong")]).is(401);
        ask("/v1/apps", &[("authorization", "Bearer secret")]).is(200);
        ask("/livez", &[]).is(200);
        running.signal(Signal::INT);
        running.finish().ok();
    });
}

#[test]
fn metrics_count_what_went_through() {
    each_log(|log| {
        let words = Words::on(log, "");
        let (running, address) = words.started();
        let answer = get(&address, "/metrics").is(200);
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
        let has = |line: String| assert!(answer.body.lines().any(|found| found == line), "{line}\n{}", answer.body);
        let (id, lines) = (&words.id, &words.lines);
        has(format!("millstream_records_consumed_total{{app=\"{id}\",topic=\"{lines}\"}} 4"));
        has(format!("millstream_store_keys{{app=\"{id}\",store=\"word-counts\"}} 5"));
        has(format!("millstream_commits_total{{app=\"{id}\",outcome=\"aborted\"}} 0"));
        assert!(answer.body.ends_with("# EOF\n"));
        running.signal(Signal::INT);
        running.finish().ok();
    });
}

#[test]
fn several_applications_share_a_process_and_an_address() {
    each_log(|log| {
        let (one, two) = (Words::on(log, ""), Words::on(log, ""));
        let other = two.mill.dir().display().to_string();
        let mut running = one.mill.start(&["run", ".", &other, "--http", "0"]);
        running.ready();
        for words in [&one, &two] {
            // Tasks come one after the other, and so do their counts.
            eventually("counted", || (words.scan(&[]) == all()).then_some(()));
        }
        running.signal(Signal::INT);
        running.finish().ok();
        one.mill.run(&["run", ".", "."]).fails(2);
    });
}

#[test]
fn one_state_directory_has_one_owner() {
    each_log(|log| {
        let words = Words::on(log, "");
        let (running, _) = words.started();
        let output = words.mill.run(&["run", ".", "--error-format", "json"]).fails(1);
        let error = output.problem()["error"].clone();
        assert!(["StateDirectoryLocked", "AlreadyRunning"].iter().any(|known| error == *known), "{error}");
        running.signal(Signal::INT);
        running.finish().ok();
    });
}

#[test]
fn validating_says_what_a_start_would_do_and_does_nothing() {
    each_log(|log| {
        let words = Words::on(log, "");
        let valid = words.mill.run(&["validate", ".", "-o", "json"]).ok().json();
        assert_eq!((&valid["id"], &valid["guarantee"]), (&json!(words.id), &json!("exactly-once")));
        let topics = valid["internal_topics"].as_array().expect("a list");
        let changelog = format!("{}-word-counts-changelog", words.id);
        let found = topics.iter().find(|topic| topic["name"] == changelog.as_str()).expect("the changelog is planned");
        assert_eq!((&found["partitions"], &found["exists"]), (&json!(3), &json!(false)));
        assert!(
            valid["limits"].as_array().is_some_and(|limits| limits.iter().all(|limit| limit["reason"].is_string()))
        );
        let described = words.mill.run(&["topics", "describe", &changelog]).fails(1);
        assert_eq!(described.stdout, "");
    });
}

#[test]
fn a_missing_source_topic_is_78_and_named() {
    each_log(|log| {
        let words = Words::on(log, "");
        words.mill.run(&["topics", "delete", &words.lines]).ok();
        for verb in ["validate", "run"] {
            let problem = eventually("the topic is gone", || {
                let output = words.mill.run(&[verb, ".", "--error-format", "json", "--log", log.log.url()]);
                (output.code == Some(78)).then(|| output.problem())
            });
            assert_eq!((&problem["error"], &problem["topic"]), (&json!("SourceTopicNotFound"), &json!(words.lines)));
        }
    });
}

#[test]
fn a_topology_is_drawn_in_four_ways() {
    each_log(|log| {
        let words = Words::on(log, "");
        let draw = |format: &str| words.mill.run(&["topology", ".", "-o", format]).ok().stdout;
        let view: Value = serde_json::from_str(&draw("json")).expect("json is JSON");
        assert_eq!(view["subtopologies"][1]["tasks"], 3);
        assert_eq!(view["subtopologies"][0]["nodes"][0]["topic"], words.lines.as_str());
        assert_eq!(view["stores"][0]["name"], "word-counts");
        let text = draw("text");
        let source = format!("   Sub-topology: 0 (3 tasks)\n    Source: lines (topics: [{}])\n      --> ", words.lines);
        assert!(text.starts_with(&format!("Topologies:\n{source}")), "{text}");
        assert!(text.contains("(stores: [word-counts])"), "{text}");
        assert!(draw("mermaid").starts_with("flowchart TD\n"));
        assert!(draw("dot").starts_with(&format!("digraph \"{}\" {{\n", words.id)));
    });
}
