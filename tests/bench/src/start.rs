//! `start`: starts a program and waits for the first committed record that it puts into a topic.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use millstream::log::{self, Fetched, Isolation};
use serde_json::json;

use crate::app::ends;
use crate::usage::rounded;

const POLL: Duration = Duration::from_millis(2);

#[derive(Args)]
pub struct Start {
    #[arg(long)]
    log: String,
    /// The topic it writes
    #[arg(long)]
    out: String,
    /// End the program with kill -9 instead of asking it
    #[arg(long)]
    kill: bool,
    #[arg(long, default_value = "60")]
    patience_s: u64,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    program: Vec<String>,
}

impl Start {
    pub fn run(self) -> Result<()> {
        let log = log::open(&self.log, &log::Options::default())?;
        let mut reader = log.reader(Isolation::Committed)?;
        let from: Vec<_> = ends(&*log, &self.out)?.into_iter().map(|(at, end)| (self.out.clone(), at, end)).collect();
        reader.assign(&from)?;
        let mut fetched = Vec::new();
        // The reader is where it should be before the clock runs.
        reader.poll(Duration::from_millis(500), &mut fetched)?;
        fetched.clear();
        let (name, args) = self.program.split_first().context("no program")?;
        let start = Instant::now();
        let mut child = Command::new(name).args(args).stdout(Stdio::null()).spawn()?;
        let took = loop {
            reader.poll(POLL, &mut fetched)?;
            if fetched.iter().any(|one| matches!(one, Fetched::Records { .. })) {
                break start.elapsed();
            }
            fetched.clear();
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended before it wrote anything: {status}");
            }
            if start.elapsed() > Duration::from_secs(self.patience_s) {
                let _ = child.kill();
                bail!("nothing came within {} s", self.patience_s);
            }
        };
        match self.kill {
            true => child.kill()?,
            false => {
                let pid = i32::try_from(child.id())?;
                // SAFETY: a call without memory; the child is not waited for yet, so its id is its own.
                ensure!(unsafe { libc::kill(pid, libc::SIGTERM) } == 0, "{name} cannot be asked to end");
            }
        }
        let status = child.wait()?;
        ensure!(self.kill || status.success() || status.code() == Some(143), "{name}: {status}");
        println!("{}", json!({"start_s": rounded(took.as_secs_f64(), 3)}));
        Ok(())
    }
}
