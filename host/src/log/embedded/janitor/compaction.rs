//! Compaction: of every key the last record stays, under its offset.
//!
//! A pass looks at what was not compacted yet, notes the last record of each key ([`Survey`]), and then goes from the
//! beginning on in small steps: each takes the superseded records out of a stretch of batches, in one transaction. A
//! pass that is cut off between two steps has done no harm: what it took away was superseded, and the next one begins
//! where the last whole one ended. Readers have their snapshot for the length of one poll and go on by offsets, which do
//! not change.
//!
//! Tombstones stay until `delete.retention.ms` after the pass that took away what they delete ([`Cleaned`]).

use std::sync::Arc;

use super::House;
use super::cleanup::Compaction;
use super::survey::{KEYS_MAX, Survey};
use super::work::{Found, Work};
use crate::log::embedded::Result;
use crate::log::embedded::batch::{Draft, Rest};
use crate::log::embedded::cleaned::Cleaned;
use crate::log::embedded::tables::Extent;
use crate::log::embedded::tidy::{Old, Tidy};
use crate::log::embedded::topic::Handle;

/// What one transaction looks through, and so what it may write: other writers wait for it for some milliseconds.
const STEP_BYTES: u64 = 1 << 20;

/// Batches of one transaction, for those that hold a record or two: some microseconds for each.
const STEP_BATCHES: usize = 4_096;

/// What is read under one snapshot, which keeps pages from being used again.
const READ_BYTES: u64 = 4 << 20;

/// One partition as a pass finds it.
struct Pass<'h> {
    house: &'h House,
    handle: &'h Arc<Handle>,
    partition: i32,
    compaction: Compaction,
    /// Of everything, also what is not worth it.
    all: bool,
    now: i64,
    keys_max: usize,
}

/// Compacts a partition as far as it is worth it at `now`, ms; `all`: as far as it may.
pub fn apply(
    house: &House,
    (handle, partition): (&Arc<Handle>, i32),
    compaction: Compaction,
    (now, all): (i64, bool),
    work: &mut Work,
) -> Result<()> {
    let keys_max = house.keys_max.unwrap_or(KEYS_MAX);
    let pass = Pass { house, handle, partition, compaction, all, now, keys_max };
    // One that had room for no more keys leaves the rest to the next.
    while pass.run(work)? {}
    Ok(())
}

