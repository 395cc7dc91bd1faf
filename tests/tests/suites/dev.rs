//! `dev`: a plugin project that is built, fed, run, changed and run again, on an embedded log.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::guests::root;
use tests::logs::eventually;
use tests::millstream::{Millstream, Running};

/// A plugin that counts what `word` makes of each line.
fn source(word: &str) -> String {
    format!(
        "use millstream_sdk::prelude::*;\n\
         fn topology(app: &mut Topology) {{\n\
             app.stream::<(), String>(\"lines\").group_by(|_, line| word(line)).count(\"counts\").to_stream().to(\"out\");\n\
         }}\n\
         fn word(line: &str) -> String {{ {word} }}\n\
         millstream_sdk::plugin!(topology);\n"
    )
}

const AS_IT_IS: &str = "line.to_owned()";

/// A project outside of the workspace. Its builds share one target directory, so that only the first one is long;
/// their names keep what comes out apart.
fn project() -> Millstream {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mill = Millstream::without_log();
    let (sdk, target) = (root().join("sdk/rust"), root().join("target/dev-tests"));
    let cargo = format!(
        "[package]\nname = \"dev-test-{number}\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n\
         [dependencies]\nmillstream-sdk = {{ path = \"{}\" }}\n[workspace]\n",
        sdk.display()
    );
    for dir in ["src", "data", ".cargo"] {
        std::fs::create_dir(mill.dir().join(dir)).expect("a directory can be made");
    }
    mill.write("Cargo.toml", &cargo);
    mill.write(".cargo/config.toml", &format!("[build]\ntarget-dir = \"{}\"\n", target.display()));
    std::fs::copy(root().join("Cargo.lock"), mill.dir().join("Cargo.lock")).expect("the lock file can be copied");
    mill.write("src/lib.rs", &source(AS_IT_IS));
    mill.write("data/lines.jsonl", "{\"value\":\"a\"}\n{\"value\":\"b\"}\n{\"value\":\"a\"}\n");
    mill.write(
        "app.toml",
        "id = \"dev-test\"\n[state]\nprovider = \"lmdb\"\n\
         [dev.topics.lines]\npartitions = 2\nfile = \"data/lines.jsonl\"\n",
    );
    mill
}

fn produce(mill: &Millstream, line: &str) {
    mill.run_with(&["produce", "lines", "--format", "kv"], format!("{line}\n")).ok();
}

/// The count of a key, once it is this.
fn until_counted(mill: &Millstream, key: &str, count: i64) {
    eventually(&format!("{key} is counted {count} times"), || {
        let output = mill.run(&["store", "get", ".", "counts", key]);
        (output.code == Some(0) && output.json()["value"] == count).then_some(())
    });
}

/// Saves another source and waits until `dev` says this, after what it had said before.
fn save(mill: &Millstream, running: &mut Running, word: &str, says: &str) {
    let before = running.until_it_says(|said| Some(said.len()));
    mill.write("src/lib.rs", &source(word));
    running.until_it_says(|said| said.get(before..)?.contains(says).then_some(()));
}

#[test]
fn a_project_is_fed_once_and_keeps_its_state_over_a_restart() {
    let mill = project();
    let totals = mill.run(&["dev", ".", "--until-end"]).ok().json();
    assert_eq!(totals["state"], "RUNNING");
    let input = totals["inputs"].as_array().and_then(|all| all.iter().find(|input| input["topic"] == "lines"));
    assert_eq!(input, Some(&json!({"topic": "lines", "committed": 3, "lag": 0})));
    assert_eq!(totals["outputs"], json!([{"topic": "out", "records": 3}]));
    let counts = |totals: &Value| -> Vec<(Value, Value)> {
        let rows = totals["stores"][0]["rows"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| (row["key"].clone(), row["value"].clone())).collect()
    };
    assert_eq!(counts(&totals), [(json!("a"), json!(2)), (json!("b"), json!(1))]);
    let again = mill.run(&["dev", ".", "--until-end"]).ok().json();
    assert_eq!(again, totals);
    produce(&mill, "b");
    let more = mill.run(&["dev", ".", "--until-end"]).ok().json();
    assert_eq!(counts(&more), [(json!("a"), json!(2)), (json!("b"), json!(2))]);
}

#[test]
fn a_feeding_that_was_cut_off_begins_anew() {
    let mill = project();
    mill.run(&["topics", "create", "lines", "--partitions", "2"]).ok();
    produce(&mill, "half");
    std::fs::create_dir_all(mill.dir().join(".millstream/dev")).expect("a directory can be made");
    mill.write(".millstream/dev/lines.feeding", "");
    let totals = mill.run(&["dev", ".", "--until-end"]).ok().json();
    assert_eq!(totals["outputs"], json!([{"topic": "out", "records": 3}]));
}

