//! Changes of one store that are not committed: a hash table over one arena, with a way back to where a batch began.
//!
//! A write costs no allocation but the arena's growth, and a key that is written again and again stays one row. Order
//! is worked out when somebody asks: for a commit by sorting, for scans by an index that is made at the first one and
//! kept from then on.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Bound;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::KeyRange;
use crate::record::{Span, push};

/// What a row costs beside its bytes: itself and its place in the table.
const ROW_OVERHEAD: usize = size_of::<Row>() + size_of::<Place>() + 1;

/// Room an emptied layer keeps for the next interval; a rare large one gives the rest back.
const KEPT_BYTES: usize = 4 << 20;

/// Key → new value, or a deletion.
#[derive(Default)]
pub struct Changes {
    arena: Vec<u8>,
    rows: Vec<Row>,
    /// Places of rows by their keys' hashes.
    table: HashTable<Place>,
    hasher: DefaultHashBuilder,
    /// Places of rows by key. Made by the first scan.
    order: OnceCell<BTreeMap<Box<[u8]>, u32>>,
    /// Rows as they were at the mark or where it was saved, newest last.
    undo: Vec<(u32, Row)>,
    mark: Mark,
    /// The last place that was saved, or the mark.
    saved: Mark,
    /// Counts writes.
    clock: u64,
}

/// Where a row is, with what its key hashes to: a table that grows need not look for the keys.
#[derive(Clone, Copy)]
struct Place {
    at: u32,
    hash: u32,
}

impl Place {
    /// The table goes by a hash's lowest bits and tells entries apart by its highest.
    fn hash(&self) -> u64 {
        u64::from(self.hash) | u64::from(self.hash) << u32::BITS
    }
}

#[derive(Clone, Copy)]
struct Row {
    key: Span,
    /// Null: deleted.
    value: Span,
    timestamp: i64,
    /// By the clock.
    written: u64,
}

#[derive(Clone, Copy, Default)]
struct Mark {
    rows: usize,
    bytes: usize,
    undo: usize,
}

/// A place within a batch, and the one that was saved before it.
#[derive(Clone, Copy, Default)]
pub struct Saved {
    here: Mark,
    outer: Mark,
}

/// A key, its new value or `None` where it is deleted, and when it was written last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
    pub timestamp: i64,
}

impl Changes {
    pub fn new() -> Changes {
        Changes::default()
    }

