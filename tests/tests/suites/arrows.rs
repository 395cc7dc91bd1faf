//! Arrows point down: a room uses rooms of lower rank and no other, each heavy dependency has its own room, and the
//! engine knows no input or output. The ranks are the tables in the two `lib.rs`; there is no second list.

use std::collections::BTreeMap;
use std::path::Path;

use tests::source::{Token, rust_files, text, tokens, tokens_of};

const CRATES: [&str; 2] = ["host/engine/src", "host/src"];

/// Who may name what. Everyone else speaks to the room.
const HOMES: [(&str, &[&str]); 6] = [
    ("heed", &["host/src/lmdb/", "host/src/log/embedded/"]),
    ("rdkafka", &["host/src/log/kafka/"]),
    ("wasmtime", &["host/src/wasm/"]),
    ("wasmtime_wasi", &["host/src/wasm/provider/"]),
    ("tokio", &["host/src/cli/", "host/src/api/", "host/src/app/", "host/src/wasm/provider/"]),
    ("axum", &["host/src/cli/", "host/src/api/", "host/src/app/"]),
];

/// What the engine may depend on: nothing here opens, listens, waits or asks the time.
const PURE: [&str; 11] = [
    "base64",
    "bytesize",
    "hashbrown",
    "humantime",
    "murmur2",
    "regex-lite",
    "serde",
    "serde_json",
    "strsim",
    "thiserror",
    "toml",
];

/// What of the standard library the engine does without.
const IMPURE: [&[&str]; 8] = [
    &["std", "::", "fs"],
    &["std", "::", "net"],
    &["std", "::", "env"],
    &["std", "::", "process"],
    &["std", "::", "thread"],
    &["Instant", "::", "now"],
    &["SystemTime", "::", "now"],
    &["RandomState", "::", "new"],
];

