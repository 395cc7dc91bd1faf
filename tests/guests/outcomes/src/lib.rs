//! Does with each record what its value says, amid neighbours that remember. Whatever becomes of a record, all counts
//! must agree on it.
//!
//! A command strikes in the processor `judge`, after it has written and forwarded; with `early` in front of it in the
//! `verdict` of a plain map, and with `late` behind a repartition topic.

mod alarm;
mod held;
mod shared;

use std::sync::atomic::{AtomicBool, Ordering};

use millstream_sdk::prelude::*;

fn topology(app: &mut Topology) {
    let commands = app.stream::<String, String>("commands");
    counted(&commands, "arrived", "arrivals");
    let passed = commands.try_map_values(|command| verdict("early", command)).named("verdict");
    counted(&passed, "passed", "passes");

    let judgements = app.store("judged");
    let judged = commands.process("judge", |init| Judge { judged: init.store(&judgements) });
    judged.to("judgements");
    let received = judged.repartition("sent").try_map_values(|command| verdict("late", command)).named("late");
    counted(&received, "received", "receipts");

    alarm::topology(app);
    held::topology(app);
    shared::topology(app);
}

/// Counts by key in `store`, every count to `sink`.
fn counted(commands: &Stream<String, String>, store: &str, sink: &str) {
    commands.group_by_key().count(store).to_stream().to(sink);
}

/// More than a broker takes.
const HUGE: usize = 2 << 20;

/// Counts what it judges.
struct Judge {
    judged: KeyValueStore<String, i64>,
}

impl Processor<String, String, String, String> for Judge {
    fn process(&mut self, command: Record<String, String>, ctx: &mut Context<String, String>) -> Result<(), Failure> {
        let times = self.judged.get(&command.key)?.unwrap_or(0) + 1;
        self.judged.put(&command.key, &times);
        ctx.forward(command.clone());
        if command.value == "huge" {
            ctx.forward(command.clone().with_value("x".repeat(HUGE)));
        }
        strike(&command.value)
    }
}

fn verdict(place: &str, command: String) -> Result<String, Failure> {
    match command.strip_prefix(place) {
        Some(outcome) => strike(outcome.trim()).map(|()| command),
        None => Ok(command),
    }
}

/// Whether this instance has struck no `second-try` yet. A rollback discards instances, so a replay meets a fresh one.
static FRESH: AtomicBool = AtomicBool::new(true);

fn strike(outcome: &str) -> Result<(), Failure> {
    match outcome {
        "drop" => Err(Failure::drop()),
        "dead-letter" => Err(Failure::dead_letter("dead on arrival")),
        "retry" => {
            log::info("tried");
            Err(Failure::retry("not yet"))
        }
        "fail" => Err(Failure::fail("no good")),
        "parse" => Ok("x".parse::<i64>().map(drop)?),
        "panic" => panic!("the guest broke"),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "mark" => {
            FRESH.store(false, Ordering::Relaxed);
            Ok(())
        }
        "second-try" if !FRESH.load(Ordering::Relaxed) => Err(Failure::retry("not in this instance")),
        _ => Ok(()),
    }
}

millstream_sdk::plugin!(topology);
