//! How far stores are on their way back from their changelogs: bars on a terminal, else a line now and then, on stderr.
//! The numbers are those of `/status` and `/metrics`.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use super::output::say;
use crate::app::Handle;

/// How often there is a line where nobody can see a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Threads report ten times a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub struct Progress {
    handles: Vec<Handle>,
    /// `None`: stderr is no terminal.
    bars: Option<MultiProgress>,
    /// By application and store.
    restoring: BTreeMap<(String, String), Restore>,
    last_look: Option<Instant>,
}

/// One store, all of its tasks in this process together, in changelog offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Distance {
    restored: u64,
    end: u64,
}

struct Restore {
    since: Instant,
    from: u64,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress {
    pub fn new(handles: Vec<Handle>) -> Progress {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Progress { handles, bars, restoring: BTreeMap::new(), last_look: None }
    }

    /// Shows what has moved since the last time; call it often.
    pub fn show(&mut self) {
        if self.last_look.is_some_and(|last| last.elapsed() < LOOK_EVERY) {
            return;
        }
        self.last_look = Some(Instant::now());
        let distances = distances(&self.handles);
        // What moved to another process is no concern of this one.
        self.restoring.retain(|name, _| distances.contains_key(name));
        for (name, distance) in distances {
            let is_whole = distance.restored >= distance.end;
            match self.restoring.remove(&name) {
                Some(restore) if is_whole => restore.finish(&name, distance),
                Some(mut restore) => {
                    restore.show(&name, distance);
                    self.restoring.insert(name, restore);
                }
                None if is_whole => {}
                None => self.begin(name, distance),
            }
        }
    }

    fn begin(&mut self, name: (String, String), distance: Distance) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = ProgressBar::new(distance.end).with_prefix(format!("restoring {} {}", name.0, name.1));
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {per_sec} {eta}");
            let bar = bars.add(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
            bar.set_position(distance.restored);
            // What was there already has cost no time.
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        let restore = Restore { since: now, from: distance.restored, bar, last_line: now };
        if restore.bar.is_none() {
            say(restore.line(&name, distance));
        }
        self.restoring.insert(name, restore);
    }
}

impl Restore {
    fn show(&mut self, name: &(String, String), distance: Distance) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(distance.end);
                bar.set_position(distance.restored);
            }
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                say(self.line(name, distance));
            }
            None => {}
        }
    }

    fn finish(self, (app, store): &(String, String), distance: Distance) {
        let took = humantime::format_duration(Duration::from_millis(self.since.elapsed().as_millis() as u64));
        let offsets = distance.end.saturating_sub(self.from);
        // Its bar goes before the line comes.
        drop(self);
        say(format_args!("restored {app} {store}: {offsets} changelog offsets in {took}"));
    }

    /// `restoring words word-counts: 1200 of 4000 (30%), 400/s, 7 seconds left`
    fn line(&self, (app, store): &(String, String), Distance { restored, end }: Distance) -> String {
        let share = 100.0 * restored as f64 / end.max(1) as f64;
        let line = format!("restoring {app} {store}: {restored} of {end} ({share:.0}%)");
        let rate = (restored.saturating_sub(self.from)) as f64 / self.since.elapsed().as_secs_f64();
        // The rate of a moment is none.
        if self.since.elapsed() < LOOK_EVERY || rate < 1.0 {
            return line;
        }
        let left = Duration::from_secs_f64((end - restored) as f64 / rate);
        format!("{line}, {rate:.0}/s, {} left", HumanDuration(left))
    }
}

/// The stores of all tasks that run here and have a changelog.
fn distances(handles: &[Handle]) -> BTreeMap<(String, String), Distance> {
    let mut all: BTreeMap<_, Distance> = BTreeMap::new();
    for status in handles.iter().map(Handle::status) {
        for store in status.tasks.iter().flat_map(|task| &task.stores) {
            let distance = all.entry((status.id.clone(), store.name.clone())).or_default();
            let offset = |offset| u64::try_from(offset).unwrap_or(0);
            distance.restored += offset(store.restored.min(store.restore_end));
            distance.end += offset(store.restore_end);
        }
    }
    all
}
