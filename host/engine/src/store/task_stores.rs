//! The stores of one task, as its operators use them.

use std::ops::ControlFlow;

use super::access::Scope;
use super::layers::{Layers, Logged, Timestamped};
use super::{Base, Changes, Error, KeyRange, Position, StoreChanges};
use crate::record::{Record, Records};

/// Where one store of a task is kept.
#[derive(Clone, Debug)]
pub struct StoreSlot {
    /// Its number in the description.
    pub number: u32,
    pub name: String,
    /// Which of the task's bases, and its place there.
    pub base: usize,
    pub slot: usize,
    /// Whether it has a changelog.
    pub logged: bool,
}

/// How large a key and a value may be, equal on every provider.
#[derive(Clone, Copy, Debug)]
pub struct SizeLimits {
    pub key_bytes: usize,
    pub value_bytes: usize,
}

impl Default for SizeLimits {
    /// A key fits LMDB's largest, a value fits Kafka's largest message with its key beside it.
    fn default() -> SizeLimits {
        SizeLimits { key_bytes: 1024, value_bytes: 900 * 1024 }
    }
}

/// The stores of one task over their bases. Owned and `Send`, so that the wasm room can take it into a guest's
/// `Store` for a call and put it back.
#[derive(Default)]
pub struct TaskStores {
    pub(super) stores: Vec<OneStore>,
    bases: Vec<Box<dyn Base>>,
    pub(super) limits: SizeLimits,
    pub(super) scope: Scope,
}

pub(super) struct OneStore {
    pub(super) slot: StoreSlot,
    pub(super) layers: Layers,
    /// The largest key and value together that its changelog takes.
    entry_bytes_max: usize,
    restored: Restored,
}

/// What was restored and waits, so that the base is written in long sorted runs: the first one of an empty store is
/// appended, the others touch each page once.
#[derive(Default)]
struct Restored {
    changes: Changes,
    position: Option<Position>,
}

/// Bytes of one run: some 60,000 small entries. A thread may restore many stores at once.
const RUN_BYTES: usize = 8 << 20;

/// Bytes that one batch may write to one store: what is not committed stays in memory, and a batch is not cut in the middle. A batch
/// beyond it is replayed record by record; a record beyond it fails.
const BATCH_BYTES_MAX: usize = 128 << 20;

/// Why an entry cannot be written: its maker's failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("a key of {bytes} bytes; [limits] key_bytes is {max}")]
    Key { bytes: usize, max: usize },
    #[error("a value of {bytes} bytes; [limits] value_bytes is {max}")]
    Value { bytes: usize, max: usize },
    #[error("an entry of {bytes} bytes for the changelog of store `{store}`, which takes {max} (max.message.bytes)")]
    Changelog { bytes: usize, store: String, max: usize },
    #[error("more than {BATCH_BYTES_MAX} bytes written to stores for one record")]
    Batch,
}

impl TaskStores {
    pub fn new(slots: Vec<StoreSlot>, bases: Vec<Box<dyn Base>>, limits: SizeLimits) -> TaskStores {
        let one = |slot: StoreSlot| {
            let logged = if slot.logged { Logged::Last } else { Logged::Nothing };
            let mut layers = Layers::default();
            layers.logged = logged;
            OneStore { slot, layers, entry_bytes_max: usize::MAX, restored: Restored::default() }
        };
        let stores = slots.into_iter().map(one).collect();
        TaskStores { stores, bases, limits, scope: Scope::default() }
    }

    /// How changelogs are written: one record per key and interval or one per write, and how large by store number.
    pub fn set_changelogs(&mut self, coalesce: bool, entry_bytes_max: impl Fn(u32) -> usize) {
        for one in &mut self.stores {
            one.entry_bytes_max = entry_bytes_max(one.slot.number);
            one.layers.logged = match (one.slot.logged, coalesce) {
                (false, _) => Logged::Nothing,
                (true, true) => Logged::Last,
                (true, false) => Logged::All,
            };
        }
    }

    pub fn limits(&self) -> SizeLimits {
        self.limits
    }

