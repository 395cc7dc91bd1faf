//! Queries of the Nexmark benchmark (Tucker, Tufte, Papadimos, Maier 2008, as Apache Beam and Flink run them) over the events
//! of an auction house: persons, auctions and bids, each on a topic of its own, keyed by person, auction and auction.
//!
//! | query | asks for | by |
//! |---|---|---|
//! | q0 | every bid | nothing but the host |
//! | q1 | bids in euros | a map |
//! | q2 | bids on some auctions | a filter |
//! | q3 | who sells what in three states | tables, a foreign key |
//! | q4 | the average price of a category | a cogroup, a grouped table |
//! | q5 | the auctions with the most bids in 10 s | hopping windows, a processor with a window store |
//! | q7 | the highest bids in 10 s | tumbling windows |
//! | q8 | new persons who sell at once | a join of streams, a processor with a window store |
//! | q11 | bids of a person without a pause | sessions |
//!
//! Each writes to the sink of its name, every change at once: a result may be followed by a better one.

mod averages;
mod bids;
mod events;
mod highest;
mod hot;
mod local;
mod newcomers;
mod sessions;
#[cfg(test)]
mod tests;

use events::Events;
use millstream_sdk::prelude::*;
use serde::Deserialize;

/// How much later than others a record may come behind a change of the key: partitions are read each at its own pace, so that
/// it is up to as much as a backlog is long. What is kept for it is kept by windows alone; nothing waits for it.
const BACKLOG: Duration = Duration::from_secs(3600);

/// How much out of order the events of one partition are at most.
const DISORDER: Duration = Duration::from_secs(10);

/// The windows of q5, q7 and q8.
const WINDOW: Duration = Duration::from_secs(10);

type Query = (&'static str, fn(&mut Events<'_>));

const QUERIES: [Query; 9] = [
    ("q0", |events| bids::all(&events.bids())),
    ("q1", |events| bids::in_euros(&events.bids())),
    ("q2", |events| bids::of_some(&events.bids())),
    ("q3", |events| local::items(&events.auctions(), &events.persons())),
    ("q4", |events| averages::of_categories(&events.auctions(), &events.bids())),
    ("q5", |events| hot::auctions(&events.bids(), events.app)),
    ("q7", |events| highest::bids(&events.bids())),
    ("q8", |events| newcomers::who_sell(&events.persons(), &events.auctions(), events.app)),
    ("q11", |events| sessions::of_bidders(&events.bids())),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// All of them where nothing is said.
    queries: Option<Vec<String>>,
}

fn topology(app: &mut Topology, config: &Config) -> Result<(), String> {
    let asked = config.parse_into::<Settings>()?.queries;
    let asked = asked.unwrap_or_else(|| QUERIES.iter().map(|(name, _)| (*name).to_owned()).collect());
    if asked.is_empty() {
        return Err("[config] queries names none".to_owned());
    }
    let mut events = Events::of(app);
    for (at, name) in asked.iter().enumerate() {
        let Some((_, query)) = QUERIES.iter().find(|(known, _)| known == name) else {
            let known: Vec<_> = QUERIES.iter().map(|(known, _)| *known).collect();
            return Err(format!("[config] queries: there is no {name}; there are {}", known.join(", ")));
        };
        if asked[..at].contains(name) {
            return Err(format!("[config] queries names {name} twice"));
        }
        query(&mut events);
    }
    Ok(())
}

/// The start of the window in which a time lies, both in ms.
fn window_of(time: i64) -> i64 {
    time - time.rem_euclid(WINDOW.as_millis() as i64)
}

millstream_sdk::plugin!(topology);
