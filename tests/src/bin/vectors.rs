//! `vectors [--store memory|lmdb] FILE…`: runs case files, prints where a case differs, and how many passed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use tests::rig::Kept;
use tests::vectors::{Case, Verdict};

const USAGE: &str = "usage: vectors [--store memory|lmdb] FILE…";

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)).and_then(|(kept, files)| run(kept, &files)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<(Kept, Vec<PathBuf>)> {
    let (mut kept, mut files) = (Kept::Memory, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--store" => match words.next().as_deref() {
                Some("memory") => kept = Kept::Memory,
                Some("lmdb") => kept = Kept::Lmdb,
                other => bail!("--store {}: {USAGE}", other.unwrap_or_default()),
            },
            flag if flag.starts_with("--") => bail!("{flag}: {USAGE}"),
            file => files.push(file.into()),
        }
    }
    if files.is_empty() {
        bail!("{USAGE}");
    }
    Ok((kept, files))
}

/// Answers how many failed.
fn run(kept: Kept, files: &[PathBuf]) -> Result<usize> {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut later: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        for case in Case::read(file)? {
            match case.run(kept) {
                Ok(Verdict::Passed) => passed += 1,
                Ok(Verdict::NotInThisVersion(kind)) => {
                    *later.entry(kind).or_default() += 1;
                    skipped += 1;
                }
                Ok(Verdict::OfAnother) => skipped += 1,
                Ok(Verdict::Failed(differences)) => {
                    failed += 1;
                    println!("{}", case.id());
                    for difference in differences {
                        println!(
                            "  {}\n    expected {}\n    got      {}",
                            difference.place, difference.expected, difference.got
                        );
                    }
                }
                Err(error) => {
                    failed += 1;
                    println!("{}\n  {error:#}", case.id());
                }
            }
        }
    }
    for (kind, cases) in later {
        println!("{kind}: not in this version ({cases})");
    }
    println!(
        "{passed} passed, {failed} failed{}",
        if skipped > 0 { format!(", {skipped} skipped") } else { String::new() }
    );
    Ok(failed)
}
