//! `chaos`: `kill -9` at random instants under load, as often as wanted, on each log and with both kinds of state; or
//! with `--storm` all faults at once, as long as wanted, on each log. `tests/chaos` starts it with everything it needs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tests::chance::{Chance, SEED};
use tests::chaos::crossroads::Crossroads;
use tests::chaos::kills::be_killed;
use tests::chaos::storm;
use tests::chaos::words::{Shape, Words};
use tests::logs::{self, Kind, TestLog};

const USAGE: &str = "usage: chaos [--kills N [--app words|crossroads] | --storm SECONDS] [--seed N] [--log embedded|kafka] [--provider lmdb|memory] [--guarantee exactly-once|at-least-once]";

struct Wanted {
    kills: usize,
    app: App,
    /// Instead of kills.
    storm: Option<Duration>,
    seed: u64,
    log: Option<Kind>,
    shapes: Vec<Shape>,
}

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum App {
    Words,
    Crossroads,
}

fn main() -> ExitCode {
    match arguments(std::env::args().skip(1)) {
        Ok(wanted) => {
            match wanted.storm {
                Some(length) => blow(&wanted, length),
                None => run(&wanted),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Storms on each log; panics as [`run`] does. State on disk, exactly-once: what has most to lose.
fn blow(wanted: &Wanted, length: Duration) {
    let again = |log: &str| {
        println!("again with: tests/chaos --storm {} --seed {} --log {log}", length.as_secs(), wanted.seed);
    };
    if wanted.log != Some(Kind::Kafka) {
        again("embedded");
        storm::on_embedded(length, &mut Chance::of(wanted.seed));
    }
    if wanted.log != Some(Kind::Embedded) && logs::kafka().is_some() {
        again("kafka");
        storm::on_kafka(length, &mut Chance::of(wanted.seed));
    }
    println!("nothing lost, nothing repeated");
}

/// Panics where something does not hold, behind the line that runs the same again.
fn run(wanted: &Wanted) {
    let embedded = || Some(logs::embedded());
    let found: Vec<TestLog> = match wanted.log {
        Some(Kind::Embedded) => embedded().into_iter().collect(),
        Some(Kind::Kafka) => logs::kafka().into_iter().collect(),
        None => [embedded(), logs::kafka()].into_iter().flatten().collect(),
    };
    for log in &found {
        for shape in &wanted.shapes {
            let Shape { provider, guarantee } = shape;
            let kind = format!("{:?}", log.kind).to_lowercase();
            let (app, chance) = (format!("{:?}", wanted.app).to_lowercase(), &mut Chance::of(wanted.seed));
            println!(
                "again with: tests/chaos --kills {} --app {app} --seed {} --log {kind} --provider {provider} --guarantee {guarantee}",
                wanted.kills, wanted.seed
            );
            match wanted.app {
                App::Words => be_killed(&Words::new(log, *shape), wanted.kills, chance),
                App::Crossroads => Crossroads::new(log, *shape).be_killed(wanted.kills, chance),
            }
            println!("{kind} {provider} {guarantee}: nothing lost\n");
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Wanted> {
    let (mut kills, mut storm, mut log, mut provider, mut guarantee) = (100, None, None, None, None);
    let mut app = App::Words;
    let mut seed = std::env::var(SEED).ok().map(|seed| seed.parse()).transpose().context(SEED)?;
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word}: {USAGE}"))?;
        match (word.as_str(), value.as_str()) {
            ("--kills", number) => kills = number.parse().context("--kills")?,
            ("--app", "words") => app = App::Words,
            ("--app", "crossroads") => app = App::Crossroads,
            ("--storm", seconds) => storm = Some(Duration::from_secs(seconds.parse().context("--storm")?)),
            ("--seed", number) => seed = Some(number.parse().context("--seed")?),
            ("--log", "embedded") => log = Some(Kind::Embedded),
            ("--log", "kafka") => log = Some(Kind::Kafka),
            ("--provider", "lmdb") => provider = Some("lmdb"),
            ("--provider", "memory") => provider = Some("memory"),
            ("--guarantee", "exactly-once") => guarantee = Some("exactly-once"),
            ("--guarantee", "at-least-once") => guarantee = Some("at-least-once"),
            _ => bail!("{word} {value}: {USAGE}"),
        }
    }
    let all = ["exactly-once", "at-least-once"]
        .into_iter()
        .flat_map(|guarantee| ["lmdb", "memory"].map(|provider| Shape { provider, guarantee }));
    let wanted = |shape: &Shape| {
        provider.is_none_or(|provider| shape.provider == provider)
            && guarantee.is_none_or(|guarantee| shape.guarantee == guarantee)
    };
    Ok(Wanted {
        kills,
        app,
        storm,
        seed: seed.unwrap_or_else(|| u64::from(std::process::id())),
        log,
        shapes: all.filter(wanted).collect(),
    })
}