    /// Place of the store with this number, for the calls below.
    pub fn place(&self, number: u32) -> Option<usize> {
        self.stores.iter().position(|store| store.slot.number == number)
    }

    pub fn slots(&self) -> impl Iterator<Item = &StoreSlot> {
        self.stores.iter().map(|store| &store.slot)
    }

    /// Gives the stores the numbers they have in another description; their names stay.
    pub fn renumber(&mut self, number_of: impl Fn(&str) -> Option<u32>) {
        for store in &mut self.stores {
            if let Some(number) = number_of(&store.slot.name) {
                store.slot.number = number;
            }
        }
    }

    // === what operators do ===

    /// Looks up keys in the merged view; `visit` gets timestamp and value, once for each key in any order.
    pub fn get_each(
        &self,
        store: usize,
        keys: &[&[u8]],
        visit: &mut dyn FnMut(usize, Option<(i64, &[u8])>),
    ) -> Result<(), Error> {
        let one = &self.stores[store];
        one.layers.get_many(&*self.bases[one.slot.base], one.slot.slot, keys, visit)
    }

    pub fn get(&self, store: usize, key: &[u8]) -> Result<Option<Timestamped>, Error> {
        let mut found = None;
        self.get_each(store, &[key], &mut |_, value| {
            found = value.map(|(timestamp, value)| Timestamped { timestamp, value: value.to_vec() });
        })?;
        Ok(found)
    }

    /// Whether every write of this store goes into its changelog. Where not, only the last one of a key counts.
    pub fn logs_all(&self, store: usize) -> bool {
        self.stores[store].layers.logged == Logged::All
    }

    /// Whether an entry can be written: what no store and no changelog would take is found before anything is kept.
    pub fn check(&self, store: usize, key: &[u8], value: Option<&[u8]>) -> Result<(), EntryError> {
        let one = &self.stores[store];
        let (key, value) = (key.len(), value.map_or(0, <[u8]>::len));
        if key > self.limits.key_bytes {
            return Err(EntryError::Key { bytes: key, max: self.limits.key_bytes });
        }
        if value > self.limits.value_bytes {
            return Err(EntryError::Value { bytes: value, max: self.limits.value_bytes });
        }
        if key + value > one.entry_bytes_max {
            let (bytes, max) = (key + value, one.entry_bytes_max);
            return Err(EntryError::Changelog { bytes, store: one.slot.name.clone(), max });
        }
        if one.layers.batch_bytes() + key + value > BATCH_BYTES_MAX {
            return Err(EntryError::Batch);
        }
        Ok(())
    }

    /// `None` deletes; both are logged, a delete of an absent key too (semantics.md B6). After [`TaskStores::check`].
    pub fn put(&mut self, store: usize, key: &[u8], value: Option<&[u8]>, timestamp: i64) {
        self.stores[store].layers.put(key, value, timestamp);
    }

