//! What suppressions hold back, in the order in which it is due. A store of keys and values keeps it ([`Suppressed`]); which of
//! it comes next is worked out of the store once, kept in memory from then on, and goes back with a batch.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{Error, KeyRange, TaskStores};
use crate::changelog::Suppressed;

/// Why a buffer cannot be used.
#[derive(Debug)]
pub enum BufferError {
    Store(Error),
    /// What it holds for this key is nothing of a suppression.
    Unreadable(Vec<u8>),
}

impl From<Error> for BufferError {
    fn from(error: Error) -> BufferError {
        BufferError::Store(error)
    }
}

/// How much a buffer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferSize {
    pub rows: usize,
    /// As Kafka Streams counts them.
    pub bytes: usize,
}

/// `None`: not known, the store has to be read.
#[derive(Default)]
pub(super) struct Order(Option<Known>);

#[derive(Default)]
struct Known {
    due: BTreeSet<(i64, Box<[u8]>)>,
    bytes: usize,
    /// What the running batch did, newest last.
    undo: Vec<Undo>,
}

enum Undo {
    Added(i64, Box<[u8]>),
    Removed(i64, Box<[u8]>),
    /// The bytes that there were.
    Bytes(usize),
}

impl Order {
    pub(super) fn keep_batch(&mut self) {
        if let Some(known) = &mut self.0 {
            known.undo.clear();
        }
    }

    pub(super) fn drop_batch(&mut self) {
        if let Some(known) = &mut self.0 {
            known.back_to(0);
        }
    }

    /// How much the batch has done; nothing where the buffer is yet to be read, which is before it is used.
    pub(super) fn save(&self) -> usize {
        self.0.as_ref().map_or(0, |known| known.undo.len())
    }

    pub(super) fn back_to_saved(&mut self, saved: usize) {
        if let Some(known) = &mut self.0 {
            known.back_to(saved);
        }
    }

    /// The store was written by another way.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

impl Known {
    /// Takes back what the batch did, down to the first so much of it.
    fn back_to(&mut self, kept: usize) {
        for undo in self.undo.drain(kept..).rev() {
            match undo {
                Undo::Added(due, key) => {
                    self.due.remove(&(due, key));
                }
                Undo::Removed(due, key) => {
                    self.due.insert((due, key));
                }
                Undo::Bytes(bytes) => self.bytes = bytes,
            }
        }
    }

    fn set_bytes(&mut self, bytes: usize) {
        self.undo.push(Undo::Bytes(self.bytes));
        self.bytes = bytes;
    }
}

impl TaskStores {
    /// How much the buffer holds. Reads all of it where it has not been read yet.
    pub fn buffer_size(&mut self, store: usize) -> Result<BufferSize, BufferError> {
        let known = self.order(store)?;
        Ok(BufferSize { rows: known.due.len(), bytes: known.bytes })
    }

    /// What is due first, and its key: of equal times the lowest key.
    pub fn buffer_first(&mut self, store: usize) -> Result<Option<(i64, Vec<u8>)>, BufferError> {
        Ok(self.order(store)?.due.first().map(|(due, key)| (*due, key.to_vec())))
    }

    /// Puts what is held back for a key in the place of what was. `replaced` is the size of that. After
    /// [`TaskStores::check`].
    pub fn buffer_put(
        &mut self,
        store: usize,
        key: &[u8],
        buffered: &Suppressed<'_>,
        replaced: Option<usize>,
        encoded: &[u8],
    ) -> Result<(), BufferError> {
        let known = self.order(store)?;
        let bytes = known.bytes - replaced.unwrap_or_default() + buffered.size(key.len());
        known.set_bytes(bytes);
        if replaced.is_none() {
            known.undo.push(Undo::Added(buffered.due, key.into()));
            known.due.insert((buffered.due, key.into()));
        }
        self.put(store, key, Some(encoded), buffered.timestamp);
        Ok(())
    }

    /// Lets go of what is held back for a key, which is this large. `timestamp`: of the update that lets it go.
    pub fn buffer_remove(
        &mut self,
        store: usize,
        (due, key): (i64, &[u8]),
        size: usize,
        timestamp: i64,
    ) -> Result<(), BufferError> {
        let known = self.order(store)?;
        let bytes = known.bytes - size;
        known.set_bytes(bytes);
        known.due.remove(&(due, Box::from(key)));
        known.undo.push(Undo::Removed(due, key.into()));
        self.put(store, key, None, timestamp);
        Ok(())
    }

    fn order(&mut self, store: usize) -> Result<&mut Known, BufferError> {
        if self.stores[store].order.0.is_none() {
            let (mut known, mut headers, mut wrong) = (Known::default(), Vec::new(), None);
            self.scan(store, KeyRange::default(), false, &mut |key, _, value| {
                let Some(buffered) = Suppressed::decode(value, &mut headers) else {
                    wrong = Some(key.to_vec());
                    return ControlFlow::Break(());
                };
                known.due.insert((buffered.due, key.into()));
                known.bytes += buffered.size(key.len());
                ControlFlow::Continue(())
            })?;
            if let Some(key) = wrong {
                return Err(BufferError::Unreadable(key));
            }
            self.stores[store].order.0 = Some(known);
        }
        Ok(self.stores[store].order.0.get_or_insert_default())
    }
}
