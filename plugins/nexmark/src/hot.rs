//! q5: the auctions with the most bids in the last ten seconds, every two seconds.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::Bid;
use crate::{BACKLOG, DISORDER, WINDOW};

const EVERY: Duration = Duration::from_secs(2);

/// How many bids an auction has had in a window so far.
#[derive(Serialize, Deserialize)]
struct Bids {
    auction: i64,
    bids: i64,
}

/// A window's busiest auctions so far.
#[derive(Default, Serialize, Deserialize)]
struct Hottest {
    bids: i64,
    /// By number; more than one where they have as many.
    auctions: Vec<i64>,
}

#[derive(Serialize, Deserialize)]
struct HotItems {
    /// Of the window, in ms; the end is excluded.
    start: i64,
    end: i64,
    #[serde(flatten)]
    hottest: Hottest,
}

impl Json for Bids {}
impl Json for Hottest {}
impl Json for HotItems {}

/// Compares the auctions of each window. Counts only grow, so what was the most stays until another one has more.
struct Compare {
    hottest: WindowStore<i64, Hottest>,
}

impl Processor<i64, Bids, i64, HotItems> for Compare {
    fn process(&mut self, bids: Record<i64, Bids>, ctx: &mut Context<i64, HotItems>) -> Result<(), Failure> {
        let start = bids.key;
        let hottest = self.hottest.fetch_one(&start, start)?.unwrap_or_default();
        let Some(hottest) = hottest.beside(&bids.value) else { return Ok(()) };
        self.hottest.put(&start, start, &hottest)?;
        ctx.forward(bids.with_value(HotItems { start, end: start + WINDOW.as_millis() as i64, hottest }));
        Ok(())
    }
}

impl Hottest {
    /// `None`: it changes nothing.
    fn beside(mut self, other: &Bids) -> Option<Hottest> {
        if other.bids < self.bids || (other.bids == self.bids && self.auctions.contains(&other.auction)) {
            return None;
        }
        if other.bids > self.bids {
            self = Hottest { bids: other.bids, auctions: Vec::new() };
        }
        self.auctions.push(other.auction);
        self.auctions.sort_unstable();
        Some(self)
    }
}

pub fn auctions(bids: &Stream<i64, Bid>, app: &mut Topology) {
    let hottest = app.window_store(Materialized::named("q5-hottest").window_size(WINDOW).retention(BACKLOG));
    bids.group_by_key()
        .windowed_by(TimeWindows::of(WINDOW).advance_by(EVERY).grace(DISORDER))
        .count("q5-counts")
        .to_stream()
        .map(|window, bids| (window.start, Bids { auction: window.key, bids }))
        .repartition("q5-windows")
        .process("q5-compare", |init| Compare { hottest: init.window_store(&hottest) })
        .to("q5");
}
