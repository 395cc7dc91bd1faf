//! `millstream provider check`, and what a start refuses of `[providers.NAME]`.

use tests::guests;
use tests::logs::embedded;
use tests::millstream::Millstream;
use tests::providers::{FAULTY, file};

const FAILED: i32 = 1;
const BAD_PLAN: i32 = 78;

#[test]
fn the_kit_prints_a_row_for_each_clause_and_ends_with_1_on_a_broken_one() {
    let mill = Millstream::without_log();
    let map_store = file("plugins/map-store").unwrap();
    let rows = mill.run(&["provider", "check", map_store.to_str().unwrap(), "-o", "jsonl"]).ok().jsonl();
    assert!(rows.len() > 20, "{rows:?}");
    assert!(rows.iter().all(|row| row["ok"] == true && row["found"].is_string()), "{rows:?}");
    let names: Vec<&str> = rows.iter().map(|row| row["clause"].as_str().unwrap()).collect();
    assert!(names.contains(&"survives-a-crash") && names.contains(&"wipes-everything"), "{names:?}");

    let (faulty, config) = (file(FAULTY).unwrap(), r#"{"fault":"sorts-wrongly"}"#);
    let args = ["provider", "check", faulty.to_str().unwrap(), "--config", config, "--error-format", "json"];
    let ended = mill.run(&args);
    assert!(ended.stdout.contains("scans-in-byte-order"), "{}", ended.stdout);
    let problem = ended.fails(FAILED).problem();
    assert_eq!((&problem["error"], &problem["code"]), (&"ProviderFaulty".into(), &"E0626".into()));
    assert!(problem["clauses"].as_array().unwrap().contains(&"scans-in-byte-order".into()), "{problem}");
}

#[test]
fn what_is_no_provider_is_refused_by_name() {
    let mill = Millstream::without_log();
    std::fs::write(mill.dir().join("quiet.wasm"), guests::wat("quiet").unwrap()).unwrap();
    std::fs::write(mill.dir().join("wasi.wasm"), guests::wat("wants-wasi").unwrap()).unwrap();
    for (error, args) in [
        ("NotAProvider", &["quiet.wasm"][..]),
        ("ForbiddenImport", &["wasi.wasm"]),
        ("ComponentNotFound", &["gone.wasm"]),
    ] {
        let problem = mill.run(&[&["provider", "check", "--error-format", "json"][..], args].concat());
        assert_eq!(problem.fails(BAD_PLAN).problem()["error"], error, "{args:?}");
    }
    let usage = mill.run(&["provider", "check", "quiet.wasm", "--config", "[]", "--error-format", "json"]);
    assert_eq!(usage.fails(2).problem()["error"], "Usage");
}

#[test]
fn a_start_refuses_a_provider_that_is_none() {
    let log = embedded();
    let mill = Millstream::new(log.log.url());
    std::fs::write(mill.dir().join("quiet.wasm"), guests::wat("quiet").unwrap()).unwrap();
    for (error, provider) in [
        ("NotAProvider", "component = \"quiet.wasm\""),
        ("ComponentNotFound", "component = \"gone.wasm\""),
        ("SecretNotFound", "component = \"quiet.wasm\"\nconfig = { password = { env = \"NO_SUCH_SECRET\" } }"),
        ("BadManifest", "component = \"quiet.wasm\"\nnetwork = [\"127.0.0.1\"]"),
        ("UnknownHost", "component = \"quiet.wasm\"\nnetwork = [\"nowhere.invalid:6379\"]"),
    ] {
        mill.write("app.toml", &format!("id = \"x\"\ncomponent = \"quiet.wasm\"\n[providers.p]\n{provider}\n"));
        let problem = mill.run(&["validate", ".", "--error-format", "json"]).fails(BAD_PLAN).problem();
        assert_eq!(problem["error"], error, "{problem}");
    }
}
