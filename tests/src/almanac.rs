//! January's departures in time, worked out straight from the files: what the sample `flights-weather` must come to.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::guests::root;
use crate::january;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The sample's windows.
const HOP_MS: i64 = HOUR_MS / 2;
const GAP_MS: i64 = 10 * HOUR_MS;
const EARLY_MS: i64 = 30 * MINUTE_MS;
const LATE_MS: i64 = 2 * HOUR_MS;

/// A line of a file: a record as it is fed.
#[derive(Clone, Debug)]
pub struct Line {
    pub key: Option<String>,
    pub value: Value,
    pub timestamp: i64,
}

/// What the sinks must have.
pub struct Almanac {
    /// By airport and start of the window: the last word.
    pub hours: BTreeMap<(String, i64), Value>,
    /// By aircraft and start: every word, one for each departure.
    pub rotations: BTreeMap<(String, i64), Vec<Value>>,
    /// By flight: all results, sorted as text.
    pub departures: BTreeMap<String, Vec<String>>,
}

/// The records of a file in the sample's `data`, in its order.
pub fn lines(file: &str) -> Vec<Line> {
    let path = root().join("plugins/flights-weather/data").join(file);
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the data");
    GzDecoder::new(file).read_to_string(&mut text).expect("the data is gzip over UTF-8");
    text.lines().map(line).collect()
}

/// The records of the sample `flights`, which this one reads too.
pub fn flights() -> Vec<Line> {
    january::flights().lines().map(line).collect()
}

fn line(text: &str) -> Line {
    let record: Value = serde_json::from_str(text).expect("every line is JSON");
    let value = serde_json::from_str(record["value"].as_str().expect("a value is text")).expect("a value is JSON");
    let timestamp = record["timestamp"].as_i64().expect("a time");
    Line { key: record["key"].as_str().map(str::to_owned), value, timestamp }
}

impl Almanac {
    pub fn of_the_month() -> Almanac {
        let flights = flights();
        Almanac { hours: hours(&flights), rotations: rotations(&flights), departures: departures(&flights) }
    }
}

#[derive(Default)]
struct Sum {
    flights: i64,
    cancelled: i64,
    delay: i64,
}

fn hours(flights: &[Line]) -> BTreeMap<(String, i64), Value> {
    let mut weather: BTreeMap<(String, i64), Value> = BTreeMap::new();
    for Line { value, timestamp, .. } in lines("weather-2013-01.jsonl.gz") {
        let measured = ["temp", "wind_speed", "wind_gust", "precip", "visib"];
        let measured = measured.map(|name| (name.to_owned(), value[name].clone())).into_iter().collect();
        weather.insert((text(&value, "origin"), timestamp), Value::Object(measured));
    }
    let mut sums: BTreeMap<(String, i64), Sum> = BTreeMap::new();
    for Line { value, timestamp, .. } in flights {
        let last = timestamp - timestamp % HOP_MS;
        for start in [last - HOP_MS, last] {
            let sum = sums.entry((text(value, "origin"), start)).or_default();
            sum.flights += 1;
            match value["dep_time"].is_null() {
                true => sum.cancelled += 1,
                false => sum.delay += value["dep_delay"].as_i64().expect("who departed has a delay"),
            }
        }
    }
    let hour = |((airport, start), sum): ((String, i64), Sum)| {
        let Sum { flights, cancelled, delay } = sum;
        let mean = (flights > cancelled).then(|| delay as f64 / (flights - cancelled) as f64);
        let weather = weather.get(&(airport.clone(), start - start % HOUR_MS));
        let value = json!({"airport": airport, "start": start, "end": start + HOUR_MS, "flights": flights,
            "cancelled": cancelled, "delay_sum": delay, "delay_mean": mean, "weather": weather});
        ((airport, start), value)
    };
    sums.into_iter().map(hour).collect()
}

fn rotations(flights: &[Line]) -> BTreeMap<(String, i64), Vec<Value>> {
    let mut rotations: BTreeMap<(String, i64), Vec<Value>> = BTreeMap::new();
    // By aircraft: the rotation that it is on. The file is in order of time.
    let mut running: BTreeMap<String, Value> = BTreeMap::new();
    for Line { key, value, timestamp } in flights {
        let Some(aircraft) = key.clone().filter(|_| !value["dep_time"].is_null()) else { continue };
        let goes_on = running.remove(&aircraft).filter(|so_far| timestamp - number(so_far, "end") <= GAP_MS);
        let none = json!({"aircraft": aircraft, "start": timestamp, "end": 0, "departures": 0, "miles": 0, "legs": []});
        let mut so_far = goes_on.unwrap_or(none);
        so_far["end"] = json!(timestamp);
        so_far["departures"] = json!(number(&so_far, "departures") + 1);
        so_far["miles"] = json!(number(&so_far, "miles") + number(value, "distance"));
        let leg = format!("{}-{}", text(value, "origin"), text(value, "dest"));
        so_far["legs"].as_array_mut().expect("legs").push(json!(leg));
        rotations.entry((aircraft.clone(), number(&so_far, "start"))).or_default().push(so_far.clone());
        running.insert(aircraft, so_far);
    }
    rotations
}

/// Out of the flights themselves, not of the files of the two halves. All that waits has been given away.
fn departures(flights: &[Line]) -> BTreeMap<String, Vec<String>> {
    struct Half {
        dest: String,
        at: i64,
        met: bool,
    }
    let mut halves: BTreeMap<String, (Vec<Half>, Vec<Half>)> = BTreeMap::new();
    for Line { value, timestamp, .. } in flights {
        let key = format!("{}{}/{}", text(value, "carrier"), value["flight"], text(value, "origin"));
        let (scheduled, flown) = halves.entry(key).or_default();
        let half = |at| Half { dest: text(value, "dest"), at, met: false };
        scheduled.push(half(*timestamp));
        if !value["dep_time"].is_null() {
            flown.push(half(timestamp + number(value, "dep_delay") * MINUTE_MS));
        }
    }
    let result = |dest: &str, scheduled: Option<i64>, departed: Option<i64>| {
        let delay = scheduled.zip(departed).map(|(scheduled, departed)| (departed - scheduled) / MINUTE_MS);
        json!({"dest": dest, "scheduled": scheduled, "departed": departed, "delay": delay}).to_string()
    };
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, (mut scheduled, mut flown)) in halves {
        let results = all.entry(key).or_default();
        for to_be in &mut scheduled {
            let (from, to) = (to_be.at - EARLY_MS, to_be.at + LATE_MS);
            for was in flown.iter_mut().filter(|was| (from..=to).contains(&was.at)) {
                (to_be.met, was.met) = (true, true);
                results.push(result(&to_be.dest, Some(to_be.at), Some(was.at)));
            }
        }
        let alone = |half: &&Half| !half.met;
        results.extend(scheduled.iter().filter(alone).map(|half| result(&half.dest, Some(half.at), None)));
        results.extend(flown.iter().filter(alone).map(|half| result(&half.dest, None, Some(half.at))));
        results.sort();
    }
    all
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().expect("text").to_owned()
}

fn number(value: &Value, field: &str) -> i64 {
    value[field].as_i64().expect("a number")
}
