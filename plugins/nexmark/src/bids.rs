//! q0, q1, q2: bids by themselves.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::Bid;

/// Euros for a dollar.
const RATE: f64 = 0.908;

/// Which auctions q2 looks at: those whose number this divides.
const SOME: i64 = 123;

#[derive(Serialize, Deserialize)]
struct EuroBid {
    auction: i64,
    bidder: i64,
    /// Cents.
    price: f64,
    date_time: i64,
}

#[derive(Serialize, Deserialize)]
struct Price {
    auction: i64,
    price: i64,
}

impl Json for EuroBid {}
impl Json for Price {}

/// q0: as they are. No function of ours sees them.
pub fn all(bids: &Stream<i64, Bid>) {
    bids.to("q0");
}

pub fn in_euros(bids: &Stream<i64, Bid>) {
    let convert =
        |Bid { auction, bidder, price, date_time }| EuroBid { auction, bidder, price: RATE * price as f64, date_time };
    bids.map_values(convert).to("q1");
}

pub fn of_some(bids: &Stream<i64, Bid>) {
    bids.filter(|_, bid| bid.auction % SOME == 0)
        .map_values(|bid| Price { auction: bid.auction, price: bid.price })
        .to("q2");
}
