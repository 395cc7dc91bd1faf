//! q4: what is paid on average in a category: of each auction the highest bid while it runs.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::{Auction, Bid};

/// An auction and its bids, whichever came first.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Sale {
    auction: Option<Terms>,
    /// Bids that came before the auction was known: time and price.
    early: Vec<(i64, i64)>,
    /// Of the bids while it runs.
    highest: Option<i64>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Terms {
    category: i64,
    from: i64,
    to: i64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Average {
    auctions: i64,
    price_sum: i64,
}

#[derive(Serialize, Deserialize)]
struct CategoryAverage {
    category: i64,
    auctions: i64,
    /// Cents. Nothing when there are no auctions any more.
    average: Option<f64>,
}

impl Json for Sale {}
impl Json for Average {}
impl Json for CategoryAverage {}

pub fn of_categories(auctions: &Stream<i64, Auction>, bids: &Stream<i64, Bid>) {
    let sales = auctions
        .group_by_key()
        .cogroup(|_, auction, sale: Sale| sale.of(auction))
        .cogroup(&bids.group_by_key(), |_, bid, sale| sale.with(&bid))
        .aggregate(Sale::default, "q4-sales");
    sales
        .filter(|_, sale| sale.highest.is_some())
        .group_by(|_, sale| (sale.auction.map(|terms| terms.category), sale.highest))
        .aggregate(
            Average::default,
            |_, price, average| average.and(1, price),
            |_, price, average| average.and(-1, price.map(|price| -price)),
            "q4-averages",
        )
        .to_stream()
        .map_values_with_key(|category, average| average.of(category.unwrap_or_default()))
        .to("q4");
}

impl Sale {
    fn of(self, auction: Auction) -> Sale {
        let terms = Terms { category: auction.category, from: auction.date_time, to: auction.expires };
        let known = Sale { auction: Some(terms), early: Vec::new(), highest: None };
        self.early.into_iter().fold(known, |sale, (time, price)| sale.bid(time, price))
    }

    fn with(self, bid: &Bid) -> Sale {
        self.bid(bid.date_time, bid.price)
    }

    fn bid(mut self, time: i64, price: i64) -> Sale {
        match &self.auction {
            None => self.early.push((time, price)),
            Some(terms) if (terms.from..=terms.to).contains(&time) => self.highest = self.highest.max(Some(price)),
            Some(_) => {}
        }
        self
    }
}

impl Average {
    fn and(self, auctions: i64, price: Option<i64>) -> Average {
        let price_sum = self.price_sum + price.unwrap_or_default();
        Average { auctions: self.auctions + auctions, price_sum }
    }

    fn of(self, category: i64) -> CategoryAverage {
        let average = (self.auctions > 0).then(|| self.price_sum as f64 / self.auctions as f64);
        CategoryAverage { category, auctions: self.auctions, average }
    }
}
