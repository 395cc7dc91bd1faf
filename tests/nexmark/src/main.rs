//! Prints events of the Nexmark benchmark as `millstream produce` reads them, a JSON line each.

use std::io::{BufWriter, Write};

use base64::prelude::{BASE64_STANDARD, Engine};
use clap::Parser;
use nexmark_feed::{Feed, TOPICS};
use serde_json::json;

/// Events of the Nexmark benchmark for one of its topics: nexmark-feed bids --events 10000 | millstream produce bids
#[derive(Parser)]
struct Arguments {
    /// persons, auctions or bids
    #[arg(value_parser = TOPICS)]
    topic: String,
    /// Of all topics together: of 50 events one is a person and 3 are auctions
    #[arg(long, default_value_t = 10_000)]
    events: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Events in a second of their own time
    #[arg(long, default_value_t = 10_000)]
    rate: usize,
    /// Events among which the order is shuffled
    #[arg(long, default_value_t = 1)]
    disorder: usize,
}

fn main() -> std::io::Result<()> {
    let Arguments { topic, events, seed, rate, disorder } = Arguments::parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for event in (Feed { seed, rate, disorder }).events().take(events).filter(|event| event.topic == topic) {
        let (key, timestamp) = (json!({ "base64": BASE64_STANDARD.encode(event.key) }), event.timestamp);
        writeln!(out, "{}", json!({"key": key, "value": event.value, "timestamp": timestamp}))?;
    }
    out.flush()
}
