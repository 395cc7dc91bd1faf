//! `millstream test`: case files on a built component, what differs, and what `--update` makes of it.

use std::sync::LazyLock;

use millstream::wasm::{Compiler, Engine};
use millstream_engine::config::Limits;
use millstream_engine::record::{Headers, Record};
use millstream_engine::task::Settings;
use millstream_sdk::Plugin;
use millstream_sdk::prelude::{Context, Failure, Init, Processor, Topology};
use serde_json::{Value, json};
use tests::guests::{plugin, root};
use tests::millstream::{Millstream, Output};
use tests::rig::{Kept, Rig, Setup};

static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::new(Limits::default().stack, Compiler::in_process()).unwrap());

/// A project whose component is built already, with these case files.
fn project(guest: &str, keys: &str, files: &[(&str, &str)]) -> Millstream {
    let mill = Millstream::without_log();
    let component = plugin(&ENGINE, guest).unwrap();
    mill.write("app.toml", &format!("id = \"app\"\ncomponent = \"{}\"\n{keys}", component.display()));
    std::fs::create_dir(mill.dir().join("tests")).unwrap();
    for (name, text) in files {
        mill.write(&format!("tests/{name}"), text);
    }
    mill
}

fn words(files: &[(&str, &str)]) -> Millstream {
    project("plugins/word-count", "", files)
}

fn test(mill: &Millstream, more: &[&str]) -> Output {
    mill.run(&[&["test", ".", "--error-format", "json"], more].concat())
}

fn file(mill: &Millstream, name: &str) -> String {
    std::fs::read_to_string(mill.dir().join("tests").join(name)).unwrap()
}

fn counts(report: &Value) -> [u64; 3] {
    ["passed", "failed", "updated"].map(|name| report[name].as_u64().unwrap())
}

