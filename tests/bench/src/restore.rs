//! `restore`: counts a topic once, then drops the local state and starts again, some times.

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use serde_json::json;

use crate::app::{self, Prepared, Setup};
use crate::count::until_committed;
use crate::usage::{cpu, memory_mib, rate, rounded};

#[derive(Args)]
pub struct Restore {
    #[command(flatten)]
    setup: Setup,
    #[arg(long, default_value_t = 3)]
    runs: usize,
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
            self.restore(&prepared)?;
        }
        Ok(())
    }

    /// From the first changelog record taken to the moment at which all stores are whole.
    fn restore(&self, prepared: &Prepared) -> Result<()> {
        let metered = prepared.metered(&self.setup.topic);
        let started = std::time::Instant::now();
        let app = prepared.start(&metered)?;
        while !app.is_at_end().map_err(|problem| anyhow!("{problem}"))? {
            ensure!(!app.has_ended(), "the application ended while it restored");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        app.stop(false).map_err(|problem| anyhow!("{problem}"))?;
        let notes = metered.notes();
        let (first, last) = notes.restore_first.zip(notes.restore_last).ok_or_else(|| anyhow!("nothing to restore"))?;
        let (wall, used) = (last.at - first.at, last.cpu - first.cpu);
        let line = json!({
            "records": notes.restored, "wall_s": rounded(wall.as_secs_f64(), 3),
            "cpu_s": rounded(used.as_secs_f64(), 3), "per_cpu_s": rate(notes.restored, used),
            "per_s": rate(notes.restored, wall),
            "start_to_whole_s": rounded((last.at - started).as_secs_f64(), 3),
            "total_cpu_s": rounded(cpu().as_secs_f64(), 3), "peak_rss_mib": memory_mib("VmHWM"),
        });
        println!("{line}");
        Ok(())
    }
}
