//! Keys and rows of a log.
//!
//! | table | key (numbers big-endian) | row (numbers little-endian) |
//! |---|---|---|
//! | topics | name | [`Row`] as JSON |
//! | partitions | topic u32, partition u32 | [`Extent`]: begin i64, end i64, bytes u64, newest i64 |
//! | batches | topic u32, partition u32, base offset u64 | [`Batch`](super::batch) |
//! | offsets | topic u32, partition u32, application | offset i64, metadata |
//! | applications | application | epoch u64 |
//! | counters | `topics` | number of the last topic u32 |
//! | cleaned | topic u32, partition u32 | [`Cleaned`]; none until it was compacted |
//!
//! Rows other than batches, which have their own, begin with a checksum over key and row: LMDB has none.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{CommitOrAbort, Env, RoTxn, RwTxn, WithoutTls};
use millstream_engine::record::NO_TIMESTAMP;

use super::batch::{Batch, Draft};
use super::cleaned::Cleaned;
use super::fault::{Named, damaged, translate};
use super::topic::{Handle, Row};
use super::{Committed, Error, Offsets, Result};
use crate::lmdb::Rows;

pub type Table = heed::Database<'static, Bytes, Bytes>;

const BATCHES: &str = "batches";
const NAMES: [&str; 7] = ["topics", "partitions", BATCHES, "offsets", "applications", "counters", "cleaned"];
pub const TABLES: u32 = NAMES.len() as u32;

/// The counter of topics.
const TOPICS: &[u8] = b"topics";

#[derive(Clone, Copy)]
pub struct Tables {
    topics: Table,
    partitions: Table,
    pub batches: Table,
    offsets: Table,
    applications: Table,
    counters: Table,
    cleaned: Table,
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub offsets: Offsets,
    /// Of the values of all of its batches.
    pub bytes: u64,
    /// The greatest timestamp that was ever appended; [`NO_TIMESTAMP`] without any.
    pub newest: i64,
}

const NOTHING: Extent = Extent { offsets: Offsets { begin: 0, end: 0 }, bytes: 0, newest: NO_TIMESTAMP };

impl Tables {
    /// Makes the tables of a new log.
    pub fn create(env: &Env<WithoutTls>) -> Result<()> {
        let txn = env.write_txn().on("a new log")?;
        let created: heed::Result<_> = env.create_databases_and_commit(txn, |opener, txn| {
            for name in NAMES {
                opener.create_database::<Bytes, Bytes>(txn, Some(name))?;
            }
            Ok(CommitOrAbort::<(), ()>::Commit(()))
        });
        created.map(drop).on("a new log")
    }

    pub fn open(env: &Env<WithoutTls>) -> Result<Tables> {
        let txn = env.read_txn().on("the log's tables")?;
        let opened: heed::Result<_> = env.open_databases_and_commit(txn, |opener, txn| {
            let mut tables = [None; NAMES.len()];
            for (table, name) in tables.iter_mut().zip(NAMES) {
                *table = opener.open_database::<Bytes, Bytes>(txn, Some(name))?;
            }
            Ok(CommitOrAbort::<_, ()>::Commit(tables))
        });
        let tables = opened.on("the log's tables")?.commit();
        let found: Option<Vec<Table>> = tables.and_then(|tables| tables.into_iter().collect());
        let found: Option<[Table; NAMES.len()]> = found.and_then(|tables| tables.try_into().ok());
        let Some([topics, partitions, batches, offsets, applications, counters, cleaned]) = found else {
            return Err(damaged("the log's tables", "one of them is missing"));
        };
        Ok(Tables { topics, partitions, batches, offsets, applications, counters, cleaned })
    }

    fn all(&self) -> [Table; NAMES.len()] {
        let Tables { topics, partitions, batches, offsets, applications, counters, cleaned } = *self;
        [topics, partitions, batches, offsets, applications, counters, cleaned]
    }

    /// Rows of all tables.
    #[cfg(test)]
    pub fn rows(&self, txn: &RoTxn) -> u64 {
        self.all().iter().filter_map(|table| table.len(txn).ok()).sum()
    }

    /// Pages of the file that all tables take.
    pub fn pages(&self, txn: &RoTxn) -> Result<usize> {
        let pages = |table: Table| {
            let stat = table.stat(txn).on("the log's tables")?;
            Ok(stat.branch_pages + stat.leaf_pages + stat.overflow_pages)
        };
        self.all().into_iter().map(pages).sum()
    }

