//! One step of the janitor's work: batches of one partition that go, those that come in their place, and where the
//! partition begins.

use std::sync::Arc;

use heed::{RoTxn, RwTxn};

use super::batch::Draft;
use super::cleaned::Cleaned;
use super::fault::Named;
use super::tables::{Tables, batch_key};
use super::topic::Handle;
use super::{Error, Result};

/// The first bytes of a stored batch are its checksum: another batch under the same key has others.
pub const MARK_BYTES: usize = 4;

pub struct Tidy {
    pub handle: Arc<Handle>,
    pub partition: i32,
    /// What goes, as it was read: written only while all of it is still there.
    pub old: Vec<Old>,
    /// By their bases; they cover the offsets of `old`, or of its part from `begin` on.
    pub new: Vec<(i64, Draft)>,
    /// Nothing below it is kept.
    pub begin: Option<i64>,
    /// What is known once this is done.
    pub cleaned: Option<Cleaned>,
}

/// A batch as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Old {
    pub base: i64,
    pub mark: [u8; MARK_BYTES],
}

impl Tidy {
    /// About how much it writes. A batch that goes costs little, however long it is.
    pub fn bytes(&self) -> usize {
        self.new.iter().map(|(_, draft)| draft.len()).sum()
    }

    pub fn check(&self, tables: &Tables, txn: &RoTxn) -> Result<()> {
        tables.check_handle(txn, &self.handle)?;
        for old in &self.old {
            let value = tables.batches.get(txn, &self.key(old.base)).on(&self.what())?;
            if !value.is_some_and(|value| value.starts_with(&old.mark)) {
                return Err(Error::refused(self.what(), "its batches were changed meanwhile"));
            }
        }
        Ok(())
    }

    pub fn write(self, tables: &Tables, txn: &mut RwTxn) -> Result<()> {
        let mut extent = tables.extent(txn, &self.handle, self.partition)?;
        let mut cleaned = tables.cleaned(txn, &self.handle, self.partition)?;
        let known = cleaned.clone();
        for old in &self.old {
            let key = self.key(old.base);
            let bytes = tables.batches.get(txn, &key).on(&self.what())?.map_or(0, |value| value.len() as u64);
            tables.batches.delete(txn, &key).on(&self.what())?;
            extent.bytes = extent.bytes.saturating_sub(bytes);
            if old.base < known.to {
                cleaned.bytes = cleaned.bytes.saturating_sub(bytes);
            }
        }
        for (base, draft) in &self.new {
            tables.put_batch(txn, &self.handle, self.partition, *base, draft)?;
            extent.bytes += draft.len() as u64;
            if *base < known.to {
                cleaned.bytes += draft.len() as u64;
            }
        }
        if let Some(begin) = self.begin {
            extent.offsets.begin = extent.offsets.begin.max(begin);
            cleaned.to = cleaned.to.max(begin);
        }
        tables.put_extent(txn, &self.handle, self.partition, &extent)?;
        let cleaned = self.cleaned.as_ref().unwrap_or(&cleaned);
        match *cleaned == known {
            true => Ok(()),
            false => tables.put_cleaned(txn, &self.handle, self.partition, cleaned),
        }
    }

    fn key(&self, base: i64) -> [u8; 16] {
        batch_key(self.handle.number, self.partition, base)
    }

    fn what(&self) -> String {
        self.handle.at(self.partition)
    }
}
