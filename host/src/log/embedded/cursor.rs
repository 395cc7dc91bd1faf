//! A place in one partition, from which it is read on.

use std::ops::Bound;
use std::sync::Arc;

use millstream_engine::record::Records;

use super::batch::Batch;
use super::environment::Snapshot;
use super::fault::{Named, damaged};
use super::tables::{base_of, batch_key};
use super::topic::Handle;
use super::{Error, Result};

/// A read stops behind the batch that reaches this: several partitions share one poll.
const STRETCH_BYTES: usize = 256 << 10;

pub struct Cursor {
    handle: Arc<Handle>,
    pub partition: i32,
    next: i64,
    owes_end: bool,
}

/// What one read found.
pub struct Stretch {
    pub records: Records,
    /// The partition's end, if the read came to it and has not said so yet.
    pub end: Option<i64>,
}

impl Cursor {
    /// From an offset on; below the first one from there. An offset behind the end belongs to another log.
    pub fn open(snapshot: &Snapshot<'_>, handle: Arc<Handle>, partition: i32, offset: i64) -> Result<Cursor> {
        handle.check(partition)?;
        let offsets = snapshot.offsets(&handle, partition)?;
        if offset > offsets.end {
            let why = format!("offset {offset} was asked for, the partition ends at {}", offsets.end);
            return Err(Error::refused(handle.at(partition), why));
        }
        Ok(Cursor { handle, partition, next: offset.max(offsets.begin), owes_end: true })
    }

    pub fn topic(&self) -> &str {
        &self.handle.name
    }

    /// Reads on, as far as one stretch goes.
    pub fn read(&mut self, snapshot: &Snapshot<'_>) -> Result<Stretch> {
        let end = snapshot.offsets(&self.handle, self.partition)?.end;
        let mut records = Records::default();
        if self.next < end {
            self.read_batches(snapshot, end, &mut records)?;
            self.owes_end = true;
        }
        let ended = self.next >= end && std::mem::take(&mut self.owes_end);
        Ok(Stretch { records, end: ended.then_some(self.next) })
    }

    fn read_batches(&mut self, snapshot: &Snapshot<'_>, end: i64, records: &mut Records) -> Result<()> {
        let what = || self.handle.at(self.partition);
        let key = |offset| batch_key(self.handle.number, self.partition, offset);
        let (table, txn) = (snapshot.tables.batches, &snapshot.txn);
        let floor = table.get_lower_than_or_equal_to(txn, &key(self.next)).on(&what())?;
        let first = floor.and_then(|(found, _)| base_of(self.handle.number, self.partition, found));
        let (first, behind) = (key(first.unwrap_or(self.next)), key(end));
        let range = (Bound::Included(&first[..]), Bound::Excluded(&behind[..]));
        let mut next = self.next;
        for row in table.range(txn, &range).on(&what())? {
            let (found, value) = row.on(&what())?;
            match self.open_batch(found, value, next) {
                Ok(batch) => {
                    batch.read(next, records);
                    next = batch.last + 1;
                }
                // What stands before the damage is delivered; the next read comes upon it again.
                Err(_) if !records.is_empty() => break,
                Err(why) => return Err(damaged(&what(), why)),
            }
            if records.bytes() >= STRETCH_BYTES {
                break;
            }
        }
        if records.is_empty() {
            return Err(damaged(&what(), format!("no batch holds offset {next}, and the end is {end}")));
        }
        self.next = next;
        Ok(())
    }

    /// A batch that holds the next offset. Nothing has ever been taken out of a log, so a gap is damage.
    fn open_batch<'v>(&self, key: &[u8], value: &'v [u8], next: i64) -> std::result::Result<Batch<'v>, String> {
        let base = base_of(self.handle.number, self.partition, key).ok_or("a batch's key is not its partition's")?;
        let batch = Batch::open(key, base, value).map_err(|why| format!("the batch at offset {base}: {why}"))?;
        if base <= next && next <= batch.last {
            return Ok(batch);
        }
        Err(format!("offset {next} is missing: the batch found holds {base} to {}", batch.last))
    }
}
