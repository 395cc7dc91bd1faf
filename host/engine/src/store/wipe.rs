//! Stores that are emptied: one whose changelog does not go on from it, and all that cannot be trusted.

use super::join_time::JoinClock;
use super::restored::Restored;
use super::task_stores::OneStore;
use super::{Error, TaskStores};

impl TaskStores {
    /// Empties one store, committed state included; the others keep theirs. Nothing of the task may be in flight.
    pub fn wipe_store(&mut self, store: usize) -> Result<(), Error> {
        self.forget(store);
        let slot = &self.stores[store].slot;
        self.bases[slot.base].wipe_store(slot.slot)
    }

    /// Forgets all that stands over a base, and what is known of it.
    fn forget(&mut self, store: usize) {
        let OneStore { layers, restored, clock, join_clock, order, .. } = &mut self.stores[store];
        *join_clock = JoinClock::default();
        order.forget();
        layers.drop_open();
        layers.drop_sealed();
        clock.drop_open();
        clock.drop_sealed();
        clock.forget_committed();
        *restored = Restored::default();
    }

    /// Empties the stores that their bases call damaged, committed state included; all of them where none is called so.
    /// Answers the places of those it has emptied. The others are given first what is sealed over them, which the log has:
    /// without a changelog they could not have it again. To be called again where a base answers [`Error::Retry`].
    pub fn wipe_damaged(&mut self) -> Result<Vec<usize>, Error> {
        let own: Vec<usize> =
            (0..self.stores.len()).filter(|place| self.stores[*place].slot.base < self.own_bases).collect();
        let is_damaged = |place: &usize| {
            let slot = &self.stores[*place].slot;
            self.bases[slot.base].is_damaged(slot.slot)
        };
        let mut damaged: Vec<usize> = own.iter().copied().filter(is_damaged).collect();
        if damaged.is_empty() {
            damaged.clone_from(&own);
        }
        damaged.iter().for_each(|place| self.forget(*place));
        let unknown = vec![None; self.stores.len()];
        for number in 0..self.own_bases {
            match self.apply_to(number, &unknown, &|place| !damaged.contains(&place)) {
                Ok(()) => {}
                Err(retry @ Error::Retry(_)) => return Err(retry),
                Err(_) => {
                    let is_of_base = |place: &usize| self.stores[*place].slot.base == number;
                    damaged.extend(own.iter().copied().filter(is_of_base));
                }
            }
        }
        damaged.sort_unstable();
        damaged.dedup();
        for number in 0..self.own_bases {
            let of_base = own.iter().copied().filter(|place| self.stores[*place].slot.base == number);
            let (gone, sound): (Vec<usize>, Vec<usize>) = of_base.partition(|place| damaged.contains(place));
            if sound.is_empty() {
                self.bases[number].wipe()?;
            } else {
                let base = &mut self.bases[number];
                gone.iter().try_for_each(|place| base.wipe_store(self.stores[*place].slot.slot))?;
            }
            gone.iter().for_each(|place| self.forget(*place));
        }
        Ok(damaged)
    }
}
