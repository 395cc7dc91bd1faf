//! What happens in the auction house: the fields that the queries look at, under the names that the generator gives them.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    pub id: i64,
    pub name: String,
    pub city: String,
    pub state: String,
    /// Ms since the epoch: the record's timestamp too.
    pub date_time: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Auction {
    pub id: i64,
    pub date_time: i64,
    /// When the last bid is taken.
    pub expires: i64,
    /// A person.
    pub seller: i64,
    pub category: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bid {
    pub auction: i64,
    /// A person.
    pub bidder: i64,
    /// Cents.
    pub price: i64,
    pub date_time: i64,
}

impl Json for Person {}
impl Json for Auction {}
impl Json for Bid {}

/// The topics, each a source as soon as a query asks for it.
pub struct Events<'a> {
    pub app: &'a mut Topology,
    persons: Option<Stream<i64, Person>>,
    auctions: Option<Stream<i64, Auction>>,
    bids: Option<Stream<i64, Bid>>,
}

impl Events<'_> {
    pub fn of(app: &mut Topology) -> Events<'_> {
        Events { app, persons: None, auctions: None, bids: None }
    }

    pub fn persons(&mut self) -> Stream<i64, Person> {
        self.persons.get_or_insert_with(|| self.app.stream("persons")).clone()
    }

    pub fn auctions(&mut self) -> Stream<i64, Auction> {
        self.auctions.get_or_insert_with(|| self.app.stream("auctions")).clone()
    }

    pub fn bids(&mut self) -> Stream<i64, Bid> {
        self.bids.get_or_insert_with(|| self.app.stream("bids")).clone()
    }
}
