//! What a task's stores stand on: the committed state, kept by a provider.
//!
//! A base is written in one place only, [`Base::apply`], after the log has committed. Everything newer lives in
//! the layers above it ([`super::layers`]). So a base may lag its changelog and never leads it.

use std::ops::ControlFlow;

use super::Changes;
use crate::error::Problem;

/// Why a base could not answer. The verdict is the caller's only question.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer, its disk is full: nothing was written; the same call may work later.
    #[error("{0}")]
    Retry(String),
    /// It holds as much as it may: nothing was written; the same call works when it may hold more, which a person says.
    #[error("{0}")]
    Full(Box<Problem>),
    /// The state cannot be trusted: wipe it and restore.
    #[error("{0}")]
    Corrupted(String),
    /// The state is whole and not to be touched: only a person can say what becomes of it.
    #[error("{0}")]
    Refused(Box<Problem>),
}

/// Where in its changelog a store stands: the offset of the last entry it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub offset: i64,
}

/// What one commit does to one store.
pub struct StoreChanges<'a> {
    pub store: usize,
    pub changes: &'a Changes,
    /// `None` leaves the position as it is.
    pub position: Option<Position>,
}

/// A range of keys in byte order, both bounds inclusive, `None` = open. A lower bound above the upper is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyRange<'a> {
    pub lower: Option<&'a [u8]>,
    pub upper: Option<&'a [u8]>,
}

impl KeyRange<'_> {
    pub fn contains(&self, key: &[u8]) -> bool {
        self.lower.is_none_or(|lower| lower <= key) && self.upper.is_none_or(|upper| key <= upper)
    }

    pub fn is_inverted(&self) -> bool {
        matches!((self.lower, self.upper), (Some(lower), Some(upper)) if lower > upper)
    }
}

/// The committed state of one task under one provider: its stores by number, each an ordered map of bytes with a
/// position, written together in one transaction. Keys may be empty and values may be empty.
///
/// Every call opens and closes whatever transaction it needs; none is held between calls.
pub trait Base: Send {
    /// Looks up keys; `visit` is called once for each, in their order.
    fn get_many(&self, store: usize, keys: &[&[u8]], visit: &mut dyn FnMut(usize, Option<&[u8]>)) -> Result<(), Error>;

    /// Walks a range in byte order of the keys, or backwards, until `visit` breaks.
    fn scan(
        &self,
        store: usize,
        range: KeyRange<'_>,
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// How many keys the store holds.
    fn entries(&self, store: usize) -> Result<u64, Error>;

    /// Bytes that the store takes up: on disk, where it is kept there, else those of its keys and values.
    fn bytes(&self, store: usize) -> Result<u64, Error>;

    /// `None`: nothing of the changelog has been applied.
    fn position(&self, store: usize) -> Result<Option<Position>, Error>;

    /// All or nothing, positions included.
    fn apply(&mut self, changes: &[StoreChanges<'_>]) -> Result<(), Error>;

    /// Why it was opened without what it had of this store before, which could not be trusted; `None`: it has all of it.
    fn emptied_at_open(&self, _store: usize) -> Option<&str> {
        None
    }

    /// Whether a call has found that nothing of this store can be trusted: then only [`Base::wipe`] helps, or
    /// [`Base::wipe_store`] where another store of the base is sound.
    fn is_damaged(&self, _store: usize) -> bool {
        false
    }

    /// Empties all stores and forgets their positions; also the way on after [`Error::Corrupted`].
    fn wipe(&mut self) -> Result<(), Error>;

    /// Empties one store and forgets its position; its neighbours stay as they are.
    fn wipe_store(&mut self, store: usize) -> Result<(), Error>;

    /// When all of it was last known to stand in its changelogs, none of it older than what they say, in ms since the
    /// epoch; `None`: it does not outlive its process.
    fn whole_at(&self) -> Result<Option<i64>, Error> {
        Ok(None)
    }

    /// Says that it is so at this time.
    fn mark_whole(&mut self, _now: i64) -> Result<(), Error> {
        Ok(())
    }

    /// The last call of a clean end: makes everything durable, where something is kept. A base that is only dropped
    /// survives the process, but not the machine.
    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
