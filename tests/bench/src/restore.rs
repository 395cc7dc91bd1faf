//! `restore`: counts a topic once, then drops the local state and starts again, some times.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use serde::Serialize;

use crate::app::{self, Prepared, Setup};
use crate::count::until_committed;
use crate::usage::{cpu, cpu_of, memory_mib, rate, rounded};

/// How often it is looked whether all stores are whole.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Args)]
pub struct Restore {
    #[command(flatten)]
    setup: Setup,
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// A command of the shell, run before each restore: what empties a provider that outlives this process
    #[arg(long, value_name = "COMMAND")]
    emptied_by: Option<String>,
    /// The process behind a provider, whose CPU is told beside our own
    #[arg(long, value_name = "PID")]
    server: Option<u32>,
}

/// Wall and CPU run from the first changelog record taken to the moment at which all stores are whole.
#[derive(Serialize)]
struct Line {
    records: u64,
    wall_s: f64,
    cpu_s: f64,
    per_cpu_s: f64,
    per_s: f64,
    start_to_whole_s: f64,
    total_cpu_s: f64,
    peak_rss_mib: f64,
    /// Of the server, from our start until we saw that all is whole, to the kernel's hundredth of a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_s: Option<f64>,
}

impl Restore {
    pub fn run(self) -> Result<()> {
        let (state_dir, _guard) = app::state_dir(self.setup.state_dir.as_ref())?;
        let prepared = self.setup.prepare(&state_dir)?;
        ensure!(prepared.records > 0, "topic {} is empty", self.setup.topic);
        let metered = prepared.metered(&self.setup.topic);
        let counted = until_committed(prepared.start(&metered)?, &metered)?;
        counted.stop(false).map_err(|problem| anyhow!("{problem}"))?;
        for _ in 0..self.runs {
            std::fs::remove_dir_all(&state_dir)?;
            self.empty()?;
            println!("{}", serde_json::to_string(&self.restore(&prepared)?)?);
        }
        Ok(())
    }

    fn empty(&self) -> Result<()> {
        let Some(command) = &self.emptied_by else { return Ok(()) };
        // What it says is not our line.
        let told = Command::new("sh").args(["-c", command]).output()?;
        ensure!(told.status.success(), "{command}: {}", String::from_utf8_lossy(&told.stderr));
        Ok(())
    }

    fn restore(&self, prepared: &Prepared) -> Result<Line> {
        let metered = prepared.metered(&self.setup.topic);
        let (started, served) = (Instant::now(), self.server.map(cpu_of).transpose()?);
        let app = prepared.start(&metered)?;
        while !app.is_at_end().map_err(|problem| anyhow!("{problem}"))? {
            ensure!(!app.has_ended(), "the application ended while it restored");
            std::thread::sleep(LOOK);
        }
        let served = self.server.map(cpu_of).transpose()?.zip(served).map(|(now, before)| now.saturating_sub(before));
        app.stop(false).map_err(|problem| anyhow!("{problem}"))?;
        let notes = metered.notes();
        let (first, last) = notes.restore_first.zip(notes.restore_last).ok_or_else(|| anyhow!("nothing to restore"))?;
        let (wall, used) = (last.at - first.at, last.cpu - first.cpu);
        Ok(Line {
            records: notes.restored,
            wall_s: rounded(wall.as_secs_f64(), 3),
            cpu_s: rounded(used.as_secs_f64(), 3),
            per_cpu_s: rate(notes.restored, used),
            per_s: rate(notes.restored, wall),
            start_to_whole_s: rounded((last.at - started).as_secs_f64(), 3),
            total_cpu_s: rounded(cpu().as_secs_f64(), 3),
            peak_rss_mib: memory_mib("VmHWM"),
            server_cpu_s: served.map(|served| rounded(served.as_secs_f64(), 3)),
        })
    }
}
