//! The whole topology on a handful of flights.
#![allow(clippy::unwrap_used)]

use millstream_sdk::testing::{Driver, Error};
use serde_json::{Value, json};

use super::*;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

fn driver() -> Driver {
    Driver::new(topology).unwrap()
}

/// Of the aircraft N1; `None`: cancelled.
fn flight(origin: &str, delay: Option<i64>, timestamp: i64) -> Record<String, Value> {
    let dep_time = delay.map(|_| 517);
    let row = json!({"origin": origin, "dest": "IAH", "distance": 1400, "dep_time": dep_time, "dep_delay": delay});
    Record::new("N1".to_string(), row, timestamp)
}

fn weather(airport: &str, hour: i64, temp: f64) -> Record<String, Value> {
    let row = json!({"temp": temp, "wind_speed": null, "wind_gust": null, "precip": 0.0, "visib": 10.0});
    Record::new(format!("{airport}@{}", hour * HOUR_MS), row, hour * HOUR_MS)
}

/// Airport, start of the window in half hours, flights, temperature: of what was written since the last time.
fn hours(driver: &mut Driver) -> Vec<(String, i64, i64, Option<f64>)> {
    let written = driver.read_pairs::<String, Value>("hourly-delays").unwrap();
    let hour = |(airport, hour): (String, Value)| {
        assert_eq!(hour["airport"], airport);
        let start = hour["start"].as_i64().unwrap();
        assert_eq!(hour["end"], start + HOUR_MS);
        (airport, start / (HOUR_MS / 2), hour["flights"].as_i64().unwrap(), hour["weather"]["temp"].as_f64())
    };
    written.into_iter().map(hour).collect()
}

#[test]
fn an_hour_has_the_weather_of_the_hour_in_which_it_begins() -> Result<(), Error> {
    let mut driver = driver();
    driver.pipe_all("weather", [weather("EWR", 4, 39.0), weather("EWR", 5, 41.0), weather("JFK", 5, 50.0)])?;
    driver.pipe("flights", flight("EWR", Some(3), 5 * HOUR_MS + MINUTE_MS))?;
    let of = |start, flights, temp| ("EWR".to_string(), start, flights, Some(temp));
    assert_eq!(hours(&mut driver), [of(9, 1, 39.0), of(10, 1, 41.0)]);
    driver.pipe("flights", flight("EWR", None, 5 * HOUR_MS + 31 * MINUTE_MS))?;
    assert_eq!(hours(&mut driver), [of(10, 2, 41.0), of(11, 1, 41.0)]);
    Ok(())
}

#[test]
fn weather_that_comes_late_or_is_corrected_changes_its_hours() -> Result<(), Error> {
    let mut driver = driver();
    driver.pipe("flights", flight("EWR", Some(3), 5 * HOUR_MS + MINUTE_MS))?;
    let of = |start, temp| ("EWR".to_string(), start, 1, temp);
    assert_eq!(hours(&mut driver), [of(9, None), of(10, None)]);
    driver.pipe("weather", weather("EWR", 5, 41.0))?;
    assert_eq!(hours(&mut driver), [of(10, Some(41.0))]);
    driver.pipe("weather", weather("EWR", 5, 42.0))?;
    assert_eq!(hours(&mut driver), [of(10, Some(42.0))]);
    Ok(())
}

#[test]
fn a_rotation_ends_when_the_aircraft_stays_away() -> Result<(), Error> {
    let mut driver = driver();
    let times = [0, 10, 21].map(|hour| flight(if hour == 0 { "EWR" } else { "JFK" }, Some(0), hour * HOUR_MS));
    driver.pipe_all("flights", times)?;
    driver.pipe("flights", flight("EWR", None, 22 * HOUR_MS))?; // was cancelled: the aircraft did not leave
    let written = driver.read_pairs::<String, Value>("rotations")?;
    let rotation = |start: i64, end: i64, legs: &[&str]| {
        let (departures, start, end) = (legs.len(), start * HOUR_MS, end * HOUR_MS);
        let value = json!({"aircraft": "N1", "start": start, "end": end, "departures": departures,
            "miles": 1400 * departures, "legs": legs});
        ("N1".to_string(), value)
    };
    let expected =
        [rotation(0, 0, &["EWR-IAH"]), rotation(0, 10, &["EWR-IAH", "JFK-IAH"]), rotation(21, 21, &["JFK-IAH"])];
    assert_eq!(written, expected);
    Ok(())
}

/// Half a departure, at a minute.
fn departure(flight: &str, what: &str, minute: i64) -> Record<String, Value> {
    Record::new(flight.to_string(), json!({"dest": "IAH", what: minute * MINUTE_MS}), minute * MINUTE_MS)
}

#[test]
fn a_departure_without_its_other_half_waits_until_none_can_come() -> Result<(), Error> {
    let mut driver = driver();
    let written = |driver: &mut Driver| -> Vec<(Option<i64>, Option<i64>)> {
        let all = driver.read_pairs::<String, Value>("departures").unwrap();
        let minute = |one: &Value| one.as_i64().map(|time| time / MINUTE_MS);
        all.iter().map(|(_, one)| (minute(&one["scheduled"]), minute(&one["departed"]))).collect()
    };
    driver.pipe("scheduled", departure("UA1", "scheduled", 0))?;
    driver.pipe("flown", departure("UA1", "departed", 120))?;
    assert_eq!(written(&mut driver), [(Some(0), Some(120))]);

    // Two hours and a minute late: two records, each when nothing can meet it any more.
    driver.pipe("scheduled", departure("UA1", "scheduled", 1_000))?;
    driver.pipe("flown", departure("UA1", "departed", 1_121))?;
    driver.pipe("scheduled", departure("UA2", "scheduled", 1_130))?;
    assert_eq!(written(&mut driver), []);
    driver.pipe("scheduled", departure("UA2", "scheduled", 1_131))?;
    assert_eq!(written(&mut driver), [(Some(1_000), None)]);
    driver.pipe("flown", departure("UA2", "departed", 2_000))?;
    assert_eq!(written(&mut driver), [(None, Some(1_121)), (Some(1_130), None), (Some(1_131), None)]);
    Ok(())
}
