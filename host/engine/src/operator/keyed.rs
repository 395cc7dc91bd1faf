//! The entries of one store that a batch goes by: each key once, all read in one look-up, written back in order. Of a store
//! of versions they are the latest ones.

use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use std::hash::BuildHasher;

use super::batch::{Batch, Element};
use super::run::{Run, Stop};
use crate::record::{NO_TIMESTAMP, Span};
use crate::store::{PutVersion, StoreKind};
use crate::topology::Node;

/// Bytes of a store's entries that one batch may read. A batch beyond it is replayed record by record; one value fits
/// many times.
const READ_BYTES_MAX: usize = 128 << 20;

/// An element without a group: it has no key, or no value where one is asked for.
const NONE: u32 = u32::MAX;

/// The place of a node's own store in the task.
pub(super) fn own_store(run: &Run<'_>, node: &Node) -> Option<usize> {
    node.store.and_then(|number| run.stores.place(number as u32))
}

pub(super) fn is_versioned(run: &Run<'_>, place: usize) -> bool {
    matches!(run.stores.kind(place), StoreKind::Versioned { .. })
}

/// The inputs in parts that the guest may fold in one call. Into a store of versions a put may be one of the past, or be
/// refused, and then the next one of its key goes on from what was there before: so each key is in a part once.
pub(super) fn parts<'i>(run: &Run<'_>, place: usize, inputs: &'i [Element]) -> Vec<&'i [Element]> {
    if !is_versioned(run, place) {
        return vec![inputs];
    }
    let (mut parts, mut seen, mut start) = (Vec::new(), HashSet::new(), 0);
    for (at, element) in inputs.iter().enumerate() {
        let Some(key) = element.key.of(&run.batch.arena) else { continue };
        if !seen.insert(key) {
            parts.push(&inputs[start..at]);
            start = at;
            seen.clear();
            seen.insert(key);
        }
    }
    parts.push(&inputs[start..]);
    parts
}

/// Elements by key, in order of first sight.
#[derive(Default)]
struct Groups {
    keys: Vec<Span>,
    /// By element.
    of_element: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Groups {
    fn fill(&mut self, batch: &Batch, inputs: &[Element], has_group: impl Fn(&Element) -> bool) {
        self.keys.clear();
        self.of_element.clear();
        self.table.clear();
        for element in inputs {
            let group = match element.key.of(&batch.arena) {
                Some(key) if has_group(element) => self.group(batch, key, element.key),
                _ => NONE,
            };
            self.of_element.push(group);
        }
    }

    fn group(&mut self, batch: &Batch, key: &[u8], span: Span) -> u32 {
        let (keys, hasher) = (&mut self.keys, &self.hasher);
        let hash = hasher.hash_one(key);
        if let Some(group) = self.table.find(hash, |group| keys[*group as usize].bytes(&batch.arena) == key) {
            return *group;
        }
        let group = keys.len() as u32;
        keys.push(span);
        self.table.insert_unique(hash, group, |group| hasher.hash_one(keys[*group as usize].bytes(&batch.arena)));
        group
    }
}

/// What a key holds, as far as the batch has come.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Null: nothing.
    pub value: Span,
    /// [`NO_TIMESTAMP`] where there is nothing.
    pub timestamp: i64,
    /// Counts the batch's writes; 0: not written, or written through.
    written: u32,
    /// Under which time the latest write is logged.
    logged: i64,
}

/// Reused from batch to batch.
#[derive(Default)]
pub(super) struct Keyed {
    place: usize,
    is_versioned: bool,
    groups: Groups,
    entries: Vec<Entry>,
    /// Values as they come from the store, before they are put into the batch's arena.
    loaded: Vec<u8>,
    writes: u32,
    waiting: Vec<u32>,
}

/// Takes the entries of `inputs` together and reads them. Give them back with [`Keyed::close`].
pub(super) fn open(
    run: &mut Run<'_>,
    node: &Node,
    place: usize,
    inputs: &[Element],
    has_group: impl Fn(&Element) -> bool,
) -> Result<Keyed, Stop> {
    let mut keyed = std::mem::take(&mut run.scratch.keyed);
    keyed.place = place;
    keyed.is_versioned = is_versioned(run, place);
    keyed.writes = 0;
    keyed.groups.fill(run.batch, inputs, has_group);
    keyed.load(run, node, inputs)?;
    Ok(keyed)
}

