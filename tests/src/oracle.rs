//! Kafka Streams beside us: cases that it makes out of a seed and executes (`oracle/`), and what became of them here.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use crate::guests::root;
use crate::rig::Kept;
use crate::vectors::{Case, Difference, Verdict};

/// How many cases wait for a free thread: the two sides take turns on two cores.
const AHEAD: usize = 32;

/// One in so many cases is run on a store provider too: its calls cost ten times the store's own.
const PROVIDER_SHARE: usize = 10;

/// What is to be drawn.
#[derive(Clone, Debug)]
pub struct Draw {
    pub seed: u64,
    pub cases: usize,
    /// Separated by commas; empty: all of them, by their shares.
    pub kinds: String,
    /// `None`: each case in memory and in LMDB, and a share of them in a provider.
    pub kept: Option<Kept>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Runs that gave what Kafka Streams gave, by store.
    pub passed: usize,
    pub cases: usize,
    pub failed: Vec<Failed>,
}

/// A case that went otherwise here.
#[derive(Debug)]
pub struct Failed {
    pub case: Case,
    pub kept: Kept,
    /// Or why it did not run.
    pub differences: Result<Vec<Difference>, String>,
}

/// Whether there is what it needs on this machine.
pub fn is_here() -> bool {
    let runs = |program: &str| {
        Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    runs("java") && (runs("mvn") || root().join("target/oracle/fetched").is_file())
}

/// Draws cases and runs each.
pub fn compare(draw: &Draw) -> Result<Outcome> {
    let mut child = start(draw)?;
    let lines = BufReader::new(child.stdout.take().context("the oracle has no output")?).lines();
    let outcome = Mutex::new(Outcome::default());
    let (send, receive) = sync_channel(AHEAD);
    let receive = Arc::new(Mutex::new(receive));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (receive, outcome) = (receive.clone(), &outcome);
            scope.spawn(move || work(&receive, draw.kept, outcome));
        }
        for (at, line) in lines.enumerate() {
            let case = Case::parse(&line?)?;
            ensure!(send.send((at, case)).is_ok(), "the threads that run cases ended");
        }
        drop(send);
        anyhow::Ok(())
    })?;
    ensure!(child.wait()?.success(), "the oracle failed; what it said is above");
    let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(outcome.cases == draw.cases, "{} cases came, {} were asked for", outcome.cases, draw.cases);
    Ok(outcome)
}

fn start(draw: &Draw) -> Result<Child> {
    let mut run = Command::new(root().join("tests/oracle/run"));
    run.args(["generate", "--seed", &draw.seed.to_string(), "--cases", &draw.cases.to_string()]);
    if !draw.kinds.is_empty() {
        run.args(["--kinds", &draw.kinds]);
    }
    run.stdout(Stdio::piped()).spawn().context("tests/oracle/run does not start")
}

fn work(cases: &Mutex<Receiver<(usize, Case)>>, kept: Option<Kept>, outcome: &Mutex<Outcome>) {
    loop {
        let next = cases.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((at, case)) = next else { return };
        let share: &[Kept] = match (kept.as_ref(), at % PROVIDER_SHARE) {
            (Some(kept), _) => std::slice::from_ref(kept),
            (None, 0) => &[Kept::Memory, Kept::Lmdb, Kept::Provider],
            (None, _) => &[Kept::Memory, Kept::Lmdb],
        };
        for kept in share {
            let differences = match case.run(*kept) {
                Ok(Verdict::Passed) => None,
                Ok(Verdict::Failed(differences)) => Some(Ok(differences)),
                Ok(other) => Some(Err(format!("{other:?}"))),
                Err(error) => Some(Err(format!("{error:#}"))),
            };
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            match differences {
                None => outcome.passed += 1,
                Some(differences) => outcome.failed.push(Failed { case: case.clone(), kept: *kept, differences }),
            }
        }
        outcome.lock().unwrap_or_else(PoisonError::into_inner).cases += 1;
    }
}

impl Outcome {
    /// Writes the cases that failed to a file that the runner of the vectors reads, each once, and answers its name.
    pub fn keep(&self, seed: u64) -> Result<PathBuf> {
        let file = root().join(format!("target/oracle/failed-{seed}.jsonl"));
        let mut out = std::fs::File::create(&file).with_context(|| file.display().to_string())?;
        let mut last = "";
        for failed in &self.failed {
            if failed.case.id() != last {
                writeln!(out, "{}", failed.case.line())?;
            }
            last = failed.case.id();
        }
        if self.failed.is_empty() {
            bail!("no case failed");
        }
        Ok(file)
    }
}

impl Failed {
    /// As the runner prints it.
    pub fn print(&self) {
        println!("{} ({:?})", self.case.id(), self.kept);
        match &self.differences {
            Err(why) => println!("  {why}"),
            Ok(differences) => {
                for Difference { place, expected, got } in differences {
                    println!("  {place}\n    expected {expected}\n    got      {got}");
                }
            }
        }
    }
}
