//! What a batch does to the stores of a task goes with it, or back with it; a part of it goes back to where it was saved.

use super::layers::SavedLayers;
use super::task_stores::{BATCH_BYTES_MAX, OneStore};
use super::{JoinTime, Observed, TaskStores};

/// A place within a batch.
pub struct SavedStores {
    stores: Vec<SavedStore>,
    late: u64,
}

struct SavedStore {
    layers: SavedLayers,
    clock: Option<Observed>,
    join_clock: Option<JoinTime>,
    order: usize,
}

impl TaskStores {
    pub fn keep_batch(&mut self) {
        for one in &mut self.stores {
            one.layers.keep_batch();
            one.clock.keep_batch();
            one.join_clock.keep_batch();
            one.order.keep_batch();
        }
        self.late = 0;
    }

    pub fn drop_batch(&mut self) {
        for one in &mut self.stores {
            one.layers.drop_batch();
            one.clock.drop_batch();
            one.join_clock.drop_batch();
            one.order.drop_batch();
        }
        self.late = 0;
    }

    /// Whether a batch has written so much to one store that what it may not write more may be what it has written before.
    pub fn is_batch_large(&self) -> bool {
        self.stores.iter().any(|one| one.layers.batch_bytes() > BATCH_BYTES_MAX / 2)
    }

    /// Marks a place within the batch. What was saved later is kept, or gone back to, before what was saved earlier.
    pub fn save(&mut self) -> SavedStores {
        let save = |one: &mut OneStore| SavedStore {
            layers: one.layers.save(),
            clock: one.clock.save(),
            join_clock: one.join_clock.save(),
            order: one.order.save(),
        };
        SavedStores { stores: self.stores.iter_mut().map(save).collect(), late: self.late }
    }

    pub fn keep_saved(&mut self, saved: SavedStores) {
        for (one, saved) in self.stores.iter_mut().zip(saved.stores) {
            one.layers.keep_saved(saved.layers);
        }
    }

    /// Drops what the batch did since it was saved.
    pub fn back_to_saved(&mut self, saved: SavedStores) {
        for (one, saved) in self.stores.iter_mut().zip(saved.stores) {
            one.layers.back_to_saved(saved.layers);
            one.clock.back_to_saved(saved.clock);
            one.join_clock.back_to_saved(saved.join_clock);
            one.order.back_to_saved(saved.order);
        }
        self.late = saved.late;
    }

    /// How many writes of this batch came too late for their stores; counts from nothing again.
    pub fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }
}