#[test]
fn rooms_use_only_rooms_below_them() {
    let mut wrong = Vec::new();
    for dir in CRATES {
        let ranks = ranks(&text(&Path::new(dir).join("lib.rs")).unwrap().unwrap());
        for file in rust_files(dir).unwrap() {
            let place = Place::of(dir, &file);
            let uses = if place.room == "lib" { Vec::new() } else { uses(&ranks, &place, &tokens(&file).unwrap()) };
            for (used, line) in uses {
                let problem = objection(&ranks, &place.room, &used);
                wrong.extend(problem.map(|problem| format!("{}:{line}: {problem}", file.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_has_a_rank_and_every_rank_a_room() {
    for dir in CRATES {
        let lib = text(&Path::new(dir).join("lib.rs")).unwrap().unwrap();
        let listed: Vec<String> = ranks(&lib).into_keys().collect();
        let mut declared: Vec<&str> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")).collect();
        declared.sort();
        assert_eq!(declared, listed.iter().map(|room| format!("{room};")).collect::<Vec<_>>(), "{dir}/lib.rs");
    }
}

#[test]
fn the_two_logs_do_not_know_each_other() {
    for (dir, other) in [("host/src/log/kafka", "embedded"), ("host/src/log/embedded", "kafka")] {
        for file in rust_files(dir).unwrap() {
            let tokens = tokens(&file).unwrap();
            let named = tokens.windows(2).find(|pair| pair[0].text == "::" && pair[1].text == other);
            assert!(named.is_none(), "{}: {named:?}", file.display());
        }
    }
}

#[test]
fn each_heavy_dependency_is_named_in_its_own_room_only() {
    let mut wrong = Vec::new();
    for file in CRATES.into_iter().flat_map(|dir| rust_files(dir).unwrap()) {
        let tokens = tokens(&file).unwrap();
        for (dependency, homes) in HOMES {
            let path = file.to_str().unwrap();
            if homes.iter().any(|home| path.starts_with(home)) {
                continue;
            }
            let found = names(&tokens, dependency);
            wrong.extend(found.map(|line| format!("{path}:{line}: {dependency} belongs to {}", homes.join(", "))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_depends_on_pure_crates_only() {
    let manifest: toml::Table = text(Path::new("host/engine/Cargo.toml")).unwrap().unwrap().parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    let impure: Vec<_> = dependencies.keys().filter(|name| !PURE.contains(&name.as_str())).collect();
    assert!(impure.is_empty(), "the engine depends on {impure:?}");
    assert!(!manifest.contains_key("build-dependencies") && !manifest.contains_key("target"));
}

#[test]
fn the_engine_does_no_input_and_output() {
    let mut wrong = Vec::new();
    for file in rust_files("host/engine/src").unwrap() {
        let tokens = tokens(&file).unwrap();
        for path in IMPURE {
            let found =
                tokens.windows(path.len()).find(|run| run.iter().map(|token| &*token.text).eq(path.iter().copied()));
            wrong.extend(found.map(|run| format!("{}:{}: {}", file.display(), run[0].line, path.concat())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// === ranks ===

/// Room → rank, from the table in a `lib.rs`: `//! | 6 | [`log`], [`wasm`] | … |`.
fn ranks(lib: &str) -> BTreeMap<String, u32> {
    let mut ranks = BTreeMap::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! |")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Ok(rank) = cells[0].parse() else { continue };
        for room in cells[1].split('`').skip(1).step_by(2) {
            assert_eq!(ranks.insert(room.to_owned(), rank), None, "{room} has two ranks");
        }
    }
    ranks
}

fn objection(ranks: &BTreeMap<String, u32>, user: &str, used: &str) -> Option<String> {
    if user == used {
        return None;
    }
    let (Some(own), Some(theirs)) = (ranks.get(user), ranks.get(used)) else {
        return Some(format!("{user} uses {used}, and one of them is no room of the table"));
    };
    match own.cmp(theirs) {
        std::cmp::Ordering::Greater => None,
        std::cmp::Ordering::Equal => Some(format!("{user} uses its sibling {used} (rank {own})")),
        std::cmp::Ordering::Less => Some(format!("{user} (rank {own}) uses {used} (rank {theirs}) above it")),
    }
}

// === uses ===

/// Where a file stands in its crate.
struct Place {
    room: String,
    /// How many `super` lead from the file's module to the crate's root.
    depth: usize,
}

impl Place {
    fn of(dir: &str, file: &Path) -> Place {
        let inside = file.strip_prefix(dir).unwrap().with_extension("");
        let mut module: Vec<&str> = inside.iter().map(|part| part.to_str().unwrap()).collect();
        if module.len() > 1 && module.last() == Some(&"mod") {
            module.pop();
        }
        Place { room: module[0].to_owned(), depth: module.len() }
    }
}

/// The rooms that a file names: by `crate::room`, by `crate::{room, …}`, or by enough `super::`. A module inside the
/// file has one `super` more, so there only what is called like a room counts.
fn uses(ranks: &BTreeMap<String, u32>, place: &Place, tokens: &[Token]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let is_path = |at: usize| tokens.get(at).is_some_and(|token| token.text == "::");
    for at in 0..tokens.len() {
        match &*tokens[at].text {
            "crate" if is_path(at + 1) => found.extend(heads(&tokens[at + 2..])),
            "super" if at == 0 || !is_path(at - 1) => {
                let supers = (0..).take_while(|i| {
                    tokens.get(at + 2 * i).is_some_and(|token| token.text == "super") && is_path(at + 2 * i + 1)
                });
                let supers = supers.count();
                if supers >= place.depth {
                    let heads = heads(&tokens[at + 2 * supers..]);
                    found.extend(heads.into_iter().filter(|(head, _)| ranks.contains_key(head)));
                }
            }
            _ => {}
        }
    }
    found
}

/// The first names of the paths that begin here: one, or those of a group.
fn heads(tokens: &[Token]) -> Vec<(String, usize)> {
    let Some(first) = tokens.first() else { return Vec::new() };
    if first.text != "{" {
        return vec![(first.text.clone(), first.line)];
    }
    let (mut depth, mut begins, mut heads) = (0, false, Vec::new());
    for token in tokens {
        match &*token.text {
            "{" => (depth, begins) = (depth + 1, depth == 0),
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => begins = depth == 1,
            _ if begins => {
                heads.push((token.text.clone(), token.line));
                begins = false;
            }
            _ => {}
        }
    }
    heads
}

/// The lines where a path begins with this crate's name.
fn names(tokens: &[Token], name: &str) -> impl Iterator<Item = usize> {
    let text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |token| &*token.text);
    (0..tokens.len()).filter_map(move |at| {
        let before = text(at.checked_sub(1));
        let begins = tokens[at].text == name && before != "." && (before != "::" || text(at.checked_sub(2)).is_empty());
        let is_crate = text(Some(at + 1)) == "::" || before == "use" || before == "crate";
        (begins && is_crate).then_some(tokens[at].line)
    })
}

// === that these tests can fail ===

const TABLE: &str = "//! | rank | room | holds |\n//! |---|---|---|\n//! | – | `engine` | |\n\
                     //! | 1 | [`lmdb`], `desk` | |\n//! | 2 | [`log`] | |\n";

#[test]
fn an_arrow_up_or_sideways_is_found_however_it_is_written() {
    let ranks = ranks(TABLE);
    let found = |path: &str, code: &str| {
        let place = Place::of("src", Path::new(path));
        let uses = uses(&ranks, &place, &tokens_of(code).unwrap());
        uses.iter().filter_map(|(used, _)| objection(&ranks, &place.room, used)).collect::<Vec<_>>()
    };
    let up = "lmdb (rank 1) uses log (rank 2) above it";
    let sideways = "lmdb uses its sibling desk (rank 1)";
    assert_eq!(found("src/lmdb/mod.rs", "use crate::log::Record;"), [up]);
    assert_eq!(found("src/lmdb/mod.rs", "use super::log;"), [up]);
    assert_eq!(found("src/lmdb/base.rs", "use super::super::log;"), [up]);
    assert_eq!(found("src/lmdb.rs", "fn f() { let a = crate::log::f(1); }"), [up]);
    assert_eq!(found("src/lmdb.rs", "macro!(crate::log::f)"), [up]);
    assert_eq!(found("src/lmdb/base.rs", "use crate::{lmdb::{a, b}, desk::X, log};"), [sideways, up]);
    assert_eq!(found("src/lmdb.rs", "use crate::attic;"), ["lmdb uses attic, and one of them is no room of the table"]);
    let fine =
        "//! [`crate::log`]\nuse crate::lmdb; use crate::desk; use super::super::lmdb; fn f() { \"crate::log\"; }";
    assert_eq!(found("src/log/mod.rs", fine), [""; 0]);
    assert_eq!(found("src/lmdb/base.rs", "use super::log; // a module of lmdb's own"), [""; 0]);
}

#[test]
fn a_heavy_dependency_is_found_however_it_is_named() {
    let lines = |code: &str| names(&tokens_of(code).unwrap(), "heed").collect::<Vec<_>>();
    assert_eq!(
        lines("use heed::Env;\nuse heed;\nextern crate heed;\nfn f(e: heed::Error, g: ::heed::Env) {}"),
        [1, 2, 3, 4, 4]
    );
    assert_eq!(lines("// heed::Env\nlet heed = self.heed; crate::heed::f(); \"heed::Env\""), [0; 0]);
}
