//! The stores of one task, as its operators use them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::access::Scope;
use super::buffer::Order;
use super::clock::Clock;
use super::join_time::JoinClock;
use super::layers::{Layers, Logged, Timestamped};
use super::restored::{RUN_BYTES, Restored};
use super::{Base, Error, GlobalTable, Gone, KeyRange, Observed, Position, StoreChanges, StoreKind, sweep};
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
    pub kind: StoreKind,
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
    pub(super) bases: Vec<Box<dyn Base>>,
    /// How many of them are the task's own: those behind are global tables, which it only reads.
    pub(super) own_bases: usize,
    pub(super) limits: SizeLimits,
    pub(super) scope: Scope,
    /// What the task reads, by the numbers of the sources: user code may ask for it where it may ask for stores.
    pub(super) topics: BTreeMap<u32, Vec<String>>,
    /// Writes that came too late for their stores since the batch began.
    pub(super) late: u64,
    /// A row's key, while it is written.
    row: Vec<u8>,
    /// How long the runs of a restore are.
    run_bytes: usize,
}

pub(super) struct OneStore {
    pub(super) slot: StoreSlot,
    pub(super) layers: Layers,
    /// The largest key and value together that its changelog takes.
    entry_bytes_max: usize,
    /// Its changelog is the topic of its table: user code reads it and does not write it.
    pub(super) of_source: bool,
    /// Its changelog may be ahead of the committed offsets.
    pub(super) log_is_ahead: bool,
    pub(super) restored: Restored,
    pub(super) clock: Clock,
    pub(super) join_clock: JoinClock,
    /// Of a buffer.
    pub(super) order: Order,
    /// Of what closes: what had gone as somebody looked last, and what went then; of each its last row by time.
    pub(super) last_gone: RefCell<[Option<(Gone, Vec<u8>)>; 2]>,
}

impl OneStore {
    fn new(slot: StoreSlot) -> OneStore {
        let mut layers = Layers::default();
        layers.logged = if slot.logged { Logged::Last } else { Logged::Nothing };
        let (restored, clock, join_clock) = (Restored::default(), Clock::default(), JoinClock::default());
        let (entry_bytes_max, of_source, order, last_gone) = (usize::MAX, false, Order::default(), RefCell::default());
        OneStore {
            slot,
            layers,
            entry_bytes_max,
            of_source,
            log_is_ahead: false,
            restored,
            clock,
            join_clock,
            order,
            last_gone,
        }
    }
}