#[test]
fn the_cases_of_the_samples_pass() {
    for (sample, cases) in [("word-count", 3), ("flights", 3)] {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(root().join("plugins").join(sample).join("tests")).unwrap() {
            let path = entry.unwrap().path();
            files
                .push((path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()));
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let mill = project(&format!("plugins/{sample}"), "", &files);
        let report = test(&mill, &["-o", "json"]).ok().json();
        assert_eq!(counts(&report), [cases, 0, 0], "{report:#}");
        for (name, text) in files {
            assert_eq!(file(&mill, name), text, "a run without --update writes nothing");
        }
    }
}

/// All of it is read once, however many tasks look it up.
#[test]
fn a_case_gives_a_global_table_its_records_and_reads_it_once() {
    let case = r#"[[case]]
name = "shops"
partitions = 3
[[case.step]]
in = [
    { topic = "shops", key = "a", value = "rome", partition = 0 },
    { topic = "shops", key = "b", value = "bonn", partition = 2 },
    { topic = "sales", key = "k", value = "b|1", partition = 1, timestamp = 7 },
]
out.placed-sales = [{ key = "k", value = "b|1 bonn", timestamp = 7 }]
out.all-sales = [{ key = "k", value = "b|1 bonn", timestamp = 7 }]
out.read-sales = [{ key = "k", value = "b|1 of a,b bonn", timestamp = 7 }]
stores.shops = [{ key = "a", value = "rome" }, { key = "b", value = "bonn" }]
"#;
    let mill = project("tests/guests/operators", "", &[("shops.toml", case)]);
    let report = test(&mill, &["-o", "json"]).ok().json();
    assert_eq!(counts(&report), [1, 0, 0], "{report:#}");
}

#[test]
fn the_case_of_the_page_passes() {
    let page = std::fs::read_to_string(root().join("host/docs/testing.md")).unwrap();
    let case = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let report = test(&words(&[("page.toml", case)]), &["-o", "json"]).ok().json();
    assert_eq!(counts(&report), [1, 0, 0], "{report:#}");
}

const WRONG: &str = r#"# What this is about.
[[case]]
name = "two words" # and a name

# The first step.
[[case.step]]
in = [{ topic = "lines", value = "b a b", timestamp = 3 }]
out.counts = [
    # b comes first.
    { key = "b", value = 1 },
    { key = "a", value = 7 }, # a miscount
    # and this never comes
    { key = "c", value = 1 },
    { key = "b", value = 2 },
]
stores.word-counts = [{ key = "a", value = 1 }]

[[case]]
name = "one word"

[[case.step]]
in = [{ topic = "lines", value = "a" }]

[[case]]
name = "right"
[[case.step]]
in = [{ topic = "lines", value = "a" }]
out = { counts = [{ key = "a", value = 1 }] }
"#;

#[test]
fn what_differs_is_told_line_by_line() {
    let mill = words(&[("wrong.toml", WRONG)]);
    let output = test(&mill, &["-o", "text"]).fails(1);
    let expected = r#"./tests/wrong.toml:2: two words
  step 1, counts (line 8)
              {"key":"b","value":1}
    expected  {"key":"a","value":7}
    expected  {"key":"c","value":1}
    got       {"key":"a","value":1}
              {"key":"b","value":2}
  step 1, store word-counts (line 16)
              {"key":"a","value":1}
    got       {"key":"b","value":2}
./tests/wrong.toml:18: one word
  step 1, counts (line 21)
    got       {"key":"a","value":1,"timestamp":0}
1 passed, 2 failed
"#;
    assert_eq!(output.stdout, expected);
    let problem = output.problem();
    assert_eq!((&problem["error"], &problem["cases"]), (&json!("CasesFailed"), &json!(["two words", "one word"])));
    let report = test(&mill, &["-o", "json"]).fails(1).json();
    assert_eq!(counts(&report), [1, 2, 0]);
    let differs = &report["cases"][0]["differences"][0];
    assert_eq!(differs["expected"], json!([r#"{"key":"a","value":7}"#, r#"{"key":"c","value":1}"#]));
    assert_eq!(differs["got"], json!([r#"{"key":"a","value":1}"#]));
}

#[test]
fn an_update_writes_what_came_and_keeps_what_people_wrote() {
    let mill = words(&[("wrong.toml", WRONG)]);
    assert_eq!(counts(&test(&mill, &["--update", "-o", "json"]).ok().json()), [1, 0, 2]);
    let updated = WRONG
        .replace("    { key = \"a\", value = 7 }, # a miscount\n", "    { key = \"a\", value = 1 }, # a miscount\n")
        .replace("    { key = \"c\", value = 1 },\n", "")
        .replace(
            "stores.word-counts = [{ key = \"a\", value = 1 }]",
            "stores.word-counts = [{ key = \"a\", value = 1 }, { key = \"b\", value = 2 }]",
        )
        .replace(
            "in = [{ topic = \"lines\", value = \"a\" }]\n\n",
            "in = [{ topic = \"lines\", value = \"a\" }]\nout.counts = [{ key = \"a\", value = 1, timestamp = 0 }]\n\n",
        );
    assert_eq!(file(&mill, "wrong.toml"), updated);
    assert_eq!(counts(&test(&mill, &["-o", "json"]).ok().json()), [3, 0, 0]);
    // With nothing to change nothing is written.
    assert_eq!(counts(&test(&mill, &["--update", "-o", "json"]).ok().json()), [3, 0, 0]);
    assert_eq!(file(&mill, "wrong.toml"), updated);
}

#[test]
fn a_long_list_is_written_over_several_lines() {
    let case =
        "[[case]]\nname = \"n\"\n[[case.step]]\nin = [{ topic = \"lines\", value = \"a b c d\", timestamp = 1 }]\n";
    let mill = words(&[("long.toml", case)]);
    test(&mill, &["--update"]).ok();
    let rows = ["a", "b", "c", "d"].map(|key| format!("    {{ key = \"{key}\", value = 1, timestamp = 1 }},\n"));
    assert_eq!(file(&mill, "long.toml"), format!("{case}out.counts = [\n{}]\n", rows.concat()));
    test(&mill, &[]).ok();
}

#[test]
fn cases_in_the_format_of_the_vectors_run_on_the_projects_own_topology() {
    let right = r#"{"id":"right","note":"n","topology":{"kind":"group_agg"},"steps":[{"in":{"topic":"lines","key":"k","value":"a","ts":4},"out":[{"topic":"counts","key":"a","value":1,"ts":4}]}]}"#;
    let wrong = r#"{"id":"wrong","steps":[{"in":{"topic":"lines","key":null,"value":"a b","ts":4},"out":[{"key":"a","value":2,"ts":4}]}],"dropped_records_total":3,"changelog":[]}"#;
    let mill = words(&[("vectors.jsonl", &format!("{right}\n\n{wrong}\n"))]);
    let report = test(&mill, &["-o", "json"]).fails(1).json();
    assert_eq!(counts(&report), [1, 1, 0]);
    let case = &report["cases"][1];
    assert_eq!((&case["line"], &case["name"]), (&json!(3), &json!("wrong")));
    let places: Vec<&Value> = case["differences"].as_array().unwrap().iter().map(|one| &one["place"]).collect();
    assert_eq!(places, ["step 1", "dropped", "changelog"]);
    test(&mill, &["--update"]).ok();
    let lines = file(&mill, "vectors.jsonl");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[..2], [right, ""]);
    let updated: Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!(
        updated["steps"][0]["out"],
        json!([{"key": "a", "value": 1, "ts": 4}, {"key": "b", "value": 1, "ts": 4}])
    );
    assert_eq!(updated["dropped_records_total"], 0);
    // Two words on their way to where they are counted, and two counts: key, timestamp and count.
    let internal: Vec<&str> =
        updated["changelog"].as_array().unwrap().iter().map(|one| one["key_hex"].as_str().unwrap()).collect();
    assert_eq!(internal, ["61", "62", "61", "62"]);
    test(&mill, &[]).ok();
}

#[test]
fn everything_that_is_wrong_with_case_files_is_told_at_once() {
    let toml = r#"[[case]]
nam = "n"
partitions = 0
[[case.step]]
in = [{ topic = "line", value = "a" }, { topic = "lines", value = 5, vale = "b" }]
out.count = []
stores.word-counts = [{ key = "a", value = "many" }]
advnce = "5s"
[[case]]
name = "n"
[[case.step]]
advance = "5"
fails = "x"
[[case.step]]
out.counts = [{ key = "a", value = 1, headers = ["h"] }]
"#;
    let vectors = r#"{"id":"v","steps":[{"in":{"topic":"lins","key":null,"value":"a","ts":4},"ot":[]}]}"#;
    let mill = words(&[("a.toml", toml), ("b.jsonl", vectors), ("c.toml", "x = "), ("notes.md", "not one")]);
    let problem = test(&mill, &[]).fails(1).problem();
    assert_eq!((&problem["error"], &problem["code"]), (&json!("BadCaseFile"), &json!("E0510")));
    let errors = problem["errors"].as_array().unwrap();
    let shown = |error: &Value| {
        let word = |name: &str| error[name].as_str().unwrap_or("-").to_owned();
        let file = word("file");
        format!("{}:{} {} {}", file.rsplit('/').next().unwrap(), error["line"], word("key"), word("suggestion"))
    };
    let shown: Vec<String> = errors.iter().map(shown).collect();
    let expected = [
        "a.toml:1 case[0] -", // no name
        "a.toml:2 case[0].nam name",
        "a.toml:3 case[0].partitions -",
        "a.toml:5 case[0].step[0].in[0].topic lines",
        "a.toml:5 case[0].step[0].in[1].vale value",
        "a.toml:5 case[0].step[0].in[1].value -",
        "a.toml:6 case[0].step[0].out.count counts",
        "a.toml:7 case[0].step[0].stores.word-counts[0].value -",
        "a.toml:8 case[0].step[0].advnce advance",
        "a.toml:12 case[1].step[0].advance -",
        "a.toml:13 case[1].step[0].fails -",
        "a.toml:14 case[1].step[1] -",
        "a.toml:15 case[1].step[1].out.counts[0].headers -",
        "b.jsonl:1 steps[0].in.topic lines",
        "b.jsonl:1 steps[0].ot out",
        "c.toml:1  -",
    ];
    assert_eq!(shown, expected, "{errors:#?}");
}

#[test]
fn a_project_without_cases_does_not_pass() {
    for files in [&[][..], &[("README.md", "")]] {
        let problem = test(&words(files), &[]).fails(1).problem();
        assert_eq!((&problem["error"], &problem["code"]), (&json!("NoCaseFiles"), &json!("E0511")));
    }
}

#[test]
fn a_step_that_ends_the_application_never_becomes_the_expectation() {
    let step = "[[case.step]]\nin = [{ topic = \"flights\", value = '{}' }]\n";
    let case = |name: &str, more: &str| format!("[[case]]\nname = \"{name}\"\n{step}{more}");
    let text = [
        case("unexpected", ""),
        case("another", "fails = \"no such luck\"\n"),
        case("expected", "fails = \"missing field\"\n"),
        "[[case]]\nname = \"goes on\"\n[[case.step]]\nadvance = \"1s\"\nfails = \"any\"\n".to_owned(),
    ];
    let text = text.concat();
    let mill = project("plugins/flights", "", &[("fails.toml", &text)]);
    for more in [&["-o", "json"][..], &["-o", "json", "--update"]] {
        let output = test(&mill, more).fails(1);
        assert_eq!(output.problem()["cases"], json!(["unexpected", "another", "goes on"]));
        let report = output.json();
        assert_eq!(counts(&report), [1, 3, 0]);
        let got = &report["cases"][0]["differences"][0]["got"][0];
        assert!(got.as_str().unwrap().contains("missing field `carrier`"), "{got}");
        assert_eq!(file(&mill, "fails.toml"), text);
    }
}

#[test]
fn records_that_are_not_wanted_go_where_the_manifest_says() {
    let keys = "[sources.flights]\non_error = \"dead-letter:bad\"\n";
    let case = r#"[[case]]
name = "a dead letter"
dropped = 0
[[case.step]]
in = [{ topic = "flights", key = "N1", value = '{}', timestamp = 9, headers = [["h", "v"]] }]
out.bad = [{ key = "N1", value = "{}", timestamp = 9 }]
"#;
    let mill = project("plugins/flights", keys, &[("letters.toml", case)]);
    test(&mill, &[]).ok();
    mill.write("tests/letters.toml", &case.replace("timestamp = 9 }]\n", "headers = [[\"h\", \"v\"]] }]\n"));
    let output = test(&mill, &["-o", "json"]).fails(1).json();
    let got = output["cases"][0]["differences"][0]["got"][0].as_str().unwrap().to_owned();
    assert!(got.contains(r#"["h","v"],["__"#), "the letter has its own headers too: {got}");
}

/// Stores of every kind and both kinds of punctuations, in the guest that has all operators.
#[test]
fn stores_of_every_kind_are_looked_into_and_clocks_are_moved() {
    let case = r#"[[case]]
name = "timed stores"
[[case.step]]
in = [
    { topic = "timed-commands", value = "window a one", timestamp = 1000 },
    { topic = "timed-commands", value = "session b 10 20 two", timestamp = 1001 },
    { topic = "timed-commands", value = "version c three", timestamp = 1002 },
]
out.timed-answers = [
    { key = "window", value = "true" },
    { key = "session", value = "true" },
    { key = "version", value = "Latest" },
]
stores.windows = [{ key = "a", start = 1000, end = 61000, value = "one" }]
stores.sessions = [{ key = "b", start = 10, end = 20, value = "two" }]
stores.versions = [{ key = "c", value = "three", timestamp = 1002 }]

[[case]]
name = "clocks"
[[case.step]]
advance = "20ms"
out.tocks = [{ key = "tock", value = 1, timestamp = 20 }]
[[case.step]]
in = [{ topic = "moments", key = "m", value = "", timestamp = 31 }]
out.ticks = [{ key = "m", value = 31 }, { key = "tick", value = 1, timestamp = 31 }]
stores.clock = [{ key = "tick", value = 1 }, { key = "tock", value = 1 }]
"#;
    let mill = project("tests/guests/operators", "", &[("timed.toml", case)]);
    test(&mill, &[]).ok();
    mill.write("tests/timed.toml", &case.replace("end = 61000", "end = 61001").replace("start = 10,", "start = 11,"));
    let report = test(&mill, &["-o", "json"]).fails(1).json();
    assert_eq!(report["cases"][0]["differences"].as_array().unwrap().len(), 2, "{report:#}");
    test(&mill, &["--update"]).ok();
    assert!(!file(&mill, "timed.toml").contains("end = 61001"));
    test(&mill, &[]).ok();
}

struct Dice;

impl Processor<String, String, String, String> for Dice {
    fn process(
        &mut self,
        record: millstream_sdk::Record<String, String>,
        ctx: &mut Context<String, String>,
    ) -> Result<(), Failure> {
        let drawn = ctx.random().next_u64().to_string();
        ctx.forward(record.with_value(drawn));
        Ok(())
    }
}

fn dice(app: &mut Topology) {
    app.stream::<String, String>("in").process("dice", |_: &mut Init| Dice).to("out");
}

#[test]
fn a_seed_gives_a_plugin_other_random_numbers_and_always_the_same_ones() {
    let plugin = Plugin::new(dice, "{}").unwrap();
    let description = serde_json::from_str(plugin.description()).unwrap();
    let drawn = |seed: u64| {
        let setup = Setup {
            manifest: "id = \"app\"",
            description: &description,
            partitions: 1,
            settings: Settings { seed, ..Settings::default() },
            kept: Kept::Memory,
            functions: &|| Box::new(plugin.clone()),
        };
        let mut rig = Rig::open(&setup).unwrap();
        let record = Record { key: Some(b"k"), value: Some(b"v"), headers: Headers(b""), timestamp: 1 };
        (0..3).for_each(|_| rig.append("in", 0, record));
        rig.settle().unwrap();
        rig.topic("out", 0).iter().map(|record| record.text()).collect::<Vec<_>>()
    };
    assert_eq!(drawn(0).len(), 3);
    assert_eq!(drawn(7), drawn(7));
    assert!(drawn(0).iter().all(|number| !drawn(7).contains(number)));
    let mill = words(&[("case.toml", "[[case]]\nname = \"n\"\n[[case.step]]\nadvance = \"1s\"\n")]);
    assert_eq!(test(&mill, &["--seed", "7", "-o", "json"]).ok().json()["seed"], 7);
}