    /// Brings a log of format 1 to this one: it knew no sizes. May be begun again.
    pub fn upgrade(env: &Env<WithoutTls>) -> Result<()> {
        Tables::create(env)?;
        let tables = Tables::open(env)?;
        let mut txn = env.write_txn().on("a log of format 1")?;
        for name in tables.topic_names(&txn)? {
            let Some(row) = tables.topic(&txn, &name)? else { continue };
            let handle = row.handle(&name);
            for partition in 0..row.partitions {
                if let Some(extent) = tables.old_extent(&txn, &handle, partition)? {
                    tables.put_extent(&mut txn, &handle, partition, &extent)?;
                }
            }
        }
        txn.commit().on("a log of format 1")
    }

    /// Makes a topic's rows what they were in format 1.
    #[cfg(test)]
    pub fn downgrade(&self, txn: &mut RwTxn, handle: &Handle) -> Result<()> {
        for partition in 0..handle.partitions {
            let Offsets { begin, end } = self.offsets(txn, handle, partition)?;
            let row = [begin.to_le_bytes(), end.to_le_bytes()].concat();
            put(self.partitions, txn, &partition_key(handle.number, partition), &row, &handle.name)?;
        }
        Ok(())
    }

    /// Measures a partition whose row has no sizes. `None`: it has.
    fn old_extent(&self, txn: &RoTxn, handle: &Handle, partition: i32) -> Result<Option<Extent>> {
        let what = || handle.at(partition);
        let row = get(self.partitions, txn, &partition_key(handle.number, partition), what)?;
        let Some(row) = row.and_then(|row| <&[u8; 16]>::try_from(row).ok()) else { return Ok(None) };
        let (begin, end) = row.split_at(8);
        let offset = |bytes| number(bytes, &what()).map(i64::from_le_bytes);
        let mut extent = Extent { offsets: Offsets { begin: offset(begin)?, end: offset(end)? }, ..NOTHING };
        for row in self.batches.prefix_iter(txn, &partition_key(handle.number, partition)).on(&what())? {
            let (key, value) = row.on(&what())?;
            extent.bytes += value.len() as u64;
            // A damaged one is found by whoever reads it.
            let batch = base_of(handle.number, partition, key).and_then(|base| Batch::open(key, base, value).ok());
            extent.newest = batch.map_or(extent.newest, |batch| extent.newest.max(batch.max_timestamp));
        }
        Ok(Some(extent))
    }

    // === topics ===

    pub fn topic_names(&self, txn: &RoTxn) -> Result<Vec<String>> {
        let what = "the list of topics";
        let text = |key: &[u8]| String::from_utf8(key.to_vec()).map_err(|error| damaged(what, error));
        self.topics.iter(txn).on(what)?.map(|row| row.on(what).and_then(|(key, _)| text(key))).collect()
    }

    pub fn topic(&self, txn: &RoTxn, name: &str) -> Result<Option<Row>> {
        // LMDB takes no empty key.
        if name.is_empty() {
            return Ok(None);
        }
        let what = || format!("topic {name}");
        let Some(row) = get(self.topics, txn, name.as_bytes(), what)? else { return Ok(None) };
        serde_json::from_slice(row).map(Some).map_err(|error| damaged(&what(), error))
    }

    /// Whether a topic found earlier is still the one under its name.
    pub fn check_handle(&self, txn: &RoTxn, handle: &Handle) -> Result<()> {
        match self.topic(txn, &handle.name)? {
            Some(row) if row.id == handle.id => Ok(()),
            _ => Err(Error::UnknownTopic(handle.name.clone())),
        }
    }

    /// Gives the topic its number and its empty partitions.
    pub fn create_topic(&self, txn: &mut RwTxn, name: &str, mut row: Row) -> Result<()> {
        let what = format!("topic {name}");
        let last = get(self.counters, txn, TOPICS, || what.clone())?;
        let last = last.map_or(Ok(0), |bytes| number(bytes, &what).map(u32::from_le_bytes))?;
        row.number = last.checked_add(1).ok_or_else(|| Error::refused(&what, "the log has no topic numbers left"))?;
        put(self.counters, txn, TOPICS, &row.number.to_le_bytes(), &what)?;
        let handle = row.handle(name);
        for partition in 0..row.partitions {
            self.put_extent(txn, &handle, partition, &NOTHING)?;
        }
        let json = serde_json::to_vec(&row).map_err(|error| Error::refused(&what, error))?;
        put(self.topics, txn, name.as_bytes(), &json, &what)
    }

