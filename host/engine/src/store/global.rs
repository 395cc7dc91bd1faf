//! Global tables: all partitions of a topic in one store, which every task of a process looks up.
//!
//! One owner writes them, as records come and outside of any task's interval ([`GlobalTables`]); tasks hold a view that
//! can only be read ([`GlobalTable`]). The topic is the changelog: how far each of its partitions was read is kept beside
//! the rows, and written with them.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Base, Changes, Error, KeyRange, Position, SizeLimits, StoreChanges};
use crate::record::Records;

/// What the stores of the offsets are called before their table's name; no store of a topology may be called so.
pub const OFFSETS: &str = "offsets/";

/// In the offsets: the topic that they are of. Those of its partitions have shorter keys.
const TOPIC: &[u8] = b"topic";

/// The tables of one provider, each in a store of a base; behind them a store for each that says how far its topic was read:
/// a table that goes takes its offsets along.
pub struct GlobalTables {
    base: Shared,
    tables: usize,
}

/// One of them, for a task.
#[derive(Clone)]
pub struct GlobalTable {
    base: Shared,
    pub slot: usize,
}

type Shared = Arc<Mutex<Kept>>;

struct Kept {
    base: Box<dyn Base>,
    /// What a reader found.
    damage: Option<String>,
    /// Whether the tables hold all that their topics had when they were opened. Until then nobody reads them.
    is_whole: bool,
    /// Records without a key.
    dropped: u64,
}

fn lock(base: &Shared) -> MutexGuard<'_, Kept> {
    // A base is written as a whole or not at all, so a thread that died beside it has not damaged it.
    base.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a batch of a topic's records came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Without a key.
    pub dropped: u64,
    /// With a key or a value that no store takes.
    pub too_large: u64,
}

impl GlobalTables {
    /// A base with two stores for each table: those of the rows, and behind them those of the offsets.
    pub fn new(base: Box<dyn Base>, tables: usize) -> GlobalTables {
        GlobalTables { base: Arc::new(Mutex::new(Kept { base, damage: None, is_whole: false, dropped: 0 })), tables }
    }

    pub fn table(&self, slot: usize) -> GlobalTable {
        GlobalTable { base: self.base.clone(), slot }
    }

    /// The next record of each of a topic's partitions that a table does not hold yet; `None`: it holds nothing that can
    /// be gone on from.
    pub fn offsets(&self, table: usize, topic: &str, partitions: i32) -> Result<Option<Vec<i64>>, Error> {
        let keys: Vec<_> = (0..partitions).map(i32::to_be_bytes).collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).chain([TOPIC]).collect();
        let (mut found, mut is_of_topic) = (vec![None; keys.len() - 1], false);
        lock(&self.base).base.get_many(self.tables + table, &keys, &mut |at, stored| match found.get_mut(at) {
            Some(offset) => *offset = stored.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?))),
            None => is_of_topic = stored == Some(topic.as_bytes()),
        })?;
        Ok(found.into_iter().collect::<Option<_>>().filter(|_| is_of_topic))
    }

    /// Empties a table, which begins with these records of its topic's partitions.
    pub fn begin(&mut self, table: usize, topic: &str, offsets: &[i64]) -> Result<(), Error> {
        let mut kept = lock(&self.base);
        // Half of this is nothing to go on from.
        kept.base.wipe_store(self.tables + table)?;
        kept.base.wipe_store(table)?;
        let mut changes = Changes::new();
        for (partition, offset) in (0..).zip(offsets) {
            changes.insert(i32::to_be_bytes(partition), Some(offset.to_be_bytes()));
        }
        changes.insert(TOPIC, Some(topic.as_bytes()));
        kept.base.apply(&[StoreChanges { store: self.tables + table, changes: &changes, position: None }])
    }

    /// Takes records of a partition in their order, all or nothing: the last one of a key is its row, a null value deletes
    /// it. `next` comes behind them.
    pub fn take(
        &mut self,
        table: usize,
        partition: i32,
        (records, next): (&Records, i64),
        limits: SizeLimits,
    ) -> Result<Taken, Error> {
        let (mut changes, mut offsets, mut taken) = (Changes::new(), Changes::new(), Taken::default());
        for (_, record) in records.iter() {
            let Some(key) = record.key else {
                taken.dropped += 1;
                continue;
            };
            if key.len() > limits.key_bytes || record.value.is_some_and(|value| value.len() > limits.value_bytes) {
                taken.too_large += 1;
                continue;
            }
            let time = record.timestamp.to_be_bytes();
            changes.put(key, record.value.map(|value| [&time[..], value]), record.timestamp);
        }
        offsets.insert(partition.to_be_bytes(), Some(next.to_be_bytes()));
        let mut kept = lock(&self.base);
        kept.base.apply(&[
            StoreChanges { store: table, changes: &changes, position: None },
            StoreChanges { store: self.tables + table, changes: &offsets, position: None },
        ])?;
        kept.dropped += taken.dropped;
        Ok(taken)
    }

    /// Whether tasks may read the tables.
    pub fn set_whole(&mut self, is_whole: bool) {
        lock(&self.base).is_whole = is_whole;
    }

    /// What a task has found damaged. The tables cannot be trusted any more.
    pub fn damage(&self) -> Option<String> {
        lock(&self.base).damage.clone()
    }

    /// Empties all tables and forgets what was read. Until that has worked they count as damaged.
    pub fn wipe(&mut self) -> Result<(), Error> {
        let mut kept = lock(&self.base);
        kept.damage.get_or_insert_with(|| "they are not emptied yet".to_owned());
        kept.base.wipe()?;
        kept.damage = None;
        Ok(())
    }

    /// See [`Base::whole_at`].
    pub fn whole_at(&self) -> Result<Option<i64>, Error> {
        lock(&self.base).base.whole_at()
    }

    /// See [`Base::mark_whole`].
    pub fn mark_whole(&mut self, now: i64) -> Result<(), Error> {
        lock(&self.base).base.mark_whole(now)
    }

    /// See [`Base::close`].
    pub fn close(&mut self) -> Result<(), Error> {
        lock(&self.base).base.close()
    }
}

