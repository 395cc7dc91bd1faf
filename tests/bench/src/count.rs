//! `count`: the host counts a topic to its end.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use millstream::app::App;
use millstream::desk::Counters;
use serde::Serialize;

use crate::app::{self, Setup};
use crate::meter::Metered;
use crate::queries::{Answered, Asking, Questions};
use crate::usage::{Moment, cpu, memory_mib, rate, rounded};

/// Where `../guest` counts.
const STORE: &str = "counts";

/// How often the end is looked for; the log notes it to the microsecond.
const LOOK: Duration = Duration::from_millis(10);
/// Threads tell their counters every 100 ms.
pub const TOLD_WITHIN: Duration = Duration::from_millis(250);

#[derive(Args)]
pub struct Count {
    #[command(flatten)]
    setup: Setup,
    #[command(flatten)]
    questions: Questions,
}

/// The contract's line. Wall and CPU run from the first input record taken to the last one processed; the CPU also
/// holds what it took to commit that.
#[derive(Debug, Serialize)]
pub struct Line {
    records: u64,
    wall_s: f64,
    cpu_s: f64,
    per_cpu_s: f64,
    per_s: f64,
    total_cpu_s: f64,
    peak_rss_mib: f64,
    anon_rss_mib: f64,
    commits: u64,
    waiting_s: f64,
    #[serde(flatten)]
    answered: Option<Answered>,
}

impl Count {
    pub fn run(self) -> Result<()> {
        let (state_dir, _guard) = app::state_dir(self.setup.state_dir.as_ref())?;
        let prepared = self.setup.prepare(&state_dir)?;
        ensure!(prepared.records > 0, "topic {} is empty", self.setup.topic);
        let metered = prepared.metered(&self.setup.topic);
        let app = prepared.start(&metered)?;
        let asking = self.questions.start(app.handle(), STORE)?;
        let app = until_committed(app, &metered)?;
        let answered = asking.map(Asking::end).transpose()?;
        std::thread::sleep(TOLD_WITHIN);
        let counters = app.handle().counters();
        app.stop(false).map_err(|problem| anyhow!("{problem}"))?;
        let line = Line { answered, ..line(&metered, prepared.records, &counters)? };
        println!("{}", serde_json::to_string(&line)?);
        Ok(())
    }
}

/// Waits until everything that the topic held at the start is counted and committed.
pub fn until_committed(app: App, metered: &Metered) -> Result<App> {
    while metered.notes().committed.is_none() {
        if app.has_ended() {
            app.stop(false).map_err(|problem| anyhow!("{problem}"))?;
            return Err(anyhow!("the application ended before its input"));
        }
        std::thread::sleep(LOOK);
    }
    Ok(app)
}

fn line(metered: &Metered, records: u64, counters: &Counters) -> Result<Line> {
    let notes = metered.notes();
    let (Some(first), Some(processed), Some(committed)) = (notes.first, notes.processed, notes.committed) else {
        return Err(anyhow!("no record was taken"));
    };
    Ok(Line::of(records, first, processed, committed.cpu, notes.anon_rss_mib, counters))
}

impl Line {
    /// From one moment to another.
    pub fn of(
        records: u64,
        first: Moment,
        processed: Instant,
        committed: Duration,
        anon_rss_mib: f64,
        counters: &Counters,
    ) -> Line {
        let (wall, used) = (processed.duration_since(first.at), committed - first.cpu);
        Line {
            records,
            wall_s: rounded(wall.as_secs_f64(), 3),
            cpu_s: rounded(used.as_secs_f64(), 3),
            per_cpu_s: rate(records, used),
            per_s: rate(records, wall),
            total_cpu_s: rounded(cpu().as_secs_f64(), 3),
            peak_rss_mib: memory_mib("VmHWM"),
            anon_rss_mib,
            commits: counters.commits_committed,
            waiting_s: rounded(counters.commit_waiting.as_secs_f64(), 3),
            answered: None,
        }
    }
}
