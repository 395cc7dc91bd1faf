//! An airport's hour: its departures and its weather.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::HOUR;
use crate::flight::Flight;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delays {
    pub flights: i64,
    pub cancelled: i64,
    /// Minutes, of the flights that departed.
    pub delay_sum: i64,
    /// Minutes; nothing as long as none has departed.
    pub delay_mean: Option<f64>,
}

/// What was measured in an hour, as far as it matters to who departs. Nothing where the instrument said nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weather {
    /// Fahrenheit.
    pub temp: Option<f64>,
    /// Miles an hour.
    pub wind_speed: Option<f64>,
    pub wind_gust: Option<f64>,
    /// Inches.
    pub precip: Option<f64>,
    /// Miles.
    pub visib: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hour {
    #[serde(flatten)]
    pub delays: Delays,
    /// Nothing where the hour was not measured, or not yet.
    pub weather: Option<Weather>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AirportHour {
    pub airport: String,
    /// Of the window, in ms since the epoch; the end is excluded.
    pub start: i64,
    pub end: i64,
    #[serde(flatten)]
    pub hour: Hour,
}

impl Json for Delays {}
impl Json for Weather {}
impl Json for Hour {}
impl Json for AirportHour {}

impl Delays {
    /// With one flight more.
    pub fn with(self, flight: &Flight) -> Delays {
        let departed = flight.dep_time.is_some();
        let flights = self.flights + 1;
        let cancelled = self.cancelled + i64::from(!departed);
        let delay_sum = self.delay_sum + flight.dep_delay.filter(|_| departed).unwrap_or(0);
        let n_departed = flights - cancelled;
        let delay_mean = (n_departed > 0).then(|| delay_sum as f64 / n_departed as f64);
        Delays { flights, cancelled, delay_sum, delay_mean }
    }
}

impl Hour {
    pub fn with(delays: Delays, weather: Option<Weather>) -> Hour {
        Hour { delays, weather }
    }

    pub fn at(self, window: &Windowed<String>) -> AirportHour {
        AirportHour { airport: window.key.clone(), start: window.start, end: window.end, hour: self }
    }
}

/// The weather's key for an airport at a time in ms: the hour it lies in.
pub fn hour_of(airport: &str, time: i64) -> String {
    let hour_ms = HOUR.as_millis() as i64;
    format!("{airport}@{}", time - time.rem_euclid(hour_ms))
}
