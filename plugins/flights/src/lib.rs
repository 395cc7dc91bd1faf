//! Departures from New York: flights, cancellations and delays per carrier and per airport, the carriers by name,
//! and a list of the busiest carriers, renewed every hour of the flights' own time.

mod carriers;
mod delays;
mod flight;
#[cfg(test)]
mod tests;

use carriers::Carriers;
use delays::{AirportDelays, Delays};
use flight::Flight;
use millstream_sdk::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

fn topology(app: &mut Topology) {
    let airlines = app.table::<String, String>("airlines", "airlines");
    let flights = app.stream::<(), Flight>("flights");

    // Per airport an aggregation is enough: the host regroups the flights and keeps the store.
    flights
        .group_by(|_, flight| flight.origin.clone())
        .aggregate(Delays::default, |_, flight, delays| delays.with(&flight), "by-airport")
        .to_stream()
        .map_values_with_key(|airport, delays| AirportDelays { airport: airport.clone(), delays })
        .to("airport-delays");

    // Per carrier a processor looks the name up, so its flights must be where the airlines of that key are.
    let by_carrier = app.store("by-carrier");
    let top = app.store("top");
    flights
        .select_key(|_, flight| flight.carrier.clone())
        .repartition("by-carrier")
        .process("carriers", |init| {
            init.every_stream_time(HOUR, "top");
            Carriers { names: init.store(&airlines.store()), delays: init.store(&by_carrier), top: init.store(&top) }
        })
        .to("carrier-delays");
}

millstream_sdk::plugin!(topology);
