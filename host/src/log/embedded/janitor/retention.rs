//! Deleting what has grown old or too much: whole batches, the oldest first, up to the first that stays.

use std::sync::Arc;

use super::House;
use super::cleanup::Retention;
use super::work::{Found, Work};
use crate::log::embedded::Result;
use crate::log::embedded::tables::Extent;
use crate::log::embedded::tidy::{Old, Tidy};
use crate::log::embedded::topic::Handle;

/// Batches that go in one transaction, of at most 64 KiB each: their pages only change owner.
const STEP_BATCHES: usize = 1_024;

/// Deletes what is beyond the bounds at `now`, ms.
pub fn apply(
    house: &House,
    (handle, partition): (&Arc<Handle>, i32),
    retention: Retention,
    now: i64,
    work: &mut Work,
) -> Result<()> {
    while let Some(step) = step(house, (handle, partition), retention, now, work)? {
        house.commit(step)?;
    }
    Ok(())
}

/// Deletes the batches that lie below an offset, wholly.
pub fn delete_below(house: &House, place: (&Arc<Handle>, i32), below: i64) -> Result<()> {
    let mut work = Work::default();
    while let Some(step) = oldest(house, place, &mut work, |_| |found: &Found<'_>| found.batch.last < below)? {
        house.commit(step)?;
    }
    Ok(())
}

fn step(
    house: &House,
    place: (&Arc<Handle>, i32),
    retention: Retention,
    now: i64,
    work: &mut Work,
) -> Result<Option<Tidy>> {
    oldest(house, place, work, |extent| {
        let time = if retention.by_newest { now.min(extent.newest) } else { now };
        let mut left = extent.bytes;
        move |Found { bytes, batch, .. }: &Found<'_>| {
            let is_old = retention.age_ms.is_some_and(|age| batch.max_timestamp < time.saturating_sub(age));
            // Kafka's rule: what is left is not less than the bound.
            let is_much = retention.bytes.is_some_and(|most| left.saturating_sub(*bytes) >= most);
            left = left.saturating_sub(*bytes);
            is_old || is_much
        }
    })
}

/// One step that deletes the oldest batches, up to the first that does not go.
fn oldest<Goes: FnMut(&Found<'_>) -> bool>(
    house: &House,
    (handle, partition): (&Arc<Handle>, i32),
    work: &mut Work,
    rule: impl FnOnce(&Extent) -> Goes,
) -> Result<Option<Tidy>> {
    let snapshot = house.snapshot()?;
    let extent = snapshot.tables.extent(&snapshot.txn, handle, partition)?;
    let (mut goes, mut old, mut begin) = (rule(&extent), Vec::new(), None);
    let what = (handle, partition, extent.offsets.begin, extent.offsets.end);
    house.each_batch(&snapshot, what, |found| {
        if old.len() == STEP_BATCHES || !goes(&found) {
            return Ok(false);
        }
        work.deleted_records += found.batch.iter().count() as u64;
        work.freed_bytes += found.bytes;
        old.push(Old { base: found.base, mark: found.mark });
        begin = Some(found.batch.last + 1);
        Ok(true)
    })?;
    let (handle, new) = (handle.clone(), Vec::new());
    Ok(begin.map(|_| Tidy { handle, partition, old, new, begin, cleaned: None }))
}