impl Keyed {
    fn load(&mut self, run: &mut Run<'_>, node: &Node, inputs: &[Element]) -> Result<(), Stop> {
        let nothing = Entry { value: Span::NULL, timestamp: NO_TIMESTAMP, written: 0, logged: 0 };
        self.entries.clear();
        self.entries.resize(self.groups.keys.len(), nothing);
        self.loaded.clear();
        let keys: Vec<&[u8]> = self.groups.keys.iter().map(|key| key.bytes(&run.batch.arena)).collect();
        let (entries, loaded, mut bytes) = (&mut self.entries, &mut self.loaded, 0);
        let base = run.batch.arena.len();
        let mut found = |group: usize, timestamp: i64, value: &[u8]| {
            bytes += value.len();
            if bytes <= READ_BYTES_MAX {
                let value_at = Span::new(base + loaded.len(), value.len());
                loaded.extend_from_slice(value);
                entries[group] = Entry { value: value_at, timestamp, ..nothing };
            }
        };
        if self.is_versioned {
            let versions = run.stores.versions(self.place);
            for (group, key) in keys.iter().enumerate() {
                versions.get(key, &mut |version| found(group, version.valid_from, version.value))?;
            }
        } else {
            run.stores.get_each(self.place, &keys, &mut |group, entry| {
                if let Some((timestamp, value)) = entry {
                    found(group, timestamp, value);
                }
            })?;
        }
        if let (Some(element), true) = (inputs.first(), bytes > READ_BYTES_MAX) {
            let message = format!("more than {READ_BYTES_MAX} bytes read from a store for one record");
            return Err(Stop::rejected(node, element, message));
        }
        if let Some(element) = inputs.first() {
            run.push(node, element, &self.loaded)?;
        }
        Ok(())
    }

    /// The group of the element at this place among the inputs.
    pub fn group(&self, element: usize) -> Option<usize> {
        Some(self.groups.of_element[element]).filter(|group| *group != NONE).map(|group| group as usize)
    }

    /// The keys of the groups.
    pub fn keys(&self) -> impl Iterator<Item = (Span, Span)> {
        self.groups.keys.iter().zip(&self.entries).map(|(key, entry)| (*key, entry.value))
    }

    pub fn entry(&self, group: usize) -> Entry {
        self.entries[group]
    }

    /// Writes a value, or deletes where it is null, and answers what became of it: what keeps the latest alone takes
    /// everything for that, whatever its time. What a store or its changelog would not take is the element's own failure.
    /// Where only the last write of a key counts, it waits for [`Keyed::close`].
    pub fn write(
        &mut self,
        run: &mut Run<'_>,
        node: &Node,
        element: &Element,
        group: usize,
        (value, timestamp): (Span, i64),
    ) -> Result<PutVersion, Stop> {
        run.check_entry(node, element, self.place, value)?;
        if self.is_versioned {
            return self.put_version(run, element, group, (value, timestamp));
        }
        // A deletion is logged with its record's own time, for it leaves nothing that had a newer one, and the deleted key's
        // timestamp is gone with it.
        let (timestamp, logged) =
            if value.is_null() { (NO_TIMESTAMP, element.timestamp) } else { (timestamp, timestamp) };
        self.writes += 1;
        let mut entry = Entry { value, timestamp, written: self.writes, logged };
        if run.stores.logs_all(self.place) || run.stores.is_cached(self.place) {
            run.note(self.place, element);
            let arena = &run.batch.arena;
            run.stores.put(self.place, element.key.bytes(arena), value.of(arena), logged);
            entry.written = 0;
        }
        self.entries[group] = entry;
        Ok(PutVersion::Latest)
    }

    /// A version of the past, and one that is refused, leave the latest one as it is.
    fn put_version(
        &mut self,
        run: &mut Run<'_>,
        element: &Element,
        group: usize,
        (value, timestamp): (Span, i64),
    ) -> Result<PutVersion, Stop> {
        let arena = &run.batch.arena;
        let (key, written) = (element.key.bytes(arena), value.of(arena));
        let put = run.stores.versions_mut(self.place).put(key, written, timestamp)?;
        if put == PutVersion::Latest {
            let timestamp = if value.is_null() { NO_TIMESTAMP } else { timestamp };
            self.entries[group] = Entry { value, timestamp, written: 0, logged: timestamp };
        }
        Ok(put)
    }

    /// Writes what waits, in the order of last writes, and gives the buffers back.
    pub fn close(mut self, run: &mut Run<'_>) {
        let written = |group: &u32| self.entries[*group as usize].written;
        self.waiting.clear();
        self.waiting.extend((0..self.entries.len() as u32).filter(|group| written(group) > 0));
        self.waiting.sort_unstable_by_key(written);
        for group in &self.waiting {
            let (key, entry) = (self.groups.keys[*group as usize], self.entries[*group as usize]);
            let arena = &run.batch.arena;
            run.stores.put(self.place, key.bytes(arena), entry.value.of(arena), entry.logged);
        }
        run.scratch.keyed = self;
    }
}
