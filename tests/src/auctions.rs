//! The queries of the Nexmark benchmark, answered straight from the events: what the sample `nexmark` must come to.

use std::collections::{BTreeMap, BTreeSet};

use nexmark_feed::Fed;
use serde_json::{Value, json};

const WINDOW_MS: i64 = 10_000;
const HOP_MS: i64 = 2_000;
/// Sessions have pauses of at most this.
const PAUSE_MS: i64 = 10_000;

/// Answers in the end, by query.
#[derive(Debug, Default, PartialEq)]
pub struct Answers {
    /// q0, q1, q2, q8: every result as text, sorted.
    pub all: BTreeMap<&'static str, Vec<String>>,
    /// q3 by auction, q4 by category, q5 and q7 by start of the window: the last word.
    pub last: BTreeMap<&'static str, BTreeMap<i64, Value>>,
    /// q11: bids by bidder, start and end.
    pub sessions: BTreeMap<(i64, i64, i64), i64>,
}

/// The events of each kind.
struct House {
    persons: Vec<Value>,
    auctions: Vec<Value>,
    bids: Vec<Value>,
}

impl Answers {
    pub fn of(events: &[Fed]) -> Answers {
        let of = |topic: &str| -> Vec<Value> {
            let events = events.iter().filter(|event| event.topic == topic);
            events.map(|event| serde_json::from_str(&event.value).expect("events are JSON")).collect()
        };
        let house = House { persons: of("persons"), auctions: of("auctions"), bids: of("bids") };
        let mut answers = Answers::default();
        answers.all.insert("q0", house.bids.iter().map(Value::to_string).collect());
        answers.all.insert("q1", house.bids.iter().map(in_euros).collect());
        answers.all.insert("q2", house.bids.iter().filter(|bid| int(bid, "auction") % 123 == 0).map(price).collect());
        answers.all.insert("q8", house.newcomers());
        answers.all.values_mut().for_each(|all| all.sort());
        answers.last.insert("q3", house.local_items());
        answers.last.insert("q4", house.averages());
        answers.last.insert("q5", house.hot_items());
        answers.last.insert("q7", house.highest_bids());
        answers.sessions = house.sessions();
        answers
    }

    /// Whether there is something to compare in each of them.
    pub fn are_all_there(&self) -> bool {
        self.all.values().all(|all| !all.is_empty()) && self.last.values().all(|last| !last.is_empty())
    }
}

fn in_euros(bid: &Value) -> String {
    let price = 0.908 * int(bid, "price") as f64;
    json!({"auction": bid["auction"], "bidder": bid["bidder"], "price": price, "date_time": bid["date_time"]})
        .to_string()
}

fn price(bid: &Value) -> String {
    json!({"auction": bid["auction"], "price": bid["price"]}).to_string()
}

impl House {
    fn local_items(&self) -> BTreeMap<i64, Value> {
        let mut items = BTreeMap::new();
        for auction in self.auctions.iter().filter(|auction| auction["category"] == 10) {
            for person in self.persons.iter().filter(|person| person["id"] == auction["seller"]) {
                if ["or", "id", "ca"].iter().any(|state| person["state"] == *state) {
                    let (name, city, state) = (&person["name"], &person["city"], &person["state"]);
                    let item = json!({"auction": auction["id"], "name": name, "city": city, "state": state});
                    items.insert(int(auction, "id"), item);
                }
            }
        }
        items
    }

    fn averages(&self) -> BTreeMap<i64, Value> {
        let mut bids: BTreeMap<i64, Vec<&Value>> = BTreeMap::new();
        self.bids.iter().for_each(|bid| bids.entry(int(bid, "auction")).or_default().push(bid));
        let mut prices: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for auction in &self.auctions {
            let open = int(auction, "date_time")..=int(auction, "expires");
            let bids = bids.get(&int(auction, "id")).into_iter().flatten();
            let bids = bids.filter(|bid| open.contains(&int(bid, "date_time")));
            let winner = bids.map(|bid| int(bid, "price")).max();
            prices.entry(int(auction, "category")).or_default().extend(winner);
        }
        prices.retain(|_, prices| !prices.is_empty());
        let average = |(category, prices): (i64, Vec<i64>)| {
            let average = prices.iter().sum::<i64>() as f64 / prices.len() as f64;
            (category, json!({"category": category, "auctions": prices.len(), "average": average}))
        };
        prices.into_iter().map(average).collect()
    }

    fn hot_items(&self) -> BTreeMap<i64, Value> {
        let mut counts: BTreeMap<i64, BTreeMap<i64, i64>> = BTreeMap::new();
        for bid in &self.bids {
            let time = int(bid, "date_time");
            let last = time - time % HOP_MS;
            for start in (0..WINDOW_MS / HOP_MS).map(|hop| last - hop * HOP_MS) {
                *counts.entry(start).or_default().entry(int(bid, "auction")).or_default() += 1;
            }
        }
        let hottest = |(start, counts): (i64, BTreeMap<i64, i64>)| {
            let most = counts.values().copied().max().unwrap_or_default();
            let auctions: Vec<_> =
                counts.iter().filter(|(_, bids)| **bids == most).map(|(auction, _)| *auction).collect();
            (start, json!({"start": start, "end": start + WINDOW_MS, "bids": most, "auctions": auctions}))
        };
        counts.into_iter().map(hottest).collect()
    }

    /// The bids of a window sorted as text.
    fn highest_bids(&self) -> BTreeMap<i64, Value> {
        let mut windows: BTreeMap<i64, Vec<&Value>> = BTreeMap::new();
        self.bids.iter().for_each(|bid| windows.entry(window(bid)).or_default().push(bid));
        let highest = |(start, bids): (i64, Vec<&Value>)| {
            let price = bids.iter().map(|bid| int(bid, "price")).max().unwrap_or_default();
            let bids = bids.iter().filter(|bid| bid["price"] == price).map(|bid| {
                json!({"auction": bid["auction"], "bidder": bid["bidder"], "price": price, "date_time": bid["date_time"]})
            });
            let bids = sorted(bids.collect());
            (start, json!({"start": start, "end": start + WINDOW_MS, "price": price, "bids": bids}))
        };
        windows.into_iter().map(highest).collect()
    }

    fn newcomers(&self) -> Vec<String> {
        let sellers: BTreeSet<_> =
            self.auctions.iter().map(|auction| (int(auction, "seller"), window(auction))).collect();
        let new = self.persons.iter().filter(|person| sellers.contains(&(int(person, "id"), window(person))));
        new.map(|person| json!({"id": person["id"], "name": person["name"], "start": window(person)}).to_string())
            .collect()
    }

    fn sessions(&self) -> BTreeMap<(i64, i64, i64), i64> {
        let mut times: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        self.bids.iter().for_each(|bid| times.entry(int(bid, "bidder")).or_default().push(int(bid, "date_time")));
        let mut sessions = BTreeMap::new();
        for (bidder, mut times) in times {
            times.sort_unstable();
            for session in times.chunk_by(|before, next| next - before <= PAUSE_MS) {
                sessions.insert((bidder, session[0], session[session.len() - 1]), session.len() as i64);
            }
        }
        sessions
    }
}

/// By their text.
pub fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_cached_key(Value::to_string);
    values
}

fn window(event: &Value) -> i64 {
    let time = int(event, "date_time");
    time - time % WINDOW_MS
}

fn int(value: &Value, field: &str) -> i64 {
    value[field].as_i64().expect("a number")
}
