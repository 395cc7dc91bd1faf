//! `vectors [--store memory|lmdb|provider|redis] FILE…`: runs case files, prints where a case differs, and how many passed.
//!
//! `vectors --draw N [--seed S] [--kinds A,B] [--store memory|lmdb|provider|redis]`: the same with fresh cases that Kafka Streams
//! makes and executes (`tests/oracle`), on all stores. Those that differ are kept in a file to run again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tests::oracle::{self, Draw, Failed};
use tests::rig::Kept;
use tests::vectors::{Case, Verdict};

const USAGE: &str =
    "usage: vectors [--store memory|lmdb|provider|redis] FILE… | vectors --draw N [--seed S] [--kinds A,B] [--store …]";

/// What is to be run.
struct Arguments {
    kept: Option<Kept>,
    files: Vec<PathBuf>,
    draw: Option<Draw>,
}

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)).and_then(run_all) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments> {
    let (mut kept, mut files, mut cases, mut seed, mut kinds) = (None, Vec::new(), None, 1, String::new());
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} without a value: {USAGE}"));
        match word.as_str() {
            "--store" => {
                kept = Some(match value()?.as_str() {
                    "memory" => Kept::Memory,
                    "lmdb" => Kept::Lmdb,
                    "provider" => Kept::Provider,
                    "redis" => Kept::Redis,
                    other => bail!("--store {other}: {USAGE}"),
                });
            }
            "--draw" => cases = Some(value()?.parse().context("--draw")?),
            "--seed" => seed = value()?.parse().context("--seed")?,
            "--kinds" => kinds = value()?,
            flag if flag.starts_with("--") => bail!("{flag}: {USAGE}"),
            file => files.push(file.into()),
        }
    }
    if files.is_empty() == cases.is_none() {
        bail!("{USAGE}");
    }
    let draw = cases.map(|cases| Draw { seed, cases, kinds, kept });
    Ok(Arguments { kept, files, draw })
}

/// Answers how many failed.
fn run_all(arguments: Arguments) -> Result<usize> {
    match arguments.draw {
        Some(draw) => drawn(&draw),
        None => run(arguments.kept.unwrap_or(Kept::Memory), &arguments.files),
    }
}

fn drawn(draw: &Draw) -> Result<usize> {
    let outcome = oracle::compare(draw)?;
    outcome.failed.iter().for_each(Failed::print);
    println!("{} cases: {} runs passed, {} failed", outcome.cases, outcome.passed, outcome.failed.len());
    if !outcome.failed.is_empty() {
        println!("the cases are in {}", outcome.keep(draw.seed)?.display());
    }
    Ok(outcome.failed.len())
}

fn run(kept: Kept, files: &[PathBuf]) -> Result<usize> {
    let (mut passed, mut failed, mut of_another) = (0, 0, 0);
    let mut later: BTreeMap<String, usize> = BTreeMap::new();
    // One server for all cases.
    let _redis = (kept == Kept::Redis).then(tests::redis::shared);
    for file in files {
        for case in Case::read(file)? {
            match case.run(kept) {
                Ok(Verdict::Passed) => passed += 1,
                Ok(Verdict::NotInThisVersion(kind)) => *later.entry(kind).or_default() += 1,
                Ok(Verdict::OfAnother) => of_another += 1,
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
    if of_another > 0 {
        println!("{of_another} skipped: another system's own answers");
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed)
}