    /// Writes a value, or deletes. As [`std::collections::BTreeMap::insert`], for changes made by hand.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: Option<impl AsRef<[u8]>>) {
        self.put(key.as_ref(), value.as_ref().map(|value| [&[][..], value.as_ref()]), 0);
    }

    /// Writes a value in two pieces, or deletes. Answers how long the value was that it replaces, 0 of a deletion; `None`:
    /// the key is new.
    pub fn put(&mut self, key: &[u8], value: Option<[&[u8]; 2]>, timestamp: i64) -> Option<usize> {
        self.clock += 1;
        let wanted = self.place_of(key, self.rows.len() as u32);
        match self.find(key, wanted) {
            Some(at) => {
                let replaced = self.rows[at as usize].value.len();
                self.overwrite(at, value, timestamp);
                Some(replaced)
            }
            None => {
                let key = push(&mut self.arena, Some(key));
                let value = self.push_value(value);
                self.add(wanted, Row { key, value, timestamp, written: self.clock });
                None
            }
        }
    }

    fn push_value(&mut self, value: Option<[&[u8]; 2]>) -> Span {
        let Some([front, back]) = value else { return Span::NULL };
        let start = self.arena.len();
        self.arena.extend_from_slice(front);
        self.arena.extend_from_slice(back);
        Span::new(start, front.len() + back.len())
    }

    /// That of a key which is or will be at `at`.
    fn place_of(&self, key: &[u8], at: u32) -> Place {
        let hash = self.hasher.hash_one(key);
        Place { at, hash: (hash ^ hash >> u32::BITS) as u32 }
    }

    /// Where the row of a key is.
    fn find(&self, key: &[u8], place: Place) -> Option<u32> {
        let is_it = |it: &Place| it.hash == place.hash && self.rows[it.at as usize].key.bytes(&self.arena) == key;
        self.table.find(place.hash(), is_it).map(|found| found.at)
    }

    fn add(&mut self, place: Place, row: Row) {
        self.rows.push(row);
        self.table.insert_unique(place.hash(), place, Place::hash);
        if let Some(order) = self.order.get_mut() {
            order.insert(row.key.bytes(&self.arena).into(), place.at);
        }
    }

    /// Makes room for as many bytes in all, of rows like those there are.
    pub fn reserve(&mut self, bytes: usize) {
        let Some(of_each) = self.bytes().checked_div(self.rows.len()) else { return };
        let more = bytes.saturating_sub(self.bytes()) / of_each.max(1);
        self.arena.reserve(self.arena.len() / self.rows.len() * more);
        self.rows.reserve(more);
        self.table.reserve(more, Place::hash);
    }

    /// What stood there before the mark or where it was saved stays where it is, so that it can be brought back.
    fn overwrite(&mut self, at: u32, value: Option<[&[u8]; 2]>, timestamp: i64) {
        let old = self.rows[at as usize];
        let is_of_batch = !old.value.is_empty() && old.value.start() >= self.saved.bytes;
        if (at as usize) < self.saved.rows && !is_of_batch {
            self.undo.push((at, old));
        }
        let value = match value {
            Some([front, back]) if is_of_batch && front.len() + back.len() == old.value.len() => {
                let place = &mut self.arena[old.value.start()..][..old.value.len()];
                place[..front.len()].copy_from_slice(front);
                place[front.len()..].copy_from_slice(back);
                old.value
            }
            value => self.push_value(value),
        };
        self.rows[at as usize] = Row { key: old.key, value, timestamp, written: self.clock };
    }

    /// `Some(None)`: deleted.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        if self.rows.is_empty() {
            return None;
        }
        let at = self.find(key, self.place_of(key, 0))?;
        Some(self.rows[at as usize].value.of(&self.arena))
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes held, roughly.
    pub fn bytes(&self) -> usize {
        self.arena.len() + self.rows.len() * ROW_OVERHEAD
    }

    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| row.key.bytes(&self.arena))
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.rows.iter().map(|row| self.change(row))
    }

    /// In byte order of the keys.
    pub fn by_key(&self) -> impl Iterator<Item = Change<'_>> {
        // The first eight bytes decide nearly always, without a look into the arena.
        let prefix = |key: &[u8]| {
            let mut bytes = [0; 8];
            let len = key.len().min(8);
            bytes[..len].copy_from_slice(&key[..len]);
            u64::from_be_bytes(bytes)
        };
        let mut order: Vec<(u64, &Row)> = Vec::with_capacity(self.rows.len());
        order.extend(self.rows.iter().map(|row| (prefix(row.key.bytes(&self.arena)), row)));
        order.sort_unstable_by(|(a, x), (b, y)| {
            a.cmp(b).then_with(|| x.key.bytes(&self.arena).cmp(y.key.bytes(&self.arena)))
        });
        order.into_iter().map(|(_, row)| self.change(row))
    }

    /// In order of last writes.
    pub fn by_write(&self) -> impl Iterator<Item = Change<'_>> {
        let mut order: Vec<&Row> = self.rows.iter().collect();
        order.sort_unstable_by_key(|row| row.written);
        order.into_iter().map(|row| self.change(row))
    }

    /// The places of all rows, in order of last writes. They hold until something new is written or rolled back.
    pub fn places_by_write(&self) -> Vec<u32> {
        let mut places: Vec<u32> = (0..self.rows.len() as u32).collect();
        places.sort_unstable_by_key(|at| self.rows[*at as usize].written);
        places
    }

    /// The row at a place.
    pub fn at(&self, place: u32) -> Change<'_> {
        self.change(&self.rows[place as usize])
    }

    /// A range in byte order of the keys, from both ends; the range is not inverted.
    pub fn range<'a>(
        &'a self,
        range: KeyRange<'_>,
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let bound = |key: Option<_>| key.map_or(Bound::Unbounded, Bound::Included);
        let rows = self.order().range::<[u8], _>((bound(range.lower), bound(range.upper)));
        rows.map(|(key, at)| (&**key, self.rows[*at as usize].value.of(&self.arena)))
    }

    fn order(&self) -> &BTreeMap<Box<[u8]>, u32> {
        self.order.get_or_init(|| self.keys().zip(0..).map(|(key, at)| (key.into(), at)).collect())
    }

    fn change(&self, row: &Row) -> Change<'_> {
        Change { key: row.key.bytes(&self.arena), value: row.value.of(&self.arena), timestamp: row.timestamp }
    }

    // === a batch's way back ===

    /// Keeps what was written since the last mark, and marks this place.
    pub fn keep(&mut self) {
        self.undo.clear();
        self.mark = self.here();
        self.saved = self.mark;
    }

    /// Goes back to the mark.
    pub fn roll_back(&mut self) {
        self.back_to(self.mark);
        self.saved = self.mark;
    }

    /// Marks a place within the batch. What was saved later is kept, or gone back to, before what was saved earlier.
    pub fn save(&mut self) -> Saved {
        let saved = Saved { here: self.here(), outer: self.saved };
        self.saved = saved.here;
        saved
    }

    pub fn keep_saved(&mut self, saved: Saved) {
        self.saved = saved.outer;
    }

    pub fn back_to_saved(&mut self, saved: Saved) {
        self.back_to(saved.here);
        self.saved = saved.outer;
    }

    fn here(&self) -> Mark {
        Mark { rows: self.rows.len(), bytes: self.arena.len(), undo: self.undo.len() }
    }

    fn back_to(&mut self, mark: Mark) {
        for at in (mark.rows..self.rows.len()).rev() {
            let key = self.rows[at].key.bytes(&self.arena);
            let place = self.place_of(key, at as u32);
            if let Ok(found) = self.table.find_entry(place.hash(), |other| other.at == place.at) {
                found.remove();
            }
            if let Some(order) = self.order.get_mut() {
                order.remove(key);
            }
        }
        self.rows.truncate(mark.rows);
        for (at, row) in self.undo.drain(mark.undo..).rev() {
            // Of what was new where it was saved there is nothing left at the mark.
            if let Some(place) = self.rows.get_mut(at as usize) {
                *place = row;
            }
        }
        self.arena.truncate(mark.bytes);
    }

    /// Bytes written since the mark, roughly.
    pub fn bytes_since_mark(&self) -> usize {
        self.arena.len() - self.mark.bytes + (self.rows.len() - self.mark.rows) * ROW_OVERHEAD
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if self.arena.capacity() > KEPT_BYTES {
            *self = Changes { hasher: self.hasher.clone(), ..Changes::default() };
            return;
        }
        self.arena.clear();
        self.rows.clear();
        self.table.clear();
        self.order.take();
        self.undo.clear();
        (self.mark, self.saved) = Default::default();
        self.clock = 0;
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(K, Option<V>)> for Changes {
    fn extend<I: IntoIterator<Item = (K, Option<V>)>>(&mut self, changes: I) {
        changes.into_iter().for_each(|(key, value)| self.insert(key, value));
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(K, Option<V>)> for Changes {
    fn from_iter<I: IntoIterator<Item = (K, Option<V>)>>(changes: I) -> Changes {
        let mut made = Changes::default();
        made.extend(changes);
        made
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    /// What is done to changes, and to a plain map beside them.
    #[derive(Clone, Debug)]
    enum Deed {
        Put(u8, Option<Vec<u8>>),
        Keep,
        RollBack,
        Save,
        KeepSaved,
        BackToSaved,
        Scan,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..4));
        prop_oneof![
            8 => (0u8..12, value).prop_map(|(key, value)| Deed::Put(key, value)),
            1 => Just(Deed::Keep),
            1 => Just(Deed::RollBack),
            2 => Just(Deed::Save),
            1 => Just(Deed::KeepSaved),
            1 => Just(Deed::BackToSaved),
            1 => Just(Deed::Scan),
        ]
    }

    type Model = BTreeMap<Vec<u8>, (Option<Vec<u8>>, i64)>;

    fn assert_same(changes: &Changes, model: &Model) {
        let found: Vec<_> =
            changes.by_key().map(|c| (c.key.to_vec(), (c.value.map(<[u8]>::to_vec), c.timestamp))).collect();
        assert_eq!(found, model.clone().into_iter().collect::<Vec<_>>());
        for (key, (value, _)) in model {
            assert_eq!(changes.get(key), Some(value.as_deref()));
        }
        let mut by_write: Vec<_> = model.iter().map(|(key, (_, written))| (*written, key.clone())).collect();
        by_write.sort();
        assert!(changes.by_write().map(|c| c.key).eq(by_write.iter().map(|(_, key)| key.as_slice())));
    }

    proptest! {
        // The failing deeds are printed whole.
        #![proptest_config(Config { failure_persistence: None, ..Config::default() })]
        #[test]
        fn changes_are_a_map_that_can_go_back(deeds in prop::collection::vec(deed(), 0..60)) {
            let mut changes = Changes::new();
            let (mut model, mut kept, mut saves) = (Model::new(), Model::new(), Vec::new());
            for (time, deed) in deeds.into_iter().enumerate() {
                match deed {
                    Deed::Put(key, value) => {
                        let key = vec![7; usize::from(key)]; // prefixes of each other, longer than eight
                        changes.put(&key, value.as_deref().map(|value| value.split_at(value.len() / 2).into()), time as i64);
                        model.insert(key, (value, time as i64));
                    }
                    Deed::Keep => {
                        changes.keep();
                        saves.clear();
                        kept = model.clone();
                    }
                    Deed::RollBack => {
                        changes.roll_back();
                        saves.clear();
                        model = kept.clone();
                    }
                    Deed::Save => {
                        saves.push((changes.save(), model.clone()));
                    }
                    Deed::KeepSaved => {
                        if let Some((saved, _)) = saves.pop() {
                            changes.keep_saved(saved);
                        }
                    }
                    Deed::BackToSaved => {
                        if let Some((saved, before)) = saves.pop() {
                            changes.back_to_saved(saved);
                            model = before;
                        }
                    }
                    Deed::Scan => {
                        let (lower, upper) = ([7; 3], [7; 9]);
                        let range = KeyRange { lower: Some(&lower), upper: Some(&upper) };
                        let expected = model.range(lower.to_vec()..=upper.to_vec());
                        let expected = expected.map(|(key, (value, _))| (key.as_slice(), value.as_deref()));
                        assert!(changes.range(range).eq(expected.clone()));
                        assert!(changes.range(range).rev().eq(expected.rev()));
                    }
                }
                assert_same(&changes, &model);
            }
        }
    }

    #[test]
    fn a_key_that_is_written_again_in_a_batch_takes_no_more_room() {
        let mut changes = Changes::new();
        changes.insert(b"k", Some([0; 8]));
        let bytes = changes.bytes();
        (0..1_000u64).for_each(|n| changes.insert(b"k", Some(n.to_be_bytes())));
        assert_eq!(changes.bytes(), bytes);
        assert_eq!(changes.get(b"k"), Some(Some(&999u64.to_be_bytes()[..])));
    }
}
