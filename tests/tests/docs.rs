//! The commands of the README run as they are written, in a clone's state.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::guests::root;
use tests::millstream::binary;

/// The files that a clone has, without what builds and runs leave beside them.
fn clone_into(dir: &Path) {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git lists files");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    for name in listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = PathBuf::from(String::from_utf8(name.to_vec()).expect("names are text"));
        // A file that was moved and not committed yet is listed under its old name.
        let Ok(bytes) = fs::read(root().join(&name)) else { continue };
        fs::create_dir_all(dir.join(&name).parent().expect("below the clone")).expect("a directory");
        fs::write(dir.join(&name), bytes).expect("a copy");
    }
}

/// The lines of all `sh` blocks of a document, in order.
fn commands(document: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        match line.trim_end() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.is_empty() => commands.push(line.to_owned()),
            _ => {}
        }
    }
    commands
}

/// The host was built before the tests, so it is not built again under another path; and what goes on until it is
/// interrupted is told to end.
fn as_run(command: &str) -> String {
    let command = command.replace("cargo run --release --", "millstream");
    match command.starts_with("millstream dev") {
        true => format!("{command} --until-end"),
        false => command,
    }
}

fn run(dir: &Path, command: &str) -> Output {
    let bin = binary().parent().expect("the binary is in a directory");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", &as_run(command)])
        .current_dir(dir)
        .env("PATH", path)
        // Kept from run to run, and apart from what other tests build at the same time.
        .env("CARGO_TARGET_DIR", root().join("target/docs"))
        .env_remove("MILLSTREAM_LOG")
        .output()
        .expect("bash runs")
}

#[test]
fn the_readmes_commands_run_as_written() {
    let clone = tempfile::tempdir().expect("a temporary directory");
    clone_into(clone.path());
    let commands = commands(&fs::read_to_string(root().join("README.md")).expect("there is a README"));
    assert!(commands.len() > 5, "the README has commands: {commands:?}");
    for command in &commands {
        let output = run(clone.path(), command);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`{command}` ended with {}\n{out}\n{err}", output.status);
        if command.starts_with("millstream consume counts") {
            let the = out.lines().filter(|line| line.contains(r#""key":"the""#)).count();
            assert_eq!(the, 2, "every update of `the`: {out}");
        }
        if command.starts_with("millstream store get") {
            assert!(out.contains(r#""value":2"#), "mill was seen twice: {out}");
        }
        if command.contains(" dev ") {
            assert!(out.contains(r#""flights":4427"#), "the flights of JetBlue in January: {out}");
        }
    }
}
