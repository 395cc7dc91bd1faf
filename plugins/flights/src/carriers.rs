//! The carriers' totals, with their names.

use millstream_sdk::prelude::*;

use crate::delays::{CarrierDelays, Delays};
use crate::flight::Flight;

/// How long the list of the busiest carriers is.
const TOP_LEN: usize = 10;

pub struct Carriers {
    /// Carrier → name: the table of airlines.
    pub names: KeyValueStore<String, String>,
    pub delays: KeyValueStore<String, Delays>,
    /// Rank, from 1 → carrier: among those of this task.
    pub top: KeyValueStore<i32, CarrierDelays>,
}

impl Processor<String, Flight, String, CarrierDelays> for Carriers {
    fn process(
        &mut self,
        flight: Record<String, Flight>,
        ctx: &mut Context<String, CarrierDelays>,
    ) -> Result<(), Failure> {
        let carrier = flight.key.clone();
        let delays = self.delays.get(&carrier)?.unwrap_or_default().with(&flight.value);
        self.delays.put(&carrier, &delays);
        let name = self.names.get(&carrier)?;
        ctx.forward(flight.with_value(CarrierDelays { carrier, name, delays }));
        Ok(())
    }

    /// Writes down the carriers with the most flights.
    fn punctuate(&mut self, _top: &Punctuation, _ctx: &mut Context<String, CarrierDelays>) -> Result<(), Failure> {
        let mut carriers = self.delays.all()?.collect::<Result<Vec<_>, _>>()?;
        // By carrier where two have the same number: the scan came in that order.
        carriers.sort_by_key(|(_, delays)| -delays.flights);
        for (rank, (carrier, delays)) in (1..).zip(carriers.into_iter().take(TOP_LEN)) {
            let name = self.names.get(&carrier)?;
            self.top.put(&rank, &CarrierDelays { carrier, name, delays });
        }
        Ok(())
    }
}
