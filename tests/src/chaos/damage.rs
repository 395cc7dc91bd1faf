//! Ways to spoil a state file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::words::Words;
use crate::chance::Chance;

/// The data files of the tasks that have a store in this state directory, where anything is in them.
pub fn data_files(words: &Words<'_>, state_dir: &str) -> Vec<PathBuf> {
    let Ok(tasks) = std::fs::read_dir(words.mill.dir().join(state_dir).join(&words.id)) else { return Vec::new() };
    let files = tasks.map(|task| task.expect("it can be read").path());
    let is_task = |path: &PathBuf| !path.to_string_lossy().contains("quarantine");
    let mut found: Vec<PathBuf> =
        files.filter(is_task).map(|path| path.join("data.mdb")).filter(|file| has_bytes(file)).collect();
    found.sort();
    found
}

fn has_bytes(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() > 1)
}

/// One way to spoil a file.
pub type Damage = fn(&Path, &mut Chance);

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("the file is there")
}

fn truncated(path: &Path, chance: &mut Chance) {
    let file = open(path);
    let len = file.metadata().expect("a file has a length").len();
    file.set_len(1 + chance.below(len - 1)).expect("a file can be cut");
}

fn deleted(path: &Path, _: &mut Chance) {
    std::fs::remove_file(path).expect("a file can be deleted");
}

fn zeroed(path: &Path, _: &mut Chance) {
    let file = open(path);
    let len = file.metadata().expect("a file has a length").len();
    file.write_all_at(&vec![0; len as usize], 0).expect("a file can be written");
}

/// The two pages that LMDB begins with: one of them always holds.
fn begun_with_other_bytes(path: &Path, chance: &mut Chance) {
    let garbage: Vec<u8> = (0..8192).map(|_| chance.below(256) as u8).collect();
    open(path).write_all_at(&garbage, 0).expect("a file can be written");
}

pub const DAMAGES: [(&str, Damage); 4] = [
    ("truncated", truncated),
    ("deleted", deleted),
    ("zeroed", zeroed),
    ("begun with other bytes", begun_with_other_bytes),
];