    /// Walks a range of the merged view, deletions left out.
    pub fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], i64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.walk(store, range, reverse, &mut |key, found| match found {
            Some((timestamp, value)) => visit(key, timestamp, value),
            None => ControlFlow::Continue(()),
        })
    }

    /// As [`TaskStores::scan`], over uncommitted deletions too: `None`.
    pub(super) fn walk(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], Option<(i64, &[u8])>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let one = &self.stores[store];
        one.layers.scan(&*self.bases[one.slot.base], one.slot.slot, range, reverse, visit)
    }

    pub fn entries(&self, store: usize) -> Result<u64, Error> {
        let slot = &self.stores[store].slot;
        self.bases[slot.base].entries(slot.slot)
    }

    // === what queries read ===

    /// The base of a store and its place there: committed state only.
    pub fn committed(&self, store: usize) -> (&dyn Base, usize) {
        let slot = &self.stores[store].slot;
        (&*self.bases[slot.base], slot.slot)
    }

    // === what a batch and an interval do ===

    pub fn keep_batch(&mut self) {
        self.stores.iter_mut().for_each(|store| store.layers.keep_batch());
    }

    pub fn drop_batch(&mut self) {
        self.stores.iter_mut().for_each(|store| store.layers.drop_batch());
    }

    /// Bytes of uncommitted changes.
    pub fn uncommitted_bytes(&self) -> usize {
        self.stores.iter().map(|store| store.layers.bytes()).sum()
    }

    /// Moves the open layer of each store under seal, and hands what they say to their changelogs to `send`, with the
    /// store's number.
    pub fn seal(&mut self, send: &mut dyn FnMut(u32, Record<'_>)) {
        for OneStore { slot, layers, .. } in &mut self.stores {
            layers.seal(&mut |record| send(slot.number, record));
        }
    }

    /// Applies the sealed layers to the bases, one transaction each. On an error they stay sealed.
    pub fn apply_sealed(&mut self, positions: &[Option<Position>]) -> Result<(), Error> {
        for (number, base) in self.bases.iter_mut().enumerate() {
            let of_base = |(place, one): (usize, &'_ OneStore)| (one.slot.base == number).then_some(place);
            let places: Vec<usize> = self.stores.iter().enumerate().filter_map(of_base).collect();
            let changes: Vec<StoreChanges<'_>> = places
                .into_iter()
                .map(|place| {
                    let one = &self.stores[place];
                    StoreChanges { store: one.slot.slot, changes: one.layers.sealed(), position: positions[place] }
                })
                .filter(|store| !store.changes.is_empty() || store.position.is_some())
                .collect();
            if !changes.is_empty() {
                base.apply(&changes)?;
            }
        }
        self.stores.iter_mut().for_each(|store| store.layers.drop_sealed());
        Ok(())
    }

    /// Drops what was written since the last seal.
    pub fn drop_open(&mut self) {
        self.stores.iter_mut().for_each(|store| store.layers.drop_open());
    }

    /// Drops what is under seal, and what restoring left waiting.
    pub fn drop_sealed(&mut self) {
        for one in &mut self.stores {
            one.layers.drop_sealed();
            one.restored = Restored::default();
        }
    }

    // === what restoring does ===

    /// Where the store stands in its changelog; `None` = nothing applied.
    pub fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        let slot = &self.stores[store].slot;
        self.bases[slot.base].position(slot.slot)
    }

    /// Takes changelog records, in their order; the store will stand behind them at `position`. They reach the base in
    /// runs, the last one with [`TaskStores::end_restore`]. Records without a key cannot be of this store and are
    /// skipped. On an error none of these records was taken.
    pub fn restore(&mut self, store: usize, records: &Records, position: i64) -> Result<(), Error> {
        if self.stores[store].restored.changes.bytes() >= RUN_BYTES {
            self.end_restore(store)?;
        }
        let Restored { changes, position: waiting } = &mut self.stores[store].restored;
        for (_, record) in records.iter() {
            let Some(key) = record.key else { continue };
            let time = record.timestamp.to_be_bytes();
            changes.put(key, record.value.map(|value| [&time[..], value]), record.timestamp);
        }
        changes.keep();
        *waiting = Some(Position { offset: position });
        Ok(())
    }

    /// Writes what waits. Call before the store is used.
    pub fn end_restore(&mut self, store: usize) -> Result<(), Error> {
        let OneStore { slot, restored, .. } = &mut self.stores[store];
        if restored.position.is_some() {
            let (changes, position) = (&restored.changes, restored.position);
            self.bases[slot.base].apply(&[StoreChanges { store: slot.slot, changes, position }])?;
            restored.changes.clear();
            restored.position = None;
        }
        Ok(())
    }

    /// The last call of a clean end, see [`Base::close`].
    pub fn close(&mut self) -> Result<(), Error> {
        self.bases.iter_mut().try_for_each(|base| base.close())
    }

    /// Empties all stores, committed state included.
    pub fn wipe(&mut self) -> Result<(), Error> {
        self.drop_open();
        self.drop_sealed();
        self.bases.iter_mut().try_for_each(|base| base.wipe())
    }
}