#[test]
fn a_saved_change_runs_on_the_same_state_and_a_bad_one_does_not_stop_the_good_one() {
    let mill = project();
    let mut running = mill.start(&["dev", "."]);
    until_counted(&mill, "a", 2);
    // It does not compile: the old one goes on.
    save(&mill, &mut running, "line.nonsense()", "error[E0321]");
    produce(&mill, "b");
    until_counted(&mill, "b", 2);
    // It traps at its first record: the old one takes over, and the record is not lost.
    save(&mill, &mut running, "panic!(\"no\")", "the new build runs");
    produce(&mill, "c");
    running.until_it_says(|said| said.contains("the build before it runs again").then_some(()));
    until_counted(&mill, "c", 1);
    // A good one, on what was counted so far.
    save(&mill, &mut running, "line.to_lowercase()", "the new build runs");
    produce(&mill, "A");
    until_counted(&mill, "a", 3);
    running.signal(Signal::INT);
    let totals = running.finish().ok().json();
    assert_eq!(totals["stores"][0]["entries"], 3);
}

#[test]
fn a_first_build_that_fails_waits_for_the_next_save() {
    let mill = project();
    mill.write("src/lib.rs", &source("line.nonsense()"));
    let mut running = mill.start(&["dev", "."]);
    running.until_it_says(|said| said.contains("error[E0321]").then_some(()));
    save(&mill, &mut running, AS_IT_IS, "it runs");
    until_counted(&mill, "a", 2);
    running.signal(Signal::INT);
    assert_eq!(running.finish().ok().json()["stores"][0]["entries"], 2);
    // With an end in sight there is nobody who would save.
    mill.write("src/lib.rs", &source("line.nonsense()"));
    let ended = mill.run(&["dev", ".", "--until-end", "--error-format", "json"]).fails(1);
    assert_eq!((&ended.problem()["error"], &*ended.stdout), (&json!("BuildFailed"), ""));
}

#[test]
fn a_build_that_traps_before_its_first_commit_is_replaced_whatever_the_policy() {
    let mill = project();
    let manifest = std::fs::read_to_string(mill.dir().join("app.toml")).expect("the manifest is there");
    mill.write("app.toml", &manifest.replacen("\n", "\non_error = \"skip\"\n", 1));
    let mut running = mill.start(&["dev", "."]);
    until_counted(&mill, "a", 2);
    // In place of what runs.
    save(&mill, &mut running, "panic!(\"no\")", "the new build runs");
    produce(&mill, "c");
    running.until_it_says(|said| said.contains("error[E0812]").then_some(()));
    running.until_it_says(|said| said.contains("the build before it runs again").then_some(()));
    // Not skipped: the good build has it.
    until_counted(&mill, "c", 1);
    // Running tasks cannot go on with one sink more: it is started anew.
    let lines = "app.stream::<(), String>(\"lines\")";
    let more = format!("let lines = {lines}; lines.to(\"more\"); lines");
    mill.write("src/lib.rs", &source("panic!(\"no\")").replace(lines, &more));
    running.until_it_says(|said| (said.matches("the new build runs").count() == 2).then_some(()));
    produce(&mill, "c");
    running.until_it_says(|said| said.contains("error[E0805]").then_some(()));
    until_counted(&mill, "c", 2);
    // One that has proven itself is under its policy again.
    let picky = "if line == \"x\" { panic!(\"no\") } line.to_owned()";
    save(&mill, &mut running, picky, "the new build runs");
    mill.run_with(&["produce", "lines", "--format", "kv"], "c\n".repeat(100)).ok();
    until_counted(&mill, "c", 102);
    produce(&mill, "x");
    produce(&mill, "c");
    until_counted(&mill, "c", 103);
    running.signal(Signal::INT);
    assert_eq!(running.finish().ok().json()["stores"][0]["entries"], 3);
}

#[test]
fn a_bad_line_of_a_file_to_feed_is_named() {
    let mill = project();
    mill.write("data/lines.jsonl", "{\"value\":\"a\"}\n{\"valu\":\"b\"}\n");
    let problem = mill.run(&["dev", ".", "--until-end", "--error-format", "json"]).fails(1).problem();
    assert_eq!((&problem["error"], &problem["line"]), (&json!("InvalidRecord"), &json!(2)));
    mill.write("data/lines.jsonl", "{\"value\":\"a\"}\n");
    assert_eq!(mill.run(&["dev", ".", "--until-end"]).ok().json()["outputs"], json!([{"topic": "out", "records": 1}]));
}
