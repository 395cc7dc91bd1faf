//! The repository keeps itself tidy: files a reader can hold, nothing unfinished, nothing of the machine it was
//! written on.

use std::path::Path;

use tests::source::{files, rust_files, text, tokens};

/// A file longer than this holds two things.
const LINES_MAX: usize = 500;

const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Paths of one machine and hosts that tools talk to. In halves, so that this file is no finding of its own.
const FOREIGN: [[&str; 2]; 11] = [
    ["/wo", "rk/"],
    ["/ro", "ot/"],
    ["/ho", "me/"],
    ["/tm", "p/"],
    ["index.cra", "tes.io"],
    ["static.cra", "tes.io"],
    ["registry.npm", "js.org"],
    ["repo1.ma", "ven.org"],
    ["repo.maven.apa", "che.org"],
    ["files.python", "hosted.org"],
    ["deb.deb", "ian.org"],
];

#[test]
fn no_file_is_too_long_to_hold() {
    let mut wrong = Vec::new();
    for file in ["host", "sdk"].into_iter().flat_map(|dir| files(dir).unwrap()) {
        let lines = text(&file).unwrap().map_or(0, |text| text.lines().count());
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines, at most {LINES_MAX}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    let mut wrong = Vec::new();
    for file in ["host", "sdk", "plugins", "tests"].into_iter().flat_map(|dir| rust_files(dir).unwrap()) {
        for pair in tokens(&file).unwrap().windows(2) {
            if UNFINISHED.contains(&&*pair[0].text) && pair[1].text == "!" {
                wrong.push(format!("{}:{}: {}!", file.display(), pair[0].line, pair[0].text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    let mut wrong = Vec::new();
    for file in files(".").unwrap() {
        let Some(text) = text(&file).unwrap() else { continue };
        for (number, line) in text.lines().enumerate() {
            let found = FOREIGN.iter().map(|halves| halves.concat()).find(|foreign| line.contains(foreign));
            wrong.extend(found.map(|foreign| format!("{}:{}: {foreign}", file.display(), number + 1)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_root_holds_what_the_readme_says_and_no_more() {
    let mut found: Vec<_> = std::fs::read_dir(tests::guests::root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    found.sort();
    let expected = ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "host", "plugins", "rust-toolchain.toml"];
    assert_eq!(found, [&expected[..], &["sdk", "tests", "wit"]].concat());
    assert!(Path::new(tests::guests::root()).join(".ci/run").is_file());
}
