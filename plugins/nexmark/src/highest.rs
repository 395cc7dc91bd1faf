//! q7: the highest bids of every ten seconds.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::Bid;
use crate::{BACKLOG, WINDOW, window_of};

/// More than one bid where they are as high.
#[derive(Default, Serialize, Deserialize)]
struct Highest {
    price: i64,
    bids: Vec<Bid>,
}

#[derive(Serialize, Deserialize)]
struct HighestBids {
    /// Of the window, in ms; the end is excluded.
    start: i64,
    end: i64,
    #[serde(flatten)]
    highest: Highest,
}

impl Json for Highest {}
impl Json for HighestBids {}

impl Highest {
    fn beside(mut self, bid: Bid) -> Highest {
        if bid.price > self.price {
            self = Highest { price: bid.price, bids: Vec::new() };
        }
        if bid.price == self.price {
            self.bids.push(bid);
        }
        self
    }
}

/// All bids of a window meet under its start, so that windows are spread over the tasks.
pub fn bids(bids: &Stream<i64, Bid>) {
    bids.group_by(|_, bid| window_of(bid.date_time))
        .windowed_by(TimeWindows::of(WINDOW).grace(BACKLOG))
        .aggregate(Highest::default, |_, bid, highest| highest.beside(bid), "q7-highest")
        .to_stream()
        .map(|window, highest| (window.start, HighestBids { start: window.start, end: window.end, highest }))
        .to("q7");
}