impl Pass<'_> {
    /// One pass; answers whether there is more to do.
    fn run(&self, work: &mut Work) -> Result<bool> {
        let (extent, known) = {
            let snapshot = self.house.snapshot()?;
            snapshot.tables.check_handle(&snapshot.txn, self.handle)?;
            let extent = snapshot.tables.extent(&snapshot.txn, self.handle, self.partition)?;
            (extent, snapshot.tables.cleaned(&snapshot.txn, self.handle, self.partition)?)
        };
        let droppable = known.droppable_below(self.now, self.compaction.tombstones_ms);
        let from = known.to.max(extent.offsets.begin);
        let end = self.end(&extent, &known, from)?;
        let is_worth = end > from;
        if !is_worth && (known.tombstones == 0 || droppable <= known.dropped) {
            return Ok(false);
        }
        let (survey, upto, is_whole) = self.survey(extent.offsets.begin, from, end, &known)?;
        if !is_worth && !is_whole && self.compaction.by_time() {
            // Nothing may go by what the survey has no room for; a commit would change nothing.
            return Ok(false);
        }
        let droppable = if is_whole || !self.compaction.by_time() { droppable } else { 0 };
        let mut cleaned = known.clone();
        (cleaned.bytes, cleaned.tombstones, cleaned.dropped) = (0, 0, known.dropped.max(droppable));
        cleaned.newest = self.compaction.keep_newest.then_some(survey.newest).flatten();
        let mut next = extent.offsets.begin;
        while next < upto {
            // No batch reaches over the end of the last pass: if this one is cut off, the next begins there again.
            let end = if next < from { from } else { upto };
            next = self.step(next, end, &survey, droppable, &mut cleaned, work)?;
        }
        if upto > cleaned.to {
            cleaned.pass(upto, self.now, self.compaction.tombstones_ms);
        }
        let (handle, partition) = (self.handle.clone(), self.partition);
        let (old, new) = (Vec::new(), Vec::new());
        self.house.commit(Tidy { handle, partition, old, new, begin: None, cleaned: Some(cleaned) })?;
        Ok(upto < end)
    }

    /// Up to where it is worth a pass; `from`, if it is not.
    fn end(&self, extent: &Extent, known: &Cleaned, from: i64) -> Result<i64> {
        let Compaction { lag_ms, wait_ms, ratio, bytes_min, .. } = self.compaction;
        let is_enough =
            |dirty: u64| self.all || dirty >= bytes_min && dirty as f64 >= ratio * (dirty as f64 + known.bytes as f64);
        let dirty = extent.bytes.saturating_sub(known.bytes);
        let bounded = wait_ms < i64::MAX;
        if from >= extent.offsets.end || !(bounded || is_enough(dirty)) {
            return Ok(from);
        }
        if lag_ms == 0 && !bounded {
            return Ok(extent.offsets.end);
        }
        let young = if lag_ms == 0 { i64::MAX } else { self.now.min(extent.newest).saturating_sub(lag_ms) };
        let (mut end, mut old, mut overdue) = (from, 0, false);
        let snapshot = self.house.snapshot()?;
        let what = (self.handle, self.partition, from, extent.offsets.end);
        self.house.each_batch(&snapshot, what, |Found { bytes, batch, .. }| {
            if batch.max_timestamp > young {
                return Ok(false);
            }
            overdue |= bounded && batch.max_timestamp <= self.now.saturating_sub(wait_ms);
            (end, old) = (batch.last + 1, old + bytes);
            Ok(true)
        })?;
        Ok(if overdue || is_enough(old) { end } else { from })
    }

    /// What stays of the records below the answered offset, and whether all of them were looked at.
    fn survey(&self, begin: i64, from: i64, end: i64, known: &Cleaned) -> Result<(Survey, i64, bool)> {
        if self.compaction.by_time() {
            let mut survey = Survey::new(true, None, self.keys_max);
            let upto = self.note(&mut survey, begin, end)?;
            if upto >= end || upto > from {
                return Ok((survey, upto, true));
            }
        }
        let mut survey = Survey::new(self.compaction.by_time(), known.newest, self.keys_max);
        let upto = self.note(&mut survey, from, end)?;
        Ok((survey, upto, from == begin))
    }

    fn note(&self, survey: &mut Survey, from: i64, end: i64) -> Result<i64> {
        let mut next = from;
        while next < end && !survey.is_full() {
            let snapshot = self.house.snapshot()?;
            let (what, mut read) = ((self.handle, self.partition, next, end), 0);
            self.house.each_batch(&snapshot, what, |Found { bytes, batch, .. }| {
                batch.iter().for_each(|(offset, record)| survey.note(offset, &record));
                (next, read) = (batch.last + 1, read + bytes);
                Ok(read < READ_BYTES && !survey.is_full())
            })?;
        }
        Ok(next)
    }

    /// Takes what is superseded out of one stretch; answers where the next one begins.
    fn step(
        &self,
        from: i64,
        end: i64,
        survey: &Survey,
        droppable: i64,
        cleaned: &mut Cleaned,
        work: &mut Work,
    ) -> Result<i64> {
        let newest = cleaned.newest.map(|newest| newest.offset);
        let (mut next, mut read, mut removed, mut old) = (from, 0, 0, Vec::new());
        let mut rest = Rest::from(from);
        let snapshot = self.house.snapshot()?;
        let what = (self.handle, self.partition, from, end);
        self.house.each_batch(&snapshot, what, |Found { base, mark, bytes, batch }| {
            for (offset, record) in batch.iter() {
                // What has no key deletes nothing.
                let is_tombstone = record.key.is_some() && record.value.is_none();
                let drops = is_tombstone && offset < droppable && !survey.has_more(offset, &record);
                if newest != Some(offset) && (drops || survey.is_superseded(offset, &record)) {
                    removed += 1;
                    continue;
                }
                cleaned.tombstones += u64::from(is_tombstone);
                rest.push(offset, &record);
            }
            old.push(Old { base, mark });
            (next, read) = (batch.last + 1, read + bytes);
            Ok(read < STEP_BYTES && old.len() < STEP_BATCHES)
        })?;
        drop(snapshot);
        rest.cover(next);
        let new = rest.into_batches();
        // Small batches are also put together.
        if removed == 0 && new.len() * 2 > old.len() {
            cleaned.bytes += read;
            return Ok(next);
        }
        let bytes = new.iter().map(|(_, draft): &(i64, Draft)| draft.len() as u64).sum();
        cleaned.bytes += bytes;
        let (handle, partition) = (self.handle.clone(), self.partition);
        self.house.commit(Tidy { handle, partition, old, new, begin: None, cleaned: None })?;
        work.compacted_records += removed;
        work.freed_bytes += read.saturating_sub(bytes);
        Ok(next)
    }
}
