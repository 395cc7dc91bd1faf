//! A place in one partition, from which it is read on.

use std::ops::Bound;
use std::sync::Arc;

use millstream_engine::record::Records;

use super::batch::Batch;
use super::environment::Snapshot;
use super::fault::{Named, damaged};
use super::tables::{base_of, batch_key};
use super::topic::Handle;
use super::{Offsets, Result};

/// A read stops behind the batch that reaches this: several partitions share one poll.
const STRETCH_BYTES: usize = 256 << 10;

pub struct Cursor {
    handle: Arc<Handle>,
    pub partition: i32,
    next: i64,
    owes_end: bool,
    truncated: bool,
}

/// What one read found.
pub struct Stretch {
    pub records: Records,
    /// The partition's end, if the read came to it and has not said so yet.
    pub end: Option<i64>,
    /// The offset that comes next and is not in the log, said once; nothing more comes.
    pub truncated: Option<i64>,
}

impl Cursor {
    /// From an offset on. One that is not in the log is told by the first read.
    pub fn open(handle: Arc<Handle>, partition: i32, offset: i64) -> Result<Cursor> {
        handle.check(partition)?;
        Ok(Cursor { handle, partition, next: offset.max(0), owes_end: true, truncated: false })
    }

    pub fn topic(&self) -> &str {
        &self.handle.name
    }

    /// Reads on, as far as one stretch goes.
    pub fn read(&mut self, snapshot: &Snapshot<'_>) -> Result<Stretch> {
        let Offsets { begin, end } = snapshot.offsets(&self.handle, self.partition)?;
        let mut records = Records::default();
        if !(begin..=end).contains(&self.next) {
            let told = std::mem::replace(&mut self.truncated, true);
            return Ok(Stretch { records, end: None, truncated: (!told).then_some(self.next) });
        }
        if self.next < end {
            self.read_batches(snapshot, end, &mut records)?;
            self.owes_end = true;
        }
        let ended = self.next >= end && std::mem::take(&mut self.owes_end);
        Ok(Stretch { records, end: ended.then_some(self.next), truncated: None })
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
        // A read that finds no record has come to the end: compacted batches may be empty.
        if records.is_empty() && next < end {
            return Err(damaged(&what(), format!("no batch holds offset {next}, and the end is {end}")));
        }
        self.next = next;
        Ok(())
    }

    /// A batch that covers the next offset. Compaction takes out records and no offsets, so a gap is damage.
    fn open_batch<'v>(&self, key: &[u8], value: &'v [u8], next: i64) -> std::result::Result<Batch<'v>, String> {
        let base = base_of(self.handle.number, self.partition, key).ok_or("a batch's key is not its partition's")?;
        let batch = Batch::open(key, base, value).map_err(|why| format!("the batch at offset {base}: {why}"))?;
        if base <= next && next <= batch.last {
            return Ok(batch);
        }
        Err(format!("offset {next} is missing: the batch found holds {base} to {}", batch.last))
    }
}
