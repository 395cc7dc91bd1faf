//! The whole topology on a handful of flights.
#![allow(clippy::unwrap_used)]

use millstream_sdk::prelude::*;
use millstream_sdk::testing::Driver;

use crate::delays::{AirportDelays, CarrierDelays, Delays};
use crate::topology;

const HOUR_MS: i64 = 3_600_000;

/// `None`: cancelled.
fn flight(carrier: &str, origin: &str, delay: Option<i64>, timestamp: i64) -> Record<Option<String>, String> {
    let dep_time = delay.map(|_| 517);
    let row = serde_json::json!({"carrier": carrier, "origin": origin, "dep_time": dep_time, "dep_delay": delay, "dest": "IAH"});
    Record::new(None, row.to_string(), timestamp)
}

fn driver() -> Driver {
    let mut driver = Driver::new(topology).unwrap();
    let airline = |carrier: &str, name: &str| Record::new(carrier.to_string(), name.to_string(), 0);
    driver.pipe_all("airlines", [airline("UA", "United"), airline("AA", "American")]).unwrap();
    driver
}

fn delays(flights: i64, cancelled: i64, delay_sum: i64, delay_mean: Option<f64>) -> Delays {
    Delays { flights, cancelled, delay_sum, delay_mean }
}

#[test]
fn every_flight_updates_its_airport() {
    let mut driver = driver();
    let flights = [("EWR", Some(2)), ("JFK", None), ("EWR", Some(-5)), ("EWR", None)];
    driver.pipe_all("flights", flights.map(|(origin, delay)| flight("UA", origin, delay, 1))).unwrap();
    let of = |airport: &str, delays| (airport.to_string(), AirportDelays { airport: airport.to_string(), delays });
    let expected = [
        of("EWR", delays(1, 0, 2, Some(2.0))),
        of("JFK", delays(1, 1, 0, None)),
        of("EWR", delays(2, 0, -3, Some(-1.5))),
        of("EWR", delays(3, 1, -3, Some(-1.5))),
    ];
    assert_eq!(driver.read_pairs::<String, AirportDelays>("airport-delays").unwrap(), expected);
    let stored = driver.get::<String, Delays>("by-airport", &"EWR".to_string()).unwrap();
    assert_eq!(stored, Some(delays(3, 1, -3, Some(-1.5))));
}

#[test]
fn every_flight_updates_its_carrier_by_name() {
    let mut driver = driver();
    driver.pipe_all("flights", [flight("UA", "EWR", Some(4), 1), flight("XX", "EWR", None, 2)]).unwrap();
    let written = driver.read_pairs::<String, String>("carrier-delays").unwrap();
    let expected = [
        ("UA", r#"{"carrier":"UA","name":"United","flights":1,"cancelled":0,"delay_sum":4,"delay_mean":4.0}"#),
        ("XX", r#"{"carrier":"XX","name":null,"flights":1,"cancelled":1,"delay_sum":0,"delay_mean":null}"#),
    ];
    assert_eq!(written, expected.map(|(key, value)| (key.to_string(), value.to_string())));
}

#[test]
fn the_busiest_carriers_are_listed_every_hour() {
    let mut driver = driver();
    let carriers = ["AA", "UA", "XX", "UA"];
    driver.pipe_all("flights", carriers.map(|carrier| flight(carrier, "EWR", Some(1), 1))).unwrap();
    assert!(driver.entries::<i32, CarrierDelays>("top").unwrap().is_empty());
    driver.pipe("flights", flight("XX", "JFK", Some(1), HOUR_MS)).unwrap();
    let top = driver.entries::<i32, CarrierDelays>("top").unwrap();
    let listed = top.iter().map(|(rank, one)| (*rank, one.carrier.as_str(), one.delays.flights));
    assert_eq!(listed.collect::<Vec<_>>(), [(1, "UA", 2), (2, "XX", 2), (3, "AA", 1)]);
    assert_eq!(top[0].1.name.as_deref(), Some("United"));
}

#[test]
fn a_row_without_a_carrier_fails_its_record() {
    let mut driver = driver();
    let row = Record::new((), r#"{"origin":"EWR"}"#.to_string(), 1);
    let error = driver.pipe("flights", row).unwrap_err().to_string();
    assert!(error.contains("the value does not decode as json: missing field `carrier`"), "{error}");
}
