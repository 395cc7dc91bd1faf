//! q3: who sells things of one category in three states.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::{Auction, Person};

const CATEGORY: i64 = 10;
const STATES: [&str; 3] = ["or", "id", "ca"];

#[derive(Serialize, Deserialize)]
struct LocalItem {
    auction: i64,
    name: String,
    city: String,
    state: String,
}

impl Json for LocalItem {}

/// By auction; whichever of the two comes last makes the result.
pub fn items(auctions: &Stream<i64, Auction>, persons: &Stream<i64, Person>) {
    let persons = persons.filter(|_, person| STATES.contains(&person.state.as_str())).to_table("q3-persons");
    auctions
        .filter(|_, auction| auction.category == CATEGORY)
        .to_table("q3-auctions")
        .foreign_key_join(
            &persons,
            |_, auction| Some(auction.seller),
            |auction, Person { name, city, state, .. }| LocalItem { auction: auction.id, name, city, state },
        )
        .named("q3-sellers")
        .to_stream()
        .to("q3");
}