impl GlobalTable {
    /// The table's number of rows, and their bytes as [`Base::bytes`].
    pub fn size(&self) -> Result<(u64, u64), Error> {
        Ok((self.entries(self.slot)?, self.bytes(self.slot)?))
    }

    pub fn is_whole(&self) -> bool {
        lock(&self.base).is_whole
    }

    /// Records without a key, of all tables that are kept with it.
    pub fn dropped(&self) -> u64 {
        lock(&self.base).dropped
    }

    /// A task that finds damage is not damaged itself: it waits, and the owner is told.
    fn read<T>(&self, read: impl FnOnce(&dyn Base) -> Result<T, Error>) -> Result<T, Error> {
        let mut kept = lock(&self.base);
        if !kept.is_whole {
            return Err(Error::Retry("the global table is being read from its topic".to_owned()));
        }
        match read(&*kept.base) {
            Err(Error::Corrupted(why)) => {
                kept.damage = Some(why.clone());
                Err(Error::Retry(why))
            }
            answer => answer,
        }
    }
}

/// The view of a task: what the task does to its own state does not concern it.
impl Base for GlobalTable {
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
        self.read(|base| base.get_many(store, keys, visit))
    }

    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.read(|base| base.scan(store, range, reverse, visit))
    }

    fn entries(&self, store: usize) -> Result<u64, Error> {
        self.read(|base| base.entries(store))
    }

    fn bytes(&self, store: usize) -> Result<u64, Error> {
        self.read(|base| base.bytes(store))
    }

    fn position(&self, _: usize) -> Result<Option<Position>, Error> {
        Ok(None)
    }

    fn apply(&mut self, _: &[StoreChanges<'_>]) -> Result<(), Error> {
        Err(Error::Retry("a task does not write a global table".to_owned()))
    }

    fn wipe(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn wipe_store(&mut self, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Headers, Record};
    use crate::store::{MemoryBase, StoreKind, StoreSlot, TaskStores, entries};

    fn records(rows: &[(Option<&str>, Option<&str>)]) -> Records {
        let mut records = Records::default();
        for (at, (key, value)) in rows.iter().enumerate() {
            let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
            records.push(at as i64, Record { key, value, headers: Headers(b""), timestamp: at as i64 });
        }
        records
    }

    /// A table, and the stores of a task that looks it up and has another store of its own.
    fn table() -> (GlobalTables, TaskStores) {
        let mut tables = GlobalTables::new(Box::new(MemoryBase::new(2)), 1);
        tables.set_whole(true);
        let own =
            StoreSlot { number: 0, name: "own".to_owned(), base: 0, slot: 0, logged: false, kind: StoreKind::KeyValue };
        let mut stores = TaskStores::new(vec![own], vec![Box::new(MemoryBase::new(1))], SizeLimits::default());
        stores.add_global(7, "table", tables.table(0));
        (tables, stores)
    }

    fn get(stores: &TaskStores, key: &str) -> Option<(i64, Vec<u8>)> {
        let place = stores.place(7).unwrap();
        stores.get(place, key.as_bytes()).unwrap().map(|found| (found.timestamp, found.value))
    }

    #[test]
    fn a_task_sees_at_once_what_the_owner_takes() {
        let (mut tables, mut stores) = table();
        tables.begin(0, "t", &[0, 5]).unwrap();
        let rows = [(Some("a"), Some("1")), (None, Some("2")), (Some("b"), Some("3")), (Some("a"), Some("4"))];
        let limits = SizeLimits { key_bytes: 2, value_bytes: 2 };
        let taken = tables.take(0, 0, (&records(&rows), 4), limits).unwrap();
        assert_eq!(taken, Taken { dropped: 1, too_large: 0 });
        assert_eq!(get(&stores, "a"), Some((3, b"4".to_vec())));
        let large = records(&[(Some("abc"), Some("1")), (Some("b"), Some("123")), (Some("b"), None)]);
        assert_eq!(tables.take(0, 1, (&large, 8), limits).unwrap(), Taken { dropped: 0, too_large: 2 });
        assert_eq!((get(&stores, "abc"), get(&stores, "b")), (None, None));
        assert_eq!(tables.offsets(0, "t", 2).unwrap(), Some(vec![4, 8]));
        assert_eq!(tables.offsets(0, "of another topic", 2).unwrap(), None);
        // Its own interval goes on beside the table.
        let own = stores.place(0).unwrap();
        stores.put(own, b"k", Some(b"v"), 1);
        stores.seal(&mut |_, _| ());
        stores.apply_sealed(&[None, None]).unwrap();
        assert_eq!(stores.entries(own).unwrap(), 1);
    }

    #[test]
    fn a_task_that_loses_its_state_leaves_the_table() {
        let (mut tables, mut stores) = table();
        tables.begin(0, "t", &[0]).unwrap();
        tables.take(0, 0, (&records(&[(Some("a"), Some("1"))]), 1), SizeLimits::default()).unwrap();
        assert_eq!(stores.wipe_damaged().unwrap(), [0]);
        stores.close().unwrap();
        assert_eq!(get(&stores, "a"), Some((0, b"1".to_vec())));
    }

    /// A partition that came since, or a begin that a crash met half way.
    #[test]
    fn a_table_without_all_of_its_offsets_begins_anew() {
        let (mut tables, stores) = table();
        assert_eq!(tables.offsets(0, "t", 1).unwrap(), None);
        tables.begin(0, "t", &[3]).unwrap();
        tables.take(0, 0, (&records(&[(Some("a"), Some("1"))]), 4), SizeLimits::default()).unwrap();
        let offsets = |tables: &GlobalTables, partitions| tables.offsets(0, "t", partitions).unwrap();
        assert_eq!((offsets(&tables, 1), offsets(&tables, 2)), (Some(vec![4]), None));
        tables.begin(0, "t", &[0, 0]).unwrap();
        assert_eq!((get(&stores, "a"), offsets(&tables, 2)), (None, Some(vec![0, 0])));
    }

    /// What fails is the base below: a task's own state is as good as before.
    #[test]
    fn damage_is_the_owners_to_mend() {
        struct Damaged;
        impl Base for Damaged {
            fn get_many(&self, _: usize, _: &[&[u8]], _: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error> {
                Err(Error::Corrupted("a page".to_owned()))
            }
            fn scan(
                &self,
                _: usize,
                _: KeyRange<'_>,
                _: bool,
                _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
            ) -> Result<(), Error> {
                Ok(())
            }
            fn entries(&self, _: usize) -> Result<u64, Error> {
                Ok(0)
            }
            fn bytes(&self, _: usize) -> Result<u64, Error> {
                Ok(0)
            }
            fn position(&self, _: usize) -> Result<Option<Position>, Error> {
                Ok(None)
            }
            fn apply(&mut self, _: &[StoreChanges<'_>]) -> Result<(), Error> {
                Ok(())
            }
            fn wipe(&mut self) -> Result<(), Error> {
                Ok(())
            }
            fn wipe_store(&mut self, _: usize) -> Result<(), Error> {
                Ok(())
            }
        }
        let mut tables = GlobalTables::new(Box::new(Damaged), 1);
        let view = tables.table(0);
        assert!(view.entries(0).is_err(), "nobody reads what is not whole");
        tables.set_whole(true);
        assert_eq!(entries(&view, 0, StoreKind::KeyValue).unwrap(), 0);
        assert!(matches!(view.get_many(0, &[b"a"], &mut |_, _| ()), Err(Error::Retry(_))));
        assert_eq!(tables.damage().as_deref(), Some("a page"));
    }
}
