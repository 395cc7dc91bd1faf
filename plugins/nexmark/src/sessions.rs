//! q11: how often somebody bids without a pause of ten seconds.

use millstream_sdk::prelude::*;

use crate::events::Bid;
use crate::{BACKLOG, WINDOW};

/// Counts under the keys that Kafka Streams gives sessions, null where two have become one.
pub fn of_bidders(bids: &Stream<i64, Bid>) {
    bids.group_by(|_, bid| bid.bidder)
        .windowed_by(SessionWindows::with_gap(WINDOW).grace(BACKLOG))
        .count("q11-sessions")
        .to_stream()
        .to("q11");
}
