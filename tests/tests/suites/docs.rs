//! What the documents say is true: their commands run as they stand, their lists are those of the code.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use millstream_engine::config::Manifest;
use tests::guests::root;
use tests::logs::KAFKA;
use tests::millstream::{BINARY, CACHE, binary};
use tests::source::{blocks, files, rust_files, text};

/// One page at a time: they share what the plugins are built into.
static RUNNING: Mutex<()> = Mutex::new(());

/// A block as a script: this build of the programs instead of one that cargo would make in the copy, an end to what
/// runs forever, and a port that is free.
fn script(block: &str, port: u16) -> String {
    let block = block.replace("cargo run --release -- ", "millstream ");
    let block = block.replace("cargo run --release -p bench -- ", "bench ").replace("8080", &port.to_string());
    let ends = |line: &str| {
        let runs_forever = line.starts_with("millstream run ") || line.starts_with("millstream dev ");
        let ends = line.contains("--until-end") || line.ends_with('&');
        if runs_forever && !ends { format!("{line} --until-end\n") } else { format!("{line}\n") }
    };
    block.lines().filter(|line| !line.starts_with("cargo build ")).map(ends).collect()
}

/// A copy of what a clone has, in which commands may leave things behind.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files(".").unwrap() {
        let to = dir.path().join(&file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(root().join(&file), to).unwrap();
    }
    dir
}

/// Builds the bench, unless all programs were built for the run.
fn build_bench() {
    if let (None, Ok(cargo)) = (std::env::var_os(BINARY), std::env::var("CARGO")) {
        let status = Command::new(cargo).args(["build", "--release", "--quiet", "-p", "bench"]).status().unwrap();
        assert!(status.success(), "the bench does not build");
    }
}

/// Runs a page's commands in a copy of the repository, in one shell, and answers what they print.
fn run_page(page: &Path, kafka: Option<&str>) -> String {
    let _one = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let blocks = blocks(&text(page).unwrap().unwrap(), "sh");
    assert!(!blocks.is_empty(), "{} has commands", page.display());
    let mut commands: String = blocks.iter().map(|block| script(block, port)).collect();
    if let Some(url) = kafka {
        commands = commands.replace("embedded:demo/log", url);
    }
    let copy = copy();
    // The plugins are compiled once for all runs, and the program is not compiled again at all.
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let ended = Command::new("bash")
        .args(["-euxo", "pipefail", "-c", &commands])
        .current_dir(copy.path())
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", root().join("target/docs"))
        .env(CACHE, root().join("target/millstream-cache"))
        .env_remove("MILLSTREAM_LOG")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{} on {kafka:?}:\n{commands}\n{out}\n{err}", page.display());
    out.into_owned()
}