    /// Deletes a topic with its records and what any application has committed on it.
    pub fn delete_topic(&self, txn: &mut RwTxn, name: &str, number: u32) -> Result<()> {
        let what = format!("topic {name}");
        let (first, behind) = (number.to_be_bytes(), (u64::from(number) + 1).to_be_bytes());
        let range = (Bound::Included(&first[..]), Bound::Excluded(&behind[4..]));
        for table in [self.partitions, self.batches, self.offsets, self.cleaned] {
            table.delete_range(txn, &range).on(&what)?;
        }
        self.topics.delete(txn, name.as_bytes()).on(&what).map(drop)
    }

    // === records ===

    pub fn offsets(&self, txn: &RoTxn, handle: &Handle, partition: i32) -> Result<Offsets> {
        self.extent(txn, handle, partition).map(|extent| extent.offsets)
    }

    pub fn extent(&self, txn: &RoTxn, handle: &Handle, partition: i32) -> Result<Extent> {
        let what = || handle.at(partition);
        let row = get(self.partitions, txn, &partition_key(handle.number, partition), what)?;
        let row = row.ok_or_else(|| Error::UnknownTopic(handle.name.clone()))?;
        let row: &[u8; 32] = row.try_into().map_err(|_| damaged(&what(), "its row has a wrong length"))?;
        let (numbers, _) = row.as_chunks::<8>();
        match numbers {
            [begin, end, bytes, newest] => Ok(Extent {
                offsets: Offsets { begin: i64::from_le_bytes(*begin), end: i64::from_le_bytes(*end) },
                bytes: u64::from_le_bytes(*bytes),
                newest: i64::from_le_bytes(*newest),
            }),
            _ => Err(damaged(&what(), "its row has a wrong length")),
        }
    }

    pub fn put_extent(&self, txn: &mut RwTxn, handle: &Handle, partition: i32, extent: &Extent) -> Result<()> {
        let Extent { offsets: Offsets { begin, end }, bytes, newest } = extent;
        let row = [begin.to_le_bytes(), end.to_le_bytes(), bytes.to_le_bytes(), newest.to_le_bytes()].concat();
        put(self.partitions, txn, &partition_key(handle.number, partition), &row, &handle.at(partition))
    }

    pub fn cleaned(&self, txn: &RoTxn, handle: &Handle, partition: i32) -> Result<Cleaned> {
        let what = || handle.at(partition);
        let row = get(self.cleaned, txn, &partition_key(handle.number, partition), what)?;
        row.map_or(Ok(Cleaned::default()), |row| Cleaned::of_row(row, &what()))
    }

    pub fn put_cleaned(&self, txn: &mut RwTxn, handle: &Handle, partition: i32, cleaned: &Cleaned) -> Result<()> {
        put(self.cleaned, txn, &partition_key(handle.number, partition), &cleaned.to_row(), &handle.at(partition))
    }

    /// Appends batches; answers the offset of the last record.
    pub fn append<'a>(
        &self,
        txn: &mut RwTxn,
        handle: &Handle,
        partition: i32,
        drafts: impl Iterator<Item = &'a Draft>,
    ) -> Result<i64> {
        let mut extent = self.extent(txn, handle, partition)?;
        for draft in drafts {
            self.put_batch(txn, handle, partition, extent.offsets.end, draft)?;
            extent.offsets.end += i64::from(draft.covers());
            extent.bytes += draft.len() as u64;
            extent.newest = extent.newest.max(draft.max_timestamp());
        }
        self.put_extent(txn, handle, partition, &extent)?;
        Ok(extent.offsets.end - 1)
    }

    pub fn put_batch(&self, txn: &mut RwTxn, handle: &Handle, partition: i32, base: i64, draft: &Draft) -> Result<()> {
        let key = batch_key(handle.number, partition, base);
        let (header, body) = draft.seal(&key, base);
        let write = |space: &mut heed::ReservedSpace| {
            std::io::Write::write_all(space, &header)?;
            std::io::Write::write_all(space, body)
        };
        self.batches.put_reserved(txn, &key, draft.len(), write).on(&handle.at(partition))
    }

    // === applications ===

    pub fn committed(
        &self,
        txn: &RoTxn,
        handle: &Handle,
        partition: i32,
        application: &str,
    ) -> Result<Option<Committed>> {
        let what = || format!("the offset of application {application} on {}", handle.at(partition));
        let key = offset_key(handle.number, partition, application);
        let Some(row) = get(self.offsets, txn, &key, what)? else { return Ok(None) };
        let (offset, metadata) = row.split_at_checked(8).ok_or_else(|| damaged(&what(), "its row is too short"))?;
        let metadata = String::from_utf8(metadata.to_vec()).map_err(|error| damaged(&what(), error))?;
        Ok(Some(Committed { offset: i64::from_le_bytes(number(offset, &what())?), metadata }))
    }

    pub fn put_committed(
        &self,
        txn: &mut RwTxn,
        handle: &Handle,
        partition: i32,
        application: &str,
        committed: &Committed,
    ) -> Result<()> {
        let row = [&committed.offset.to_le_bytes()[..], committed.metadata.as_bytes()].concat();
        let key = offset_key(handle.number, partition, application);
        put(self.offsets, txn, &key, &row, &handle.at(partition))
    }

    /// Deletes what the application has committed, on whatever topic. A few rows for each partition that anybody reads:
    /// all are looked at.
    pub fn forget(&self, txn: &mut RwTxn, application: &str) -> Result<()> {
        let what = format!("the offsets of application {application}");
        let mut keys = Vec::new();
        for row in self.offsets.iter(txn).on(&what)? {
            let (key, _) = row.on(&what)?;
            let of = key.get(partition_key(0, 0).len()..);
            keys.extend((of == Some(application.as_bytes())).then(|| key.to_vec()));
        }
        keys.iter().try_for_each(|key| self.offsets.delete(txn, key).on(&what).map(drop))
    }

    /// How often the application has changed its owner.
    pub fn epoch(&self, txn: &RoTxn, application: &str) -> Result<u64> {
        let what = || format!("the owner of application {application}");
        let row = get(self.applications, txn, application.as_bytes(), what)?;
        row.map_or(Ok(0), |bytes| number(bytes, &what()).map(u64::from_le_bytes))
    }

    pub fn put_epoch(&self, txn: &mut RwTxn, application: &str, epoch: u64) -> Result<()> {
        put(self.applications, txn, application.as_bytes(), &epoch.to_le_bytes(), application)
    }
}