/// Bytes that one batch may write to one store: what is not committed stays in memory, and a batch is not cut in the middle. A batch
/// beyond it is replayed record by record; a record beyond it fails.
pub(super) const BATCH_BYTES_MAX: usize = 128 << 20;

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
        let stores = slots.into_iter().map(OneStore::new).collect();
        let own_bases = bases.len();
        let (scope, late, row, run_bytes) = (Scope::default(), 0, Vec::new(), RUN_BYTES);
        let topics = BTreeMap::new();
        TaskStores { stores, bases, own_bases, limits, scope, topics, late, row, run_bytes }
    }

    /// Lets the task look up a global table under this number.
    pub fn add_global(&mut self, number: u32, name: &str, table: GlobalTable) {
        let (base, slot, name) = (self.bases.len(), table.slot, name.to_owned());
        self.bases.push(Box::new(table));
        self.stores.push(OneStore::new(StoreSlot {
            number,
            name,
            base,
            slot,
            logged: false,
            kind: StoreKind::KeyValue,
        }));
    }

    /// How changelogs are written: one record per key and interval or one per write, and how large by store number.
    pub fn set_changelogs(&mut self, coalesce: bool, entry_bytes_max: impl Fn(u32) -> usize) {
        for one in &mut self.stores {
            one.entry_bytes_max = entry_bytes_max(one.slot.number);
            // Of what is held back Kafka Streams logs what is left of it at a commit.
            one.layers.logged = match (one.slot.logged, coalesce || one.slot.kind == StoreKind::Buffer) {
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

    pub(super) fn one(&self, store: usize) -> (&OneStore, &dyn Base) {
        let one = &self.stores[store];
        (one, &*self.bases[one.slot.base])
    }

    /// A store to write, where to count what came too late for it, and room for a row's key.
    pub(super) fn one_mut(&mut self, store: usize) -> (&mut OneStore, &mut u64, &mut Vec<u8>) {
        (&mut self.stores[store], &mut self.late, &mut self.row)
    }

    // === what operators do ===

    pub fn kind(&self, store: usize) -> StoreKind {
        self.stores[store].slot.kind
    }

    /// What a store that goes by time has observed, uncommitted writes included.
    pub fn observed(&self, store: usize) -> Result<Observed, Error> {
        let (one, base) = self.one(store);
        one.clock.now(base, &one.slot)
    }

    /// Says what the operator over a store that goes by time has seen; goes back with the batch as writes do.
    pub fn raise_stream_time(&mut self, store: usize, time: i64) -> Result<(), Error> {
        let observed = self.observed(store)?;
        if time > observed.stream_time {
            self.stores[store].clock.set(Observed { stream_time: time, ..observed });
        }
        Ok(())
    }

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
        let bytes = key + one.slot.kind.changelog_key_overhead() + value;
        if bytes > one.entry_bytes_max {
            let max = one.entry_bytes_max;
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

    /// Bytes that its committed state takes up, as [`Base::bytes`].
    pub fn bytes(&self, store: usize) -> Result<u64, Error> {
        let slot = &self.stores[store].slot;
        self.bases[slot.base].bytes(slot.slot)
    }

    /// How many keys its committed state has.
    pub fn entries(&self, store: usize) -> Result<u64, Error> {
        let (one, base) = self.one(store);
        entries(base, one.slot.slot, one.slot.kind)
    }

    // === what queries read ===

    /// The base of a store and its place there: committed state only.
    pub fn committed(&self, store: usize) -> (&dyn Base, usize) {
        let slot = &self.stores[store].slot;
        (&*self.bases[slot.base], slot.slot)
    }

    /// The bases themselves, where nothing else of the stores is needed any more.
    pub fn into_bases(self) -> Vec<Box<dyn Base>> {
        self.bases
    }

    // === what an interval does ===

    /// Bytes of uncommitted changes.
    pub fn uncommitted_bytes(&self) -> usize {
        self.stores.iter().map(|store| store.layers.bytes()).sum()
    }

    /// Moves the open layer of each store under seal, and hands what they say to their changelogs to `send`, with the
    /// store's number.
    pub fn seal(&mut self, send: &mut dyn FnMut(u32, Record<'_>)) {
        for OneStore { slot, layers, clock, join_clock, .. } in &mut self.stores {
            join_clock.seal();
            layers.seal(slot.kind, clock.seal(), &mut |record| send(slot.number, record));
        }
    }

    /// Applies the sealed layers to the bases, one transaction each, and takes some of what has expired out of them. What
    /// a base does not take stays sealed over it, and the others have theirs; the first error is the answer.
    pub fn apply_sealed(&mut self, positions: &[Option<Position>]) -> Result<(), Error> {
        let all = |_: usize| true;
        (0..self.bases.len()).map(|base| self.apply_to(base, positions, &all)).fold(Ok(()), Result::and)
    }

    /// The places that `wanted` names, of one base.
    pub(super) fn apply_to(
        &mut self,
        number: usize,
        positions: &[Option<Position>],
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<(), Error> {
        let base = &mut self.bases[number];
        let of_base = self.stores.iter().enumerate().filter(|(at, one)| one.slot.base == number && wanted(*at));
        let swept = of_base.map(|(place, one)| Ok((place, sweep::expired(one, &**base)?)));
        let swept = swept.collect::<Result<Vec<_>, Error>>()?;
        let changes: Vec<StoreChanges<'_>> = swept
            .iter()
            .flat_map(|(place, gone)| {
                let one = &self.stores[*place];
                let written = (one.layers.sealed(), positions[*place]);
                let of_store = |(changes, position)| StoreChanges { store: one.slot.slot, changes, position };
                [written, (&gone.changes, None)].map(of_store)
            })
            .filter(|store| !store.changes.is_empty() || store.position.is_some())
            .collect();
        if !changes.is_empty() {
            base.apply(&changes)?;
        }
        for (place, gone) in swept {
            let one = &mut self.stores[place];
            one.layers.drop_sealed();
            one.clock.apply_sealed();
            one.join_clock.apply_sealed();
            one.clock.swept = gone.swept;
        }
        Ok(())
    }

    /// Drops what was written since the last seal.
    pub fn drop_open(&mut self) {
        for one in &mut self.stores {
            one.layers.drop_open();
            one.clock.drop_open();
            one.join_clock.drop_open();
            one.order.forget();
        }
        self.late = 0;
    }

    /// Drops what is under seal.
    pub fn drop_sealed(&mut self) {
        for one in &mut self.stores {
            one.layers.drop_sealed();
            one.clock.drop_sealed();
            one.join_clock.drop_sealed();
            one.order.forget();
        }
    }

    // === what restoring does ===

    /// Where the store stands in its changelog; `None` = nothing applied.
    pub fn position(&self, store: usize) -> Result<Option<Position>, Error> {
        let (one, base) = self.one(store);
        if one.slot.kind.goes_by_time() {
            // Found here, because what cannot be read is wiped and restored from here.
            one.clock.committed(base, &one.slot)?;
        }
        base.position(one.slot.slot)
    }

    /// Takes changelog records, in their order; the store will stand behind them at `position`. They reach the base in
    /// runs, the last one with [`TaskStores::end_restore`]. Records without a key cannot be of this store and are
    /// skipped. On an error none of these records was taken.
    pub fn restore(&mut self, store: usize, records: &Records, position: i64) -> Result<(), Error> {
        let one = &mut self.stores[store];
        one.join_clock.forget_number();
        one.restore(&mut *self.bases[one.slot.base], (records, position), self.run_bytes)
    }

    /// How long the runs are, in bytes; see [`super::run_bytes`]. Without it they are as for one store.
    pub fn bound_runs(&mut self, bytes: usize) {
        self.run_bytes = bytes;
    }

    /// Writes what waits. Call before the store is used.
    pub fn end_restore(&mut self, store: usize) -> Result<(), Error> {
        let one = &mut self.stores[store];
        one.end_restore(&mut *self.bases[one.slot.base])
    }

    /// Takes the store as it is for what its changelog adds up to at `position`.
    pub fn skip_to(&mut self, store: usize, position: i64) -> Result<(), Error> {
        self.restore(store, &Records::default(), position)?;
        self.end_restore(store)
    }

    /// Drops what waits: restoring begins again where the bases stand.
    pub fn drop_restored(&mut self) {
        self.stores.iter_mut().for_each(|store| store.restored = Restored::default());
    }

    /// Whether this store finds the rows that its base holds of it: those of a store that goes by time lie where its
    /// retention puts them, beside what it notes of its time; without that they are another kind's. One that does not is of
    /// no use and to be emptied.
    pub fn fits(&self, store: usize) -> Result<bool, Error> {
        let (OneStore { slot, .. }, base) = self.one(store);
        if !slot.kind.goes_by_time() {
            return Ok(true);
        }
        let is_found = Observed::find(base, slot.slot, slot.kind)?.is_some();
        Ok(is_found && (Observed::is_noted(base, slot.slot)? || base.entries(slot.slot)? == 0))
    }

    /// When the base of a store last stood where its changelogs end; see [`Base::whole_at`].
    pub fn whole_at(&self, store: usize) -> Result<Option<i64>, Error> {
        self.bases[self.stores[store].slot.base].whole_at()
    }

    /// All stores hold what their changelogs say now, or nothing at all.
    pub fn mark_whole(&mut self, now: i64) -> Result<(), Error> {
        self.bases.iter_mut().try_for_each(|base| base.mark_whole(now))
    }

    /// The last call of a clean end, see [`Base::close`].
    pub fn close(&mut self) -> Result<(), Error> {
        self.bases.iter_mut().try_for_each(|base| base.close())
    }
}

/// How many entries a base holds of a store, roughly: what has expired and is not cleaned up yet is counted too, and with a
/// version what notes that it has passed.
pub fn entries(base: &dyn Base, slot: usize, kind: StoreKind) -> Result<u64, Error> {
    let rows = base.entries(slot)?;
    let rows = if kind.goes_by_time() { rows.saturating_sub(1) } else { rows };
    Ok(if kind.is_closing() { rows / 2 } else { rows })
}
