//! What is added up.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AirportDelays {
    pub airport: String,
    #[serde(flatten)]
    pub delays: Delays,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CarrierDelays {
    pub carrier: String,
    /// Nothing when the airlines do not know the carrier.
    pub name: Option<String>,
    #[serde(flatten)]
    pub delays: Delays,
}

impl Json for Delays {}
impl Json for AirportDelays {}
impl Json for CarrierDelays {}

impl Delays {
    /// With one flight more.
    pub fn with(self, flight: &Flight) -> Delays {
        let departed = flight.dep_time.is_some();
        let flights = self.flights + 1;
        let cancelled = self.cancelled + i64::from(!departed);
        let delay = flight.dep_delay.filter(|_| departed).unwrap_or(0);
        let delay_sum = self.delay_sum + delay;
        let n_departed = flights - cancelled;
        let delay_mean = (n_departed > 0).then(|| delay_sum as f64 / n_departed as f64);
        Delays { flights, cancelled, delay_sum, delay_mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(dep_time: Option<i32>, dep_delay: Option<i64>) -> Flight {
        Flight { carrier: "UA".into(), origin: "EWR".into(), dep_time, dep_delay }
    }

    #[test]
    fn a_cancelled_flight_counts_but_has_no_delay() {
        let cancelled = Delays::default().with(&flight(None, None));
        assert_eq!(cancelled, Delays { flights: 1, cancelled: 1, delay_sum: 0, delay_mean: None });
        let both = cancelled.with(&flight(Some(517), Some(-3)));
        assert_eq!(both, Delays { flights: 2, cancelled: 1, delay_sum: -3, delay_mean: Some(-3.0) });
    }
}