// === keys ===

fn partition_key(topic: u32, partition: i32) -> [u8; 8] {
    ((u64::from(topic) << 32) | u64::from(partition as u32)).to_be_bytes()
}

pub fn batch_key(topic: u32, partition: i32, base: i64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&partition_key(topic, partition));
    key[8..].copy_from_slice(&(base as u64).to_be_bytes());
    key
}

/// The base offset of a batch's key, when it is of this partition.
pub fn base_of(topic: u32, partition: i32, key: &[u8]) -> Option<i64> {
    let base = key.strip_prefix(&partition_key(topic, partition)[..])?;
    i64::try_from(u64::from_be_bytes(base.try_into().ok()?)).ok()
}

fn offset_key(topic: u32, partition: i32, application: &str) -> Vec<u8> {
    [&partition_key(topic, partition)[..], application.as_bytes()].concat()
}

// === rows ===

const CHECKSUM_BYTES: usize = 4;

fn checksum(key: &[u8], row: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(key);
    checksum.update(row);
    checksum.finalize().to_le_bytes()
}

fn is_whole(key: &[u8], sealed: &[u8]) -> bool {
    sealed.split_first_chunk().is_some_and(|(found, row)| *found == checksum(key, row))
}

/// Those of all tables but the batches, of which there are few: a key that has changed would be one that is not there.
/// Batches follow one another by their offsets, and are judged by who reads them.
pub struct SmallRows;

impl Rows for SmallRows {
    fn reads(&self, table: &[u8]) -> bool {
        table != BATCHES.as_bytes()
    }

    fn row(&mut self, table: &[u8], key: &[u8], sealed: &[u8]) -> std::result::Result<(), &'static str> {
        match self.reads(table) && !is_whole(key, sealed) {
            true => Err("the row of a table does not have its checksum"),
            false => Ok(()),
        }
    }

    fn end(&self) -> std::result::Result<(), &'static str> {
        Ok(())
    }
}

/// A row without its checksum. `what` names it in errors.
fn get<'t>(table: Table, txn: &'t RoTxn, key: &[u8], what: impl Fn() -> String) -> Result<Option<&'t [u8]>> {
    let Some(found) = table.get(txn, key).map_err(|error| translate(&what(), error))? else { return Ok(None) };
    let Some((found, row)) = found.split_first_chunk() else {
        return Err(damaged(&what(), "it is shorter than its checksum"));
    };
    if *found == checksum(key, row) { Ok(Some(row)) } else { Err(damaged(&what(), "its checksum does not match")) }
}

fn put(table: Table, txn: &mut RwTxn, key: &[u8], row: &[u8], what: &str) -> Result<()> {
    let sealed = [&checksum(key, row)[..], row].concat();
    table.put(txn, key, &sealed).on(what)
}

fn number<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| damaged(what, format!("{} bytes where {N} belong", bytes.len())))
}
