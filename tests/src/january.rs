//! January's flights, added up straight from the file: what the sample must come to, worked out without Millstream.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::guests::root;

/// Scheduled departures in the file.
pub const FLIGHTS: usize = 27_004;

/// The file as it lies in the sample: JSON lines, ready for `millstream produce`.
pub fn flights() -> String {
    let file = std::fs::File::open(root().join("plugins/flights/data/flights-2013-01.jsonl.gz")).expect("the data");
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("the data is gzip over UTF-8");
    text
}

/// The table of airlines, ready for `millstream produce`.
pub fn airlines() -> String {
    std::fs::read_to_string(root().join("plugins/flights/data/airlines.jsonl")).expect("the airlines are text")
}

/// What the sinks' last word on each key must be: by carrier, by airport.
pub struct Totals {
    pub by_carrier: BTreeMap<String, Value>,
    pub by_airport: BTreeMap<String, Value>,
}

#[derive(Default)]
struct Sum {
    flights: i64,
    cancelled: i64,
    delay_sum: i64,
}

impl Sum {
    fn add(&mut self, row: &Value) {
        self.flights += 1;
        match row["dep_time"].is_null() {
            true => self.cancelled += 1,
            false => self.delay_sum += row["dep_delay"].as_i64().unwrap_or(0),
        }
    }

    /// With `first` in front: the carrier or the airport it is of.
    fn total(&self, first: Value) -> Value {
        let departed = self.flights - self.cancelled;
        let mean = (departed > 0).then(|| self.delay_sum as f64 / departed as f64);
        let mut total = first;
        total["flights"] = json!(self.flights);
        total["cancelled"] = json!(self.cancelled);
        total["delay_sum"] = json!(self.delay_sum);
        total["delay_mean"] = json!(mean);
        total
    }
}

impl Totals {
    pub fn of_the_month() -> Totals {
        let names: BTreeMap<String, Value> = airlines().lines().map(json_line).map(key_and_value).collect();
        let (mut carriers, mut airports) = (BTreeMap::<String, Sum>::new(), BTreeMap::<String, Sum>::new());
        let flights = flights();
        assert_eq!(flights.lines().count(), FLIGHTS);
        for line in flights.lines() {
            let row = json_line(json_line(line)["value"].as_str().expect("a value is text"));
            carriers.entry(text(&row["carrier"])).or_default().add(&row);
            airports.entry(text(&row["origin"])).or_default().add(&row);
        }
        let carrier = |(code, sum): (&String, &Sum)| {
            (code.clone(), sum.total(json!({ "carrier": code, "name": names.get(code) })))
        };
        let airport = |(code, sum): (&String, &Sum)| (code.clone(), sum.total(json!({ "airport": code })));
        Totals {
            by_carrier: carriers.iter().map(carrier).collect(),
            by_airport: airports.iter().map(airport).collect(),
        }
    }
}

fn json_line(line: &str) -> Value {
    serde_json::from_str(line).expect("every line is JSON")
}

fn key_and_value(record: Value) -> (String, Value) {
    (text(&record["key"]), record["value"].clone())
}

fn text(value: &Value) -> String {
    value.as_str().expect("codes are text").to_owned()
}
