//! Cleaning up what has expired: a little with each commit, and nothing that anybody could see.
//!
//! What goes is found in the committed state by the store's committed time alone, so a commit that fails takes nothing
//! back. It is not logged: the changelog's own retention does the same there.

use std::ops::ControlFlow;

use super::layout::{self, PASSED, ROW};
use super::task_stores::OneStore;
use super::timed::Segments;
use super::{Base, Changes, Error, KeyRange, StoreKind, closing, versioned};

/// Rows that go with one commit, at the least: some milliseconds. A commit that writes more takes twice as many away, so
/// that a busy store does not grow.
const ROWS_MIN: usize = 10_000;

/// What is to go from a store's base.
pub(super) struct Gone {
    pub(super) changes: Changes,
    /// Up to where this is all there is.
    pub(super) swept: Option<i64>,
}

/// Finds what has expired by the time that was committed before. What is under seal was put when the store took it at that
/// time or later, so it can neither bring back what goes nor hide it.
pub(super) fn expired(one: &OneStore, base: &dyn Base) -> Result<Gone, Error> {
    let kind = one.slot.kind;
    let mut gone = Gone { changes: Changes::new(), swept: None };
    if !kind.goes_by_time() {
        return Ok(gone);
    }
    let observed = one.clock.committed(base, &one.slot)?;
    let (tag, until) = match kind {
        StoreKind::Versioned { .. } => (PASSED, versioned::first_remembered(kind, observed)),
        _ => (ROW, Segments::of(kind).first_live(observed.time)),
    };
    gone.swept = Some(until);
    if one.clock.swept == gone.swept {
        return Ok(gone);
    }
    let mut upper = vec![tag];
    layout::push_time(until, &mut upper);
    let range = KeyRange { lower: Some(&[tag]), upper: Some(&upper) };
    let max = ROWS_MIN.max(2 * one.layers.sealed().len());
    let Gone { changes, swept } = &mut gone;
    let mut rows = 0;
    base.scan(one.slot.slot, range, false, &mut |row, _| {
        if rows >= max {
            *swept = None;
            return ControlFlow::Break(());
        }
        rows += 1;
        if let Some(version) = versioned::passed_row(row) {
            changes.insert(version, None::<&[u8]>);
        }
        if let Some(by_time) = kind.is_closing().then(|| closing::row_of(row)).flatten() {
            changes.insert(by_time, None::<&[u8]>);
        }
        changes.insert(row, None::<&[u8]>);
        ControlFlow::Continue(())
    })?;
    Ok(gone)
}
