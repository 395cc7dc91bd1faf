//! An aircraft's way out of New York and out again.

use millstream_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::flight::Flight;

/// What a session adds up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    pub departures: i64,
    /// Of the flights out of New York.
    pub miles: i64,
    /// `EWR-IAH`, as they came.
    pub legs: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AircraftRotation {
    /// The tail number.
    pub aircraft: String,
    /// When the first departure and the last one so far were scheduled, in ms since the epoch.
    pub start: i64,
    pub end: i64,
    #[serde(flatten)]
    pub rotation: Rotation,
}

impl Json for Rotation {}
impl Json for AircraftRotation {}

impl Rotation {
    /// With one departure more.
    pub fn with(self, leg: Flight) -> Rotation {
        let leg = Rotation { departures: 1, miles: leg.distance, legs: vec![format!("{}-{}", leg.origin, leg.dest)] };
        self.and(leg)
    }

    /// With what came after it.
    pub fn and(mut self, later: Rotation) -> Rotation {
        self.legs.extend(later.legs);
        Rotation { departures: self.departures + later.departures, miles: self.miles + later.miles, legs: self.legs }
    }

    pub fn at(self, session: &Windowed<Option<String>, Session>) -> AircraftRotation {
        let aircraft = session.key.clone().unwrap_or_default();
        AircraftRotation { aircraft, start: session.start, end: session.end, rotation: self }
    }
}
