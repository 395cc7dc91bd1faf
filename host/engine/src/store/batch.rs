//! What a batch does to the stores of a task goes with it, or back with it; a part of it goes back to where it was saved.

use super::TaskStores;

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

    /// Marks a place within the batch, to which [`TaskStores::back_to_saved`] goes back.
    pub fn save(&mut self) {
        for one in &mut self.stores {
            one.layers.save();
            one.clock.save();
            one.join_clock.save();
            one.order.save();
        }
        self.late_saved = self.late;
    }

    /// Drops what the batch did since it was saved last.
    pub fn back_to_saved(&mut self) {
        for one in &mut self.stores {
            one.layers.back_to_saved();
            one.clock.back_to_saved();
            one.join_clock.back_to_saved();
            one.order.back_to_saved();
        }
        self.late = self.late_saved;
    }

    /// How many writes of this batch came too late for their stores; counts from nothing again.
    pub fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }
}
