//! Each query on a handful of events.
#![allow(clippy::unwrap_used)]

use millstream_sdk::testing::{Driver, Error};
use serde_json::{Value, json};

use super::*;

/// Of a query alone.
fn driver(query: &str) -> Driver {
    Driver::with_manifest(topology, &format!("id = \"test\"\n[config]\nqueries = [\"{query}\"]\n")).unwrap()
}

fn person(id: i64, state: &str, second: i64) -> Record<i64, Value> {
    let time = second * 1000;
    Record::new(id, json!({"id": id, "name": "ann", "city": "boise", "state": state, "date_time": time}), time)
}

fn auction(id: i64, seller: i64, category: i64, second: i64) -> Record<i64, Value> {
    let (time, expires) = (second * 1000, (second + 20) * 1000);
    let value = json!({"id": id, "date_time": time, "expires": expires, "seller": seller, "category": category});
    Record::new(id, value, time)
}

fn bid(auction: i64, bidder: i64, price: i64, second: i64) -> Record<i64, Value> {
    let time = second * 1000;
    Record::new(auction, json!({"auction": auction, "bidder": bidder, "price": price, "date_time": time}), time)
}

#[test]
fn bids_pass_are_converted_and_filtered() -> Result<(), Error> {
    let bids = [bid(122, 1, 100, 1), bid(246, 1, 100, 2)];
    for (query, expected) in [
        ("q0", bids.each_ref().map(|bid| bid.value.clone()).to_vec()),
        ("q1", [122, 246].iter().zip([1000, 2000]).map(|(auction, time)| {
            json!({"auction": auction, "bidder": 1, "price": 0.908 * 100.0, "date_time": time})
        }).collect()),
        ("q2", vec![json!({"auction": 246, "price": 100})]),
    ] {
        let mut driver = driver(query);
        driver.pipe_all("bids", bids.clone())?;
        let written = driver.read_pairs::<i64, Value>(query)?;
        assert_eq!(written.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), expected, "{query}");
    }
    Ok(())
}

#[test]
fn an_item_is_local_when_its_seller_is_whichever_comes_first() -> Result<(), Error> {
    let mut driver = driver("q3");
    driver.pipe_all("auctions", [auction(1, 7, 10, 0), auction(2, 8, 10, 0), auction(3, 7, 11, 0)])?;
    driver.pipe_all("persons", [person(7, "id", 1), person(8, "az", 1)])?;
    driver.pipe("auctions", auction(4, 7, 10, 2))?;
    let written = driver.read_pairs::<i64, Value>("q3")?;
    let item = |auction| (auction, json!({"auction": auction, "name": "ann", "city": "boise", "state": "id"}));
    assert_eq!(written, [item(1), item(4)]);
    Ok(())
}

#[test]
fn an_average_takes_the_highest_bid_of_each_auction_while_it_runs() -> Result<(), Error> {
    let mut driver = driver("q4");
    // The first bid comes before its auction is known, and the second one before it is open.
    driver.pipe_all("bids", [bid(1, 1, 100, 10), bid(1, 1, 900, 9)])?;
    driver.pipe_all("auctions", [auction(1, 7, 10, 10), auction(2, 7, 10, 10)])?;
    driver.pipe_all("bids", [bid(1, 1, 300, 20), bid(2, 1, 200, 30), bid(2, 1, 800, 31)])?;
    let written = driver.read_pairs::<i64, Value>("q4")?;
    let average = |auctions, average| (10, json!({"category": 10, "auctions": auctions, "average": average}));
    assert_eq!(written.first(), Some(&average(1, Some(100.0))));
    assert_eq!(written.last(), Some(&average(2, Some(250.0))));
    Ok(())
}

#[test]
fn the_hottest_auctions_of_a_window_are_those_with_the_most_bids() -> Result<(), Error> {
    let mut driver = driver("q5");
    driver.pipe_all("bids", [bid(1, 1, 1, 11), bid(2, 1, 1, 11), bid(2, 1, 1, 12), bid(1, 1, 1, 12)])?;
    let of_window = driver.read_pairs::<i64, Value>("q5")?.into_iter().filter(|(start, _)| *start == 10_000);
    let hottest =
        |bids: i64, auctions: &[i64]| json!({"start": 10_000, "end": 20_000, "bids": bids, "auctions": auctions});
    let expected = [hottest(1, &[1]), hottest(1, &[1, 2]), hottest(2, &[2]), hottest(2, &[1, 2])];
    assert_eq!(of_window.map(|(_, value)| value).collect::<Vec<_>>(), expected);
    Ok(())
}

#[test]
fn the_highest_bids_of_a_window_are_all_that_are_as_high() -> Result<(), Error> {
    let mut driver = driver("q7");
    let bids = [bid(1, 1, 5, 11), bid(2, 2, 9, 12), bid(3, 3, 9, 13), bid(4, 4, 7, 14)];
    driver.pipe_all("bids", bids.clone())?;
    let (start, last) = driver.read_pairs::<i64, Value>("q7")?.pop().unwrap();
    let highest = json!([bids[1].value, bids[2].value]);
    assert_eq!((start, last), (10_000, json!({"start": 10_000, "end": 20_000, "price": 9, "bids": highest})));
    Ok(())
}

#[test]
fn a_newcomer_sells_in_its_first_window_and_is_told_once() -> Result<(), Error> {
    let mut driver = driver("q8");
    driver.pipe_all("auctions", [auction(1, 7, 10, 11), auction(2, 7, 10, 12), auction(3, 8, 10, 21)])?;
    driver.pipe_all("persons", [person(7, "id", 19), person(8, "id", 19)])?;
    driver.pipe("auctions", auction(4, 7, 10, 18))?;
    assert_eq!(driver.read_pairs::<i64, Value>("q8")?, [(7, json!({"id": 7, "name": "ann", "start": 10_000}))]);
    Ok(())
}

#[test]
fn a_bidders_session_goes_on_as_long_as_there_is_no_pause() -> Result<(), Error> {
    let mut driver = driver("q11");
    driver.pipe_all("bids", [bid(1, 5, 1, 0), bid(2, 5, 1, 10), bid(3, 5, 1, 21)])?;
    let written = driver.read_pairs::<Windowed<i64, Session>, Option<i64>>("q11")?;
    let of = |start: i64, end: i64, count| (Windowed::new(5, start * 1000, end * 1000), count);
    assert_eq!(written, [of(0, 0, Some(1)), of(0, 0, None), of(0, 10, Some(2)), of(21, 21, Some(1))]);
    Ok(())
}

#[test]
fn a_query_that_is_not_there_is_refused_with_those_that_are() {
    let refused = |queries: &str| {
        let manifest = format!("id = \"test\"\n[config]\nqueries = [{queries}]\n");
        Driver::with_manifest(topology, &manifest).err().unwrap().to_string()
    };
    assert!(refused("\"q6\"").contains("there is no q6; there are q0, q1, q2, q3, q4, q5, q7, q8, q11"));
    assert!(refused("\"q0\", \"q0\"").contains("names q0 twice"));
    assert!(refused("").contains("names none"));
}