#[test]
fn the_readmes_commands_run_as_written() {
    build_bench();
    let out = run_page(Path::new("README.md"), None);
    assert!(out.contains(r#""flights":4427"#), "the flights of JetBlue in January: {out}");
    let count = r#""topic":"counts""#;
    let the = out.lines().filter(|line| line.contains(count) && line.contains(r#""key":"the""#));
    assert_eq!(the.count(), 2, "every update of `the`: {out}");
    assert!(out.contains(r#"{"key":"mill","value":2,"#), "mill was seen twice: {out}");
    assert!(out.contains(r#"{"records":10000,"wall_s":"#), "the bench counted what it loaded: {out}");
}

#[test]
fn the_pages_commands_run_as_written() {
    for page in files("host/docs").unwrap() {
        if !blocks(&text(&page).unwrap().unwrap(), "sh").is_empty() {
            run_page(&page, None);
        }
    }
}

#[test]
fn the_pages_commands_run_on_kafka_too() {
    let Ok(broker) = std::env::var(KAFKA) else { return };
    run_page(Path::new("host/docs/commands.md"), Some(&format!("kafka://{broker}")));
}

#[test]
fn the_readmes_plugin_is_the_sample() {
    let sample = text(Path::new("plugins/word-count/src/lib.rs")).unwrap().unwrap();
    for block in blocks(&text(Path::new("README.md")).unwrap().unwrap(), "rust") {
        for line in block.lines() {
            assert!(sample.lines().any(|found| found == line), "the sample has no `{line}`");
        }
    }
}

#[test]
fn the_example_of_reading_in_process_is_one_that_runs() {
    let suite = text(Path::new("tests/tests/suites/in_process.rs")).unwrap().unwrap();
    let examples = blocks(&text(Path::new("host/docs/embedding.md")).unwrap().unwrap(), "rust");
    assert!(!examples.is_empty());
    for example in examples {
        assert!(suite.contains(&example), "{example}");
    }
}

/// A manifest that is shown is one, and code that is shown stands in a plugin that a suite runs, line for line.
#[test]
fn what_the_page_of_stores_shows_is_taken_as_it_is() {
    let page = text(Path::new("host/docs/stores.md")).unwrap().unwrap();
    let manifests = blocks(&page, "toml");
    assert!(!manifests.is_empty());
    for manifest in manifests {
        Manifest::parse(&manifest, "app.toml").unwrap_or_else(|problem| panic!("{problem:?}\n{manifest}"));
    }
    let plugins = [guest("stores"), guest("timed"), guest("versions"), PathBuf::from("plugins/word-count/src/lib.rs")];
    let code: String = plugins.map(|file| text(&file).unwrap().unwrap()).concat();
    for line in blocks(&page, "rust").iter().flat_map(|block| block.lines()) {
        assert!(code.lines().any(|found| found == line), "no plugin has `{line}`");
    }
}

fn guest(part: &str) -> PathBuf {
    PathBuf::from(format!("tests/guests/operators/src/{part}.rs"))
}

#[test]
fn links_lead_somewhere() {
    for page in files(".").unwrap().into_iter().filter(|file| file.extension() == Some("md".as_ref())) {
        let text = text(&page).unwrap().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if !target.contains(':') && !target.is_empty() {
                let file = root().join(&page).parent().unwrap().join(target);
                assert!(file.exists(), "{}: {link}", page.display());
            }
        }
    }
}

#[test]
fn the_list_of_errors_is_the_codes() {
    let listed: BTreeMap<String, String> = text(Path::new("host/docs/errors.md"))
        .unwrap()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("| E0"))
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        .map(|cells| (cells[1].clone(), cells[2].clone()))
        .collect();
    let thrown: BTreeSet<String> = codes().into_iter().collect();
    let codes: BTreeSet<String> = listed.keys().cloned().collect();
    assert_eq!(codes, thrown);
    let sources: String = sources().iter().map(|file| text(file).unwrap().unwrap()).collect();
    for name in listed.values().flat_map(|names| names.split(", ")) {
        assert!(sources.contains(&format!("\"{name}\"")), "no error is called {name}");
    }
}

/// Errors that no test can bring about without breaking the machine under it.
const NOT_TRIGGERED: [&str; 5] = ["E0300", "E0316", "E0609", "E0803", "E0804"];

#[test]
fn every_error_is_triggered_by_a_test() {
    let page = text(Path::new("host/docs/errors.md")).unwrap().unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| E0"));
    let is_test = |file: &PathBuf| is_suite(file) || text(file).unwrap().unwrap().contains("#[cfg(test)]");
    let tests: Vec<String> = [rust_files("tests").unwrap(), sources()]
        .concat()
        .iter()
        .filter(|file| is_test(file))
        .map(|file| tested(file))
        .collect();
    let mut untested = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (code, names) = (cells[1], cells[2].split(", "));
        let words: Vec<String> =
            names.chain([code]).flat_map(|word| [format!("\"{word}\""), format!("[{word}]")]).collect();
        let is_tested = tests.iter().any(|test| words.iter().any(|word| test.contains(word)));
        if is_tested == NOT_TRIGGERED.contains(&code) {
            untested.push(row);
        }
    }
    assert!(untested.is_empty(), "{}", untested.join("\n"));
}

/// Whether a file is a test as a whole: of a `tests` directory, or a module's `tests.rs`.
fn is_suite(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// A file's tests: all of it, or what stands behind `#[cfg(test)]`.
fn tested(file: &Path) -> String {
    let text = text(file).unwrap().unwrap();
    match is_suite(file) {
        true if file.ends_with("docs.rs") => String::new(),
        true => text,
        false => text.split_once("#[cfg(test)]").map_or_else(String::new, |(_, tests)| tests.to_owned()),
    }
}

fn sources() -> Vec<PathBuf> {
    rust_files("host").unwrap()
}

/// Every `"E0123"` of the host's sources.
fn codes() -> Vec<String> {
    let is_code =
        |word: &&str| word.len() == 5 && word.starts_with("E0") && word[1..].bytes().all(|b| b.is_ascii_digit());
    let of_text = |text: String| text.split('"').filter(is_code).map(str::to_owned).collect::<Vec<_>>();
    sources().iter().flat_map(|file| of_text(text(file).unwrap().unwrap())).collect()
}

#[test]
fn a_block_is_found_and_given_an_end() {
    let page = "x\n```sh\nmillstream run a\nmillstream run b &\n```\ntext\n```json\n{}\n```\n```sh\ncargo run --release -- dev c\n```\n";
    assert_eq!(blocks(page, "sh").len(), 2);
    assert_eq!(script(&blocks(page, "sh")[0], 1), "millstream run a --until-end\nmillstream run b &\n");
    assert_eq!(script(&blocks(page, "sh")[1], 1), "millstream dev c --until-end\n");
}

#[test]
fn the_manifests_page_has_every_key_and_no_other() {
    let page = text(Path::new("host/docs/manifest.md")).unwrap().unwrap();
    let manifest = blocks(&page, "toml").concat();
    Manifest::parse(&manifest, "app.toml").unwrap_or_else(|problem| panic!("{problem:?}"));
    let reads =
        ["get(\"", "or(\"", "map(\"", "section(\"", "raw(\"", "required(\"", "named(&mut root, \"", "section, \""];
    let mut keys = BTreeSet::new();
    let is_test = |file: &PathBuf| file.components().any(|part| part.as_os_str() == "tests");
    for file in rust_files("host/engine/src/config").unwrap().into_iter().filter(|file| !is_test(file)) {
        let code = text(&file).unwrap().unwrap();
        for read in reads {
            keys.extend(code.split(read).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    assert!(keys.len() > 40, "{keys:?}");
    // What has a dot is a topic's.
    for key in keys.iter().filter(|key| !key.contains('.')) {
        let names = [format!("{key} = "), format!("[{key}]"), format!("[{key}."), format!(".{key}.")];
        assert!(names.iter().any(|name| manifest.contains(name)), "{key} is missing on the page");
    }
}
