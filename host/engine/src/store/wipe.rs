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
    /// without a changelog they could not have it again. To be called again where a base answers [`Error::Retry`] or is full.
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
                Err(retry @ (Error::Retry(_) | Error::Full(_))) => return Err(retry),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::store::{Base, KeyRange, MemoryBase, Position, SizeLimits, StoreChanges, StoreKind, StoreSlot};

    /// Two stores of one base, of which one may be damaged.
    struct Halves {
        base: MemoryBase,
        is_damaged: Arc<AtomicBool>,
    }

    impl Halves {
        fn is_spoilt(&self) -> bool {
            self.is_damaged.load(Ordering::Relaxed)
        }
    }

    const SOUND: usize = 0;
    const DAMAGED: usize = 1;

    impl Base for Halves {
        fn get_many(
            &self,
            store: usize,
            keys: &[&[u8]],
            visit: &mut dyn FnMut(usize, Option<&[u8]>),
        ) -> Result<(), Error> {
            self.base.get_many(store, keys, visit)
        }

        fn scan(
            &self,
            store: usize,
            range: KeyRange<'_>,
            reverse: bool,
            visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
        ) -> Result<(), Error> {
            self.base.scan(store, range, reverse, visit)
        }

        fn entries(&self, store: usize) -> Result<u64, Error> {
            self.base.entries(store)
        }

        fn bytes(&self, store: usize) -> Result<u64, Error> {
            self.base.bytes(store)
        }

        fn position(&self, store: usize) -> Result<Option<Position>, Error> {
            self.base.position(store)
        }

        fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error> {
            assert!(!self.is_spoilt() || changes.iter().all(|of| of.store != DAMAGED), "it writes to what is damaged");
            self.base.apply(changes)
        }

        fn is_damaged(&self, store: usize) -> bool {
            self.is_spoilt() && store == DAMAGED
        }

        fn wipe(&mut self) -> Result<(), Error> {
            self.is_damaged.store(false, Ordering::Relaxed);
            self.base.wipe()
        }

        fn wipe_store(&mut self, store: usize) -> Result<(), Error> {
            self.is_damaged.fetch_and(store != DAMAGED, Ordering::Relaxed);
            self.base.wipe_store(store)
        }
    }

    /// Something is committed in both, and something is under seal.
    fn stores(is_damaged: &Arc<AtomicBool>) -> TaskStores {
        let slot = |slot: usize| StoreSlot {
            number: slot as u32,
            name: format!("s{slot}"),
            base: 0,
            slot,
            logged: false,
            kind: StoreKind::KeyValue,
        };
        let base = Halves { base: MemoryBase::new(2), is_damaged: is_damaged.clone() };
        let mut stores = TaskStores::new(vec![slot(SOUND), slot(DAMAGED)], vec![Box::new(base)], SizeLimits::default());
        for key in [&b"committed"[..], b"sealed"] {
            [SOUND, DAMAGED].iter().for_each(|store| stores.put(*store, key, Some(b"v"), 1));
            stores.keep_batch();
            stores.seal(&mut |_, _| ());
            if key == b"committed" {
                stores.apply_sealed(&[None, None]).unwrap();
            }
        }
        stores
    }

    #[test]
    fn a_damaged_store_is_emptied_and_its_neighbour_has_what_was_sealed() {
        let is_damaged = Arc::new(AtomicBool::new(false));
        let mut stores = stores(&is_damaged);
        is_damaged.store(true, Ordering::Relaxed);
        assert_eq!(stores.wipe_damaged().unwrap(), [DAMAGED]);
        assert_eq!((stores.entries(SOUND).unwrap(), stores.entries(DAMAGED).unwrap()), (2, 0));
        assert!(!is_damaged.load(Ordering::Relaxed));
    }

    #[test]
    fn where_no_store_is_called_damaged_all_are_emptied() {
        let mut stores = stores(&Arc::default());
        assert_eq!(stores.wipe_damaged().unwrap(), [SOUND, DAMAGED]);
        assert_eq!((stores.entries(SOUND).unwrap(), stores.entries(DAMAGED).unwrap()), (0, 0));
    }
}
