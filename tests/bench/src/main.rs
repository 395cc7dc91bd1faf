//! The bench: how fast the host counts by key, beside Kafka Streams and a bare client. `../README.md` has the table.
//!
//! | module | holds |
//! |---|---|
//! | [`load`], [`verify`] | a topic to read, and whether what was written is right |
//! | [`count`] | the host counting a topic to its end |
//! | [`nexmark`], [`operators`] | a query of the Nexmark benchmark, an operator alone; [`to_end`]: until nothing is left |
//! | [`compare`] | whether two topics hold the same |
//! | [`bare`] | librdkafka alone doing the same |
//! | [`restore`], [`latency`], [`start`] | a store's rebuilding; record in to record out; process start to first record |
//! | [`queries`], [`asker`], [`ask`] | questions to the store that a count fills; by HTTP the host's side, and the client |
//! | [`base`] | what keeps committed state, by itself: put, read, scan |
//! | [`rates`] | a log by itself: produce, consume, commit |
//! | [`table`] | medians and ratios of many runs |
//! | [`component`] | the store provider that an application keeps its state in |
//! | [`app`], [`meter`], [`usage`] | the application; a log that notes times; the process's CPU and memory |

mod app;
mod ask;
mod asker;
mod bare;
mod base;
mod compare;
mod component;
mod count;
mod latency;
mod load;
mod meter;
mod nexmark;
mod operators;
mod queries;
mod rates;
mod restore;
mod start;
mod table;
mod to_end;
mod usage;
mod verify;

use clap::{Parser, Subcommand};

/// Measures Millstream. Each run prints one JSON line on stdout.
#[derive(Parser)]
#[command(name = "bench")]
struct Bench {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a topic of records
    Load(load::Load),
    /// Count a topic's records by key, to its end
    Count(count::Count),
    /// The same with librdkafka and a hash map alone
    Bare(bare::Bare),
    /// Ask the store of a count by HTTP: what `count --by http` starts
    Ask(ask::Ask),
    /// Answer a query of the Nexmark benchmark, to the end of its topics
    Nexmark(nexmark::Nexmark),
    /// Run one operator to the end of its topics
    Operators(operators::Operators),
    /// See whether two topics hold the same records
    Compare(compare::Compare),
    /// Check the updates that a count wrote
    Verify(verify::Verify),
    /// Rebuild a store from its changelog
    Restore(restore::Restore),
    /// Send records at a fixed rate and time each one's way through an engine
    Latency(latency::Latency),
    /// Start a program and time its first committed record
    Start(start::Start),
    /// What keeps committed state by itself: put, read, scan
    Base(base::Base),
    /// A log's own rates: produce, consume, commit
    Log(rates::Rates),
    /// Print a file of JSON lines as a table of medians and ratios
    Table(table::Table),
}

fn main() -> anyhow::Result<()> {
    match Bench::parse().verb {
        Verb::Load(load) => load.run(),
        Verb::Count(count) => count.run(),
        Verb::Bare(bare) => bare.run(),
        Verb::Ask(ask) => ask.run(),
        Verb::Nexmark(nexmark) => nexmark.run(),
        Verb::Operators(operators) => operators.run(),
        Verb::Compare(compare) => compare.run(),
        Verb::Verify(verify) => verify.run(),
        Verb::Restore(restore) => restore.run(),
        Verb::Latency(latency) => latency.run(),
        Verb::Start(start) => start.run(),
        Verb::Base(base) => base.run(),
        Verb::Log(rates) => rates.run(),
        Verb::Table(table) => table.run(),
    }
}
